//! The report of one epoch, with the field names that users of Spark parse today.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{QueryId, RunId};

/// What happened in one epoch. [`StreamingQueryProgress::json`] has Spark's field names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamingQueryProgress {
    /// The query; survives restarts.
    pub id: QueryId,
    /// This run of it.
    pub run_id: RunId,
    /// The query's name.
    pub name: Option<String>,
    /// When the trigger began, ISO 8601 in UTC.
    pub timestamp: String,
    /// The epoch.
    pub batch_id: u64,
    /// How long the trigger took, in milliseconds.
    pub batch_duration: u64,
    /// Rows read from all sources.
    pub num_input_rows: u64,
    /// Rows that arrived per second since the trigger before.
    pub input_rows_per_second: f64,
    /// Rows processed per second of this trigger.
    pub processed_rows_per_second: f64,
    /// Milliseconds by phase: `latestOffset`, `walCommit`, `queryPlanning`, `addBatch`, `commitOffsets`, `publish`,
    /// `triggerExecution`.
    pub duration_ms: BTreeMap<String, u64>,
    /// `min`, `max`, `avg` of the event times seen and the `watermark` in force, ISO 8601 in UTC. Empty without a
    /// watermark.
    pub event_time: BTreeMap<String, String>,
    /// One entry for each stateful operator, the one nearest the sink first.
    pub state_operators: Vec<StateOperatorProgress>,
    /// One entry for each source.
    pub sources: Vec<SourceProgress>,
    /// The sink.
    pub sink: SinkProgress,
    /// The sink of late rows, if there is one. Its rows are those that the operators dropped
    /// ([`StateOperatorProgress::num_rows_dropped_by_watermark`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late_sink: Option<SinkProgress>,
}

/// What one stateful operator did in one epoch.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StateOperatorProgress {
    /// Kind of operator, for instance `aggregate`.
    pub operator_name: String,
    /// Keys in state after the epoch.
    pub num_rows_total: u64,
    /// Keys written by the epoch.
    pub num_rows_updated: u64,
    /// Keys removed by the epoch.
    pub num_rows_removed: u64,
    /// Input rows dropped because they came after the watermark.
    pub num_rows_dropped_by_watermark: u64,
    /// Memory held by the state, in bytes.
    pub memory_used_bytes: u64,
    /// Partitions of the state.
    pub num_shuffle_partitions: u64,
    /// Further numbers by name.
    #[serde(default)]
    pub custom_metrics: BTreeMap<String, u64>,
}

/// What one source gave to one epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceProgress {
    /// The source, for instance `FileSource[data/logs]`.
    pub description: String,
    /// Where the epoch began.
    pub start_offset: Value,
    /// Where it ended.
    pub end_offset: Value,
    /// The newest position the source knows of.
    pub latest_offset: Value,
    /// Rows read.
    pub num_input_rows: u64,
    /// Rows that arrived per second since the trigger before.
    pub input_rows_per_second: f64,
    /// Rows processed per second of this trigger.
    pub processed_rows_per_second: f64,
    /// Further numbers of the source by name, as text.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, String>,
}

/// What the sink received in one epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SinkProgress {
    /// The sink, for instance `FileSink[out/errors]`.
    pub description: String,
    /// Rows received.
    pub num_output_rows: u64,
}

impl StreamingQueryProgress {
    /// The report as one line of JSON.
    pub fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"))
    }

    /// The report as indented JSON.
    pub fn pretty_json(&self) -> String {
        serde_json::to_string_pretty(self)
            .unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"))
    }
}
