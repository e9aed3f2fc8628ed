//! Recorded JSON rows as Arrow batches.
//!
//! The record writes NaN and the infinities, decimals and times as text; a missing key is null.

use std::sync::Arc;

use chrono::{DateTime, Datelike, NaiveDate};
use datafusion::arrow::{
    array::{
        ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array,
        Float64Array, Int8Array, Int16Array, Int32Array, Int64Array, ListArray, NullArray,
        RecordBatch, RecordBatchOptions, StringArray, StructArray, TimestampMicrosecondArray,
    },
    buffer::{NullBuffer, OffsetBuffer},
    datatypes::{DataType, SchemaRef, TimeUnit},
};
use headwater_core::{Error, Result};
use serde_json::{Map, Value};

/// Days from 0001-01-01 to 1970-01-01, as chrono counts days.
const CHRONO_EPOCH: i32 = 719_163;

/// A batch of these rows.
///
/// # Errors
/// `Data` that names the column, or a key that is no column.
pub fn batch(schema: &SchemaRef, rows: &[Map<String, Value>]) -> Result<RecordBatch> {
    if let Some(key) = rows
        .iter()
        .flat_map(Map::keys)
        .find(|key| schema.field_with_name(key).is_err())
    {
        return Err(Error::data(format!("a row has the unknown column '{key}'")));
    }
    let columns = schema
        .fields()
        .iter()
        .map(|field| {
            let values: Vec<&Value> = rows
                .iter()
                .map(|row| row.get(field.name()).unwrap_or(&Value::Null))
                .collect();
            array(field.data_type(), &values)
                .map_err(|error| error.context(format!("column '{}'", field.name())))
        })
        .collect::<Result<_>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    Ok(RecordBatch::try_new_with_options(
        Arc::clone(schema),
        columns,
        &options,
    )?)
}

/// Reads every value with `read`; null stays null.
fn read_all<T>(
    data_type: &DataType,
    values: &[&Value],
    read: impl Fn(&Value) -> Option<T>,
) -> Result<Vec<Option<T>>> {
    values
        .iter()
        .map(|value| {
            if value.is_null() {
                return Ok(None);
            }
            read(value)
                .map(Some)
                .ok_or_else(|| Error::data(format!("{value} is not a value of type {data_type}")))
        })
        .collect()
}

fn array(data_type: &DataType, values: &[&Value]) -> Result<ArrayRef> {
    fn int<T: TryFrom<i64>>(value: &Value) -> Option<T> {
        value.as_i64()?.try_into().ok()
    }
    Ok(match data_type {
        DataType::Null => Arc::new(NullArray::new(values.len())),
        DataType::Boolean => Arc::new(BooleanArray::from(read_all(
            data_type,
            values,
            Value::as_bool,
        )?)),
        DataType::Int8 => Arc::new(Int8Array::from(read_all(data_type, values, int)?)),
        DataType::Int16 => Arc::new(Int16Array::from(read_all(data_type, values, int)?)),
        DataType::Int32 => Arc::new(Int32Array::from(read_all(data_type, values, int)?)),
        DataType::Int64 => Arc::new(Int64Array::from(read_all(data_type, values, int)?)),
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a float column asks for it"
        )]
        DataType::Float32 => Arc::new(Float32Array::from(read_all(data_type, values, |v| {
            parse_double(v).map(|v| v as f32)
        })?)),
        DataType::Float64 => Arc::new(Float64Array::from(read_all(
            data_type,
            values,
            parse_double,
        )?)),
        DataType::Decimal128(precision, scale) => Arc::new(
            Decimal128Array::from(read_all(data_type, values, |v| parse_decimal(v, *scale))?)
                .with_precision_and_scale(*precision, *scale)?,
        ),
        DataType::Utf8 => Arc::new(StringArray::from(read_all(data_type, values, |v| {
            v.as_str().map(str::to_owned)
        })?)),
        DataType::Binary => {
            let texts = read_all(data_type, values, |v| v.as_str().map(str::to_owned))?;
            let bytes: Vec<Option<&[u8]>> = texts
                .iter()
                .map(|text| text.as_ref().map(|text| text.as_bytes()))
                .collect();
            Arc::new(BinaryArray::from(bytes))
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => Arc::new(
            TimestampMicrosecondArray::from(read_all(data_type, values, parse_instant)?)
                .with_timezone_opt(zone.clone()),
        ),
        DataType::Date32 => Arc::new(Date32Array::from(read_all(data_type, values, parse_date)?)),
        DataType::List(item) => {
            let lists = read_all(data_type, values, |v| v.as_array().cloned())?;
            let lengths = lists.iter().map(|list| list.as_ref().map_or(0, Vec::len));
            let offsets = OffsetBuffer::from_lengths(lengths);
            let nulls = NullBuffer::from_iter(lists.iter().map(Option::is_some));
            let elements: Vec<&Value> = lists.iter().flatten().flatten().collect();
            let elements = array(item.data_type(), &elements)?;
            Arc::new(ListArray::try_new(
                Arc::clone(item),
                offsets,
                elements,
                Some(nulls),
            )?)
        }
        DataType::Struct(fields) => {
            let objects = read_all(data_type, values, |v| v.as_object().cloned())?;
            let nulls = NullBuffer::from_iter(objects.iter().map(Option::is_some));
            let columns = fields
                .iter()
                .map(|field| {
                    let values: Vec<&Value> = objects
                        .iter()
                        .map(|object| {
                            object
                                .as_ref()
                                .and_then(|object| object.get(field.name()))
                                .unwrap_or(&Value::Null)
                        })
                        .collect();
                    array(field.data_type(), &values)
                })
                .collect::<Result<Vec<_>>>()?;
            Arc::new(StructArray::try_new(fields.clone(), columns, Some(nulls))?)
        }
        _ => {
            return Err(Error::data(format!(
                "columns of type {data_type} cannot be read from a scenario"
            )));
        }
    })
}

