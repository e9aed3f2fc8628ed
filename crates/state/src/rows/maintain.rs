//! Keeping rows compact, and moving them.
//!
//! Small blocks are merged eight at a time into blocks of the next size, which moves no slot, so a row is copied at
//! most five times and the number of blocks stays small. A segment of which more than half is dead is built again,
//! which frees more rows than it copies; so are segments that come to share a bucket, when buckets widen.

use std::sync::Arc;

use arrow::{
    array::{BooleanArray, RecordBatch, UInt64Array},
    compute::concat_batches,
};
use headwater_core::{Error, Result};

use super::{
    RowStore,
    index::{Index, NONE},
    refs::RowRefs,
    segment::{Block, Segment},
};
use crate::{
    columns::compact_batch, pieces::MAX_BLOCK_ROWS, segments::Bucketed, spec::batch_of,
    touched::Place,
};

/// How many blocks of one size class are merged into one of the next.
const FAN_OUT: usize = 8;

/// Blocks of this class and larger are never merged: reading from a few large blocks costs nothing extra.
const LARGE: u32 = 5;

/// Size class of a number of rows: 0 below 8, 1 below 64, and so on.
fn class(rows: usize) -> u32 {
    rows.checked_ilog(FAN_OUT).unwrap_or(0)
}

/// A live row on its way to another place.
struct Moved {
    number: u64,
    place: Place,
    hash: u32,
    is_marked: bool,
}

impl RowStore {
    /// Collects garbage that has grown larger than what it lies among, and merges small blocks, in segments that have
    /// changed. Only for when nothing is pending: it is changed segments too that the next delta is made of.
    pub(super) fn compact(&mut self) -> Result<()> {
        self.generation += 1;
        for id in self.segments.take_changed() {
            let segment = self.segments.get(id);
            if segment.rows == 0 {
                self.remove_segment(id);
            } else if segment.is_sparse() {
                self.rebuild(&[id])?;
            } else {
                self.settle(id)?;
            }
        }
        if self.index.is_wasteful() {
            self.reindex();
        }
        Ok(())
    }

    /// Merges the newest blocks of a segment while there are [`FAN_OUT`] of a size.
    fn settle(&mut self, id: u32) -> Result<()> {
        loop {
            let segment = self.segments.get(id);
            let sizes = segment.blocks.iter().rev().map(|block| class(block.len()));
            let newest = sizes.clone().next().unwrap_or(LARGE);
            let run = sizes.take_while(|size| *size <= newest).count();
            if newest >= LARGE || run < FAN_OUT {
                return Ok(());
            }
            let end = segment.blocks.len();
            let merged = &segment.blocks[end - run..];
            let rows: Vec<&RecordBatch> = merged.iter().map(|block| &block.rows).collect();
            let start = merged[0].start;
            let rows = concat_batches(&self.shape.stored, rows)?;
            self.copied(rows.num_rows());
            let block = Block::new(&self.shape, compact_batch(&rows)?, start);
            let segment = self.segments.get_mut(id);
            segment.replace_blocks(end - run..end, block);
        }
    }

    fn copied(&self, rows: usize) {
        let copied = &self.counters.copied;
        copied.fetch_add(rows as u64, std::sync::atomic::Ordering::Relaxed);
    }

    /// References to rows that are there.
    pub(super) fn refer_to(&self, places: Vec<Place>) -> RowRefs {
        RowRefs {
            places,
            generation: self.generation,
        }
    }

    /// Doubles the width of buckets and unites the segments that then share one.
    pub(super) fn widen(&mut self, doublings: u32) -> Result<()> {
        let united = self.segments.widen(doublings);
        // All of them first: chains are in order of buckets, old and new ones do not compare.
        for (bucket, ids) in &united {
            for id in ids.iter().rev() {
                self.segments.assign(*bucket, *id);
            }
        }
        for ids in united.values().filter(|ids| ids.len() > 1) {
            self.rebuild(ids)?;
        }
        tracing::debug!(
            width_millis = self.segments.width,
            "widened the time buckets of state"
        );
        Ok(())
    }

    /// Puts the slots of segments that were restored out of order in order.
    pub(super) fn order_slots(&mut self) -> Result<()> {
        for id in self.segments.ids() {
            if self.segments.get(id).is_disordered {
                self.rebuild(&[id])?;
            }
        }
        Ok(())
    }

