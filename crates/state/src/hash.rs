//! A stable hash of Arrow values.
//!
//! Invariant: the hash of a value depends on the value alone, never on how an array happens to hold it (offset, width
//! of an integer, dictionary, view or plain text), on the version of Arrow, or on the machine. Durable state is placed
//! by it, so it may never change; `docs/formats-state.md` describes it and a test holds golden values.
//!
//! Each value is xxh3-64 of its canonical bytes, seeded with its kind. Rows of several columns, structs and lists
//! hash the hashes of their parts, in order.

use arrow::{
    array::{
        Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, FixedSizeBinaryArray,
        GenericByteArray, GenericByteViewArray, OffsetSizeTrait, PrimitiveArray, RunArray,
        UnionArray,
    },
    buffer::NullBuffer,
    datatypes::{
        ArrowNativeType, ByteArrayType, ByteViewType, DataType, Date32Type, Date64Type,
        Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, DurationMicrosecondType,
        DurationMillisecondType, DurationNanosecondType, DurationSecondType, Float16Type,
        Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, IntervalDayTimeType,
        IntervalMonthDayNanoType, IntervalUnit, IntervalYearMonthType, RunEndIndexType,
        Time32MillisecondType, Time32SecondType, Time64MicrosecondType, Time64NanosecondType,
        TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
        TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
    },
};
use headwater_core::{Error, Result};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// What kind of value is hashed: the low byte of the seed. Numbers are durable.
#[derive(Clone, Copy)]
enum Kind {
    Null = 0,
    Boolean = 1,
    Integer = 2,
    /// An unsigned integer beyond the signed range.
    BigInteger = 3,
    Float = 4,
    Bytes = 5,
    Decimal = 6,
    BigDecimal = 7,
    Date = 8,
    Time = 9,
    Timestamp = 10,
    Duration = 11,
    Interval = 12,
    List = 13,
    Struct = 14,
    Union = 15,
    Row = 16,
}

/// Seed of a kind; `detail` tells units and scales apart.
const fn seed(kind: Kind, detail: u8) -> u64 {
    kind as u64 | (detail as u64) << 8
}

/// Hash of NULL, whatever its type.
fn null_hash() -> u64 {
    xxh3_64_with_seed(&[], seed(Kind::Null, 0))
}

/// One hash per row over all columns; without columns all rows are alike.
pub(crate) fn row_hashes(columns: &[ArrayRef], rows: usize) -> Result<Vec<u64>> {
    if let Some(column) = columns.iter().find(|column| column.len() != rows) {
        return Err(Error::internal(format!(
            "a key column has {} rows, expected {rows}",
            column.len()
        )));
    }
    match columns {
        [] => Ok(vec![xxh3_64_with_seed(&[], seed(Kind::Row, 0)); rows]),
        [column] => value_hashes(column),
        [first, others @ ..] => {
            let mut hashes = value_hashes(first)?;
            for column in others {
                fold(&mut hashes, &value_hashes(column)?);
            }
            Ok(hashes)
        }
    }
}

/// Continues each hash with the hash of the next part.
fn fold(hashes: &mut [u64], next: &[u64]) {
    for (hash, next) in hashes.iter_mut().zip(next) {
        *hash = xxh3_64(&pair(*hash, *next));
    }
}

fn pair(low: u64, high: u64) -> [u8; 16] {
    (u128::from(low) | u128::from(high) << 64).to_le_bytes()
}

