//! Properties: what is written is read again, whatever is read does no harm, and others read the same.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BinaryArray, RecordBatch, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::prelude::col;
use proptest::prelude::*;
use serde_json::{Map, Number, Value};

use super::calls::{evaluate, over_texts};
use super::plain::all;
use crate::expr::{from_csv, from_json, from_json_with, to_json, to_json_with};

const TYPE: &str = "b BOOLEAN, i INT, l BIGINT, d DOUBLE, s STRING, n DECIMAL(20,3), t TIMESTAMP, u TIMESTAMP_NTZ, \
     y DATE, x BINARY, a ARRAY<BIGINT>, m MAP<STRING, STRING>, o STRUCT<p: INT, q: ARRAY<STRING>>";

/// Messages that have some of the members of [`TYPE`], and others.
fn message() -> impl Strategy<Value = Value> {
    let value = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|d| Number::from_f64(d).map_or(Value::Null, Value::from)),
        any::<String>().prop_map(Value::from),
        Just(Value::Null),
    ];
    let nested = value.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z]", inner, 0..4)
                .prop_map(|members| Value::from(members.into_iter().collect::<Map<_, _>>())),
        ]
    });
    prop::collection::btree_map("[a-z]", nested, 0..8)
        .prop_map(|members| Value::from(members.into_iter().collect::<Map<_, _>>()))
}

/// What serde_json finds in `message`, as [`super::plain`] shows it, for types without rules of their own.
fn expected(message: &Value, data_type: &str) -> Value {
    match (data_type, message) {
        ("BOOLEAN", Value::Bool(_)) => message.clone(),
        ("BIGINT", Value::Number(number)) => number.as_i64().map_or(Value::Null, Value::from),
        ("DOUBLE", Value::Number(number)) => number.as_f64().map_or(Value::Null, Value::from),
        ("STRING", Value::String(_)) => message.clone(),
        ("ARRAY<BOOLEAN>", Value::Array(items))
            if items.iter().all(|item| item.is_boolean() || item.is_null()) =>
        {
            message.clone()
        }
        _ => Value::Null,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_again(messages in prop::collection::vec(message(), 1..20)) {
        let texts: Vec<String> = messages.iter().map(Value::to_string).collect();
        let first = over_texts(texts.iter().map(|t| Some(t.as_str())).collect(), |v| from_json(v, TYPE)).unwrap();
        let written = evaluate(Arc::clone(&first), to_json(col("v"))).unwrap();
        let second = evaluate(Arc::clone(&written), from_json(col("v"), TYPE)).unwrap();
        prop_assert_eq!(all(&first), all(&second));
        // With nulls written out they are read as nulls.
        let written = evaluate(first, to_json_with(col("v"), [("ignoreNullFields", "false")])).unwrap();
        let third = evaluate(written, from_json_with(col("v"), TYPE, [("mode", "FAILFAST")])).unwrap();
        prop_assert_eq!(all(&second), all(&third));
    }

    #[test]
    fn serde_json_finds_the_same(message in message(), kind in prop::sample::select(vec!["BOOLEAN", "BIGINT", "DOUBLE", "STRING", "ARRAY<BOOLEAN>"])) {
        let columns: Vec<String> = ('a'..='z').map(|name| format!("{name} {kind}")).collect();
        let text = message.to_string();
        let ours = over_texts(vec![Some(&text)], |v| from_json(v, columns.join(", "))).unwrap();
        let ours = all(&ours).remove(0);
        for (place, name) in ('a'..='z').enumerate() {
            let value = message.get(name.to_string()).cloned().unwrap_or(Value::Null);
            // A text is made of everything; that is the recorded Spark's to check.
            if kind == "STRING" && !value.is_string() && !value.is_null() {
                continue;
            }
            prop_assert_eq!(&ours[place][1], &expected(&value, kind), "{} of {}", name, text);
        }
    }

    #[test]
    fn what_is_no_json_is_known_by_serde_json_too(text in r#"[\[\]{}:,"0-9a-e.truefalsn \\-]{0,24}"#) {
        let strict = [("allowSingleQuotes", "false"), ("allowNonNumericNumbers", "false"), ("mode", "FAILFAST")];
        let wrapped = format!("{{\"z\":{text}}}");
        let ours = over_texts(vec![Some(&wrapped)], |v| from_json_with(v, "a INT", strict));
        // Only the first value of a text counts; numbers beyond a double's range are serde_json's own limit.
        let mut stream = serde_json::Deserializer::from_str(&wrapped).into_iter::<Value>();
        let theirs = match stream.next() {
            Some(Err(error)) => error.to_string().contains("out of range"),
            first => first.is_some(),
        };
        prop_assert_eq!(ours.is_ok(), theirs, "{}", wrapped);
    }

    #[test]
    fn no_bytes_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..64), cut in 0_usize..64, message in message()) {
        let mut text = message.to_string().into_bytes();
        text.truncate(cut);
        text.extend(&bytes);
        let array: ArrayRef = Arc::new(BinaryArray::from(vec![Some(text.as_slice()), Some(bytes.as_slice()), None]));
        let read = evaluate(Arc::clone(&array), from_json(col("v"), format!("{TYPE}, _corrupt_record STRING"))).unwrap();
        prop_assert_eq!(read.len(), 3);
        prop_assert!(read.is_null(2));
    }

    #[test]
    fn every_kind_of_text_column_is_read_the_same(messages in prop::collection::vec(prop::option::of(message()), 0..10)) {
        let texts: Vec<Option<String>> = messages.iter().map(|m| m.as_ref().map(Value::to_string)).collect();
        let utf8: ArrayRef = Arc::new(StringArray::from(texts));
        let expected = all(&evaluate(Arc::clone(&utf8), from_json(col("v"), TYPE)).unwrap());
        for kind in [DataType::LargeUtf8, DataType::Utf8View, DataType::Binary, DataType::LargeBinary, DataType::BinaryView] {
            let other = cast(&utf8, &kind).unwrap();
            prop_assert_eq!(&all(&evaluate(other, from_json(col("v"), TYPE)).unwrap()), &expected);
        }
        // So are slices, and types of Arrow.
        if utf8.len() > 1 {
            let part = evaluate(utf8.slice(1, utf8.len() - 1), from_json(col("v"), TYPE)).unwrap();
            prop_assert_eq!(&all(&part)[..], &expected[1..]);
        }
    }
}

