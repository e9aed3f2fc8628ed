//! Avro: round trips, other readers' schemas, malformed messages, and a registry in this process.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use arrow_avro::schema::AvroSchema;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, BinaryArray};
use datafusion::arrow::datatypes::Schema;
use datafusion::prelude::col;
use proptest::prelude::*;
use serde_json::Value;

use super::calls::{evaluate, over_texts};
use super::plain::all;
use crate::expr::{
    from_avro, from_avro_registry, from_avro_with, from_json, to_avro, to_avro_with,
};

const TYPE: &str = "b BOOLEAN, i INT, l BIGINT, d DOUBLE, s STRING, t TIMESTAMP, x BINARY, a ARRAY<BIGINT>, m MAP<STRING, STRING>, o STRUCT<p: INT>";
const SCHEMA: &str = r#"{"type":"record","name":"r","fields":[{"name":"id","type":"long"},{"name":"name","type":["null","string"]}]}"#;

/// Structs out of JSON.
fn structs(texts: &[&str], data_type: &str) -> ArrayRef {
    over_texts(texts.iter().map(|t| Some(*t)).collect(), |v| {
        from_json(v, data_type)
    })
    .unwrap()
}

fn messages(bytes: Vec<Option<&[u8]>>) -> ArrayRef {
    Arc::new(BinaryArray::from(bytes))
}

/// id 7, name "ab".
const SEVEN: &[u8] = &[14, 2, 4, b'a', b'b'];

