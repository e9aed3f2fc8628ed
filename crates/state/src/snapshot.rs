//! A version of a store, captured at once and encoded later.
//!
//! Invariant: what is captured never changes, because stored rows never do and the record of which are live is
//! copied by the store before it changes it.

use std::sync::Arc;

use arrow::{array::RecordBatch, compute::concat_batches};
use headwater_core::{Epoch, Error, Result};

use crate::{
    block::Captured,
    delta::{self, Change, DeltaBytes},
    section::{self, Kind},
    spec::Shape,
};

/// Blocks are united until they have this many rows.
const BATCH_ROWS: usize = 8_192;

/// All rows of one version of a store, sharing memory with it.
#[derive(Debug, Clone)]
pub struct Snapshot {
    shape: Arc<Shape>,
    version: Option<Epoch>,
    is_committed: bool,
    blocks: Vec<Captured>,
}

impl Snapshot {
    pub(crate) fn new(
        shape: Arc<Shape>,
        version: Option<Epoch>,
        is_committed: bool,
        blocks: Vec<Captured>,
    ) -> Self {
        Self {
            shape,
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
        self.blocks.iter().map(|block| block.live).sum()
    }

    /// All rows as the bytes of a section. Takes time in proportion to the state.
    ///
    /// # Errors
    /// `Internal` if the store had uncommitted changes, or no version yet, when it was captured.
    pub fn encode(&self) -> Result<DeltaBytes> {
        let version = self.version.filter(|_| self.is_committed).ok_or_else(|| {
            Error::internal("a snapshot was taken of state that is not committed")
        })?;
        let changes = self.puts()?;
        Ok(DeltaBytes {
            bytes: section::encode(&self.shape, Kind::Snapshot, version, &changes)?,
            rows: delta::rows_put(&changes),
            full: true,
        })
    }

    /// The rows as puts, small blocks united: thousands of segments must not make thousands of tiny batches.
    fn puts(&self) -> Result<Vec<Change>> {
        let mut puts = Vec::new();
        let (mut small, mut rows) = (Vec::new(), 0);
        for block in self.blocks.iter().filter(|block| block.live > 0) {
            small.push(block.live_batch()?);
            rows += block.live;
            if rows >= BATCH_ROWS {
                puts.push(united(&self.shape, &mut small)?);
                rows = 0;
            }
        }
        if !small.is_empty() {
            puts.push(united(&self.shape, &mut small)?);
        }
        Ok(puts)
    }
}

fn united(shape: &Shape, batches: &mut Vec<RecordBatch>) -> Result<Change> {
    let batches = std::mem::take(batches);
    Ok(Change::Put(match batches.as_slice() {
        [single] => single.clone(),
        several => concat_batches(&shape.rows, several)?,
    }))
}
