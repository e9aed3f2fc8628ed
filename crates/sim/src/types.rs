//! The record's names of types, as Arrow types.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use headwater_core::{Error, Result};

use crate::scenario::Column;

/// The time zone of every timestamp: the record's are in UTC.
pub const UTC: &str = "UTC";

/// A schema of nullable columns.
pub fn schema(columns: &[Column]) -> Result<SchemaRef> {
    let fields = columns
        .iter()
        .map(|column| {
            Ok(Field::new(
                &column.name,
                data_type(&column.type_text)?,
                true,
            ))
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(Schema::new(fields)))
}

/// The Arrow type of a type name such as `decimal(10,2)` or `array<struct<a: long>>`.
///
/// # Errors
/// `Data` that names the type.
pub fn data_type(text: &str) -> Result<DataType> {
    let unknown = || Error::data(format!("unknown column type '{text}'"));
    let text = text.trim();
    Ok(match text {
        "long" | "bigint" => DataType::Int64,
        "int" | "integer" => DataType::Int32,
        "short" | "smallint" => DataType::Int16,
        "byte" | "tinyint" => DataType::Int8,
        "double" => DataType::Float64,
        "float" => DataType::Float32,
        "string" => DataType::Utf8,
        "boolean" => DataType::Boolean,
        "binary" => DataType::Binary,
        "timestamp" => DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
        "timestamp_ntz" => DataType::Timestamp(TimeUnit::Microsecond, None),
        "date" => DataType::Date32,
        "void" | "null" => DataType::Null,
        _ => {
            if let Some(inner) = enclosed(text, "decimal(", ')') {
                let (precision, scale) = inner.split_once(',').ok_or_else(unknown)?;
                DataType::Decimal128(
                    precision.trim().parse().map_err(|_| unknown())?,
                    scale.trim().parse().map_err(|_| unknown())?,
                )
            } else if let Some(inner) = enclosed(text, "array<", '>') {
                DataType::List(Arc::new(Field::new("item", data_type(inner)?, true)))
            } else if let Some(inner) = enclosed(text, "struct<", '>') {
                let fields = split_top_level(inner)
                    .into_iter()
                    .map(|field| {
                        let (name, kind) = field.split_once(':').ok_or_else(unknown)?;
                        Ok(Field::new(name.trim(), data_type(kind)?, true))
                    })
                    .collect::<Result<Fields>>()?;
                DataType::Struct(fields)
            } else if let Some(inner) = enclosed(text, "map<", '>') {
                let parts = split_top_level(inner);
                let [key, value] = parts.as_slice() else {
                    return Err(unknown());
                };
                let entries = Fields::from(vec![
                    Field::new("keys", data_type(key)?, false),
                    Field::new("values", data_type(value)?, true),
                ]);
                DataType::Map(
                    Arc::new(Field::new("entries", DataType::Struct(entries), false)),
                    false,
                )
            } else {
                return Err(unknown());
            }
        }
    })
}

fn enclosed<'a>(text: &'a str, open: &str, close: char) -> Option<&'a str> {
    text.strip_prefix(open)?.strip_suffix(close)
}

/// Splits at commas that stand in no bracket.
fn split_top_level(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut depth, mut start) = (0_i32, 0);
    for (at, c) in text.char_indices() {
        match c {
            '<' | '(' => depth += 1,
            '>' | ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_types_are_read() {
        let found = data_type("struct<a: array<decimal(6,2)>, b: struct<c: timestamp>>")
            .expect("a known type");
        let DataType::Struct(fields) = found else {
            unreachable!("a struct was asked for");
        };
        assert_eq!(fields.len(), 2);
        assert_eq!(
            fields[0].data_type(),
            &DataType::List(Arc::new(Field::new(
                "item",
                DataType::Decimal128(6, 2),
                true
            )))
        );
    }

    #[test]
    fn an_unknown_type_is_an_error() {
        for text in ["varchar(3)", "array<", "struct<a>", "decimal(10)", ""] {
            assert!(data_type(text).is_err(), "{text}");
        }
    }
}
