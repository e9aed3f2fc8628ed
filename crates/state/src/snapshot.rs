//! A version of a store, captured at once and encoded later.
//!
//! Invariant: what is captured never changes, because stored rows never do and the record of which are live is
//! copied by the store before it changes it.

use std::{fmt::Debug, sync::Arc};

use arrow::{array::RecordBatch, compute::concat_batches};
use headwater_core::{Epoch, Error, Result};

use crate::{
    delta::{self, Change, DeltaBytes},
    layout::Layout,
    section::{self, Kind},
};

/// Blocks are united until they have this many rows.
const BATCH_ROWS: usize = 8_192;

/// Stored rows as they were at some moment.
pub(crate) trait LiveRows: Debug + Send + Sync {
    /// Number of rows that were live.
    fn live(&self) -> usize;

    /// Those rows, as they are written.
    fn live_batch(&self) -> Result<RecordBatch>;
}

/// All rows of one version of a store, sharing memory with it.
#[derive(Debug, Clone)]
pub struct Snapshot {
    layout: Arc<Layout>,
    version: Option<Epoch>,
    is_committed: bool,
    blocks: Vec<Arc<dyn LiveRows>>,
}

impl Snapshot {
    pub(crate) fn new(
        layout: Arc<Layout>,
        version: Option<Epoch>,
        is_committed: bool,
        blocks: Vec<Arc<dyn LiveRows>>,
    ) -> Self {
        Self {
            layout,
            version,
            is_committed,
            blocks,
        }
    }

    /// The version that was captured.
    pub fn version(&self) -> Option<Epoch> {
        self.version
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.blocks.iter().map(|block| block.live()).sum()
    }

    /// All rows as they are written: keys, values, then number, expiry and mark as far as the store has them.
    pub(crate) fn batches(&self) -> Result<Vec<RecordBatch>> {
        let live = self.blocks.iter().filter(|block| block.live() > 0);
        live.map(|block| block.live_batch()).collect()
    }

    /// All rows as the bytes of a section. Takes time in proportion to the state.
    ///
    /// # Errors
    /// `Internal` if the store had uncommitted changes, or no version yet, when it was captured.
    pub fn encode(&self) -> Result<DeltaBytes> {
        let version = self.version.filter(|_| self.is_committed).ok_or_else(|| {
            Error::internal("a snapshot was taken of state that is not committed")
        })?;
        let changes = puts(&self.layout, self.blocks.iter().map(|block| block.as_ref()))?;
        Ok(DeltaBytes {
            bytes: section::encode(&self.layout, Kind::Snapshot, version, &changes)?,
            rows: delta::rows_put(&changes),
            full: true,
            live: self.rows() as u64,
        })
    }
}

/// The rows as puts, small blocks united: thousands of segments must not make thousands of tiny batches.
pub(crate) fn puts<'a>(
    layout: &Layout,
    blocks: impl Iterator<Item = &'a dyn LiveRows>,
) -> Result<Vec<Change>> {
    let mut puts = Vec::new();
    let (mut small, mut rows) = (Vec::new(), 0);
    for block in blocks {
        let live = block.live();
        if live == 0 {
            continue;
        }
        small.push(block.live_batch()?);
        rows += live;
        if rows >= BATCH_ROWS {
            puts.push(united(layout, &mut small)?);
            rows = 0;
        }
    }
    if !small.is_empty() {
        puts.push(united(layout, &mut small)?);
    }
    Ok(puts)
}

fn united(layout: &Layout, batches: &mut Vec<RecordBatch>) -> Result<Change> {
    let batches = std::mem::take(batches);
    Ok(Change::Put(match batches.as_slice() {
        [single] => single.clone(),
        several => concat_batches(&layout.rows, several)?,
    }))
}
