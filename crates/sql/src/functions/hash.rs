//! `hash(…)`: the 32-bit Murmur3 hash that Spark gives, seeded with 42 and carried from value to value.
//!
//! Spark's variant mixes the bytes behind the last whole word one by one, as signed numbers.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int32Array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type,
    TimestampMicrosecondType,
};
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::ScalarUDF;

use super::scalar::{Scalar, timestamp};

const SEED: u32 = 42;

pub(crate) fn functions() -> Vec<Arc<ScalarUDF>> {
    let coerce = |types: &[DataType]| match types.is_empty() {
        true => plan_err!("hash() takes at least one argument"),
        false => Ok(types.to_vec()),
    };
    vec![
        Scalar::new(
            "hash",
            coerce,
            |_| Ok(DataType::Int32),
            |args, _| {
                let rows = args.first().map_or(0, |arg| arg.len());
                let hashes = (0..rows).map(|row| {
                    let hash = args
                        .iter()
                        .try_fold(SEED, |seed, arg| value(arg, row, seed));
                    hash.map(u32::cast_signed)
                });
                Ok(Arc::new(hashes.collect::<Result<Int32Array>>()?))
            },
        )
        .udf(),
    ]
}

/// The hash of the value in `row`; a null leaves the seed as it is.
fn value(array: &ArrayRef, row: usize, seed: u32) -> Result<u32> {
    if array.is_null(row) {
        return Ok(seed);
    }
    Ok(match array.data_type() {
        DataType::Null => seed,
        DataType::Boolean => int(i32::from(array.as_boolean().value(row)), seed),
        DataType::Int8 | DataType::Int16 | DataType::Int32 => {
            let one = cast(&array.slice(row, 1), &DataType::Int32)?;
            int(one.as_primitive::<Int32Type>().value(0), seed)
        }
        DataType::Int64 => long(array.as_primitive::<Int64Type>().value(row), seed),
        DataType::Date32 => int(array.as_primitive::<Date32Type>().value(row), seed),
        DataType::Timestamp(_, _) => {
            let one = cast(&array.slice(row, 1), &timestamp())?;
            long(
                one.as_primitive::<TimestampMicrosecondType>().value(0),
                seed,
            )
        }
        // Both zeros are one.
        DataType::Float32 => {
            let bits = (array.as_primitive::<Float32Type>().value(row) + 0.0).to_bits();
            int(bits.cast_signed(), seed)
        }
        DataType::Float64 => {
            let bits = (array.as_primitive::<Float64Type>().value(row) + 0.0).to_bits();
            long(bits.cast_signed(), seed)
        }
        DataType::Decimal128(precision, _) => {
            let unscaled = array.as_primitive::<Decimal128Type>().value(row);
            match i64::try_from(unscaled) {
                Ok(small) if *precision <= 18 => long(small, seed),
                _ => bytes(shortest(&unscaled.to_be_bytes()), seed),
            }
        }
        DataType::Utf8 => bytes(array.as_string::<i32>().value(row).as_bytes(), seed),
        DataType::Binary => bytes(array.as_binary::<i32>().value(row), seed),
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            (0..items.len()).try_fold(seed, |seed, item| value(&items, item, seed))?
        }
        DataType::Struct(_) => {
            let columns = array.as_struct().columns();
            columns
                .iter()
                .try_fold(seed, |seed, column| value(column, row, seed))?
        }
        other => return plan_err!("hash() takes no {other}"),
    })
}

/// The bytes of a number from the highest on, without those that only repeat its sign.
fn shortest(bytes: &[u8; 16]) -> &[u8] {
    let needless = |pair: &&[u8]| {
        let [first, second] = pair else { return false };
        (*first == 0 && *second < 0x80) || (*first == 0xFF && *second >= 0x80)
    };
    &bytes[bytes.windows(2).take_while(needless).count()..]
}

fn int(value: i32, seed: u32) -> u32 {
    finish(mix(seed, value.cast_unsigned()), 4)
}

fn long(value: i64, seed: u32) -> u32 {
    let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
    let (low, high) = (
        u32::from_le_bytes([a, b, c, d]),
        u32::from_le_bytes([e, f, g, h]),
    );
    finish(mix(mix(seed, low), high), 8)
}

fn bytes(bytes: &[u8], seed: u32) -> u32 {
    let (words, rest) = bytes.as_chunks::<4>();
    let hash = words
        .iter()
        .fold(seed, |hash, word| mix(hash, u32::from_le_bytes(*word)));
    let signed = |byte: &u8| i32::from(byte.cast_signed()).cast_unsigned();
    let hash = rest.iter().fold(hash, |hash, byte| mix(hash, signed(byte)));
    finish(hash, u32::try_from(bytes.len()).unwrap_or(u32::MAX))
}

fn mix(hash: u32, word: u32) -> u32 {
    let word = word
        .wrapping_mul(0xCC9E_2D51)
        .rotate_left(15)
        .wrapping_mul(0x1B87_3593);
    (hash ^ word)
        .rotate_left(13)
        .wrapping_mul(5)
        .wrapping_add(0xE654_6B64)
}

fn finish(hash: u32, length: u32) -> u32 {
    let hash = hash ^ length;
    let hash = (hash ^ (hash >> 16)).wrapping_mul(0x85EB_CA6B);
    let hash = (hash ^ (hash >> 13)).wrapping_mul(0xC2B2_AE35);
    hash ^ (hash >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::{BooleanArray, Float64Array, Int64Array, StringArray};

    /// The values were recorded with Spark 4.3.
    #[test]
    fn hashes_are_those_of_spark() {
        let cases: [(ArrayRef, i32); 6] = [
            (Arc::new(StringArray::from(vec!["a"])), 1_485_273_170),
            (Arc::new(StringArray::from(vec!["abcdefg"])), 2_132_013_596),
            (Arc::new(Int32Array::from(vec![1])), -559_580_957),
            (Arc::new(Int64Array::from(vec![1])), -1_712_319_331),
            (Arc::new(BooleanArray::from(vec![true])), -559_580_957),
            (Arc::new(Float64Array::from(vec![1.5])), 1_290_763_749),
        ];
        for (array, expected) in cases {
            assert_eq!(
                value(&array, 0, SEED).unwrap().cast_signed(),
                expected,
                "{array:?}"
            );
        }
    }
}