    /// Builds one segment from the live rows of several, in order of age. The first of them says for which bucket.
    fn rebuild(&mut self, ids: &[u32]) -> Result<()> {
        let mut moved = Vec::new();
        for id in ids {
            moved.extend(self.live_rows(*id));
        }
        moved.sort_by_key(|row| row.number);
        if let Some(twice) = moved.windows(2).find(|w| w[0].number == w[1].number) {
            return Err(Error::data(format!(
                "row {} is stored twice",
                twice[0].number
            )));
        }
        let mut batches = Vec::new();
        for piece in moved.chunks(MAX_BLOCK_ROWS) {
            batches.push(self.copy(piece)?);
        }
        let bucket = self.segments.get(ids[0]).bucket();
        for id in ids {
            self.remove_segment(*id);
        }
        let id = self.segments.add(Segment::new(bucket));
        for (rows, piece) in batches.into_iter().zip(moved.chunks(MAX_BLOCK_ROWS)) {
            let hashes: Vec<u32> = piece.iter().map(|row| row.hash).collect();
            let marked = self.shape.spec.marks;
            let marked = marked.then(|| piece.iter().map(|row| row.is_marked).collect());
            let chains = vec![NONE; hashes.len()];
            self.insert_piece(id, rows, &hashes, marked, chains)?;
        }
        Ok(())
    }

    fn live_rows(&self, id: u32) -> impl Iterator<Item = Moved> {
        let segment = self.segments.get(id);
        let slots = segment.blocks.iter().flat_map(Block::slots);
        let numbers = segment
            .blocks
            .iter()
            .flat_map(|block| block.numbers.values());
        let live = slots
            .zip(numbers)
            .filter(|(slot, _)| segment.live.get(*slot));
        live.map(move |(slot, number)| Moved {
            number: *number,
            place: Place::new(id, slot),
            hash: self.index.chain(segment.chains[slot]).hash,
            is_marked: self.shape.spec.marks && segment.marked.get(slot),
        })
    }

    /// These rows as they are kept in memory.
    fn copy(&self, rows: &[Moved]) -> Result<RecordBatch> {
        let places: Vec<Place> = rows.iter().map(|row| row.place).collect();
        let columns = self.fetch(&places, 0..self.shape.stored.fields().len())?;
        compact_batch(&batch_of(&self.shape.stored, columns, rows.len())?)
    }

    /// Builds the index again, without what it wastes.
    fn reindex(&mut self) {
        let old = std::mem::take(&mut self.index);
        for id in self.segments.ids() {
            self.index_again(id, &old);
        }
    }

    /// Puts a segment that is in an old index into the present one.
    pub(super) fn index_again(&mut self, id: u32, old: &Index) {
        let segments = &self.segments;
        let is_later = |a: u32, b: u32| segments.get(a).is_later(segments.get(b));
        let segment = segments.get(id);
        let live = (0..segment.slots()).filter(|slot| segment.live.get(*slot));
        let chains: Vec<(usize, u32)> = live
            .map(|slot| {
                let hash = old.chain(segment.chains[slot]).hash;
                (slot, self.index.find_or_add(hash, id, is_later))
            })
            .collect();
        let segment = self.segments.get_mut(id);
        for (slot, chain) in chains {
            let head = &mut self.index.chain_mut(chain).head;
            segment.chains[slot] = chain;
            segment.older[slot] = std::mem::replace(head, slot as u32);
        }
    }

    /// Takes over the rows of another store, in order of age, as the newest ones.
    pub(super) fn take_over(&mut self, other: &Self) -> Result<()> {
        let ids = other.segments.ids().into_iter();
        let mut rows: Vec<Moved> = ids.flat_map(|id| other.live_rows(id)).collect();
        rows.sort_by_key(|row| row.number);
        for piece in rows.chunks(MAX_BLOCK_ROWS) {
            let mut columns = other.copy(piece)?.columns().to_vec();
            let first = self.next_number;
            self.next_number = first.saturating_add(piece.len() as u64);
            let numbers = UInt64Array::from_iter_values(first..self.next_number);
            columns[self.shape.visible_columns()] = Arc::new(numbers);
            let batch = batch_of(&self.shape.stored, columns, piece.len())?;
            let marked = piece.iter().map(|row| row.is_marked);
            let marked = BooleanArray::from(marked.collect::<Vec<_>>());
            self.insert(&batch, Some(&marked))?;
        }
        self.compact()
    }
}
