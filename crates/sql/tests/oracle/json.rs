//! Rows of the recorded scenarios as Arrow values, and back.

#![expect(
    clippy::panic,
    reason = "a scenario that is not what it claims to be fails the test"
)]

use std::sync::Arc;

use chrono::{DateTime, NaiveDate};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Field, Fields, Float64Type, Int64Type, Schema, SchemaRef, TimeUnit,
    TimestampMicrosecondType,
};
use datafusion::common::ScalarValue;
use datafusion::common::scalar::ScalarStructBuilder;
use serde_json::{Map, Value};

/// The schema that a scenario gives a stream or table.
pub(crate) fn schema(columns: &Value) -> SchemaRef {
    let fields: Vec<Field> = columns
        .as_array()
        .expect("a list of columns")
        .iter()
        .map(|c| Field::new(text(&c["name"]), data_type(text(&c["type"])), true))
        .collect();
    Arc::new(Schema::new(fields))
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

fn data_type(name: &str) -> DataType {
    let inside = |prefix: &str, close: char| {
        name.strip_prefix(prefix)
            .and_then(|rest| rest.strip_suffix(close))
    };
    if let Some(item) = inside("array<", '>') {
        return DataType::List(Arc::new(Field::new_list_field(data_type(item), true)));
    }
    if let Some(fields) = inside("struct<", '>') {
        let fields = fields.split(", ").map(|field| {
            let (name, field_type) = field.split_once(": ").expect("a field");
            Field::new(name, data_type(field_type), true)
        });
        return DataType::Struct(fields.collect());
    }
    if let Some(shape) = inside("decimal(", ')') {
        let (precision, scale) = shape.split_once(',').expect("precision and scale");
        return DataType::Decimal128(
            precision.trim().parse().expect("precision"),
            scale.trim().parse().expect("scale"),
        );
    }
    match name {
        "long" => DataType::Int64,
        "int" => DataType::Int32,
        "short" => DataType::Int16,
        "float" => DataType::Float32,
        "double" => DataType::Float64,
        "string" => DataType::Utf8,
        "boolean" => DataType::Boolean,
        "date" => DataType::Date32,
        "binary" => DataType::Binary,
        "timestamp" => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        "timestamp_ntz" => DataType::Timestamp(TimeUnit::Microsecond, None),
        other => panic!("unknown type {other}"),
    }
}

/// All rows as one batch, in order.
pub(crate) fn batch(schema: &SchemaRef, rows: &[Value]) -> RecordBatch {
    let columns = schema
        .fields()
        .iter()
        .map(|field| {
            let values: Vec<ScalarValue> = rows
                .iter()
                .map(|row| scalar(&row[field.name()], field.data_type()))
                .collect();
            if values.is_empty() {
                return datafusion::arrow::array::new_empty_array(field.data_type());
            }
            cast(
                &ScalarValue::iter_to_array(values).expect("one type"),
                field.data_type(),
            )
            .expect("the declared type")
        })
        .collect();
    RecordBatch::try_new(Arc::clone(schema), columns).expect("columns of one length")
}

fn scalar(value: &Value, data_type: &DataType) -> ScalarValue {
    if value.is_null() {
        return ScalarValue::try_from(data_type).expect("a null");
    }
    match data_type {
        DataType::Int64 => ScalarValue::Int64(value.as_i64()),
        DataType::Int32 => ScalarValue::Int32(value.as_i64().and_then(|v| v.try_into().ok())),
        DataType::Int16 => ScalarValue::Int16(value.as_i64().and_then(|v| v.try_into().ok())),
        DataType::Float32 => ScalarValue::Float32(Some(double(value) as f32)),
        DataType::Float64 => ScalarValue::Float64(Some(double(value))),
        DataType::Utf8 => ScalarValue::Utf8(Some(text(value).to_owned())),
        DataType::Boolean => ScalarValue::Boolean(value.as_bool()),
        DataType::Date32 => {
            let date: NaiveDate = text(value).parse().expect("a date");
            ScalarValue::Date32(i32::try_from((date - NaiveDate::default()).num_days()).ok())
        }
        DataType::Timestamp(_, zone) => {
            let at = DateTime::parse_from_rfc3339(text(value)).expect("a timestamp");
            ScalarValue::TimestampMicrosecond(Some(at.timestamp_micros()), zone.clone())
        }
        DataType::Decimal128(precision, scale) => {
            let (whole, fraction) = text(value).split_once('.').unwrap_or((text(value), ""));
            let digits = format!(
                "{whole}{fraction:0<width$}",
                width = usize::try_from(*scale).expect("a scale")
            );
            ScalarValue::Decimal128(digits.parse().ok(), *precision, *scale)
        }
        DataType::List(item) => {
            let items: Vec<ScalarValue> = value
                .as_array()
                .expect("a list")
                .iter()
                .map(|v| scalar(v, item.data_type()))
                .collect();
            ScalarValue::List(ScalarValue::new_list(&items, item.data_type(), true))
        }
        DataType::Struct(fields) => structure(value, fields),
        other => panic!("no scalar of {other}"),
    }
}

fn structure(value: &Value, fields: &Fields) -> ScalarValue {
    fields
        .iter()
        .fold(ScalarStructBuilder::new(), |builder, field| {
            builder.with_scalar(
                Arc::clone(field),
                scalar(&value[field.name()], field.data_type()),
            )
        })
        .build()
        .expect("a struct")
}

/// A number, or the text of one that JSON cannot write.
pub(crate) fn double(value: &Value) -> f64 {
    match value {
        Value::String(text) => text.parse().expect("NaN or an infinity"),
        other => other.as_f64().expect("a number"),
    }
}

/// The rows of a batch as the scenarios write them.
pub(crate) fn rows(batch: &RecordBatch) -> Vec<Value> {
    (0..batch.num_rows())
        .map(|row| {
            let columns = batch.schema();
            let fields = columns.fields().iter().zip(batch.columns());
            Value::Object(
                fields
                    .map(|(field, column)| (field.name().clone(), json(column, row)))
                    .collect(),
            )
        })
        .collect()
}

fn json(array: &ArrayRef, row: usize) -> Value {
    if array.is_null(row) {
        return Value::Null;
    }
    match array.data_type() {
        DataType::Boolean => array.as_boolean().value(row).into(),
        number if number.is_integer() => cast(array, &DataType::Int64)
            .expect("an integer")
            .as_primitive::<Int64Type>()
            .value(row)
            .into(),
        DataType::Float32 | DataType::Float64 => {
            let value = cast(array, &DataType::Float64)
                .expect("a float")
                .as_primitive::<Float64Type>()
                .value(row);
            if value.is_finite() {
                value.into()
            } else if value.is_nan() {
                "NaN".into()
            } else {
                if value > 0.0 { "Infinity" } else { "-Infinity" }.into()
            }
        }
        DataType::Date32 => {
            let days = array
                .as_primitive::<Date32Type>()
                .value_as_date(row)
                .expect("a date");
            days.to_string().into()
        }
        DataType::Timestamp(_, _) => {
            let micros = cast(array, &DataType::Timestamp(TimeUnit::Microsecond, None))
                .expect("a timestamp");
            let at = micros
                .as_primitive::<TimestampMicrosecondType>()
                .value_as_datetime(row)
                .expect("a timestamp");
            let text = at.format("%Y-%m-%dT%H:%M:%S%.f").to_string();
            format!("{text}Z").into()
        }
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            (0..items.len()).map(|i| json(&items, i)).collect()
        }
        DataType::Map(_, _) => {
            let entries = array.as_map().value(row);
            let (keys, values) = (entries.column(0), entries.column(1));
            let entry = |i| (text(&json(keys, i)).to_owned(), json(values, i));
            Value::Object((0..entries.len()).map(entry).collect::<Map<_, _>>())
        }
        DataType::Struct(fields) => {
            let columns = fields.iter().zip(array.as_struct().columns());
            Value::Object(
                columns
                    .map(|(f, c)| (f.name().clone(), json(c, row)))
                    .collect::<Map<_, _>>(),
            )
        }
        _ => cast(&array.slice(row, 1), &DataType::Utf8)
            .expect("a text")
            .as_string::<i32>()
            .value(0)
            .into(),
    }
}