#[test]
fn a_message_is_read_by_its_schema() {
    let read = evaluate(
        messages(vec![Some(SEVEN), None]),
        from_avro(col("v"), SCHEMA),
    )
    .unwrap();
    assert_eq!(
        serde_json::to_string(&all(&read)).unwrap(),
        r#"[[["id",7],["name","ab"]],null]"#
    );
    // A value that is no record.
    let read = evaluate(
        messages(vec![Some(&[14])]),
        from_avro(col("v"), r#""long""#),
    )
    .unwrap();
    assert_eq!(all(&read), [Value::from(7)]);
}

#[test]
fn another_schema_may_read_it() {
    let reader = r#"{"type":"record","name":"r","fields":[{"name":"more","type":"string","default":"none"},{"name":"id","type":"double"}]}"#;
    let read = evaluate(
        messages(vec![Some(SEVEN)]),
        from_avro_with(col("v"), SCHEMA, [("avroSchema", reader)]),
    )
    .unwrap();
    assert_eq!(
        serde_json::to_string(&all(&read)).unwrap(),
        r#"[[["more","none"],["id",7.0]]]"#
    );
}

#[test]
fn malformed_messages_leave_the_others_alone() {
    let long = [SEVEN, &[0]].concat();
    let bytes = vec![
        Some(SEVEN),
        Some(&SEVEN[..3]),
        None,
        Some(&[][..]),
        Some(SEVEN),
        Some(&long),
        Some(&[14, 9]),
        Some(SEVEN),
    ];
    let read = evaluate(
        messages(bytes.clone()),
        from_avro_with(col("v"), SCHEMA, [("mode", "PERMISSIVE")]),
    )
    .unwrap();
    let valid: Vec<bool> = (0..8).map(|row| read.is_valid(row)).collect();
    assert_eq!(valid, [true, false, false, false, true, false, false, true]);
    let failed = evaluate(messages(bytes), from_avro(col("v"), SCHEMA))
        .unwrap_err()
        .to_string();
    for part in ["row 1", "0e 02 04", "PERMISSIVE"] {
        assert!(failed.contains(part), "{part} in {failed}");
    }
}

#[test]
fn what_is_wrong_is_said_when_the_query_is_planned() {
    for (schema, options, part) in [
        ("{", vec![], "no Avro schema"),
        (r#"{"type":"wibble"}"#, vec![], "wibble"),
        (SCHEMA, vec![("wibble", "1")], "'wibble'"),
        (SCHEMA, vec![("mode", "DROPMALFORMED")], "DROPMALFORMED"),
        (
            SCHEMA,
            vec![("schemaRegistryUrl", "http://x")],
            "leave the schema out",
        ),
        (
            SCHEMA,
            vec![("schemaRegistrySubject", "s")],
            "schemaRegistryUrl",
        ),
        (
            SCHEMA,
            vec![(
                "avroSchema",
                r#"{"type":"record","name":"r","fields":[{"name":"new","type":"long"}]}"#,
            )],
            "new",
        ),
    ] {
        let refused = evaluate(messages(vec![]), from_avro_with(col("v"), schema, options))
            .unwrap_err()
            .to_string();
        assert!(refused.contains(part), "{part} in {refused}");
    }
    for (options, part) in [
        (vec![("schemaRegistryUrl", "ftp://x")], "http://"),
        (
            vec![("schemaRegistryUrl", "http://u:p@x")],
            "must not hold a password",
        ),
        (
            vec![
                ("schemaRegistryUrl", "http://x"),
                ("schemaRegistryPassword", "open sesame"),
            ],
            "environment variable",
        ),
        (
            vec![("schemaRegistryUrl", "http://x")],
            "schemaRegistrySubject",
        ),
    ] {
        let refused = evaluate(messages(vec![]), from_avro_registry(col("v"), options))
            .unwrap_err()
            .to_string();
        assert!(
            refused.contains(part) && !refused.contains("sesame"),
            "{part} in {refused}"
        );
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(ids in prop::collection::vec((any::<i64>(), any::<Option<String>>(), any::<bool>()), 1..10)) {
        let texts: Vec<String> = ids.iter().map(|(id, name, flag)| {
            serde_json::json!({"l": id, "i": id % 1000, "d": *id as f64 / 3.0, "s": name, "b": flag, "t": "2024-01-02T03:04:05.678Z", "x": "aGVsbG8=", "a": [id, null], "m": {"k": name}, "o": {"p": 1}}).to_string()
        }).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let values = structs(&texts, TYPE);
        let written = evaluate(Arc::clone(&values), to_avro(col("v"), None)).unwrap();
        let schema = AvroSchema::try_from(&Schema::new(values.as_struct().fields().clone())).unwrap();
        let back = evaluate(written, from_avro(col("v"), &schema.json_string)).unwrap();
        prop_assert_eq!(all(&back), all(&values));
    }

    #[test]
    fn no_bytes_do_harm(bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0..8_u8], 0..32)) {
        let schema = r#"{"type":"record","name":"r","fields":[{"name":"a","type":{"type":"array","items":"string"}},{"name":"m","type":{"type":"map","values":["null","long"]}},{"name":"e","type":{"type":"enum","name":"e","symbols":["x","y"]}},{"name":"f","type":{"type":"fixed","name":"f","size":2}},{"name":"n","type":{"type":"bytes","logicalType":"decimal","precision":5,"scale":2}}]}"#;
        let read = evaluate(messages(vec![Some(&bytes), None]), from_avro_with(col("v"), schema, [("mode", "PERMISSIVE")])).unwrap();
        prop_assert!(read.is_null(1));
    }
}

/// Texts and enums are looked at when all messages of a batch are read.
#[test]
fn a_text_that_is_none_and_an_enum_without_such_a_value_leave_the_others_alone() {
    let enums = r#"{"type":"enum","name":"e","symbols":["x","y"]}"#;
    for (schema, good, bad, value) in [
        (
            r#""string""#,
            [2_u8, b'a'].as_slice(),
            [2_u8, 0xff].as_slice(),
            "a",
        ),
        (enums, &[2], &[10], "y"),
    ] {
        let batch = || {
            let mut rows: Vec<Option<&[u8]>> = vec![Some(good); 20];
            for place in [0, 7, 8, 19] {
                rows[place] = Some(bad);
            }
            messages(rows)
        };
        let permissive = from_avro_with(col("v"), schema, [("mode", "PERMISSIVE")]);
        let read = all(&evaluate(batch(), permissive).unwrap());
        for (row, read) in read.iter().enumerate() {
            let expected = match [0, 7, 8, 19].contains(&row) {
                true => Value::Null,
                false => Value::from(value),
            };
            assert_eq!(*read, expected, "row {row} of {schema}");
        }
        let error = evaluate(batch().slice(1, 19), from_avro(col("v"), schema)).unwrap_err();
        assert!(error.to_string().contains("row 6 of its batch"), "{error}");
    }
}

/// A registry that knows schema 7 as the latest of `orders value`, and takes others; with what it was asked.
struct Registry {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Registry {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(vec![]));
        let heard = Arc::clone(&asked);
        // It ends with the process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut request = Vec::new();
                let mut part = [0; 4096];
                loop {
                    let count = stream.read(&mut part).unwrap();
                    request.extend_from_slice(&part[..count]);
                    let text = String::from_utf8_lossy(&request).to_string();
                    let Some((head, body)) = text.split_once("\r\n\r\n") else {
                        continue;
                    };
                    let length = head.lines().find_map(|line| {
                        line.to_ascii_lowercase()
                            .strip_prefix("content-length: ")
                            .map(|n| n.parse::<usize>().unwrap())
                    });
                    if body.len() >= length.unwrap_or(0) {
                        break;
                    }
                }
                let text = String::from_utf8_lossy(&request).to_string();
                let line = text
                    .lines()
                    .next()
                    .unwrap()
                    .trim_end_matches(" HTTP/1.1")
                    .to_owned();
                let allowed = text
                    .to_ascii_lowercase()
                    .contains("authorization: basic dtpzzxnhbwu6");
                let schema = serde_json::to_string(SCHEMA).unwrap();
                let (status, answer) = match line.as_str() {
                    _ if !allowed => (
                        "401 Unauthorized",
                        r#"{"error_code":401,"message":"who are you?"}"#.to_owned(),
                    ),
                    "GET /subjects/orders%20value/versions/latest" => (
                        "200 OK",
                        format!(
                            r#"{{"subject":"orders value","version":1,"id":7,"schema":{schema}}}"#
                        ),
                    ),
                    "GET /schemas/ids/7" => ("200 OK", format!(r#"{{"schema":{schema}}}"#)),
                    "POST /subjects/orders%20value/versions" => {
                        ("200 OK", r#"{"id":7}"#.to_owned())
                    }
                    _ => (
                        "404 Not Found",
                        r#"{"error_code":40403,"message":"Schema not found"}"#.to_owned(),
                    ),
                };
                heard.lock().unwrap().push(line);
                write!(
                    stream,
                    "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{answer}",
                    answer.len()
                )
                .unwrap();
            }
        });
        Self { url, asked }
    }

    fn options(&self) -> Vec<(String, String)> {
        let pairs = [
            ("schemaRegistryUrl", self.url.as_str()),
            ("schemaRegistrySubject", "orders value"),
            ("schemaRegistryUser", "u:sesame"),
        ];
        pairs
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

#[test]
fn a_registry_is_asked_once_for_each_id() {
    let registry = Registry::start();
    let framed = [&[0, 0, 0, 0, 7], SEVEN].concat();
    let options = registry.options();
    let call = || from_avro_registry(col("v"), options.clone());
    for _ in 0..3 {
        let read = evaluate(messages(vec![Some(&framed), None, Some(&framed)]), call()).unwrap();
        assert_eq!(
            serde_json::to_string(&all(&read)).unwrap(),
            r#"[[["id",7],["name","ab"]],null,[["id",7],["name","ab"]]]"#
        );
    }
    assert_eq!(
        registry.asked(),
        [
            "GET /subjects/orders%20value/versions/latest",
            "GET /schemas/ids/7"
        ]
    );

    // What is written is framed, and its schema registered once.
    let values = structs(&[r#"{"id":7,"name":"ab"}"#], "id BIGINT, name STRING");
    for _ in 0..2 {
        let written = evaluate(
            Arc::clone(&values),
            to_avro_with(col("v"), Some(SCHEMA), options.clone()),
        )
        .unwrap();
        assert_eq!(written.as_binary::<i32>().value(0), framed);
    }
    assert_eq!(registry.asked(), ["POST /subjects/orders%20value/versions"]);

    // An id that it does not know is said, with subject and URL, and asked for again the next time.
    let unknown = [&[0, 0, 0, 0, 9], SEVEN].concat();
    for _ in 0..2 {
        let failed = evaluate(messages(vec![Some(&unknown)]), call())
            .unwrap_err()
            .to_string();
        for part in [
            "id 9",
            "orders value",
            registry.url.as_str(),
            "Schema not found",
        ] {
            assert!(failed.contains(part), "{part} in {failed}");
        }
        assert!(!failed.contains("sesame"), "{failed}");
    }
    assert_eq!(
        registry.asked(),
        ["GET /schemas/ids/9", "GET /schemas/ids/9"]
    );

    // A message without the frame is malformed.
    let failed = evaluate(messages(vec![Some(&[1, 2])]), call())
        .unwrap_err()
        .to_string();
    assert!(failed.contains("id of a schema"), "{failed}");
}

#[test]
fn a_registry_that_does_not_answer_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let options = [
        ("schemaRegistryUrl", url.as_str()),
        ("schemaRegistrySubject", "s"),
    ];
    let failed = evaluate(messages(vec![]), from_avro_registry(col("v"), options))
        .unwrap_err()
        .to_string();
    assert!(
        failed.contains(&url) && failed.contains("subject s"),
        "{failed}"
    );
    let registry = Registry::start();
    let mut options = registry.options();
    options.truncate(2);
    let failed = evaluate(messages(vec![]), from_avro_registry(col("v"), options))
        .unwrap_err()
        .to_string();
    assert!(
        failed.contains("401") && failed.contains("schemaRegistryUser"),
        "{failed}"
    );
}