#[test]
fn types_of_arrow_are_made_as_they_are() {
    use datafusion::arrow::datatypes::{Field, Schema, TimeUnit};
    let schema = Schema::new(vec![
        Field::new("u", DataType::UInt64, true),
        Field::new("v", DataType::Utf8View, true),
        Field::new(
            "t",
            DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())),
            true,
        ),
        Field::new("l", DataType::LargeUtf8, true),
    ]);
    let text = r#"{"u":18446744073709551615,"v":"x","t":"2024-01-02T03:04:05.678Z","l":"y"}"#;
    let read = over_texts(vec![Some(text)], |v| from_json(v, &schema)).unwrap();
    assert_eq!(*read.data_type(), DataType::Struct(schema.fields().clone()));
    let batch = RecordBatch::from(read.as_struct());
    let back = evaluate(Arc::new(read.as_struct().clone()), to_json(col("v"))).unwrap();
    assert_eq!(back.as_string::<i32>().value(0), text);
    assert_eq!(batch.num_rows(), 1);
}

#[test]
fn a_malformed_message_is_found_again() {
    let texts = vec![Some(r#"{"a":1}"#), Some(r#"{"a":"x"}"#)];
    let failed = over_texts(texts, |v| {
        from_json_with(v, "a INT", [("mode", "FAILFAST")])
    });
    let message = failed.unwrap_err().to_string();
    for part in [
        "row 1",
        "INT",
        "byte 5",
        r#"{\"a\":\"x\"}"#,
        "_corrupt_record",
    ] {
        assert!(message.contains(part), "{part} in {message}");
    }
    let bytes: ArrayRef = Arc::new(BinaryArray::from(vec![b"{\"a\":\"\xff\"}".as_slice()]));
    let failed = evaluate(
        bytes,
        from_json_with(col("v"), "a STRING", [("mode", "FAILFAST")]),
    );
    let message = failed.unwrap_err().to_string();
    assert!(message.contains("UTF-8 at byte 6"), "{message}");
}

#[test]
fn what_is_wrong_is_said_when_the_query_is_planned() {
    for (data_type, options, part) in [
        ("a WIBBLE", vec![], "WIBBLE"),
        ("INT", vec![], "structs, arrays and maps"),
        ("m MAP<INT, STRING>", vec![], "STRING"),
        ("a INT", vec![("wibble", "1")], "'wibble'"),
        (
            "a INT",
            vec![("mode", "DROPMALFORMED")],
            "PERMISSIVE and filter",
        ),
        ("a INT, _corrupt_record INT", vec![], "_corrupt_record"),
        ("a INT", vec![("timestampFormat", "bbb")], "letter `b`"),
    ] {
        let refused = over_texts(vec![], |v| from_json_with(v, data_type, options));
        let message = refused.unwrap_err().to_string();
        assert!(message.contains(part), "{part} in {message}");
    }
}

#[test]
fn what_a_type_of_arrow_says_is_never_null_may_be_null() {
    let strict = |name: &str, data_type| Field::new(name, data_type, false);
    let item = Field::new_list_field(DataType::Int64, false);
    let schema = Schema::new(vec![
        strict("id", DataType::Int64),
        strict("l", DataType::List(Arc::new(item))),
        strict(
            "s",
            DataType::Struct(vec![strict("x", DataType::Utf8)].into()),
        ),
    ]);
    let texts = ["{}", r#"{"id": "x", "l": [null], "s": {}}"#, "no json"];
    let read = over_texts(texts.map(Some).to_vec(), |v| from_json(v, &schema)).unwrap();
    assert_eq!(read.as_struct().column(0).null_count(), 3);
    let read = over_texts(vec![Some("x")], |v| {
        from_csv(v, Schema::new(vec![strict("id", DataType::Int64)]))
    });
    assert_eq!(read.unwrap().as_struct().column(0).null_count(), 1);
}

/// The first messages are what the others are thought to be like; here they are not.
#[test]
fn a_batch_that_begins_with_long_messages_takes_no_more_room_than_it_has() {
    let long = format!(r#"{{"s": "{}"}}"#, "x".repeat(100_000));
    let texts: Vec<Option<&str>> = (0..8_192)
        .map(|row| Some(if row < 100 { long.as_str() } else { "{}" }))
        .collect();
    let bytes: usize = texts.iter().flatten().map(|text| text.len()).sum();
    let read = over_texts(texts, |v| from_json(v, "s STRING")).unwrap();
    assert!(read.get_buffer_memory_size() < 2 * bytes);
}
