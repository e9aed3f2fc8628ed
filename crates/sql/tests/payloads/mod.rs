//! `to_json` and `to_csv` beside the answers of a recorded Spark (`crates/payload/fixtures`), whose values are written in
//! SQL. Where ours differ is listed here, with the reason; what is listed and does not differ fails too.

use serde_json::Value;

use super::{first_text, sql_text};

const KEYS: &str = "keys are written as the values are, not as Spark keeps them in memory";
const LITERAL: &str = "the value cannot be written so in our SQL";
const NAMED: &str = "what is not known is refused by name";

/// A part of the value or the name of an option, and why the answer differs.
const DEVIATIONS: &[(&str, &str)] = &[
    ("wibble", NAMED),
    ("pretty", NAMED),
    ("writeNonAsciiCharacterAsCodePoint", NAMED),
    ("map(date", KEYS),
    ("map(timestamp", KEYS),
    ("map(named_struct('k'", KEYS),
    ("interval", "a text says what is meant: cast it"),
    (
        "X'00FF10')",
        "a line has plain values, and says hex(x) instead",
    ),
    (
        "'l', array(1, null, 3), 'm', map",
        "a line has plain values, and says to_json(l) instead",
    ),
    (r"\u007f", LITERAL),
    ("map<string,int>", LITERAL),
    ("map()", LITERAL),
];

async fn compare(function: &str, file: &str) {
    let file: Value = serde_json::from_str(file).expect("a fixture");
    let mut wrong = vec![];
    let mut seen = vec![];
    for group in file["groups"].as_array().expect("groups") {
        let value = group["value"].as_str().expect("a value");
        let options = group["options"].as_object().expect("options");
        let pairs = options
            .iter()
            .flat_map(|(name, value)| [sql_text(name), sql_text(value.as_str().expect("a text"))]);
        let pairs: Vec<_> = pairs.collect();
        let options_sql = match pairs.as_slice() {
            [] => String::new(),
            pairs => format!(", map({})", pairs.join(", ")),
        };
        let ours = first_text(&format!("SELECT {function}({value}{options_sql})")).await;
        let same = match &ours {
            Ok(ours) => group.get("text") == Some(&Value::from(ours.clone())),
            Err(_) => group.get("error").is_some(),
        };
        if same {
            continue;
        }
        let known = DEVIATIONS
            .iter()
            .find(|(what, _)| value.contains(what) || options.contains_key(*what));
        match known {
            Some((what, _)) => seen.push(*what),
            None => wrong.push(format!(
                "{function}({value}) {options:?}: {ours:?}, Spark {group}"
            )),
        }
    }
    assert!(
        wrong.is_empty(),
        "{}\n{} in all",
        wrong.join("\n"),
        wrong.len()
    );
    // Binary values in JSON are base64, as Spark's are.
    let mine = |what: &str| match what {
        "wibble" => true,
        what => (function == "to_csv") == (what.starts_with("X'") || what.starts_with("'l'")),
    };
    for (what, _) in DEVIATIONS.iter().filter(|(what, _)| mine(what)) {
        assert!(seen.contains(what), "{function}: {what} does not differ");
    }
}

#[tokio::test]
async fn to_json_writes_what_spark_writes() {
    compare(
        "to_json",
        include_str!("../../../payload/fixtures/to_json.json"),
    )
    .await;
}

#[tokio::test]
async fn to_csv_writes_what_spark_writes() {
    compare(
        "to_csv",
        include_str!("../../../payload/fixtures/to_csv.json"),
    )
    .await;
}
