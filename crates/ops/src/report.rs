//! What operators tell the driver, as data.
//!
//! Each task collects its reports in an [`Outbox`]; the plan's root drains it into rows of one text column, so that
//! the driver learns everything from the plan's output and the same plan can run on another machine.

use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::{
    array::{Array, AsArray, RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use headwater_core::{Error, PreparedPart, Result, Watermark};
use serde::{Deserialize, Serialize};

/// One fact about one partition of one operator in one epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "report", rename_all = "snake_case")]
pub enum Report {
    /// Rows read from a source.
    SourceRows {
        /// Number of the source.
        source_id: usize,
        /// Rows read by this partition.
        rows: u64,
    },
    /// Event times that passed a watermark node. Absent when all were null.
    EventTimes {
        /// The watermark node.
        node: String,
        /// Smallest, in milliseconds (floored).
        min: i64,
        /// Largest, in milliseconds (floored).
        max: i64,
        /// Mean, in milliseconds.
        mean: f64,
        /// Rows with an event time.
        rows: u64,
    },
    /// Rows without an event time at a watermark node. Absent when there were none.
    NullTimes {
        /// The watermark node.
        node: String,
        /// How many.
        rows: u64,
    },
    /// Rows that an operator's late filter dropped.
    LateRows {
        /// The stateful operator.
        operator: String,
        /// (row, window) pairs dropped.
        rows: u64,
    },
    /// What one partition of a stateful operator did.
    State {
        /// The operator.
        operator: String,
        /// Keys in state after the epoch.
        total: u64,
        /// Keys written.
        updated: u64,
        /// Keys removed.
        removed: u64,
        /// Bytes of memory held.
        memory_bytes: u64,
    },
    /// A further number that an operator counts; those of its partitions add up.
    Metric {
        /// The operator.
        operator: String,
        /// As progress reports show it.
        name: String,
        /// What one partition counted.
        value: u64,
    },
    /// When the earliest timer that follows the clock is due.
    NextTimer {
        /// The operator.
        operator: String,
        /// Milliseconds since 1970; it may be too early, never too late.
        at_millis: i64,
    },
    /// What one partition of a stateful operator gives out or forgets next, by event time. Absent when it holds nothing
    /// that the watermark ends.
    NextExpiry {
        /// The operator.
        operator: String,
        /// The watermark of the operator that is needed, in milliseconds since 1970; it may be too early, never too late.
        at_millis: i64,
        /// The watermark of the operator in this epoch: joins below it may keep it behind that of the query.
        watermark_millis: i64,
    },
    /// An operator will never let a row through again.
    Exhausted {
        /// The operator.
        operator: String,
    },
    /// A part that the sink prepared.
    Part {
        /// As it goes into the commit record.
        part: PreparedPart,
    },
    /// A part that the sink of late rows prepared.
    LatePart {
        /// As it goes into the commit record.
        part: PreparedPart,
    },
}

/// Where the tasks of one process leave their reports until the root collects them.
#[derive(Debug, Clone, Default)]
pub struct Outbox {
    // A short section without awaits: a std mutex is enough.
    reports: Arc<Mutex<Vec<Report>>>,
}

impl Outbox {
    /// Adds one report.
    pub fn post(&self, report: Report) {
        self.reports
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(report);
    }

    /// Adds what an operator gives out or forgets next, if the watermark ends anything that it holds.
    pub(crate) fn post_next_expiry(
        &self,
        operator: &str,
        earliest: Option<i64>,
        watermark: Watermark,
    ) {
        if let Some(at_millis) = earliest {
            self.post(Report::NextExpiry {
                operator: operator.to_owned(),
                at_millis,
                watermark_millis: watermark.millis(),
            });
        }
    }

    /// Takes all reports out.
    pub fn drain(&self) -> Vec<Report> {
        std::mem::take(&mut *self.reports.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The schema of the root's rows.
pub fn report_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new(
        "report",
        DataType::Utf8,
        false,
    )]))
}

/// Reports as rows.
pub fn encode(reports: &[Report]) -> Result<RecordBatch> {
    let texts = reports
        .iter()
        .map(serde_json::to_string)
        .collect::<Result<Vec<_>, _>>()?;
    Ok(RecordBatch::try_new(
        report_schema(),
        vec![Arc::new(StringArray::from(texts))],
    )?)
}

/// Rows as reports.
pub fn decode(batch: &RecordBatch) -> Result<Vec<Report>> {
    let texts = batch
        .columns()
        .first()
        .and_then(|column| column.as_string_opt::<i32>())
        .ok_or_else(|| Error::internal("the plan's root gave something other than reports"))?;
    (0..texts.len())
        .map(|row| Ok(serde_json::from_str(texts.value(row))?))
        .collect()
}
