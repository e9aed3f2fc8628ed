//! Schemas as Spark's `StructType.json()` writes them.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::{DataFusionError, Result, plan_datafusion_err};
use serde_json::Value;

use crate::ddl;

/// The type in such a text.
///
/// # Errors
/// Where the text is no JSON, or not the JSON of a type.
pub(crate) fn data_type(text: &str) -> Result<DataType> {
    let value: Value = serde_json::from_str(text)
        .map_err(|error| plan_datafusion_err!("'{text}' is no schema in JSON: {error}"))?;
    kind(&value)
}

fn kind(value: &Value) -> Result<DataType> {
    if let Some(name) = value.as_str() {
        // Types without parts have the names that they have in DDL.
        return ddl::columns_or_type(name);
    }
    let part = |name: &str| {
        value
            .get(name)
            .ok_or_else(|| unexpected(value, &format!("\"{name}\"")))
    };
    Ok(match value.get("type").and_then(Value::as_str) {
        Some("struct") => {
            let fields = part("fields")?
                .as_array()
                .ok_or_else(|| unexpected(value, "a list of fields"))?;
            let fields = fields.iter().map(|field| {
                let name = field.get("name").and_then(Value::as_str);
                match (name, field.get("type")) {
                    (Some(name), Some(inner)) => Ok(Field::new(name, kind(inner)?, true)),
                    _ => Err(unexpected(field, "a field with \"name\" and \"type\"")),
                }
            });
            DataType::Struct(fields.collect::<Result<Fields>>()?)
        }
        Some("array") => {
            let item = kind(part("elementType")?)?;
            DataType::List(Arc::new(Field::new_list_field(item, true)))
        }
        Some("map") => ddl::map_type(kind(part("keyType")?)?, kind(part("valueType")?)?)?,
        _ => return Err(unexpected(value, "\"type\" struct, array or map")),
    })
}

fn unexpected(value: &Value, wanted: &str) -> DataFusionError {
    plan_datafusion_err!("a schema in JSON: expected {wanted}, found {value}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_in_json_is_that_in_ddl() {
        let json = r#"{"type":"struct","fields":[
            {"name":"a","type":"integer","nullable":true,"metadata":{}},
            {"name":"l","type":{"type":"array","elementType":"string","containsNull":true},"nullable":true},
            {"name":"m","type":{"type":"map","keyType":"string","valueType":"double","valueContainsNull":true}},
            {"name":"s","type":{"type":"struct","fields":[{"name":"x","type":"decimal(5,1)"}]}},
            {"name":"t","type":"timestamp"},{"name":"b","type":"binary"}]}"#;
        let ddl = "a INT, l ARRAY<STRING>, m MAP<STRING, DOUBLE>, s STRUCT<x: DECIMAL(5,1)>, t TIMESTAMP, b BINARY";
        assert_eq!(data_type(json).unwrap(), ddl::columns_or_type(ddl).unwrap());
    }

    #[test]
    fn other_json_is_refused() {
        for text in [
            "{",
            "{}",
            r#"{"type":"struct"}"#,
            r#"{"type":"struct","fields":[{"name":"a"}]}"#,
            r#""wibble""#,
        ] {
            assert!(data_type(text).is_err(), "{text}");
        }
    }
}
