//! From the columns a file has to the columns the table has: by name, absent ones null, types widened where no value
//! can be lost. Any other difference is an error that names both types.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, ListArray, MapArray, StructArray, new_null_array},
    compute::{CastOptions, cast_with_options},
    datatypes::{DataType, FieldRef, Fields, TimeUnit},
};
use headwater_core::{Error, Result};

/// Where the table's field is among the file's: by its exact name, else by the one name that differs in case only.
pub(crate) fn position(fields: &Fields, name: &str) -> Option<usize> {
    if let Some((index, _)) = fields.find(name) {
        return Some(index);
    }
    let mut same = fields
        .iter()
        .enumerate()
        .filter(|(_, field)| field.name().eq_ignore_ascii_case(name));
    match (same.next(), same.next()) {
        (Some((index, _)), None) => Some(index),
        _ => None,
    }
}

/// Refuses a column of a file whose type cannot become that of the table.
pub(crate) fn check(path: &str, found: &DataType, expected: &FieldRef) -> Result<()> {
    if can_become(found, expected.data_type()) {
        return Ok(());
    }
    Err(Error::data(format!(
        "column '{}' of file {path} is of type {found}, but the schema says {}: give a schema that fits the files, or remove the file",
        expected.name(),
        expected.data_type()
    )))
}

/// Turns a checked column into the table's type.
pub(crate) fn adapt(path: &str, array: &ArrayRef, expected: &FieldRef) -> Result<ArrayRef> {
    convert(array, expected.data_type()).map_err(|error| {
        Error::data(format!(
            "column '{}' of file {path} does not fit the type {}",
            expected.name(),
            expected.data_type()
        ))
        .with_source(error)
    })
}

/// Whether every value of one type has its like in the other.
fn can_become(from: &DataType, to: &DataType) -> bool {
    use DataType::{
        Binary, BinaryView, Date32, Date64, Decimal128, Decimal256, Dictionary, FixedSizeBinary,
        Float16, Float32, Float64, LargeBinary, LargeUtf8, List, Map, Null, Struct, Time32, Time64,
        Timestamp, Utf8, Utf8View,
    };
    if from == to {
        return true;
    }
    match (from, to) {
        (Null, _) => true,
        (Dictionary(_, value), _) => can_become(value, to),
        (Float16, Float32 | Float64) | (Float32, Float64) => true,
        (Utf8 | LargeUtf8 | Utf8View, Utf8 | LargeUtf8 | Utf8View) => true,
        (
            Binary | LargeBinary | BinaryView | FixedSizeBinary(_),
            Binary | LargeBinary | BinaryView,
        ) => true,
        // A writer that does not mark its text; it is checked to be UTF-8.
        (Binary | LargeBinary | BinaryView, Utf8 | LargeUtf8 | Utf8View) => true,
        (Date32, Date64 | Timestamp(_, None)) => true,
        // A finer unit is cut off, as users of microsecond engines know it.
        (Timestamp(_, from), Timestamp(_, to)) => match (from, to) {
            (None, None) | (Some(_), Some(_)) => true,
            (None, Some(zone)) | (Some(zone), None) => is_utc(zone),
        },
        (Time32(_), Time64(_)) => true,
        (Time32(TimeUnit::Second), Time32(TimeUnit::Millisecond))
        | (Time64(TimeUnit::Microsecond), Time64(TimeUnit::Nanosecond)) => true,
        (
            Decimal128(from_digits, from_scale) | Decimal256(from_digits, from_scale),
            Decimal128(digits, scale) | Decimal256(digits, scale),
        ) => {
            scale >= from_scale
                && i32::from(*digits) - i32::from(*scale)
                    >= i32::from(*from_digits) - i32::from(*from_scale)
        }
        (Struct(from), Struct(to)) => to.iter().all(|field| {
            position(from, field.name())
                .is_none_or(|index| can_become(from[index].data_type(), field.data_type()))
        }),
        (List(from), List(to)) => can_become(from.data_type(), to.data_type()),
        (Map(from, _), Map(to, _)) => match (from.data_type(), to.data_type()) {
            (Struct(from), Struct(to)) if from.len() == 2 && to.len() == 2 => from
                .iter()
                .zip(to)
                .all(|(from, to)| can_become(from.data_type(), to.data_type())),
            _ => false,
        },
        _ => integer_can_become(from, to),
    }
}

fn is_utc(zone: &str) -> bool {
    matches!(zone, "UTC" | "utc" | "Z" | "+00:00" | "Etc/UTC")
}

/// Bits of magnitude and whether there is a sign.
fn integer(of: &DataType) -> Option<(u32, bool)> {
    match of {
        DataType::Int8 => Some((7, true)),
        DataType::Int16 => Some((15, true)),
        DataType::Int32 => Some((31, true)),
        DataType::Int64 => Some((63, true)),
        DataType::UInt8 => Some((8, false)),
        DataType::UInt16 => Some((16, false)),
        DataType::UInt32 => Some((32, false)),
        DataType::UInt64 => Some((64, false)),
        _ => None,
    }
}

fn integer_can_become(from: &DataType, to: &DataType) -> bool {
    let Some((bits, signed)) = integer(from) else {
        return false;
    };
    match to {
        DataType::Float32 => bits <= 24,
        DataType::Float64 => bits <= 53,
        DataType::Decimal128(digits, scale) | DataType::Decimal256(digits, scale) => {
            // 2^64 has 20 digits.
            let needed = bits * 30103 / 100_000 + 1;
            i64::from(*digits) - i64::from(*scale) >= i64::from(needed)
        }
        _ => integer(to).is_some_and(|(room, sign)| room >= bits && (sign || !signed)),
    }
}

