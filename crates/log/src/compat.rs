//! Whether a query may go on from a checkpoint: what it is now against what the metadata says it was.
//!
//! What is fixed at the first start whatever the settings say later (watermark policy, partitions) is not compared.

use std::fmt;

use headwater_core::Error;
use serde_json::Value;

use crate::record::{Metadata, OperatorRecord};

/// Parts of a fingerprint that are not compared where the record says what the stores hold: whoever compares those
/// knows what can be taken over.
const SAID_BY_STORES: &[&str] = &["aggregates", "left", "right"];

/// One thing about a query that is not what it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The operator that it is about, if it is about one.
    pub operator: Option<String>,
    /// What differs, for instance `operator 'agg-0' keys[1].type`.
    pub what: String,
    /// What the checkpoint says; `None` if it did not exist.
    pub was: Option<String>,
    /// What it is now; `None` if it does not exist any more.
    pub is: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.was, &self.is) {
            (Some(was), Some(is)) => write!(f, "{} was {was} and is {is}", self.what),
            (Some(was), None) => write!(f, "{} was {was} and is gone", self.what),
            (None, Some(is)) => write!(f, "{} is new: {is}", self.what),
            (None, None) => f.write_str(&self.what),
        }
    }
}

/// Everything that keeps the query `now` from going on where `then` stopped.
pub fn differences(then: &Metadata, now: &Metadata) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut compare = |what: String, was: Option<String>, is: Option<String>| {
        if was != is {
            found.push(Difference {
                operator: None,
                what,
                was,
                is,
            });
        }
    };
    compare(
        "the output mode".to_owned(),
        Some(then.output_mode.to_string()),
        Some(now.output_mode.to_string()),
    );
    let quoted = |text: &String| format!("'{text}'");
    for id in 0..then.sources.len().max(now.sources.len()) {
        compare(
            format!("source {id}"),
            then.sources.get(id).map(quoted),
            now.sources.get(id).map(quoted),
        );
    }
    compare(
        "the sink".to_owned(),
        Some(quoted(&then.sink)),
        Some(quoted(&now.sink)),
    );
    // One may be added later on; the commit records then say which it is.
    if then.late_sink.is_some() {
        compare(
            "the sink of late rows".to_owned(),
            then.late_sink.as_ref().map(quoted),
            now.late_sink.as_ref().map(quoted),
        );
    }
    compare_operators(&then.operators, &now.operators, &mut found);
    found
}

/// The refusal to go on because of these differences: [`headwater_core::ErrorKind::Invalid`], listing all of them;
/// `place` names the checkpoint.
pub fn refusal(place: &str, found: &[Difference]) -> Error {
    let list: Vec<String> = found.iter().map(|it| format!("\n  - {it}")).collect();
    Error::invalid(format!(
        "the query cannot go on from the checkpoint in {place}, because it has changed:{}\nundo the changes, or start \
         it with another checkpoint location",
        list.concat()
    ))
}

fn compare_operators(then: &[OperatorRecord], now: &[OperatorRecord], found: &mut Vec<Difference>) {
    let mut differ = |id: &str, was: Option<&String>, is: Option<&String>| {
        found.push(Difference {
            operator: Some(id.to_owned()),
            what: format!("operator '{id}'"),
            was: was.cloned(),
            is: is.cloned(),
        });
    };
    let mut same = Vec::new();
    for was in then {
        match now.iter().find(|is| is.id == was.id) {
            None => differ(&was.id, Some(&was.kind), None),
            Some(is) if is.kind != was.kind => differ(&was.id, Some(&was.kind), Some(&is.kind)),
            Some(is) => same.push((was, is)),
        }
    }
    for is in now {
        if !then.iter().any(|was| was.id == is.id) {
            differ(&is.id, None, Some(&is.kind));
        }
    }
    for (was, is) in same {
        let mut of_operator = Vec::new();
        let what = format!("operator '{}'", was.id);
        let (was_said, is_said) = comparable(was, is);
        compare_values(what, Some(&was_said), Some(&is_said), &mut of_operator);
        found.extend(of_operator.into_iter().map(|difference| Difference {
            operator: Some(was.id.clone()),
            ..difference
        }));
    }
}

/// The fingerprints without what the stores say better; if the record is of before those were written, without what was
/// not written yet.
fn comparable(was: &OperatorRecord, is: &OperatorRecord) -> (Value, Value) {
    let (mut recorded, mut present) = (was.fingerprint.clone(), is.fingerprint.clone());
    if let (Value::Object(recorded), Value::Object(present)) = (&mut recorded, &mut present) {
        if was.stores.is_null() && !is.stores.is_null() {
            present.retain(|name, _| recorded.contains_key(name));
        } else if !was.stores.is_null() {
            recorded.retain(|name, _| !SAID_BY_STORES.contains(&name.as_str()));
            present.retain(|name, _| !SAID_BY_STORES.contains(&name.as_str()));
        }
    }
    (recorded, present)
}

