//! The rows of one time bucket.
//!
//! A row has a slot: its place among all rows of the segment, dead ones included. Invariants: slots are in order of
//! age, that is of the rows' numbers, unless `is_disordered`; a live row is in the chain of its hash, a dead one in
//! none; merging blocks moves no slot.

use std::sync::Arc;

use arrow::{
    array::{Array, BooleanArray, Int64Array, RecordBatch, UInt64Array},
    compute::{filter_record_batch, max, min},
};
use headwater_core::{Error, Result};

use super::{
    bits::Bits,
    index::{Index, NONE},
    spec::RowsShape,
};
use crate::{columns::batch_bytes, segments::Bucketed, snapshot::LiveRows, spec::batch_of};

/// Rows that came, or were moved, together.
#[derive(Debug)]
pub(crate) struct Block {
    /// Slot of its first row.
    pub(crate) start: u32,
    /// Keys, values, numbers and, if there are, expiries.
    pub(crate) rows: RecordBatch,
    pub(crate) numbers: UInt64Array,
    pub(crate) expiry: Option<Int64Array>,
    bytes: usize,
}

impl Block {
    pub(crate) fn new(shape: &RowsShape, rows: RecordBatch, start: u32) -> Self {
        Self {
            start,
            bytes: batch_bytes(&rows),
            numbers: shape.numbers(&rows),
            expiry: shape.expiry(&rows),
            rows,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.num_rows()
    }

    /// Slots of its rows.
    pub(crate) fn slots(&self) -> std::ops::Range<usize> {
        self.start as usize..self.start as usize + self.len()
    }
}

#[derive(Debug)]
pub(crate) struct Segment {
    /// Time bucket; none for rows that never expire.
    bucket: Option<i64>,
    pub(crate) blocks: Vec<Block>,
    /// For each slot the chain it is in; of a dead row, any number.
    pub(crate) chains: Vec<u32>,
    /// For each slot the next older one of its chain.
    pub(crate) older: Vec<u32>,
    /// Which slots are live, and marked. Shared with snapshots under way: copied on write.
    pub(crate) live: Arc<Bits>,
    pub(crate) marked: Arc<Bits>,
    /// Number of live rows.
    pub(crate) rows: usize,
    /// No row expires before or after this; `i64::MAX` if no row ever does.
    pub(crate) earliest: i64,
    pub(crate) latest: i64,
    /// The largest number of a row.
    pub(crate) newest: Option<u64>,
    /// Whether slots are not in order of the rows' numbers, as may happen while rows are restored.
    pub(crate) is_disordered: bool,
    /// Memory of the blocks.
    bytes: usize,
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
    pub(crate) fn new(bucket: Option<i64>) -> Self {
        Self {
            bucket,
            blocks: Vec::new(),
            chains: Vec::new(),
            older: Vec::new(),
            live: Arc::default(),
            marked: Arc::default(),
            rows: 0,
            earliest: i64::MAX,
            latest: bucket.map_or(i64::MAX, |_| i64::MIN),
            newest: None,
            is_disordered: false,
            bytes: 0,
        }
    }

    /// Whether it expires after another segment.
    pub(crate) fn is_later(&self, other: &Self) -> bool {
        let time = |segment: &Self| (segment.bucket.is_none(), segment.bucket);
        time(self) > time(other)
    }

    /// Whether its rows never expire.
    pub(crate) fn never_expires(&self) -> bool {
        self.bucket.is_none()
    }

    /// Number of slots: rows, dead ones included.
    pub(crate) fn slots(&self) -> usize {
        self.chains.len()
    }

    /// More than half of its rows are dead.
    pub(crate) fn is_sparse(&self) -> bool {
        self.rows * 2 < self.slots()
    }

    /// Appends a block, without any chains; the slot of its first row.
    pub(crate) fn push(
        &mut self,
        shape: &RowsShape,
        rows: RecordBatch,
        marked: Option<&BooleanArray>,
    ) -> Result<u32> {
        let start = u32::try_from(self.slots()).unwrap_or(NONE);
        if NONE - start <= rows.num_rows() as u32 {
            return Err(Error::invalid(
                "more than 4 billion rows in one segment of state: use more partitions",
            ));
        }
        let block = Block::new(shape, rows, start);
        for number in block.numbers.values() {
            self.is_disordered |= self.newest.is_some_and(|newest| newest >= *number);
            self.newest = self.newest.max(Some(*number));
        }
        if self.bucket.is_some() {
            let expiry = block.expiry.as_ref();
            self.earliest = expiry.and_then(min).unwrap_or(i64::MAX).min(self.earliest);
            self.latest = expiry.and_then(max).unwrap_or(i64::MIN).max(self.latest);
        }
        Arc::make_mut(&mut self.live).extend(block.len(), true);
        if shape.spec.marks {
            let marks = Arc::make_mut(&mut self.marked);
            let is_marked = |row| marked.is_some_and(|m| m.is_valid(row) && m.value(row));
            (0..block.len()).for_each(|row| marks.push(is_marked(row)));
        }
        self.rows += block.len();
        self.bytes += block.bytes;
        self.blocks.push(block);
        Ok(start)
    }

