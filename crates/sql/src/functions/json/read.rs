//! `from_json`: values of JSON as columns of a declared type.
//!
//! What does not fit its type is null, and so is what the text lacks; a text that is no JSON at all gives a struct of
//! nulls, as in Spark's permissive mode.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, BooleanArray, Float64Array, ListArray, MapArray, PrimitiveArray, StringArray,
    StructArray, new_null_array,
};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    ArrowPrimitiveType, DataType, FieldRef, Int8Type, Int16Type, Int32Type, Int64Type,
};
use datafusion::common::{Result, plan_err};

use super::value::Json;
use crate::functions::cast::cast_array;
use crate::functions::zone::Zone;

/// One value per row, as a column of `data_type`.
pub(super) fn column(
    values: &[Option<&Json>],
    data_type: &DataType,
    zone: Zone,
) -> Result<ArrayRef> {
    Ok(match data_type {
        DataType::Null => new_null_array(data_type, values.len()),
        DataType::Boolean => {
            let flag = |value: &Option<&Json>| match value {
                Some(Json::Bool(flag)) => Some(*flag),
                _ => None,
            };
            Arc::new(values.iter().map(flag).collect::<BooleanArray>())
        }
        DataType::Int8 => integers::<Int8Type>(values),
        DataType::Int16 => integers::<Int16Type>(values),
        DataType::Int32 => integers::<Int32Type>(values),
        DataType::Int64 => integers::<Int64Type>(values),
        DataType::Float32 | DataType::Float64 => {
            let doubles: Float64Array = values.iter().map(|value| double(*value)).collect();
            cast(&doubles, data_type)?
        }
        DataType::Utf8 => Arc::new(
            values
                .iter()
                .map(|value| text(*value))
                .collect::<StringArray>(),
        ),
        DataType::Decimal128(_, _) | DataType::Date32 | DataType::Timestamp(_, _) => {
            let texts: StringArray = values
                .iter()
                .map(|value| plain(*value, data_type))
                .collect();
            let texts: ArrayRef = Arc::new(texts);
            cast_array(&texts, data_type, true, zone)?
        }
        DataType::List(item) => list(values, item, zone)?,
        DataType::Struct(fields) => {
            let columns = fields.iter().map(|field| {
                let members: Vec<Option<&Json>> = values
                    .iter()
                    .map(|value| value.and_then(|value| value.member(field.name())))
                    .collect();
                column(&members, field.data_type(), zone)
            });
            let columns = columns.collect::<Result<Vec<_>>>()?;
            let nulls: NullBuffer = values
                .iter()
                .map(|value| matches!(value, Some(Json::Object(_))))
                .collect();
            Arc::new(StructArray::try_new_with_length(
                fields.clone(),
                columns,
                Some(nulls),
                values.len(),
            )?)
        }
        DataType::Map(entries, _) => map(values, entries, zone)?,
        other => return plan_err!("from_json() makes no values of type {other}"),
    })
}

/// Each text as a column of `data_type`, a struct, list or map. A null or empty text is null.
pub(super) fn texts(texts: &StringArray, data_type: &DataType, zone: Zone) -> Result<ArrayRef> {
    let no_members = Json::Object(vec![]);
    let parsed: Vec<Option<Json>> = texts
        .iter()
        .map(|text| {
            let json = text
                .filter(|text| !text.trim().is_empty())
                .map(Json::parse)?;
            match (json, data_type) {
                // Spark takes a list of one struct for the struct.
                (Some(Json::List(mut items)), DataType::Struct(_)) if items.len() == 1 => {
                    items.pop()
                }
                (json, DataType::Struct(_)) => Some(json.unwrap_or(Json::Null)),
                (Some(object @ Json::Object(_)), DataType::List(item))
                    if matches!(item.data_type(), DataType::Struct(_)) =>
                {
                    Some(Json::List(vec![object]))
                }
                (json, _) => json,
            }
        })
        .collect();
    let values: Vec<Option<&Json>> = parsed
        .iter()
        .map(|json| match (json, data_type) {
            (Some(Json::Object(_)) | None, _) | (_, DataType::List(_) | DataType::Map(_, _)) => {
                json.as_ref()
            }
            _ => Some(&no_members),
        })
        .collect();
    column(&values, data_type, zone)
}