/// Descends into objects and arrays, so that a difference names the innermost field.
fn compare_values(
    what: String,
    was: Option<&Value>,
    is: Option<&Value>,
    found: &mut Vec<Difference>,
) {
    match (was, is) {
        (was, is) if was == is => {}
        (Some(Value::Object(was)), Some(Value::Object(is))) => {
            for (name, value) in was {
                compare_values(format!("{what} {name}"), Some(value), is.get(name), found);
            }
            for (name, value) in is.iter().filter(|(name, _)| !was.contains_key(*name)) {
                compare_values(format!("{what} {name}"), None, Some(value), found);
            }
        }
        (Some(Value::Array(was)), Some(Value::Array(is))) => {
            for at in 0..was.len().max(is.len()) {
                compare_values(format!("{what}[{at}]"), was.get(at), is.get(at), found);
            }
        }
        (was, is) => found.push(Difference {
            operator: None,
            what,
            was: was.map(Value::to_string),
            is: is.map(Value::to_string),
        }),
    }
}

#[cfg(test)]
mod tests {
    use headwater_core::{ErrorKind, OutputMode, QueryId};
    use serde_json::json;

    use super::*;

    fn metadata() -> Metadata {
        Metadata {
            query: QueryId(uuid::Uuid::from_u128(1)),
            created_millis: 0,
            engine: "0.1.0".to_owned(),
            partitions: 4,
            output_mode: OutputMode::Append,
            watermark_policy: Default::default(),
            sources: vec!["file parquet in".to_owned()],
            sink: "file parquet out".to_owned(),
            late_sink: None,
            operators: vec![OperatorRecord {
                id: "agg-0".to_owned(),
                kind: "aggregate".to_owned(),
                fingerprint: json!({"keys": [{"name": "host", "type": "Utf8"}], "aggregates": ["count(1)"]}),
                stores: Value::Null,
            }],
            settings: Default::default(),
        }
    }

    fn found(change: impl FnOnce(&mut Metadata)) -> Vec<String> {
        let mut now = metadata();
        change(&mut now);
        differences(&metadata(), &now)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn what_a_restart_may_change_is_no_difference() {
        assert_eq!(
            found(|now| {
                now.query = QueryId(uuid::Uuid::from_u128(2));
                now.created_millis = 1;
                now.engine = "9.9".to_owned();
                now.partitions = 8;
                now.settings.insert("a".to_owned(), "b".to_owned());
            }),
            [""; 0]
        );
    }

    #[test]
    fn a_difference_names_the_innermost_field() {
        assert_eq!(
            found(|now| now.operators[0].fingerprint["keys"][0]["type"] = json!("Int64")),
            [r#"operator 'agg-0' keys[0] type was "Utf8" and is "Int64""#]
        );
        assert_eq!(
            found(|now| now.operators[0].fingerprint["aggregates"] = json!(["count(1)", "sum(x)"])),
            [r#"operator 'agg-0' aggregates[1] is new: "sum(x)""#]
        );
        assert_eq!(
            found(|now| now.operators[0].fingerprint = json!({"keys": [], "late": true})),
            [
                r#"operator 'agg-0' aggregates was ["count(1)"] and is gone"#,
                r#"operator 'agg-0' keys[0] was {"name":"host","type":"Utf8"} and is gone"#,
                "operator 'agg-0' late is new: true",
            ]
        );
    }

    #[test]
    fn what_the_stores_say_is_left_to_them_and_an_old_record_is_compared_as_far_as_it_goes() {
        let with_stores = |mut metadata: Metadata| {
            metadata.operators[0].stores = json!([{"name": "groups"}]);
            metadata.operators[0].fingerprint["windows"] = json!(["10 s"]);
            metadata
        };
        let mut now = with_stores(metadata());
        now.operators[0].fingerprint["aggregates"] = json!(["count(1) AS n"]);
        assert_eq!(differences(&with_stores(metadata()), &now), []);
        now.operators[0].fingerprint["windows"] = json!(["5 s"]);
        let found = differences(&with_stores(metadata()), &now);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].operator.as_deref(), Some("agg-0"));
        // Without stores the record says nothing of windows, and its aggregates count.
        let found = differences(&metadata(), &now);
        assert_eq!(
            found.iter().map(ToString::to_string).collect::<Vec<_>>(),
            [r#"operator 'agg-0' aggregates[0] was "count(1)" and is "count(1) AS n""#]
        );
    }

    #[test]
    fn sources_sink_mode_and_operators_are_compared() {
        assert_eq!(
            found(|now| {
                now.output_mode = OutputMode::Complete;
                now.sources = vec!["file parquet in".to_owned(), "rate".to_owned()];
                now.sink = "console".to_owned();
                now.operators[0].id = "agg-1".to_owned();
            }),
            [
                "the output mode was append and is complete",
                "source 1 is new: 'rate'",
                "the sink was 'file parquet out' and is 'console'",
                "operator 'agg-0' was aggregate and is gone",
                "operator 'agg-1' is new: aggregate",
            ]
        );
    }

    #[test]
    fn the_refusal_lists_the_differences_and_the_remedy() {
        let mut now = metadata();
        now.sources[0] = "rate".to_owned();
        let error = refusal("/cp", &differences(&metadata(), &now));
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert_eq!(
            error.message(),
            "the query cannot go on from the checkpoint in /cp, because it has changed:\n  - source 0 was 'file parquet \
             in' and is 'rate'\nundo the changes, or start it with another checkpoint location"
        );
    }
}