/// A number, or the text `NaN`, `Infinity` or `-Infinity`.
pub(crate) fn parse_double(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

/// A decimal as text (or a whole number), unscaled; none if it has more digits behind the point than `scale`.
pub(crate) fn parse_decimal(value: &Value, scale: i8) -> Option<i128> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let (digits, exponent) = match text.split_once(['e', 'E']) {
        Some((digits, exponent)) => (digits, exponent.parse::<i32>().ok()?),
        None => (text.as_str(), 0),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let mut unscaled: i128 = format!("{whole}{fraction}").parse().ok()?;
    let shift = i32::from(scale) + exponent - i32::try_from(fraction.len()).ok()?;
    for _ in 0..shift.abs() {
        if shift > 0 {
            unscaled = unscaled.checked_mul(10)?;
        } else if unscaled % 10 == 0 {
            unscaled /= 10;
        } else {
            return None;
        }
    }
    Some(unscaled)
}

/// An instant in ISO 8601, as microseconds since 1970.
pub(crate) fn parse_instant(value: &Value) -> Option<i64> {
    let time = DateTime::parse_from_rfc3339(value.as_str()?).ok()?;
    Some(time.timestamp_micros())
}

/// A date in ISO 8601, as days since 1970.
pub(crate) fn parse_date(value: &Value) -> Option<i32> {
    let date: NaiveDate = value.as_str()?.parse().ok()?;
    Some(date.num_days_from_ce() - CHRONO_EPOCH)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{cell, cell::Cell, scenario::Column, types};

    #[test]
    fn rows_survive_the_way_into_arrow_and_back() {
        let columns: Vec<Column> = [
            ("l", "long"),
            ("d", "double"),
            ("x", "decimal(6,2)"),
            ("t", "timestamp"),
            ("day", "date"),
            ("b", "boolean"),
            ("s", "struct<a: long, b: string>"),
            ("xs", "array<long>"),
        ]
        .map(|(name, kind)| Column {
            name: name.into(),
            type_text: kind.into(),
        })
        .into();
        let schema = types::schema(&columns).expect("known types");
        let full = json!({"l": 5, "d": "NaN", "x": "-1.50", "t": "1969-12-31T23:59:59.999999Z",
            "day": "2024-02-29", "b": true, "s": {"a": 1}, "xs": [1, null]});
        let rows = [
            full,
            json!({}),
            json!({"s": {"a": null, "b": null}, "xs": []}),
        ];
        let rows: Vec<_> = rows
            .iter()
            .map(|row| row.as_object().cloned().expect("an object"))
            .collect();
        let batch = batch(&schema, &rows).expect("rows of the schema");
        let cells = cell::rows(&batch).expect("readable");
        for (row, cells) in rows.iter().zip(&cells) {
            for (field, cell) in schema.fields().iter().zip(cells) {
                let value = row.get(field.name()).unwrap_or(&Value::Null);
                let expected = Cell::from_json(value, field.data_type()).expect("readable");
                assert!(expected.same(cell), "{}: {expected} {cell}", field.name());
            }
        }
        assert_eq!(cells[0][3], Cell::Instant(-1));
        assert_eq!(cells[1][6], Cell::Null);
        assert_ne!(
            cells[2][6],
            Cell::Null,
            "a struct of nulls is no null struct"
        );
    }

    #[test]
    fn decimals_are_scaled_exactly() {
        assert_eq!(parse_decimal(&json!("1.5"), 2), Some(150));
        assert_eq!(parse_decimal(&json!("-0.05"), 2), Some(-5));
        assert_eq!(parse_decimal(&json!("1E+2"), 2), Some(10_000));
        assert_eq!(parse_decimal(&json!("1.555"), 2), None);
    }

    #[test]
    fn a_row_with_an_unknown_column_is_refused() {
        let columns = [Column {
            name: "k".into(),
            type_text: "string".into(),
        }];
        let schema = types::schema(&columns).expect("known types");
        let row = json!({"q": 1}).as_object().cloned().expect("an object");
        assert!(batch(&schema, &[row]).is_err());
    }
}
