//! Whether a query may go on from a checkpoint: what it is now against what the metadata says it was.
//!
//! What is fixed at the first start whatever the settings say later (watermark policy, partitions) is not compared.

use std::fmt;

use headwater_core::{Error, Result};
use serde_json::Value;

use crate::record::{Metadata, OperatorRecord};

/// One thing about a query that is not what it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
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
            found.push(Difference { what, was, is });
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

/// Refuses to go on if there is any difference.
///
/// # Errors
/// [`headwater_core::ErrorKind::Invalid`], listing all of them; `place` names the checkpoint.
pub fn check_restart(place: &str, then: &Metadata, now: &Metadata) -> Result<()> {
    let found = differences(then, now);
    if found.is_empty() {
        return Ok(());
    }
    let list: Vec<String> = found.iter().map(|it| format!("\n  - {it}")).collect();
    Err(Error::invalid(format!(
        "the query cannot go on from the checkpoint in {place}, because it has changed:{}\nundo the changes, or start \
         it with another checkpoint location",
        list.concat()
    )))
}

fn compare_operators(then: &[OperatorRecord], now: &[OperatorRecord], found: &mut Vec<Difference>) {
    for was in then {
        let what = format!("operator '{}'", was.id);
        match now.iter().find(|is| is.id == was.id) {
            None => found.push(Difference {
                what,
                was: Some(was.kind.clone()),
                is: None,
            }),
            Some(is) if is.kind != was.kind => found.push(Difference {
                what,
                was: Some(was.kind.clone()),
                is: Some(is.kind.clone()),
            }),
            Some(is) => {
                compare_values(what, Some(&was.fingerprint), Some(&is.fingerprint), found);
            }
        }
    }
    for is in now {
        if !then.iter().any(|was| was.id == is.id) {
            found.push(Difference {
                what: format!("operator '{}'", is.id),
                was: None,
                is: Some(is.kind.clone()),
            });
        }
    }
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
        let error = check_restart("/cp", &metadata(), &now).expect_err("the source differs");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert_eq!(
            error.message(),
            "the query cannot go on from the checkpoint in /cp, because it has changed:\n  - source 0 was 'file parquet \
             in' and is 'rate'\nundo the changes, or start it with another checkpoint location"
        );
    }
}
