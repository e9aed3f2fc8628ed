//! What a sink promises to the engine.
//!
//! A sink receives one epoch in two steps, so that it appears exactly once: [`Sink::prepare`] makes the rows of a
//! partition durable but invisible; after the commit record is durable, [`Sink::publish`] makes them visible, as often
//! as it is asked. A sink that cannot resume a prepared write (a socket, user code) delivers in
//! [`Sink::before_commit`], knowing the epoch's number, and is at least once unless it uses that number.

use std::{fmt, sync::Arc};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{BatchStream, Clock, Epoch, OutputMode, QueryId, Result, RunId, Storage};

/// One epoch as a sink sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochWrite {
    /// The query.
    pub query: QueryId,
    /// The run that writes; a replay of the epoch after a crash has another one.
    pub run: RunId,
    /// The epoch; a replay has the same one.
    pub epoch: Epoch,
    /// Which rows it gets.
    pub mode: OutputMode,
}

impl EpochWrite {
    /// Names this attempt at this epoch; part of hidden file names.
    pub fn owner(&self) -> String {
        format!("{}-{}", self.epoch, self.run.short())
    }
}

/// One partition of one epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartWrite {
    /// The epoch.
    pub write: EpochWrite,
    /// The partition, counted from 0.
    pub partition: usize,
}

/// What a sink prepared for one partition, as plain data: it goes into the commit record and comes back from there
/// after a crash.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PreparedPart {
    /// The partition.
    pub partition: usize,
    /// Rows received.
    pub rows: u64,
    /// What [`Sink::publish`] needs.
    pub detail: Value,
}

/// A receiver of epochs.
#[async_trait]
pub trait Sink: fmt::Debug + Send + Sync + 'static {
    /// What progress reports call it, for instance `FileSink[out/errors]`. Holds no secrets.
    fn description(&self) -> String;

    /// Receives the rows of one partition: durable when it returns (if the sink is durable at all), still invisible.
    /// Partitions of one epoch may be prepared at the same time.
    async fn prepare(&self, part: PartWrite, rows: BatchStream) -> Result<PreparedPart>;

    /// All partitions are prepared, the epoch is not committed yet. For sinks that deliver rather than publish; what
    /// it returns goes into the commit record.
    async fn before_commit(
        &self,
        _write: &EpochWrite,
        parts: Vec<PreparedPart>,
    ) -> Result<Vec<PreparedPart>> {
        Ok(parts)
    }

    /// Makes a committed epoch visible. Called at least once for each committed epoch, before the next epoch is
    /// planned; calling it again changes nothing.
    async fn publish(&self, write: &EpochWrite, parts: &[PreparedPart]) -> Result<()>;

    /// Forgets whatever was prepared for an epoch that was not committed by `write.run`: that run failed or died.
    async fn discard(&self, write: &EpochWrite) -> Result<()>;

    /// The query stops in good order: whatever the sink does behind the epochs is finished here. Not called at a
    /// crash, so nothing that is promised may depend on it.
    async fn close(&self) -> Result<()> {
        Ok(())
    }
}

/// What a sink is given when a query starts.
#[derive(Debug, Clone)]
pub struct SinkContext {
    /// The query.
    pub query: QueryId,
    /// The query's name, if it has one.
    pub query_name: Option<String>,
    /// Columns of the rows.
    pub schema: SchemaRef,
    /// The output mode.
    pub mode: OutputMode,
    /// Whether it is the query's sink of late rows: what a sink keeps elsewhere under the query's name, it keeps under
    /// another name then.
    pub is_late: bool,
    /// Durable storage of its own inside the query's checkpoint; paths are relative to the sink's folder.
    pub storage: Arc<dyn Storage>,
    /// The clock of the query.
    pub clock: Arc<dyn Clock>,
}

/// Makes the [`Sink`] when a query starts.
#[async_trait]
pub trait SinkProvider: fmt::Debug + Send + Sync + 'static {
    /// Identity of the sink across restarts, for instance `file parquet out/errors`. Holds no secrets.
    fn identity(&self) -> String;

    /// Refuses what this sink cannot receive (an output mode, a column type), with what to write instead.
    fn check(&self, mode: OutputMode, schema: &SchemaRef) -> Result<()>;

    /// Makes the sink for one run of one query.
    async fn create(&self, context: SinkContext) -> Result<Arc<dyn Sink>>;
}
