//! How payload functions are called: a value, then constants, of which types and options are made when the query is
//! planned.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, MapBuilder, StringBuilder};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::{ColumnarValue, Expr};

use crate::ddl;
use crate::json_schema;

/// The type that a payload function makes of a message: the text of a schema, `id BIGINT, tags ARRAY<STRING>`, or a
/// schema of Arrow.
pub trait IntoPayloadType {
    /// The constant by which the function is told.
    fn into_literal(self) -> Expr;
}

fn typed_null(data_type: &DataType) -> Expr {
    match ScalarValue::try_from(data_type) {
        Ok(null) => Expr::Literal(null, None),
        // The function refuses a text that is no type, and so names it.
        Err(_) => Expr::Literal(ScalarValue::Utf8(Some(data_type.to_string())), None),
    }
}

impl IntoPayloadType for &str {
    fn into_literal(self) -> Expr {
        Expr::Literal(ScalarValue::Utf8(Some(self.to_owned())), None)
    }
}

impl IntoPayloadType for String {
    fn into_literal(self) -> Expr {
        self.as_str().into_literal()
    }
}

impl IntoPayloadType for &DataType {
    fn into_literal(self) -> Expr {
        typed_null(self)
    }
}

impl IntoPayloadType for DataType {
    fn into_literal(self) -> Expr {
        typed_null(&self)
    }
}

impl IntoPayloadType for Fields {
    fn into_literal(self) -> Expr {
        typed_null(&DataType::Struct(self))
    }
}

impl IntoPayloadType for &Schema {
    fn into_literal(self) -> Expr {
        self.fields().clone().into_literal()
    }
}

impl IntoPayloadType for Schema {
    fn into_literal(self) -> Expr {
        (&self).into_literal()
    }
}

impl IntoPayloadType for SchemaRef {
    fn into_literal(self) -> Expr {
        self.as_ref().into_literal()
    }
}

/// Options as the constant map that a function takes.
pub(crate) fn options_literal<K: Into<String>, V: Into<String>>(
    options: impl IntoIterator<Item = (K, V)>,
) -> ScalarValue {
    let mut map = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    for (name, value) in options {
        map.keys().append_value(name.into());
        map.values().append_value(value.into());
    }
    // Lengths of keys and values are equal.
    let _ = map.append(true);
    ScalarValue::Map(Arc::new(map.finish()))
}

/// Options and one more.
pub(crate) fn with_option(options: &ScalarValue, name: &str, value: &str) -> Result<ScalarValue> {
    let mut pairs = crate::options::pairs("options", options)?;
    pairs.push((name.to_owned(), value.to_owned()));
    Ok(options_literal(pairs))
}

/// The type that a constant names, see [`IntoPayloadType`].
pub(crate) fn payload_type(function: &str, constant: Option<&ScalarValue>) -> Result<DataType> {
    match constant {
        Some(
            ScalarValue::Utf8(Some(text))
            | ScalarValue::Utf8View(Some(text))
            | ScalarValue::LargeUtf8(Some(text)),
        ) => {
            if text.trim_start().starts_with(['{', '"']) {
                json_schema::data_type(text)
            } else {
                ddl::columns_or_type(text)
            }
        }
        Some(null) if null.is_null() && null.data_type().is_nested() => {
            Ok(nullable(&null.data_type()))
        }
        _ => plan_err!(
            "{function}() takes the type of its value as a constant text: write for example {function}(value, 'id BIGINT, name STRING')"
        ),
    }
}

/// The type whose parts may all be null, whatever it says: what a message holds is never certain.
fn nullable(data_type: &DataType) -> DataType {
    let field = |field: &FieldRef, nullable_too: bool| {
        let data_type = nullable(field.data_type());
        Arc::new(Field::new(field.name(), data_type, nullable_too))
    };
    match data_type {
        DataType::Struct(fields) => {
            DataType::Struct(fields.iter().map(|it| field(it, true)).collect())
        }
        DataType::List(item) => DataType::List(field(item, true)),
        DataType::LargeList(item) => DataType::LargeList(field(item, true)),
        DataType::Map(entries, sorted) => {
            let DataType::Struct(fields) = entries.data_type() else {
                return data_type.clone();
            };
            let fields = fields.iter().enumerate();
            let fields: Fields = fields.map(|(place, it)| field(it, place > 0)).collect();
            let entries = Field::new(entries.name(), DataType::Struct(fields), false);
            DataType::Map(Arc::new(entries), *sorted)
        }
        other => other.clone(),
    }
}

