//! A version of a store, captured at once and encoded later.
//!
//! Invariant: what is captured never changes, because stored rows never do and the record of which are live is
//! copied by the store before it changes it.

use std::sync::Arc;

use headwater_core::{Epoch, Error, Result};

use crate::{
    block::Captured,
    delta::{self, Change, DeltaBytes},
    section::{self, Kind},
    spec::Shape,
};

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
        let blocks = self.blocks.iter().filter(|block| block.live > 0);
        let changes: Vec<Change> = blocks
            .map(|block| block.live_batch().map(Change::Put))
            .collect::<Result<_>>()?;
        Ok(DeltaBytes {
            bytes: section::encode(&self.shape, Kind::Snapshot, version, &changes)?,
            rows: delta::rows_put(&changes),
            full: true,
        })
    }
}