fn convert(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, arrow::error::ArrowError> {
    if array.data_type() == to {
        return Ok(Arc::clone(array));
    }
    match (array.data_type(), to) {
        (DataType::Struct(from), DataType::Struct(fields)) => {
            convert_struct(array.as_struct(), from, fields).map(|array| Arc::new(array) as ArrayRef)
        }
        (DataType::List(_), DataType::List(field)) => {
            let list = array.as_list::<i32>();
            let values = convert(list.values(), field.data_type())?;
            let converted = ListArray::try_new(
                Arc::clone(field),
                list.offsets().clone(),
                values,
                list.nulls().cloned(),
            )?;
            Ok(Arc::new(converted))
        }
        (DataType::Map(_, _), DataType::Map(field, sorted)) => {
            let map = array.as_map();
            let DataType::Struct(fields) = field.data_type() else {
                return cast(array, to);
            };
            let columns = map
                .entries()
                .columns()
                .iter()
                .zip(fields)
                .map(|(column, field)| convert(column, field.data_type()))
                .collect::<Result<Vec<_>, _>>()?;
            let entries = StructArray::try_new(fields.clone(), columns, None)?;
            let converted = MapArray::try_new(
                Arc::clone(field),
                map.offsets().clone(),
                entries,
                map.nulls().cloned(),
                *sorted,
            )?;
            Ok(Arc::new(converted))
        }
        _ => cast(array, to),
    }
}

fn convert_struct(
    array: &StructArray,
    from: &Fields,
    to: &Fields,
) -> Result<StructArray, arrow::error::ArrowError> {
    let columns = to
        .iter()
        .map(|field| match position(from, field.name()) {
            Some(index) => convert(array.column(index), field.data_type()),
            None => Ok(new_null_array(field.data_type(), array.len())),
        })
        .collect::<Result<Vec<_>, _>>()?;
    if columns.is_empty() {
        return Ok(StructArray::new_empty_fields(
            array.len(),
            array.nulls().cloned(),
        ));
    }
    StructArray::try_new(to.clone(), columns, array.nulls().cloned())
}

fn cast(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, arrow::error::ArrowError> {
    let strict = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    cast_with_options(array, to, &strict)
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::{Int32Array, StringArray},
        datatypes::Field,
    };

    use super::*;

    #[test]
    fn types_widen_and_never_narrow() {
        use DataType::*;
        let utc = || Some("UTC".into());
        for (from, to, allowed) in [
            (Int32, Int64, true),
            (Int64, Int32, false),
            (UInt32, Int64, true),
            (UInt64, Int64, false),
            (Int32, Float64, true),
            (Int64, Float64, false),
            (Int64, Decimal128(20, 0), true),
            (Int64, Decimal128(20, 2), false),
            (Decimal128(10, 2), Decimal128(12, 3), true),
            (Decimal128(10, 2), Decimal128(12, 5), false),
            (Utf8, Utf8View, true),
            (Utf8, Int32, false),
            (
                Timestamp(TimeUnit::Millisecond, None),
                Timestamp(TimeUnit::Microsecond, utc()),
                true,
            ),
            (
                Timestamp(TimeUnit::Millisecond, None),
                Timestamp(TimeUnit::Microsecond, Some("Europe/Rome".into())),
                false,
            ),
            (Dictionary(Box::new(Int32), Box::new(Utf8)), Utf8, true),
            (Boolean, Int32, false),
        ] {
            assert_eq!(can_become(&from, &to), allowed, "{from} to {to}");
        }
    }

    #[test]
    fn a_mismatch_names_file_column_and_both_types() {
        let field = Arc::new(Field::new("price", DataType::Int64, true));
        let error = check("day=1/a.parquet", &DataType::Utf8, &field).expect_err("mismatch");
        for part in ["'price'", "day=1/a.parquet", "Utf8", "Int64"] {
            assert!(error.message().contains(part), "{error}");
        }
    }

    #[test]
    fn structs_are_matched_by_name_and_missing_members_are_null() {
        let file: ArrayRef = Arc::new(StructArray::from(vec![(
            Arc::new(Field::new("b", DataType::Int32, true)),
            Arc::new(Int32Array::from(vec![1, 2])) as ArrayRef,
        )]));
        let table = DataType::Struct(Fields::from(vec![
            Field::new("a", DataType::Utf8, true),
            Field::new("b", DataType::Int64, true),
        ]));
        let converted = convert(&file, &table).expect("converts");
        assert_eq!(converted.data_type(), &table);
        assert_eq!(converted.as_struct().column(0).null_count(), 2);
    }

    #[test]
    fn names_match_exactly_before_they_match_in_another_case() {
        let fields = Fields::from(vec![
            Field::new("ID", DataType::Int32, true),
            Field::new("id", DataType::Int32, true),
            Field::new("Name", DataType::Int32, true),
        ]);
        assert_eq!(position(&fields, "id"), Some(1));
        assert_eq!(position(&fields, "name"), Some(2));
        assert_eq!(position(&fields, "Id"), None);
        let text: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
        assert!(convert(&text, &DataType::Utf8View).is_ok());
    }
}