/// Whether values of this type are messages: texts or bytes.
pub(crate) fn is_message(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => is_message(values),
        other => matches!(
            other,
            DataType::Utf8
                | DataType::LargeUtf8
                | DataType::Utf8View
                | DataType::Binary
                | DataType::LargeBinary
                | DataType::BinaryView
        ),
    }
}

/// The types that a function of a message and constants wants for those that it is given.
pub(crate) fn message_args(
    function: &str,
    counts: std::ops::RangeInclusive<usize>,
    types: &[DataType],
) -> Result<Vec<DataType>> {
    if !counts.contains(&types.len()) {
        let (least, most) = (counts.start(), counts.end());
        return plan_err!(
            "{function}() takes {least} to {most} arguments, found {}",
            types.len()
        );
    }
    let mut wanted = types.to_vec();
    match wanted.first_mut() {
        Some(value @ DataType::Null) => *value = DataType::Utf8,
        Some(DataType::Dictionary(_, values)) if is_message(values) => {
            let plain = values.as_ref().clone();
            wanted[0] = plain;
        }
        Some(value) if is_message(value) => {}
        Some(other) => {
            return plan_err!("{function}() takes a text or a binary value, found {other}");
        }
        None => {}
    }
    Ok(wanted)
}

/// An argument that is the same for all rows.
pub(crate) fn constant(
    function: &str,
    args: &[ColumnarValue],
    at: usize,
) -> Result<Option<ScalarValue>> {
    match args.get(at) {
        None => Ok(None),
        Some(ColumnarValue::Scalar(value)) => Ok(Some(value.clone())),
        Some(ColumnarValue::Array(_)) => {
            exec_err!("{function}: argument {} must be a constant", at + 1)
        }
    }
}

/// Calls a kernel with the first argument as an array, and makes a constant of the result if it was one.
pub(crate) fn over_first(
    args: &[ColumnarValue],
    kernel: impl FnOnce(&ArrayRef) -> Result<ArrayRef>,
) -> Result<ColumnarValue> {
    let Some(first) = args.first() else {
        return exec_err!("a payload function needs a value");
    };
    match first {
        ColumnarValue::Scalar(value) => {
            let result = kernel(&value.to_array_of_size(1)?)?;
            Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(
                &result, 0,
            )?))
        }
        ColumnarValue::Array(array) => Ok(ColumnarValue::Array(kernel(array)?)),
    }
}

/// Calls `each` with the bytes of each message.
pub(crate) fn for_each_message(
    array: &ArrayRef,
    mut each: impl FnMut(usize, Option<&[u8]>) -> Result<()>,
) -> Result<()> {
    macro_rules! rows {
        ($array:expr) => {
            for (row, value) in $array.iter().enumerate() {
                each(row, value.map(AsRef::as_ref))?;
            }
        };
    }
    match array.data_type() {
        DataType::Utf8 => rows!(array.as_string::<i32>()),
        DataType::LargeUtf8 => rows!(array.as_string::<i64>()),
        DataType::Utf8View => rows!(array.as_string_view()),
        DataType::Binary => rows!(array.as_binary::<i32>()),
        DataType::LargeBinary => rows!(array.as_binary::<i64>()),
        DataType::BinaryView => rows!(array.as_binary_view()),
        other => return exec_err!("expected texts or binary values, found {other}"),
    }
    Ok(())
}

/// The bytes that the messages of a column have altogether.
pub(crate) fn message_bytes(array: &ArrayRef) -> Result<usize> {
    let mut bytes = 0;
    for_each_message(array, |_, message| {
        bytes += message.map_or(0, <[u8]>::len);
        Ok(())
    })?;
    Ok(bytes)
}

/// Whether values of this type are texts.
pub(crate) fn is_text(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
    )
}

/// The start of a message, for errors.
pub(crate) fn shortened(message: &[u8]) -> String {
    const MOST: usize = 120;
    let text = String::from_utf8_lossy(message.get(..MOST).unwrap_or(message));
    let dots = if message.len() > MOST { "…" } else { "" };
    format!("'{}{dots}' ({} bytes)", text.escape_debug(), message.len())
}