    /// Puts one block in the place of several that follow each other and have the same rows.
    pub(crate) fn replace_blocks(&mut self, old: std::ops::Range<usize>, new: Block) {
        self.bytes += new.bytes;
        for block in self.blocks.splice(old, [new]) {
            self.bytes -= block.bytes;
        }
    }

    /// Puts the slots from `start` on at the front of these chains.
    pub(crate) fn link(&mut self, index: &mut Index, start: u32, chains: &[u32]) {
        self.chains.extend_from_slice(chains);
        let links = (start..).zip(chains);
        let older = links.map(|(slot, chain)| {
            let head = &mut index.chain_mut(*chain).head;
            std::mem::replace(head, slot)
        });
        self.older.extend(older);
    }

    /// Declares live rows dead and takes them out of their chains; chains that are left without a row are given up.
    pub(crate) fn kill(&mut self, index: &mut Index, slots: &[u32]) {
        let live = Arc::make_mut(&mut self.live);
        for slot in slots {
            live.clear(*slot as usize);
        }
        self.rows -= slots.len();
        let mut chains: Vec<u32> = slots.iter().map(|s| self.chains[*s as usize]).collect();
        chains.sort_unstable();
        chains.dedup();
        for id in chains {
            let head = index.chain(id).head;
            let mut slot = self.live_from(head);
            if slot == NONE {
                index.remove(id);
                continue;
            }
            index.chain_mut(id).head = slot;
            while slot != NONE {
                let older = self.live_from(self.older[slot as usize]);
                self.older[slot as usize] = older;
                slot = older;
            }
        }
    }

    /// The first live row of a chain, from this one on.
    fn live_from(&self, mut slot: u32) -> u32 {
        while slot != NONE && !self.live.get(slot as usize) {
            slot = self.older[slot as usize];
        }
        slot
    }

    /// The chains of the segment, each once.
    pub(crate) fn own_chains<'a>(&'a self, index: &'a Index) -> impl Iterator<Item = u32> + 'a {
        let slots = self.chains.iter().copied().enumerate();
        let live = slots.filter(|(slot, _)| self.live.get(*slot));
        live.filter(|(slot, chain)| index.chain(*chain).head as usize == *slot)
            .map(|(_, chain)| chain)
    }

    /// The block of a slot, by its place in `blocks`, and the row of it.
    #[inline]
    pub(crate) fn locate(&self, slot: u32) -> (usize, usize) {
        let after = self.blocks.partition_point(|block| block.start <= slot);
        let block = after - 1;
        (block, (slot - self.blocks[block].start) as usize)
    }

    /// The number of a row.
    pub(crate) fn number(&self, slot: u32) -> u64 {
        let (block, row) = self.locate(slot);
        self.blocks[block].numbers.value(row)
    }

    /// The expiry of a row; none if it never expires.
    pub(crate) fn expiry(&self, slot: u32) -> Option<i64> {
        let (block, row) = self.locate(slot);
        let expiry = self.blocks[block].expiry.as_ref()?;
        expiry.is_valid(row).then(|| expiry.value(row))
    }

    /// The slot of the live row with this number, if there is one. Slots must be in order.
    pub(crate) fn find(&self, number: u64) -> Option<u32> {
        let after = self
            .blocks
            .partition_point(|block| block.numbers.value(0) <= number);
        let block = &self.blocks[after.checked_sub(1)?];
        let row = block.numbers.values().binary_search(&number).ok()?;
        let slot = block.start + row as u32;
        self.live.get(slot as usize).then_some(slot)
    }

    /// What is live now among some rows of a block, sharing all memory.
    pub(crate) fn capture(
        &self,
        shape: &Arc<RowsShape>,
        block: &Block,
        rows: std::ops::Range<usize>,
    ) -> Captured {
        Captured {
            shape: Arc::clone(shape),
            start: block.start as usize + rows.start,
            rows: block.rows.slice(rows.start, rows.len()),
            live: Arc::clone(&self.live),
            marked: Arc::clone(&self.marked),
        }
    }

    #[cfg(any(test, feature = "test-util"))]
    pub(crate) fn block_bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.bytes
            + self.blocks.capacity() * size_of::<Block>()
            + (self.chains.capacity() + self.older.capacity()) * size_of::<u32>()
            + self.live.memory_bytes()
            + self.marked.memory_bytes()
            + size_of::<Self>()
    }
}

/// Rows of a block as they were at some moment.
#[derive(Debug, Clone)]
pub(crate) struct Captured {
    shape: Arc<RowsShape>,
    rows: RecordBatch,
    start: usize,
    live: Arc<Bits>,
    marked: Arc<Bits>,
}

impl LiveRows for Captured {
    fn live(&self) -> usize {
        let live = self.live.slice(self.start, self.rows.num_rows());
        live.count_set_bits()
    }

    fn live_batch(&self) -> Result<RecordBatch> {
        let rows = self.rows.num_rows();
        let mut columns = self.rows.columns().to_vec();
        if self.shape.spec.marks {
            let marked = BooleanArray::new(self.marked.slice(self.start, rows), None);
            columns.push(Arc::new(marked));
        }
        let batch = batch_of(&self.shape.layout.rows, columns, rows)?;
        let live = self.live.slice(self.start, rows);
        if live.count_set_bits() == rows {
            return Ok(batch);
        }
        Ok(filter_record_batch(&batch, &BooleanArray::new(live, None))?)
    }
}