/// One hash per value.
fn value_hashes(array: &dyn Array) -> Result<Vec<u64>> {
    use DataType as T;
    Ok(match array.data_type() {
        T::Null => vec![null_hash(); array.len()],
        T::Boolean => booleans(array.as_boolean()),
        T::Int8 => integers::<Int8Type>(array),
        T::Int16 => integers::<Int16Type>(array),
        T::Int32 => integers::<Int32Type>(array),
        T::Int64 => integers::<Int64Type>(array),
        T::UInt8 => integers::<UInt8Type>(array),
        T::UInt16 => integers::<UInt16Type>(array),
        T::UInt32 => integers::<UInt32Type>(array),
        T::UInt64 => primitives::<UInt64Type>(array, |v| match i64::try_from(v) {
            Ok(v) => integer(v),
            Err(_) => xxh3_64_with_seed(&v.to_le_bytes(), seed(Kind::BigInteger, 0)),
        }),
        T::Float16 => primitives::<Float16Type>(array, |v| float(f64::from(v))),
        T::Float32 => primitives::<Float32Type>(array, |v| float(f64::from(v))),
        T::Float64 => primitives::<Float64Type>(array, float),
        T::Utf8 => bytes(array.as_string::<i32>()),
        T::LargeUtf8 => bytes(array.as_string::<i64>()),
        T::Binary => bytes(array.as_binary::<i32>()),
        T::LargeBinary => bytes(array.as_binary::<i64>()),
        T::Utf8View => byte_views(array.as_string_view()),
        T::BinaryView => byte_views(array.as_binary_view()),
        T::FixedSizeBinary(_) => fixed_bytes(array.as_fixed_size_binary()),
        T::Decimal32(_, s) => decimals::<Decimal32Type>(array, *s, |v| v.into()),
        T::Decimal64(_, s) => decimals::<Decimal64Type>(array, *s, |v| v.into()),
        T::Decimal128(_, s) => decimals::<Decimal128Type>(array, *s, |v| v),
        T::Decimal256(_, s) => {
            let seed = seed(Kind::BigDecimal, s.to_le_bytes()[0]);
            primitives::<Decimal256Type>(array, |v| xxh3_64_with_seed(&v.to_le_bytes(), seed))
        }
        T::Date32 => times::<Date32Type>(array, Kind::Date, 0),
        T::Date64 => times::<Date64Type>(array, Kind::Date, 1),
        T::Time32(TimeUnit::Second) => times::<Time32SecondType>(array, Kind::Time, 0),
        T::Time32(_) => times::<Time32MillisecondType>(array, Kind::Time, 1),
        T::Time64(TimeUnit::Microsecond) => times::<Time64MicrosecondType>(array, Kind::Time, 2),
        T::Time64(_) => times::<Time64NanosecondType>(array, Kind::Time, 3),
        T::Timestamp(unit, _) => match unit {
            TimeUnit::Second => times::<TimestampSecondType>(array, Kind::Timestamp, 0),
            TimeUnit::Millisecond => times::<TimestampMillisecondType>(array, Kind::Timestamp, 1),
            TimeUnit::Microsecond => times::<TimestampMicrosecondType>(array, Kind::Timestamp, 2),
            TimeUnit::Nanosecond => times::<TimestampNanosecondType>(array, Kind::Timestamp, 3),
        },
        T::Duration(unit) => match unit {
            TimeUnit::Second => times::<DurationSecondType>(array, Kind::Duration, 0),
            TimeUnit::Millisecond => times::<DurationMillisecondType>(array, Kind::Duration, 1),
            TimeUnit::Microsecond => times::<DurationMicrosecondType>(array, Kind::Duration, 2),
            TimeUnit::Nanosecond => times::<DurationNanosecondType>(array, Kind::Duration, 3),
        },
        T::Interval(IntervalUnit::YearMonth) => {
            times::<IntervalYearMonthType>(array, Kind::Interval, 0)
        }
        T::Interval(IntervalUnit::DayTime) => primitives::<IntervalDayTimeType>(array, |v| {
            let both = pair(days(v.days), days(v.milliseconds));
            xxh3_64_with_seed(&both, seed(Kind::Interval, 1))
        }),
        T::Interval(IntervalUnit::MonthDayNano) => {
            primitives::<IntervalMonthDayNanoType>(array, |v| {
                let mut all = [0; 24];
                all[..16].copy_from_slice(&pair(days(v.months), days(v.days)));
                all[16..].copy_from_slice(&v.nanoseconds.to_le_bytes());
                xxh3_64_with_seed(&all, seed(Kind::Interval, 2))
            })
        }
        T::Struct(_) => {
            let array = array.as_struct();
            let mut hashes = vec![seed(Kind::Struct, 0); array.len()];
            for column in array.columns() {
                fold(&mut hashes, &value_hashes(column)?);
            }
            with_nulls(hashes, array.nulls())
        }
        T::List(_) => offset_lists::<i32>(array)?,
        T::LargeList(_) => offset_lists::<i64>(array)?,
        T::ListView(_) => list_views::<i32>(array)?,
        T::LargeListView(_) => list_views::<i64>(array)?,
        T::FixedSizeList(_, size) => {
            let array = array.as_fixed_size_list();
            let size = usize::try_from(*size).unwrap_or(0);
            let items = value_hashes(array.values())?;
            let ranges = (0..array.len()).map(|i| (i * size, size));
            with_nulls(lists(&items, ranges), array.nulls())
        }
        T::Map(_, _) => {
            let array = array.as_map();
            let items = value_hashes(array.entries())?;
            let ranges = array.offsets().windows(2).map(|w| between(w[0], w[1]));
            with_nulls(lists(&items, ranges), array.nulls())
        }
        T::Dictionary(_, _) => dictionaries(array)?,
        T::RunEndEncoded(ends, _) => match ends.data_type() {
            T::Int16 => runs::<Int16Type>(array)?,
            T::Int32 => runs::<Int32Type>(array)?,
            _ => runs::<Int64Type>(array)?,
        },
        T::Union(_, _) => unions(array)?,
    })
}

