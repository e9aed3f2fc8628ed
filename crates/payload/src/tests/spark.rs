//! The answers of a recorded Spark (`fixtures/`), row by row. Where ours differ is listed here, with the reason; what is
//! listed and does not differ fails too.

use datafusion::arrow::array::ArrayRef;
use serde_json::Value;

use super::calls::over_texts;
use super::plain::all;
use crate::expr::{from_csv_with, from_json_with};

const SYNTAX: &str = "a message that is no JSON has only nulls, whatever could be read before";
const BYTE: &str = "128 to 255 is no TINYINT";
const NAMED: &str = "what is not known is refused by name";
const NO_DATE: &str =
    "digits are no date, a time of day is no timestamp, GMT is behind a time and not before it";
const RANGE: &str = "seconds out of range do not wrap around";
const MARK: &str = "a byte order mark is part of the first value in every mode";

/// A schema ("" for any), a message or the name of an option, and why the answer differs.
const DEVIATIONS: &[(&str, &str, &str)] = &[
    ("v TINYINT", r#"{"v":128, "z":1}"#, BYTE),
    ("v TINYINT", r#"{"v":255, "z":1}"#, BYTE),
    ("v DATE", r#"{"v":"1", "z":1}"#, NO_DATE),
    ("v DATE", r#"{"v":"20240102", "z":1}"#, NO_DATE),
    (
        "v DATE",
        r#"{"v":"GMT2024-01-02 00:00:00", "z":1}"#,
        NO_DATE,
    ),
    ("v TIMESTAMP", r#"{"v":"12:30", "z":1}"#, NO_DATE),
    ("v TIMESTAMP", r#"{"v":"T03:04", "z":1}"#, NO_DATE),
    (
        "v TIMESTAMP",
        r#"{"v":"GMT2024-01-02 00:00:00", "z":1}"#,
        NO_DATE,
    ),
    ("v TIMESTAMP", r#"{"v":9223372036854775807, "z":1}"#, RANGE),
    ("", r#"{"id":1,"m":{"a":1,}}"#, SYNTAX),
    ("", r#"{"id":1,"m":{"a"}}"#, SYNTAX),
    ("", r#"{"id":1,"l":[1 2]}"#, SYNTAX),
    ("", "\u{feff}1,x,2", MARK),
    ("", "prefersDecimal", NAMED),
    ("", "multiLine", NAMED),
    ("", "wibble", NAMED),
    ("", "timestampFormat=bbbb", NAMED),
    ("", "mode=wibble", NAMED),
    ("", "charToEscapeQuoteEscaping", NAMED),
    ("", "header", NAMED),
    ("", "lineSep", NAMED),
];

/// What differs from the record, and is not known to.
#[derive(Default)]
struct Comparison {
    wrong: Vec<String>,
    seen: Vec<&'static str>,
}

impl Comparison {
    fn row(
        &mut self,
        schema: &str,
        options: &[(String, String)],
        text: &str,
        ours: &Result<Value, String>,
        answer: &Value,
    ) {
        let same = match ours {
            Ok(ours) => is_same(ours, answer),
            Err(_) => answer.get("error").is_some(),
        };
        if same {
            return;
        }
        let is_it = |what: &str| {
            what == text
                || options
                    .iter()
                    .any(|(name, value)| what == name || what == format!("{name}={value}"))
        };
        let known = DEVIATIONS
            .iter()
            .find(|(of, what, _)| (of.is_empty() || *of == schema) && is_it(what));
        match known {
            Some((_, what, _)) => self.seen.push(what),
            None => self.wrong.push(format!(
                "{schema} {options:?} {text:?}: {ours:?}, Spark {answer}"
            )),
        }
    }

    fn end(&self, mine: impl Fn(&str) -> bool) {
        assert!(
            self.wrong.is_empty(),
            "{}\n{} in all",
            self.wrong.join("\n"),
            self.wrong.len()
        );
        for (_, what, _) in DEVIATIONS.iter().filter(|(_, what, _)| mine(what)) {
            assert!(self.seen.contains(what), "{what} does not differ");
        }
    }
}

/// serde_json reads doubles to the last digit but one.
fn is_same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b))
        }
        (Value::Number(a), Value::Number(b)) if a != b => {
            let (a, b) = (a.as_f64().unwrap_or(0.0), b.as_f64().unwrap_or(1.0));
            (a - b).abs() <= 1e-14 * a.abs()
        }
        _ => a == b,
    }
}

fn groups(file: &str) -> Vec<Value> {
    let file: Value = serde_json::from_str(file).expect("a fixture");
    file["groups"].as_array().expect("groups").clone()
}

fn pairs(options: &Value) -> Vec<(String, String)> {
    let options = options.as_object().expect("options");
    options
        .iter()
        .map(|(name, value)| (name.clone(), value.as_str().expect("a text").to_owned()))
        .collect()
}

fn compare(
    file: &str,
    refusable: &str,
    call: impl Fn(&str, &[(String, String)], Vec<Option<&str>>) -> datafusion::common::Result<ArrayRef>,
) -> Comparison {
    let mut compared = Comparison::default();
    for group in groups(file) {
        let schema = group["schema"].as_str().expect("a schema");
        let options = pairs(&group["options"]);
        let ours = |text| {
            call(schema, &options, vec![Some(text)])
                .map(|array| all(&array).remove(0))
                .map_err(|error| error.to_string())
        };
        match group["rows"].as_array() {
            Some(rows) => {
                for row in rows {
                    let text = row[0].as_str().expect("a text");
                    compared.row(schema, &options, text, &ours(text), &row[1]);
                }
            }
            // Spark refuses the call.
            None => compared.row(schema, &options, refusable, &ours(refusable), &group),
        }
    }
    compared
}

#[test]
fn from_json_answers_what_spark_answers() {
    let file = include_str!("../../fixtures/json.json");
    let compared = compare(file, "{}", |schema, options, texts| {
        over_texts(texts, |v| from_json_with(v, schema, options.to_vec()))
    });
    compared.end(|what| what.starts_with('{') || what.contains('='));
}

#[test]
fn from_csv_answers_what_spark_answers() {
    let file = include_str!("../../fixtures/csv.json");
    let compared = compare(file, "1", |schema, options, texts| {
        over_texts(texts, |v| from_csv_with(v, schema, options.to_vec()))
    });
    compared.end(|what| what.starts_with('\u{feff}') || what == "header");
}
