//! JSON in texts: values by a path, columns by a type, and columns as JSON.

mod path;
mod read;
mod value;
mod write;

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, Int32Array, ListBuilder, StringArray, StringBuilder,
};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use self::path::Path;
use self::value::Json;
use super::ddl;
use super::scalar::{Scalar, arity, texts};
use super::zone::Zone;

pub(crate) fn functions() -> Vec<Arc<ScalarUDF>> {
    let mut functions: Vec<Arc<ScalarUDF>> = [
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
        Scalar::new(
            "to_json",
            to_json_args,
            |_| Ok(DataType::Utf8),
            |args, call| {
                let zone = call.zone()?;
                let array = &args[0];
                let texts = (0..array.len()).map(|row| match array.is_null(row) {
                    true => Ok(None),
                    false => write::json(array, row, zone).map(Some),
                });
                Ok(Arc::new(texts.collect::<Result<StringArray>>()?))
            },
        ),
    ]
    .map(Scalar::udf)
    .into();
    functions.push(Arc::new(ScalarUDF::from(FromJson {
        signature: Signature::user_defined(Volatility::Immutable),
    })));
    functions
}

fn text_args(name: &str, count: usize, types: &[DataType]) -> Result<Vec<DataType>> {
    arity(name, count..=count, types)?;
    Ok(vec![DataType::Utf8; count])
}

fn names_type() -> DataType {
    DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true)))
}

fn to_json_args(types: &[DataType]) -> Result<Vec<DataType>> {
    arity("to_json", 1..=1, types)?;
    match &types[0] {
        DataType::Struct(_) | DataType::List(_) | DataType::Map(_, _) => Ok(types.to_vec()),
        other => plan_err!("to_json() takes a struct, an array or a map, found {other}"),
    }
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

/// `from_json(text, type)`: the type is a constant, so the columns are known when the query is planned.
#[derive(Debug, PartialEq, Eq, Hash)]
struct FromJson {
    signature: Signature,
}

impl ScalarUDFImpl for FromJson {
    fn name(&self) -> &str {
        "from_json"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        arity("from_json", 2..=3, types)?;
        let mut wanted = vec![DataType::Utf8; 2];
        wanted.extend(types.get(2).cloned());
        Ok(wanted)
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        plan_err!("from_json: return_field_from_args decides")
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let declared = match args.scalar_arguments.get(1) {
            Some(Some(ScalarValue::Utf8(Some(text)))) => text,
            _ => {
                return plan_err!(
                    "from_json() takes the type of its value as a constant text: write for example from_json(value, 'id BIGINT, name STRING')"
                );
            }
        };
        let data_type = ddl::columns_or_type(declared)?;
        if !matches!(
            data_type,
            DataType::Struct(_) | DataType::List(_) | DataType::Map(_, _)
        ) {
            return plan_err!("from_json() makes structs, arrays and maps, found {declared}");
        }
        Ok(Arc::new(Field::new(self.name(), data_type, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let constant = matches!(args.args[0], ColumnarValue::Scalar(_));
        let array = args.args[0].to_array(if constant { 1 } else { args.number_rows })?;
        let array = datafusion::arrow::compute::cast(&array, &DataType::Utf8)?;
        let zone = Zone::of(&args.config_options)?;
        let result = read::texts(
            array.as_string::<i32>(),
            args.return_field.data_type(),
            zone,
        )?;
        if constant {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(
                &result, 0,
            )?));
        }
        Ok(ColumnarValue::Array(result))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `from_json` and then `to_json`.
    fn through(text: &str, declared: &str) -> String {
        let data_type = ddl::columns_or_type(declared).unwrap();
        let texts = StringArray::from(vec![text]);
        let column = read::texts(&texts, &data_type, Zone::UTC).unwrap();
        write::json(&column, 0, Zone::UTC).unwrap()
    }

    #[test]
    fn values_are_read_by_their_type_and_written_again() {
        let cases = [
            (
                r#"{"a": 1, "b": "x", "z": 0}"#,
                "a INT, b STRING",
                r#"{"a":1,"b":"x"}"#,
            ),
            (r#"{"a": "1", "b": 2}"#, "a INT, b STRING", r#"{"b":"2"}"#),
            (
                r#"{"a": 1.5, "b": [1, {"c": 2}]}"#,
                "a DOUBLE, b STRING",
                r#"{"a":1.5,"b":"[1,{\"c\":2}]"}"#,
            ),
            (
                r#"{"t": "2024-01-01T10:00:00Z", "d": "2024-01-02", "x": 1.25}"#,
                "t TIMESTAMP, d DATE, x DECIMAL(5,2)",
                r#"{"t":"2024-01-01T10:00:00.000Z","d":"2024-01-02","x":1.25}"#,
            ),
            (
                r#"{"s": {"xs": [1, null]}}"#,
                "STRUCT<s: STRUCT<xs: ARRAY<INT>>>",
                r#"{"s":{"xs":[1,null]}}"#,
            ),
            (r#"[1, "x"]"#, "ARRAY<INT>", "null"),
            (
                r#"{"k": 1, "l": null}"#,
                "MAP<STRING, INT>",
                r#"{"k":1,"l":null}"#,
            ),
            ("no json", "a INT", "{}"),
            ("[1]", "MAP<STRING, INT>", "null"),
            ("99999999999", "a INT", "{}"),
        ];
        for (text, declared, written) in cases {
            assert_eq!(through(text, declared), written, "{text} as {declared}");
        }
    }
}
