//! A recorded scenario: one streaming query, the data it was fed, and what a reference engine made of it, trigger by
//! trigger.
//!
//! Parsing is strict about what decides the outcome: an unknown step, type or setting is an error of the scenario,
//! never something to skip over.

use std::{collections::BTreeMap, path::Path};

use headwater_core::{Error, OutputMode, Result};
use serde::Deserialize;
use serde_json::{Map, Value};

/// The areas a scenario may belong to. Another name means that the recording has moved on and this runner has not.
pub const AREAS: &[&str] = &[
    "stateless",
    "aggregation",
    "window",
    "limit_order",
    "unsupported",
    "restart",
    "chained",
    "dedup",
    "multi_watermark",
    "stream_static_join",
    "stream_stream_join",
    "arbitrary_state",
];

/// One scenario file.
#[derive(Debug, Clone, Deserialize)]
pub struct Scenario {
    /// Identity; used for reports and for the list of known differences only.
    pub name: String,
    /// One of [`AREAS`].
    pub area: String,
    /// What the scenario shows.
    #[serde(default)]
    pub intent: String,
    /// Streaming tables.
    #[serde(default)]
    pub streams: Vec<Table>,
    /// Static tables.
    #[serde(default)]
    pub tables: Vec<Table>,
    /// The query.
    pub query: Query,
    /// Output mode of the query.
    pub output_mode: String,
    /// Session settings under their Spark names.
    #[serde(default)]
    pub conf: BTreeMap<String, Value>,
    /// What happens, in order.
    pub steps: Vec<Value>,
    /// What the reference engine did.
    pub expected: Expected,
}

/// A table: its columns and, for a static one, its rows.
#[derive(Debug, Clone, Deserialize)]
pub struct Table {
    /// The name queries use.
    pub name: String,
    /// Columns in order.
    pub schema: Vec<Column>,
    /// Rows of a static table.
    #[serde(default)]
    pub rows: Vec<Map<String, Value>>,
}

/// One column, with its type as text.
#[derive(Debug, Clone, Deserialize)]
pub struct Column {
    /// Name.
    pub name: String,
    /// Type, for instance `array<long>`.
    #[serde(rename = "type")]
    pub type_text: String,
}

/// The query in the forms the recording has.
#[derive(Debug, Clone, Deserialize)]
pub struct Query {
    /// SQL text, where SQL can say it.
    #[serde(default)]
    pub sql: Option<String>,
    /// A tree of DataFrame calls, where it cannot.
    #[serde(default)]
    pub calls: Option<Value>,
}

/// What the reference engine did.
#[derive(Debug, Clone, Deserialize)]
pub struct Expected {
    /// `ok`, `rejected` or `failed`.
    pub result: String,
    /// Columns of the result; absent if the query was refused early.
    #[serde(default)]
    pub schema: Option<Vec<Column>>,
    /// One entry for each trigger step that went well.
    #[serde(default)]
    pub triggers: Vec<TriggerBatches>,
    /// Why it was refused or failed.
    #[serde(default)]
    pub error: Option<ExpectedError>,
}

/// The error of a refused or failed query.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct ExpectedError {
    /// `analysis`, `start` or `run`.
    #[serde(default)]
    pub phase: Option<String>,
    /// The reason in plain words.
    #[serde(default)]
    pub note: Option<String>,
}

/// The micro-batches of one trigger step.
#[derive(Debug, Clone, Deserialize)]
pub struct TriggerBatches {
    /// Index into [`Scenario::steps`].
    pub step: usize,
    /// Micro-batches in order.
    pub batches: Vec<ExpectedBatch>,
}

/// One micro-batch as recorded.
#[derive(Debug, Clone, Deserialize)]
pub struct ExpectedBatch {
    /// Number of the epoch.
    pub batch_id: u64,
    /// False for an epoch without data.
    pub new_data: bool,
    /// Rows read.
    pub num_input_rows: u64,
    /// Watermark in force, ISO 8601; none if the query has none.
    pub watermark: Option<String>,
    /// Rows the sink got, in no particular order.
    pub rows: Vec<Map<String, Value>>,
    /// One entry for each stateful operator, the one nearest the sink first.
    #[serde(default)]
    pub state: Vec<ExpectedState>,
}

/// What one stateful operator did in one micro-batch.
#[derive(Debug, Clone, Deserialize)]
pub struct ExpectedState {
    /// The reference engine's name of the operator.
    pub op: String,
    /// Rows in state afterwards.
    pub total: u64,
    /// Rows written.
    pub updated: u64,
    /// Rows removed.
    pub removed: u64,
    /// Late input, counted in the reference engine's own way: only zero or not is comparable.
    pub dropped_by_watermark: u64,
    /// Rows dropped as duplicates, of the operators that drop any.
    #[serde(default)]
    pub dropped_duplicates: Option<u64>,
}

