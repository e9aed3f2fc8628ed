//! Keeping what is stored compact.
//!
//! Three kinds of upkeep, each paid for by earlier work so that no epoch depends on the size of the state on average:
//! small blocks are merged eight at a time into blocks of the next size, so a row is copied at most five times and
//! the number of blocks stays small; a block that is less than half live is rewritten, which frees more rows than it
//! copies; an index that is less than half in use is built again.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, atomic::Ordering::Relaxed},
};

use headwater_core::Result;

use crate::{
    block::{Block, DEAD, Position},
    columns::compact_batch,
    keyed::KeyedState,
    pieces::MAX_BLOCK_ROWS,
    segment::Segment,
    spec::batch_of,
};

/// How many blocks of one size class are merged into one of the next.
const FAN_OUT: usize = 8;

/// Blocks of this class and larger are never merged: reading from a few large blocks costs nothing extra.
const LARGE: u32 = 5;

/// Slots that an index may waste before it is worth building it again.
const WASTED_SLOTS: usize = 1_024;

/// Size class of a number of rows: 0 below 8, 1 below 64, and so on.
fn class(rows: usize) -> u32 {
    rows.checked_ilog(FAN_OUT).unwrap_or(0)
}

impl KeyedState {
    /// Collects garbage that has grown larger than what it lies among. [`Self::commit`] calls it; it costs nothing
    /// if there is none.
    pub fn compact(&mut self) -> Result<()> {
        let mut sparse: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for (segment, block) in self.blocks.take_sparse() {
            sparse.entry(segment).or_default().push(block);
        }
        for (segment, blocks) in sparse {
            if !self.shape.spec.chained {
                self.rewrite(segment, &blocks)?;
            } else if self.is_mostly_garbage(segment) {
                // Rows point at older ones, so a chained segment is rewritten as a whole.
                let all = self.segments.get(segment).blocks.clone();
                self.rewrite(segment, &all)?;
            }
            self.settle(segment)?;
        }
        for id in self.segments.take_changed() {
            let segment = self.segments.get(id);
            if segment.slots() > 2 * segment.keys + WASTED_SLOTS {
                self.reindex(id)?;
            }
        }
        Ok(())
    }

    fn is_mostly_garbage(&self, segment: u32) -> bool {
        let blocks = self.segments.get(segment).blocks.iter();
        let (live, all) = blocks.fold((0, 0), |(live, all), block| {
            let block = self.blocks.get(*block);
            (live + block.live, all + block.len())
        });
        live * 2 < all
    }

    /// Merges the newest blocks of a segment while there are [`FAN_OUT`] of a size.
    pub(crate) fn settle(&mut self, segment: u32) -> Result<()> {
        loop {
            let blocks = &self.segments.get(segment).blocks;
            let size = |block: &u32| class(self.blocks.get(*block).len());
            let newest = blocks.last().map_or(LARGE, size);
            let run = blocks
                .iter()
                .rev()
                .take_while(|block| size(block) <= newest)
                .count();
            if newest >= LARGE || run < FAN_OUT {
                return Ok(());
            }
            let merged = blocks[blocks.len() - run..].to_vec();
            self.rewrite(segment, &merged)?;
        }
    }

    /// Copies the live rows of these blocks into new ones at the end of the segment and frees the old ones. In a
    /// chained store the blocks are the newest ones of the segment, in order.
    fn rewrite(&mut self, segment: u32, ids: &[u32]) -> Result<()> {
        let mut live = Vec::new();
        for id in ids {
            let rows = self.blocks.get(*id).live_rows();
            live.extend(rows.map(|(row, slot)| (Position::new(*id, row), slot)));
        }
        let mut moved = HashMap::new();
        let mut made = Vec::new();
        for piece in live.chunks(MAX_BLOCK_ROWS) {
            made.push(self.rewrite_piece(segment, piece, &mut moved)?);
        }
        for id in ids {
            self.blocks.remove(*id);
        }
        let blocks = &mut self.segments.get_mut(segment).blocks;
        blocks.retain(|id| !ids.contains(id));
        blocks.extend(made);
        Ok(())
    }

    fn rewrite_piece(
        &mut self,
        segment: u32,
        piece: &[(Position, u32)],
        moved: &mut HashMap<Position, Position>,
    ) -> Result<u32> {
        let positions: Vec<Position> = piece.iter().map(|(position, _)| *position).collect();
        let columns = self.fetch(&positions, 0..self.shape.layout.rows.fields().len())?;
        let rows = compact_batch(&batch_of(
            &self.shape.layout.rows,
            columns,
            positions.len(),
        )?)?;
        let chained = self.shape.spec.chained;
        let slots = piece.iter().map(|(_, slot)| *slot).collect();
        let id = self.blocks.add(Block::new(rows, slots, segment, chained));
        let heads = &mut self.segments.get_mut(segment).heads;
        for (row, (old, slot)) in piece.iter().enumerate() {
            let head = &mut heads[*slot as usize];
            let new = Position::new(id, row);
            if *head == *old {
                *head = new;
            }
            if chained {
                let older = self.blocks.older(*old);
                let older = moved.get(&older).copied().unwrap_or(older);
                self.blocks.get_mut(id).older[row] = older;
                moved.insert(*old, new);
            }
        }
        Ok(id)
    }

    /// Builds the index of a segment again, without the keys that have no row.
    fn reindex(&mut self, id: u32) -> Result<()> {
        self.generation += 1;
        let bucket = self.segments.get(id).bucket;
        let empty = Segment::new(self.factory.as_ref(), &self.shape.spec.keys, bucket)?;
        let old = std::mem::replace(self.segments.get_mut(id), empty);
        self.segments.get_mut(id).earliest = old.earliest;
        self.keys -= old.keys;
        self.adopt_blocks(id, old.blocks)
    }

    /// Takes the rows of a segment that has been given up into this one; their keys are new to it.
    pub(crate) fn adopt(&mut self, id: u32, from: Segment) -> Result<()> {
        self.keys -= from.keys;
        let segment = self.segments.get_mut(id);
        segment.earliest = segment.earliest.min(from.earliest);
        self.adopt_blocks(id, from.blocks)
    }

    fn adopt_blocks(&mut self, id: u32, blocks: Vec<u32>) -> Result<()> {
        let mut slots = Vec::new();
        for block_id in blocks {
            let block = self.blocks.get(block_id);
            let keys = block.live_batch()?.columns()[..self.shape.key_columns()].to_vec();
            self.counters.indexed.fetch_add(block.live as u64, Relaxed);
            let segment = self.segments.get_mut(id);
            segment.intern(&keys, block.live, &mut slots)?;
            segment.blocks.push(block_id);
            let block = self.blocks.get_mut(block_id);
            block.segment = id;
            let mut new = slots.iter();
            let of_block = Arc::make_mut(&mut block.slots).iter_mut().enumerate();
            for (row, slot) in of_block.filter(|(_, slot)| **slot != DEAD) {
                *slot = new.next().map_or(DEAD, |slot| *slot as u32);
                let head = &mut segment.heads[*slot as usize];
                // Blocks come in order of age: the last row of a key is its newest.
                if !std::mem::replace(head, Position::new(block_id, row)).is_some() {
                    segment.keys += 1;
                    self.keys += 1;
                }
            }
        }
        Ok(())
    }
}
