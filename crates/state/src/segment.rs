//! The keys of one time bucket.
//!
//! Invariant: `heads[slot]` is the newest live row of the slot's key, or none; `keys` counts the slots that have one;
//! `blocks` lists the segment's blocks, and in a chained store a key's rows are in order of age along that list.
//! Dropping a segment drops all of its keys at once: that is how state expires.

use arrow::{array::ArrayRef, datatypes::SchemaRef};
use headwater_core::{Error, Result};

use crate::{
    block::Position,
    index::{KeyIndex, KeyIndexFactory},
    segments::Bucketed,
};

/// In `marks`: not seen by the touch under way.
const UNMARKED: u32 = u32::MAX;

pub(crate) struct Segment {
    /// None without key columns: then slot 0 is the only key.
    index: Option<Box<dyn KeyIndex>>,
    pub(crate) heads: Vec<Position>,
    /// One scratch number per slot, [`UNMARKED`] between calls; saves a hash table per touch.
    marks: Vec<u32>,
    pub(crate) blocks: Vec<u32>,
    pub(crate) keys: usize,
    /// No row expires before this; `i64::MAX` if no row ever does.
    pub(crate) earliest: i64,
    /// Time bucket; none for keys that never expire.
    pub(crate) bucket: Option<i64>,
}

impl Bucketed for Segment {
    fn bucket(&self) -> Option<i64> {
        self.bucket
    }

    fn set_bucket(&mut self, bucket: i64) {
        self.bucket = Some(bucket);
    }

    fn memory_bytes(&self) -> usize {
        Segment::memory_bytes(self)
    }
}

impl Segment {
    pub(crate) fn new(
        factory: &dyn KeyIndexFactory,
        keys: &SchemaRef,
        bucket: Option<i64>,
    ) -> Result<Self> {
        let index = match keys.fields().is_empty() {
            true => None,
            false => Some(factory.create(keys)?),
        };
        Ok(Self {
            index,
            heads: Vec::new(),
            marks: Vec::new(),
            blocks: Vec::new(),
            keys: 0,
            earliest: i64::MAX,
            bucket,
        })
    }

    /// Slot of each row's key; new keys get slots without a row.
    pub(crate) fn intern(
        &mut self,
        keys: &[ArrayRef],
        rows: usize,
        slots: &mut Vec<usize>,
    ) -> Result<()> {
        let known = match &mut self.index {
            Some(index) => {
                index.intern(keys, slots)?;
                index.len()
            }
            None => {
                slots.clear();
                slots.resize(rows, 0);
                rows.min(1).max(self.heads.len())
            }
        };
        if known >= UNMARKED as usize {
            return Err(Error::invalid(
                "more than 4 billion keys in one segment of state: use more partitions",
            ));
        }
        if slots.len() != rows {
            return Err(Error::internal(format!(
                "the key index gave {} slots for {rows} rows",
                slots.len()
            )));
        }
        self.heads.resize(known, Position::NONE);
        self.marks.resize(known, UNMARKED);
        Ok(())
    }

    /// Number of slots, with and without a row.
    pub(crate) fn slots(&self) -> usize {
        self.heads.len()
    }

    /// The number that `slot` was marked with, or `next`, with which it is marked now.
    #[inline]
    pub(crate) fn mark(&mut self, slot: u32, next: usize) -> usize {
        let mark = &mut self.marks[slot as usize];
        if *mark == UNMARKED {
            *mark = next as u32;
        }
        *mark as usize
    }

    /// Undoes [`Self::mark`].
    pub(crate) fn unmark(&mut self, slot: u32) {
        self.marks[slot as usize] = UNMARKED;
    }

    /// Memory of the index and the slots, without the rows, in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        let index = self.index.as_ref().map_or(0, |index| index.memory_bytes());
        index
            + self.heads.capacity() * size_of::<Position>()
            + self.marks.capacity() * size_of::<u32>()
            + self.blocks.capacity() * size_of::<u32>()
            + size_of::<Self>()
    }
}