/// One step of a scenario.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Adds one block of rows to a stream; none is a block too.
    Rows {
        /// The stream.
        stream: String,
        /// The rows.
        rows: Vec<Map<String, Value>>,
    },
    /// Triggers until one finds nothing to do.
    Idle,
    /// Exactly one trigger, after moving the clock.
    One {
        /// How far the clock moves first, in milliseconds, unless the trigger is that of a start.
        clock_millis: i64,
    },
    /// A run of its own with trigger available-now.
    AvailableNow,
    /// A run of its own with trigger once.
    Once,
    /// Stops the query; the next trigger starts it again.
    Restart(Restart),
}

/// What happens to a stopped query before it starts again.
#[derive(Debug, Clone, PartialEq)]
pub enum Restart {
    /// Nothing.
    Plain,
    /// The newest commit record is lost.
    LoseLastCommit,
    /// Session settings change.
    NewConf(BTreeMap<String, Value>),
}

impl Scenario {
    /// Reads one scenario file.
    ///
    /// # Errors
    /// `Data` if it is not a scenario.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Error::unavailable(format!("cannot read {}", path.display())).with_source(error)
        })?;
        serde_json::from_str(&text).map_err(|error| {
            Error::data(format!("{} is not a scenario", path.display())).with_source(error)
        })
    }

    /// The output mode.
    pub fn mode(&self) -> Result<OutputMode> {
        self.output_mode.parse()
    }

    /// The steps, all of them understood.
    pub fn parsed_steps(&self) -> Result<Vec<Step>> {
        self.steps
            .iter()
            .enumerate()
            .map(|(index, step)| {
                parse_step(step).map_err(|error| error.context(format!("step {index}")))
            })
            .collect()
    }
}

fn parse_step(step: &Value) -> Result<Step> {
    let unknown = || Error::data(format!("unknown kind of step {step}"));
    let fields = step.as_object().ok_or_else(unknown)?;
    let only = |known: &[&str]| {
        fields
            .keys()
            .all(|key| known.contains(&key.as_str()))
            .then_some(())
            .ok_or_else(unknown)
    };
    if let Some(stream) = fields.get("stream").and_then(Value::as_str) {
        only(&["stream", "rows"])?;
        let rows = fields
            .get("rows")
            .and_then(Value::as_array)
            .ok_or_else(unknown)?;
        let rows = rows
            .iter()
            .map(|row| row.as_object().cloned().ok_or_else(unknown))
            .collect::<Result<_>>()?;
        return Ok(Step::Rows {
            stream: stream.to_owned(),
            rows,
        });
    }
    if let Some(trigger) = fields.get("trigger").and_then(Value::as_str) {
        only(&["trigger", "clock_ms"])?;
        let clock_millis = match fields.get("clock_ms") {
            None => 1_000,
            Some(millis) => millis.as_i64().ok_or_else(unknown)?,
        };
        return match trigger {
            "idle" => Ok(Step::Idle),
            "one" => Ok(Step::One { clock_millis }),
            "available_now" => Ok(Step::AvailableNow),
            "once" => Ok(Step::Once),
            _ => Err(unknown()),
        };
    }
    only(&["restart", "conf"])?;
    match fields.get("restart") {
        Some(Value::Bool(true)) => Ok(Step::Restart(Restart::Plain)),
        Some(Value::String(kind)) if kind == "lose_last_commit" => {
            Ok(Step::Restart(Restart::LoseLastCommit))
        }
        Some(Value::String(kind)) if kind == "new_conf" => {
            let conf = fields
                .get("conf")
                .and_then(Value::as_object)
                .ok_or_else(unknown)?;
            Ok(Step::Restart(Restart::NewConf(
                conf.clone().into_iter().collect(),
            )))
        }
        _ => Err(unknown()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_kind_of_step_is_understood() {
        let cases = [
            (
                json!({"stream": "s", "rows": []}),
                Step::Rows {
                    stream: "s".into(),
                    rows: vec![],
                },
            ),
            (json!({"trigger": "idle"}), Step::Idle),
            (
                json!({"trigger": "one", "clock_ms": 5}),
                Step::One { clock_millis: 5 },
            ),
            (
                json!({"trigger": "one"}),
                Step::One {
                    clock_millis: 1_000,
                },
            ),
            (json!({"trigger": "available_now"}), Step::AvailableNow),
            (json!({"trigger": "once"}), Step::Once),
            (json!({"restart": true}), Step::Restart(Restart::Plain)),
            (
                json!({"restart": "lose_last_commit"}),
                Step::Restart(Restart::LoseLastCommit),
            ),
        ];
        for (text, step) in cases {
            assert_eq!(parse_step(&text).expect("a known step"), step, "{text}");
        }
    }

    #[test]
    fn an_unknown_step_is_an_error() {
        for text in [
            json!({"trigger": "sometimes"}),
            json!({"restart": "twice"}),
            json!({"restart": true, "lose": 1}),
            json!({"wait": 5}),
            json!(3),
        ] {
            assert!(parse_step(&text).is_err(), "{text}");
        }
    }
}
