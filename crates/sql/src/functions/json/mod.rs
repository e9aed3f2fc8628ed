//! JSON in texts: values by a path. Columns by a type, and columns as JSON, are `headwater_payload`'s.

mod path;
mod value;

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Int32Array, ListBuilder, StringArray, StringBuilder};
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::Result;
use datafusion::logical_expr::ScalarUDF;

use self::path::Path;
use self::value::Json;
use super::scalar::{Scalar, arity, texts};

pub(crate) fn functions() -> Vec<Arc<ScalarUDF>> {
    [
        Scalar::new(
            "get_json_object",
            |t| text_args("get_json_object", 2, t),
            |_| Ok(DataType::Utf8),
            |args, _| get_json_object(texts(&args[0])?, texts(&args[1])?),
        ),
        Scalar::new(
            "json_array_length",
            |t| text_args("json_array_length", 1, t),
            |_| Ok(DataType::Int32),
            |args, _| {
                let lengths = texts(&args[0])?
                    .iter()
                    .map(|text| match Json::parse(text?)? {
                        Json::List(items) => i32::try_from(items.len()).ok(),
                        _ => None,
                    });
                Ok(Arc::new(lengths.collect::<Int32Array>()))
            },
        ),
        Scalar::new(
            "json_object_keys",
            |t| text_args("json_object_keys", 1, t),
            |_| Ok(names_type()),
            |args, _| Ok(object_keys(texts(&args[0])?)),
        ),
    ]
    .map(Scalar::udf)
    .into()
}

fn text_args(name: &str, count: usize, types: &[DataType]) -> Result<Vec<DataType>> {
    arity(name, count..=count, types)?;
    Ok(vec![DataType::Utf8; count])
}

fn names_type() -> DataType {
    DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true)))
}

/// Paths are read once as long as they stay the same.
fn get_json_object(jsons: &StringArray, paths: &StringArray) -> Result<ArrayRef> {
    let mut known: Option<(&str, Option<Path>)> = None;
    let mut found = StringBuilder::new();
    for (json, path) in jsons.iter().zip(paths) {
        let value = match (json, path) {
            (Some(json), Some(path)) => {
                if known.as_ref().is_none_or(|(text, _)| *text != path) {
                    known = Some((path, Path::parse(path)));
                }
                let parsed = known.as_ref().and_then(|(_, path)| path.as_ref());
                parsed.and_then(|path| path.find(&Json::parse(json)?))
            }
            _ => None,
        };
        found.append_option(value);
    }
    Ok(Arc::new(found.finish()))
}

fn object_keys(jsons: &StringArray) -> ArrayRef {
    let mut lists = ListBuilder::new(StringBuilder::new());
    for json in jsons {
        match json.and_then(Json::parse) {
            Some(Json::Object(members)) => {
                for (name, _) in members {
                    lists.values().append_value(name);
                }
                lists.append(true);
            }
            _ => lists.append(false),
        }
    }
    Arc::new(lists.finish())
}
