//! Rows that a sink holds in memory between `prepare` and the moment it delivers or publishes them.
//!
//! They are kept by epoch *and run*: what a failed run left behind is never mixed with the rows of its replay.

use std::collections::{BTreeMap, HashMap};

use arrow::array::RecordBatch;
use futures::TryStreamExt;
use headwater_core::{BatchStream, Epoch, EpochWrite, PartWrite, PreparedPart, Result, RunId};
use parking_lot::Mutex;
use serde_json::Value;

/// Prepared batches.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    // Locked for map operations only, never while rows arrive.
    held: Mutex<HashMap<(Epoch, RunId), Partitions>>,
}

/// The batches of an attempt by partition.
type Partitions = BTreeMap<usize, Vec<RecordBatch>>;

impl Pending {
    /// Receives all rows of one partition and holds them; a second attempt at the partition replaces the first.
    pub(crate) async fn receive(&self, part: PartWrite, rows: BatchStream) -> Result<PreparedPart> {
        let batches: Vec<RecordBatch> = rows.try_collect().await?;
        let rows = batches.iter().map(|batch| batch.num_rows() as u64).sum();
        self.hold(part, batches);
        Ok(prepared(part, rows))
    }

    /// Holds the rows of one partition.
    pub(crate) fn hold(&self, part: PartWrite, batches: Vec<RecordBatch>) {
        self.held
            .lock()
            .entry(key(&part.write))
            .or_default()
            .insert(part.partition, batches);
    }

    /// The rows of an epoch, partition after partition, which stay held; `None` if none were prepared here.
    pub(crate) fn peek(&self, write: &EpochWrite) -> Option<Vec<RecordBatch>> {
        let held = self.held.lock();
        let parts = held.get(&key(write))?;
        Some(parts.values().flatten().cloned().collect())
    }

    /// Takes the rows of an epoch, partition after partition; `None` if none are held (any more).
    pub(crate) fn take(&self, write: &EpochWrite) -> Option<Vec<RecordBatch>> {
        let parts = self.held.lock().remove(&key(write))?;
        Some(parts.into_values().flatten().collect())
    }

    /// Forgets the rows of an attempt.
    pub(crate) fn discard(&self, write: &EpochWrite) {
        self.held.lock().remove(&key(write));
    }
}

fn key(write: &EpochWrite) -> (Epoch, RunId) {
    (write.epoch, write.run)
}

/// The record of a partition of which nothing needs to be known later but its number of rows.
pub(crate) fn prepared(part: PartWrite, rows: u64) -> PreparedPart {
    PreparedPart {
        partition: part.partition,
        rows,
        detail: Value::Null,
    }
}