fn days(value: i32) -> u64 {
    i64::from(value).cast_unsigned()
}

fn between<O: OffsetSizeTrait>(start: O, end: O) -> (usize, usize) {
    (start.as_usize(), end.as_usize() - start.as_usize())
}

/// Puts the hash of NULL where a value is null.
fn with_nulls(mut hashes: Vec<u64>, nulls: Option<&NullBuffer>) -> Vec<u64> {
    if let Some(nulls) = nulls.filter(|nulls| nulls.null_count() > 0) {
        let null = null_hash();
        for (hash, valid) in hashes.iter_mut().zip(nulls) {
            if !valid {
                *hash = null;
            }
        }
    }
    hashes
}

fn booleans(array: &BooleanArray) -> Vec<u64> {
    let both = [0u8, 1].map(|v| xxh3_64_with_seed(&[v], seed(Kind::Boolean, 0)));
    let hashes = array
        .values()
        .iter()
        .map(|v| both[usize::from(v)])
        .collect();
    with_nulls(hashes, array.nulls())
}

fn primitives<T: ArrowPrimitiveType>(
    array: &dyn Array,
    hash: impl Fn(T::Native) -> u64,
) -> Vec<u64> {
    let array: &PrimitiveArray<T> = array.as_primitive();
    with_nulls(
        array.values().iter().map(|v| hash(*v)).collect(),
        array.nulls(),
    )
}

fn integer(value: i64) -> u64 {
    xxh3_64_with_seed(&value.to_le_bytes(), seed(Kind::Integer, 0))
}

fn integers<T: ArrowPrimitiveType>(array: &dyn Array) -> Vec<u64>
where
    T::Native: Into<i64>,
{
    primitives::<T>(array, |v| integer(v.into()))
}

/// Zeros of either sign are one value, and so are all NaN.
fn float(value: f64) -> u64 {
    let canonical = if value.is_nan() {
        0x7ff8_0000_0000_0000
    } else {
        (value + 0.0).to_bits()
    };
    xxh3_64_with_seed(&canonical.to_le_bytes(), seed(Kind::Float, 0))
}

fn decimals<T: ArrowPrimitiveType>(
    array: &dyn Array,
    scale: i8,
    widen: impl Fn(T::Native) -> i128,
) -> Vec<u64> {
    let seed = seed(Kind::Decimal, scale.to_le_bytes()[0]);
    primitives::<T>(array, |v| xxh3_64_with_seed(&widen(v).to_le_bytes(), seed))
}

fn times<T: ArrowPrimitiveType>(array: &dyn Array, kind: Kind, unit: u8) -> Vec<u64>
where
    T::Native: Into<i64>,
{
    let seed = seed(kind, unit);
    primitives::<T>(array, |v| xxh3_64_with_seed(&v.into().to_le_bytes(), seed))
}

