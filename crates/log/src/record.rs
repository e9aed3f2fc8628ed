//! The records of the log, as plain data.
//!
//! A **plan** is written before an epoch runs and says exactly what it will read and which times it will use, so that a
//! replay does the same. A **commit** is written after the epoch's state and output are durable and says where they
//! are: the epoch has happened if and only if its commit exists. Both carry the run that wrote them.

use std::collections::BTreeMap;

use headwater_core::{
    Epoch, EventTime, Offset, OffsetRange, OutputMode, PreparedPart, QueryId, RunId, Watermark,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::codec::Record;

/// How the watermark of a query follows from those of its inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WatermarkPolicy {
    /// The slowest input decides.
    #[default]
    Min,
    /// The fastest input decides; rows of the others may be late.
    Max,
}

/// A stateful operator, as far as its state depends on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperatorRecord {
    /// Stable across restarts: by path in the analysed plan, or the user's own name.
    pub id: String,
    /// The kind of operator, for instance `aggregate`.
    pub kind: String,
    /// Everything the state's layout depends on (keys, aggregates, schemas); compared field by field at a restart.
    #[serde(default)]
    pub fingerprint: Value,
    /// What its stores held at the first start; only the state layer knows how to read it. Null in records of before
    /// this was written.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub stores: Value,
}

/// Identity of a query, written once, at its first start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metadata {
    /// The query.
    pub query: QueryId,
    /// When it first started, in milliseconds since 1970.
    pub created_millis: i64,
    /// The version of headwater that first started it.
    pub engine: String,
    /// Partitions of keyed state at the first start.
    pub partitions: u32,
    /// The output mode.
    pub output_mode: OutputMode,
    /// The watermark policy; fixed at the first start.
    #[serde(default)]
    pub watermark_policy: WatermarkPolicy,
    /// Identities of the sources, in the order of their ids.
    pub sources: Vec<String>,
    /// Identity of the sink.
    pub sink: String,
    /// Identity of the sink of late rows, if the first start had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late_sink: Option<String>,
    /// The stateful operators.
    #[serde(default)]
    pub operators: Vec<OperatorRecord>,
    /// Settings fixed at the first start.
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
}

/// One start of a query. Its number in the checkpoint orders it among the others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Started {
    /// The run.
    pub run: RunId,
    /// When it started, in milliseconds since 1970.
    pub started_millis: i64,
    /// The version of headwater that runs.
    pub engine: String,
}

/// Event time as one watermark node has seen it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeWatermark {
    /// The greatest event time of any row so far; `None` before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<EventTime>,
    /// The node's own watermark.
    pub watermark: Watermark,
}

/// The watermarks an epoch works with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatermarkRecord {
    /// What the epoch evicts and emits with.
    pub global: Watermark,
    /// What it filters late rows with: the global watermark of the epoch before.
    pub previous: Watermark,
    /// By watermark node.
    #[serde(default)]
    pub nodes: BTreeMap<String, NodeWatermark>,
}

impl Default for WatermarkRecord {
    /// Where a query starts.
    fn default() -> Self {
        Self {
            global: Watermark::START,
            previous: Watermark::START,
            nodes: BTreeMap::new(),
        }
    }
}

/// What one epoch takes from one source. Either way it says where the source stands afterwards, so the newest plan
/// alone tells where every source goes on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceStep {
    /// Nothing; the source stays where it was (`None`: before its first row).
    Idle {
        /// Where the source stands.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<Offset>,
    },
    /// The rows of this range.
    Read(OffsetRange),
}

impl SourceStep {
    /// What the epoch reads.
    pub fn range(&self) -> Option<&OffsetRange> {
        match self {
            Self::Idle { .. } => None,
            Self::Read(range) => Some(range),
        }
    }

    /// Where the source stands after the epoch; `None` before its first row.
    pub fn end(&self) -> Option<&Offset> {
        match self {
            Self::Idle { at } => at.as_ref(),
            Self::Read(range) => Some(&range.end),
        }
    }
}

/// What an epoch will do, written before it runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    /// The epoch.
    pub epoch: Epoch,
    /// The run that planned it; another run may replay it.
    pub run: RunId,
    /// The epoch's processing time, in milliseconds since 1970; a replay uses it too.
    pub time_millis: i64,
    /// The watermarks the epoch works with.
    pub watermark: WatermarkRecord,
    /// What it reads, in the order of source ids.
    pub sources: Vec<SourceStep>,
    /// Whether it was planned because a source had new data, and not only to let the watermark take effect.
    pub has_data: bool,
}

/// What an epoch did: it has happened if and only if this exists.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Committed {
    /// The epoch.
    pub epoch: Epoch,
    /// The run that committed it.
    pub run: RunId,
    /// The watermarks the next epoch will work with, if it is planned at once.
    pub next: WatermarkRecord,
    /// Where the state after the epoch lies; only the state layer knows how to read it.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub state: Value,
    /// What the sink prepared, to be published again after a crash.
    #[serde(default)]
    pub parts: Vec<PreparedPart>,
    /// What the sink of late rows prepared, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late: Option<LateOutput>,
    /// Numbers worth keeping, for progress reports after a restart.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub stats: Value,
}

/// Where the late rows of an epoch went: published with its other rows, or again after a crash.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LateOutput {
    /// Identity of the sink.
    pub sink: String,
    /// What it prepared; only partitions that had late rows.
    #[serde(default)]
    pub parts: Vec<PreparedPart>,
}

/// Records of epochs below this one may be gone: garbage collection has begun to delete them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Floor {
    /// The oldest epoch whose records are all there.
    pub epoch: Epoch,
}

impl Record for Metadata {
    const KIND: &'static str = "metadata";
}

impl Record for Started {
    const KIND: &'static str = "run";
}

impl Record for Planned {
    const KIND: &'static str = "plan";
}

impl Record for Committed {
    const KIND: &'static str = "commit";
}

impl Record for Floor {
    const KIND: &'static str = "floor";
}
