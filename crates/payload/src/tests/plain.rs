//! Arrow values in the form of the fixtures: see `fixtures/record.py`.

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float64Type, Int64Type, TimeUnit,
    TimestampMicrosecondType,
};
use serde_json::Value;

use crate::time::text::format_timestamp;
use crate::time::zone::{Zone, date};

/// The value in `row`.
pub(super) fn plain(array: &ArrayRef, row: usize) -> Value {
    if array.is_null(row) || *array.data_type() == DataType::Null {
        return Value::Null;
    }
    match array.data_type() {
        DataType::Boolean => array.as_boolean().value(row).into(),
        kind if kind.is_integer() => {
            let wide = cast(array, &DataType::Int64).unwrap();
            wide.as_primitive::<Int64Type>().value(row).into()
        }
        kind if kind.is_floating() => {
            let wide = cast(array, &DataType::Float64).unwrap();
            match wide.as_primitive::<Float64Type>().value(row) {
                value if value.is_nan() => "NaN".into(),
                f64::INFINITY => "Infinity".into(),
                f64::NEG_INFINITY => "-Infinity".into(),
                value => value.into(),
            }
        }
        DataType::Decimal128(_, _) => array
            .as_primitive::<Decimal128Type>()
            .value_as_string(row)
            .into(),
        DataType::Date32 => {
            let days = array.as_primitive::<Date32Type>().value(row);
            date(days).unwrap().format("%Y-%m-%d").to_string().into()
        }
        DataType::Timestamp(_, _) => {
            let micros = cast(array, &DataType::Timestamp(TimeUnit::Microsecond, None)).unwrap();
            let micros = micros.as_primitive::<TimestampMicrosecondType>().value(row);
            format_timestamp(Zone::UTC.local(micros).unwrap()).into()
        }
        DataType::Utf8 => array.as_string::<i32>().value(row).into(),
        DataType::Binary => {
            let bytes = array.as_binary::<i32>().value(row);
            let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
            digits.collect::<String>().into()
        }
        DataType::List(_) => all(&array.as_list::<i32>().value(row)).into(),
        DataType::Map(_, _) => {
            let entries = array.as_map().value(row);
            let pairs = all(entries.column(0))
                .into_iter()
                .zip(all(entries.column(1)));
            // A dictionary of Python has the last value of a key.
            let mut found: Vec<[Value; 2]> = vec![];
            for (key, value) in pairs {
                match found.iter_mut().find(|pair| pair[0] == key) {
                    Some(pair) => pair[1] = value,
                    None => found.push([key, value]),
                }
            }
            found
                .into_iter()
                .map(|pair| Value::from(pair.to_vec()))
                .collect()
        }
        DataType::Struct(fields) => fields
            .iter()
            .zip(array.as_struct().columns())
            .map(|(field, column)| {
                Value::from(vec![field.name().as_str().into(), plain(column, row)])
            })
            .collect(),
        other => panic!("no plain form of {other}"),
    }
}

/// All values.
pub(super) fn all(array: &ArrayRef) -> Vec<Value> {
    (0..array.len()).map(|row| plain(array, row)).collect()
}