fn byte_string(value: &[u8]) -> u64 {
    xxh3_64_with_seed(value, seed(Kind::Bytes, 0))
}

fn bytes<T: ByteArrayType>(array: &GenericByteArray<T>) -> Vec<u64> {
    let data = array.value_data();
    let hashes = array
        .value_offsets()
        .windows(2)
        .map(|w| byte_string(&data[w[0].as_usize()..w[1].as_usize()]))
        .collect();
    with_nulls(hashes, array.nulls())
}

fn byte_views<T: ByteViewType>(array: &GenericByteViewArray<T>) -> Vec<u64> {
    let null = null_hash();
    array
        .iter()
        .map(|value| value.map_or(null, |value| byte_string(value.as_ref())))
        .collect()
}

fn fixed_bytes(array: &FixedSizeBinaryArray) -> Vec<u64> {
    let null = null_hash();
    array
        .iter()
        .map(|value| value.map_or(null, byte_string))
        .collect()
}

/// Hashes runs of item hashes given as (start, length).
fn lists(items: &[u64], ranges: impl Iterator<Item = (usize, usize)>) -> Vec<u64> {
    let mut bytes = Vec::new();
    ranges
        .map(|(start, len)| {
            bytes.clear();
            // A null list may point anywhere; what it points at does not matter.
            for item in items.get(start..start + len).unwrap_or_default() {
                bytes.extend_from_slice(&item.to_le_bytes());
            }
            xxh3_64_with_seed(&bytes, seed(Kind::List, 0))
        })
        .collect()
}

fn offset_lists<O: OffsetSizeTrait>(array: &dyn Array) -> Result<Vec<u64>> {
    let array = array.as_list::<O>();
    let offsets = array.value_offsets();
    let (first, len) = between(offsets[0], offsets[array.len()]);
    // A slice of a list array still carries all items; only those in the slice are hashed.
    let items = value_hashes(&array.values().slice(first, len))?;
    let ranges = offsets.windows(2).map(|w| {
        let (start, len) = between(w[0], w[1]);
        (start - first, len)
    });
    Ok(with_nulls(lists(&items, ranges), array.nulls()))
}

fn list_views<O: OffsetSizeTrait>(array: &dyn Array) -> Result<Vec<u64>> {
    let array = array.as_list_view::<O>();
    let items = value_hashes(array.values())?;
    let ranges = array
        .value_offsets()
        .iter()
        .zip(array.value_sizes())
        .map(|(start, len)| (start.as_usize(), len.as_usize()));
    Ok(with_nulls(lists(&items, ranges), array.nulls()))
}

fn dictionaries(array: &dyn Array) -> Result<Vec<u64>> {
    let array = array.as_any_dictionary();
    if array.values().is_empty() {
        return Ok(vec![null_hash(); array.len()]);
    }
    let values = value_hashes(array.values())?;
    let hashes = array
        .normalized_keys()
        .into_iter()
        .map(|key| values[key])
        .collect();
    Ok(with_nulls(hashes, array.nulls()))
}

fn runs<R: RunEndIndexType>(array: &dyn Array) -> Result<Vec<u64>> {
    let array = array
        .as_any()
        .downcast_ref::<RunArray<R>>()
        .ok_or_else(|| Error::internal("a run-end encoded key column has unexpected run ends"))?;
    let values = value_hashes(array.values())?;
    Ok((0..array.len())
        .map(|row| values[array.get_physical_index(row)])
        .collect())
}

fn unions(array: &dyn Array) -> Result<Vec<u64>> {
    let array: &UnionArray = array.as_union();
    let mut children = std::collections::BTreeMap::new();
    for type_id in array.type_ids() {
        if let std::collections::btree_map::Entry::Vacant(vacant) = children.entry(*type_id) {
            vacant.insert(value_hashes(array.child(*type_id))?);
        }
    }
    Ok((0..array.len())
        .map(|row| {
            let type_id = array.type_id(row);
            let value = children[&type_id][array.value_offset(row)];
            xxh3_64(&pair(seed(Kind::Union, type_id.to_le_bytes()[0]), value))
        })
        .collect())
}
