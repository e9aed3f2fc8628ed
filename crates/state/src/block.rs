//! Stored rows: append-only Arrow batches that know which of their rows are still live.
//!
//! Invariant: a row is live exactly if its entry in `slots` is not [`DEAD`]; then that slot of the block's segment is
//! the row's key. A stored row never changes; replacing it means that another row becomes the live one. Who lives
//! where, and when garbage is collected, is decided elsewhere.

use std::sync::Arc;

use arrow::{
    array::{BooleanArray, RecordBatch},
    buffer::BooleanBuffer,
    compute::filter_record_batch,
};
use headwater_core::Result;

use crate::{columns::batch_bytes, snapshot::LiveRows};

/// In place of a slot: the row is garbage.
pub(crate) const DEAD: u32 = u32::MAX;

/// Where a stored row is: a block and a row of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Position(u64);

impl Position {
    /// No row.
    pub(crate) const NONE: Self = Self(u64::MAX);

    pub(crate) fn new(block: u32, row: usize) -> Self {
        // A block has at most `MAX_BLOCK_ROWS` rows.
        Self(u64::from(block) << 32 | row as u64)
    }

    pub(crate) fn is_some(self) -> bool {
        self != Self::NONE
    }

    pub(crate) fn block(self) -> u32 {
        (self.0 >> 32) as u32
    }

    pub(crate) fn row(self) -> usize {
        self.0 as u32 as usize
    }
}

/// One batch of stored rows.
#[derive(Debug)]
pub(crate) struct Block {
    /// Keys, values and, if there is one, the expiry.
    pub(crate) rows: RecordBatch,
    /// The slot of each row's key in the segment, or [`DEAD`]. Shared with snapshots under way: copied on write.
    pub(crate) slots: Arc<Vec<u32>>,
    /// In a chained store, the row before this one of the same key; otherwise empty.
    pub(crate) older: Vec<Position>,
    /// Number of live rows.
    pub(crate) live: usize,
    /// Memory of the rows.
    bytes: usize,
    /// The segment it belongs to.
    pub(crate) segment: u32,
    /// Whether it waits for garbage collection.
    queued: bool,
}

impl Block {
    /// A block whose rows are all live, each at its slot of `segment`.
    pub(crate) fn new(rows: RecordBatch, slots: Vec<u32>, segment: u32, chained: bool) -> Self {
        Self {
            bytes: batch_bytes(&rows),
            older: if chained {
                vec![Position::NONE; slots.len()]
            } else {
                Vec::new()
            },
            live: slots.len(),
            slots: Arc::new(slots),
            rows,
            segment,
            queued: false,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.num_rows()
    }

    /// Less than half of its rows are live.
    pub(crate) fn is_sparse(&self) -> bool {
        self.live * 2 < self.len()
    }

    /// The live rows.
    pub(crate) fn live_batch(&self) -> Result<RecordBatch> {
        self.capture().live_batch()
    }

    /// The rows and which of them are live now, sharing all memory.
    pub(crate) fn capture(&self) -> Captured {
        Captured {
            rows: self.rows.clone(),
            slots: Arc::clone(&self.slots),
            live: self.live,
        }
    }

    /// Rows and the slots they belong to, without the dead ones.
    pub(crate) fn live_rows(&self) -> impl Iterator<Item = (usize, u32)> + '_ {
        let rows = self.slots.iter().copied().enumerate();
        rows.filter(|(_, slot)| *slot != DEAD)
    }
}

/// A block as it was at some moment.
#[derive(Debug, Clone)]
pub(crate) struct Captured {
    rows: RecordBatch,
    slots: Arc<Vec<u32>>,
    live: usize,
}

impl LiveRows for Captured {
    fn live(&self) -> usize {
        self.live
    }

    fn live_batch(&self) -> Result<RecordBatch> {
        if self.live == self.rows.num_rows() {
            return Ok(self.rows.clone());
        }
        let live: BooleanBuffer = self.slots.iter().map(|slot| *slot != DEAD).collect();
        Ok(filter_record_batch(
            &self.rows,
            &BooleanArray::new(live, None),
        )?)
    }
}

/// All blocks of a store, by number.
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    slab: Vec<Option<Block>>,
    free: Vec<u32>,
    bytes: usize,
    /// Live rows of all blocks.
    live: usize,
    /// Blocks that have become sparse since they were last looked at.
    sparse: Vec<u32>,
}

impl Blocks {
    pub(crate) fn add(&mut self, block: Block) -> u32 {
        self.bytes += block.bytes + block_overhead(&block);
        self.live += block.live;
        match self.free.pop() {
            Some(id) => {
                self.slab[id as usize] = Some(block);
                id
            }
            None => {
                self.slab.push(Some(block));
                (self.slab.len() - 1) as u32
            }
        }
    }

    pub(crate) fn remove(&mut self, id: u32) -> Option<Block> {
        let block = self.slab[id as usize].take()?;
        self.bytes -= block.bytes + block_overhead(&block);
        self.live -= block.live;
        self.free.push(id);
        Some(block)
    }

    /// A block that must exist.
    pub(crate) fn get(&self, id: u32) -> &Block {
        self.slab[id as usize]
            .as_ref()
            .expect("segments list only blocks that exist")
    }

    pub(crate) fn get_mut(&mut self, id: u32) -> &mut Block {
        self.slab[id as usize]
            .as_mut()
            .expect("segments list only blocks that exist")
    }

    /// Upper bound of the numbers of blocks.
    pub(crate) fn bound(&self) -> usize {
        self.slab.len()
    }

    /// Declares a row garbage; a row that is garbage already stays so.
    pub(crate) fn kill(&mut self, position: Position) {
        let block = self.get_mut(position.block());
        let slot = &mut Arc::make_mut(&mut block.slots)[position.row()];
        if *slot == DEAD {
            return;
        }
        *slot = DEAD;
        block.live -= 1;
        if block.is_sparse() && !block.queued {
            block.queued = true;
            self.sparse.push(position.block());
        }
        self.live -= 1;
    }

    /// Number of live rows.
    pub(crate) fn live(&self) -> usize {
        self.live
    }

    /// The row before this one of the same key.
    pub(crate) fn older(&self, position: Position) -> Position {
        let older = &self.get(position.block()).older;
        older.get(position.row()).copied().unwrap_or(Position::NONE)
    }

    /// Takes the blocks that have become sparse and still exist, with their segments.
    pub(crate) fn take_sparse(&mut self) -> Vec<(u32, u32)> {
        let ids = std::mem::take(&mut self.sparse);
        ids.into_iter()
            .filter_map(|id| {
                // The number may have been given to another block in the meantime.
                let block = self.slab[id as usize].as_mut()?;
                std::mem::take(&mut block.queued).then_some((block.segment, id))
            })
            .collect()
    }

    /// Memory of all rows and of what is kept beside them, in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.bytes + self.slab.capacity() * size_of::<Option<Block>>()
    }
}

fn block_overhead(block: &Block) -> usize {
    block.slots.len() * size_of::<u32>() + block.older.len() * size_of::<Position>()
}
