//! What a source of rows promises to the engine.
//!
//! A source is a table that only grows. The engine asks how far it has grown ([`Source::discover`]), writes the answer
//! to the log, and then reads exactly that range ([`Source::splits`], [`Source::open`]), again after a crash if need
//! be. A source that cannot give the same range twice must say so ([`Source::is_replayable`]).

use std::{collections::BTreeMap, fmt, num::NonZeroU64, sync::Arc};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use async_trait::async_trait;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Clock, Offset, OffsetRange, Result, Storage};

/// Batches of one partition, in the order of arrival.
pub type BatchStream = BoxStream<'static, Result<RecordBatch>>;

/// How much a source may offer to one epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// What the source's own rate options allow (`maxFilesPerTrigger`, …).
    Configured,
    /// Everything there is.
    All,
}

/// What a source has found beyond an offset.
#[derive(Debug, Clone, PartialEq)]
pub enum Discovery {
    /// No rows beyond the offset.
    Nothing,
    /// Rows up to `end`. An increment may turn out to hold no rows at all; it is new data all the same.
    Increment(Increment),
}

/// A step forward of a source.
#[derive(Debug, Clone, PartialEq)]
pub struct Increment {
    /// Where the step ends.
    pub end: Offset,
    /// Kept beside the offsets in the plan record: see [`OffsetRange::detail`].
    pub detail: Value,
}

/// A piece of an [`OffsetRange`] that one task reads, as plain data.
///
/// Splits are ordered: an operator whose answer depends on the order of arrival takes rows in order of (split, row).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Split {
    /// What to read; only the source knows how to read it.
    pub descriptor: Value,
    /// Rows it holds, if known; used for balancing only.
    pub estimated_rows: Option<u64>,
}

/// A growing table.
///
/// All methods may be called from several threads; the engine calls [`Self::discover`], [`Self::resume`] and
/// [`Self::acknowledge`] one at a time.
#[async_trait]
pub trait Source: fmt::Debug + Send + Sync + 'static {
    /// Columns of every batch, in order. Fixed for the life of the source.
    fn schema(&self) -> SchemaRef;

    /// What progress reports call it, for instance `FileSource[data/logs]`. Holds no secrets.
    fn description(&self) -> String;

    /// Whether the same range can be read again after a crash.
    fn is_replayable(&self) -> bool {
        true
    }

    /// Looks for rows beyond `start` (`None`: from the source's configured beginning). Nothing that a restart sees may
    /// depend on it: all that a source may write here is what it has put off for ranges that were acknowledged.
    async fn discover(&self, start: Option<&Offset>, admission: Admission) -> Result<Discovery>;

    /// What [`Self::discover`] would offer beyond `start` under the configured admission, as far as that is known
    /// without looking anywhere; `None` if it is not. Must change nothing at all.
    ///
    /// The engine asks while the epoch that ends at `start` still runs, and reads the increment ahead. It uses what it
    /// has read if the next `discover` offers just that, and drops it otherwise. Of a query whose sources all answer
    /// it calls that `discover` early, before the range up to `start` is acknowledged. Only for sources that can replay.
    fn peek(&self, _start: &Offset) -> Option<Increment> {
        None
    }

    /// Pieces of a range for about `parallelism` tasks, in order of arrival. Called again for the same range after a
    /// restart, it must describe the same rows.
    async fn splits(&self, range: &OffsetRange, parallelism: usize) -> Result<Vec<Split>>;

    /// Reads one split. `projection` lists the wanted columns of [`Self::schema`] in order; `None` means all.
    /// Nothing is read before the stream is polled.
    fn open(&self, split: &Split, projection: Option<&[usize]>) -> Result<BatchStream>;

    /// As [`Self::open`], where the reader would rather have the columns at these places among the wanted ones, which are
    /// text, as arrays of views. A source that saves a copy by it gives them as views; any other gives them as ever.
    fn open_with_views(
        &self,
        split: &Split,
        projection: Option<&[usize]>,
        _views: &[usize],
    ) -> Result<BatchStream> {
        self.open(split, projection)
    }

    /// Called at a restart, before anything else, once for each range that the log still holds, oldest first: the
    /// source may have acknowledged a range already or never have seen it in this process.
    async fn resume(&self, _range: &OffsetRange) -> Result<()> {
        Ok(())
    }

    /// The range is committed and published, and will never be read again by this query. Called at least once for
    /// each range, in order, and at a restart again for the newest: what the source does behind the epochs, it must
    /// have done for all ranges before. It may now compact its own log or clean up its input.
    async fn acknowledge(&self, _range: &OffsetRange) -> Result<()> {
        Ok(())
    }

    /// From now on offers only what is there at this moment (trigger available-now).
    async fn freeze(&self) -> Result<()>;

    /// Resolves when rows beyond what the last [`Self::discover`] offered may exist. It may resolve without any;
    /// it must not stay pending when there are. An idle query awaits it, so it must not keep a processor busy.
    async fn changed(&self);

    /// The newest position the source knows of, for progress reports only.
    async fn latest(&self) -> Option<Offset> {
        None
    }

    /// Further numbers for the report of an epoch that ended at `end`, by name: how far that is behind, for instance.
    /// Nothing is looked up for them.
    fn metrics(&self, _end: &Offset) -> BTreeMap<String, String> {
        BTreeMap::new()
    }
}

/// What a source is given when a query starts.
#[derive(Debug, Clone)]
pub struct SourceContext {
    /// Number of the source in its query, by position in the plan.
    pub source_id: usize,
    /// Durable storage of its own inside the query's checkpoint; paths are relative to the source's folder.
    pub storage: Arc<dyn Storage>,
    /// The clock of the query.
    pub clock: Arc<dyn Clock>,
    /// How many of its newest epochs the query's log keeps the records of, and with them the ranges that a restart tells
    /// the source of ([`Source::resume`]).
    pub retained: NonZeroU64,
}

/// A streaming table as a session knows it: makes the [`Source`] when a query over it starts.
#[async_trait]
pub trait SourceProvider: fmt::Debug + Send + Sync + 'static {
    /// Columns of the table.
    fn schema(&self) -> SchemaRef;

    /// Identity of the source across restarts, for instance `file parquet data/logs`: a restart whose source
    /// describes itself differently is refused. Holds no secrets.
    fn identity(&self) -> String;

    /// Makes the source for one run of one query.
    async fn create(&self, context: SourceContext) -> Result<Arc<dyn Source>>;
}