fn integers<T: ArrowPrimitiveType>(values: &[Option<&Json>]) -> ArrayRef
where
    T::Native: std::str::FromStr,
{
    let integer = |value: &Option<&Json>| match value {
        Some(Json::Number(digits)) => digits.parse::<T::Native>().ok(),
        _ => None,
    };
    Arc::new(values.iter().map(integer).collect::<PrimitiveArray<T>>())
}

fn double(value: Option<&Json>) -> Option<f64> {
    match value? {
        Json::Number(digits) => digits.parse().ok(),
        Json::Text(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" | "+INF" | "INF" | "+Infinity" => Some(f64::INFINITY),
            "-Infinity" | "-INF" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

/// Whatever it is, as text; a text without its quotes.
fn text(value: Option<&Json>) -> Option<String> {
    match value? {
        Json::Null => None,
        Json::Text(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// The text that a value of `data_type` is cast from.
fn plain(value: Option<&Json>, data_type: &DataType) -> Option<String> {
    match (value?, data_type) {
        (Json::Text(text), _) => Some(text.clone()),
        (Json::Number(digits), DataType::Decimal128(_, _)) => Some(digits.clone()),
        // Seconds since 1970.
        (Json::Number(digits), DataType::Timestamp(_, _)) => {
            let instant = chrono::DateTime::from_timestamp(digits.parse().ok()?, 0)?;
            Some(instant.format("%Y-%m-%dT%H:%M:%SZ").to_string())
        }
        _ => None,
    }
}

fn list(values: &[Option<&Json>], item: &FieldRef, zone: Zone) -> Result<ArrayRef> {
    let mut items = Vec::new();
    let mut lengths = Vec::with_capacity(values.len());
    let mut valid = Vec::with_capacity(values.len());
    for value in values {
        let found = match value {
            Some(Json::List(found)) => found.as_slice(),
            _ => &[],
        };
        items.extend(found.iter().map(Some));
        lengths.push(found.len());
        valid.push(matches!(value, Some(Json::List(_))));
    }
    let column = column(&items, item.data_type(), zone)?;
    spoil(&items, &column, &lengths, &mut valid);
    Ok(Arc::new(ListArray::try_new(
        Arc::clone(item),
        OffsetBuffer::from_lengths(lengths),
        column,
        Some(NullBuffer::from(valid)),
    )?))
}

/// A list or a map with a value that does not fit is null as a whole.
fn spoil(items: &[Option<&Json>], column: &ArrayRef, lengths: &[usize], valid: &mut [bool]) {
    if column.null_count() == 0 {
        return;
    }
    let mut at = 0;
    for (valid, length) in valid.iter_mut().zip(lengths) {
        let fits = (at..at + length)
            .all(|i| column.is_valid(i) || matches!(items.get(i), Some(Some(Json::Null) | None)));
        *valid &= fits;
        at += length;
    }
}

fn map(values: &[Option<&Json>], entries: &FieldRef, zone: Zone) -> Result<ArrayRef> {
    let DataType::Struct(fields) = entries.data_type() else {
        return plan_err!("a map has keys and values");
    };
    let [_, value_field] = fields.as_ref() else {
        return plan_err!("a map has keys and values");
    };
    let (mut keys, mut items) = (Vec::new(), Vec::new());
    let mut lengths = Vec::with_capacity(values.len());
    let mut valid = Vec::with_capacity(values.len());
    for value in values {
        let members = match value {
            Some(Json::Object(members)) => members.as_slice(),
            _ => &[],
        };
        keys.extend(members.iter().map(|(key, _)| key.as_str()));
        items.extend(members.iter().map(|(_, value)| Some(value)));
        lengths.push(members.len());
        valid.push(matches!(value, Some(Json::Object(_))));
    }
    let column = column(&items, value_field.data_type(), zone)?;
    spoil(&items, &column, &lengths, &mut valid);
    let keys: ArrayRef = Arc::new(StringArray::from(keys));
    Ok(Arc::new(MapArray::try_new(
        Arc::clone(entries),
        OffsetBuffer::from_lengths(lengths),
        StructArray::try_new(fields.clone(), vec![keys, column], None)?,
        Some(NullBuffer::from(valid)),
        false,
    )?))
}
