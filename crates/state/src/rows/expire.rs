//! Expiry: what falls behind the watermark goes, a whole segment at a time.

use std::sync::atomic::Ordering::Relaxed;

use arrow::{
    array::{Array, BooleanArray},
    buffer::BooleanBuffer,
    compute::filter_record_batch,
};
use headwater_core::Result;

use super::{
    RowStore,
    index::AT_A_TIME,
    segment::{Block, Segment},
};
use crate::expire::Expired;

/// Which of the rows that expire are returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Emit {
    /// None.
    Nothing,
    /// All of them.
    All,
    /// Those that are not marked.
    Unmarked,
}

impl RowStore {
    /// Removes every row that expires at or before `limit`, in milliseconds. Returns the rows asked for, keys ++
    /// values, by time bucket and oldest first within each. References to rows are void from then on.
    ///
    /// Costs O(rows expired), plus a comparison for each row of the one bucket that `limit` cuts.
    pub fn expire(&mut self, limit: i64, emit: Emit) -> Result<Expired> {
        self.generation += 1;
        let mut expired = Expired::default();
        for (id, is_whole) in self.segments.up_to(limit) {
            let segment = self.segments.get(id);
            if segment.earliest > limit {
                continue;
            }
            let is_whole = is_whole || segment.latest <= limit;
            let is_old = self.is_of_version(segment);
            let before = expired.removed;
            match is_whole {
                true => self.drop_segment(id, emit, &mut expired)?,
                false => self.cut_segment(id, limit, emit, &mut expired)?,
            }
            if is_old && expired.removed > before {
                self.pending.expired_to = self.pending.expired_to.max(Some(limit));
            }
        }
        Ok(expired)
    }

    /// Whether the last version has rows of the segment.
    pub(super) fn is_of_version(&self, segment: &Segment) -> bool {
        let first = segment.blocks.first();
        first.is_some_and(|block| block.numbers.value(0) < self.uncommitted)
    }

    fn drop_segment(&mut self, id: u32, emit: Emit, expired: &mut Expired) -> Result<()> {
        let Some(segment) = self.remove_segment(id) else {
            return Ok(());
        };
        expired.removed += segment.rows;
        for block in &segment.blocks {
            let live = segment.live.slice(block.start as usize, block.len());
            self.emit(&segment, block, live, emit, expired)?;
        }
        Ok(())
    }

    /// Takes a segment and its chains out of the store.
    pub(super) fn remove_segment(&mut self, id: u32) -> Option<Segment> {
        let segment = self.segments.remove(id)?;
        self.rows -= segment.rows;
        let chains: Vec<u32> = segment.own_chains(&self.index).collect();
        for some in chains.chunks(AT_A_TIME) {
            self.index
                .fetch(some.iter().map(|id| self.index.chain(*id).hash));
            some.iter().for_each(|id| self.index.remove(*id));
        }
        Some(segment)
    }

    fn cut_segment(
        &mut self,
        id: u32,
        limit: i64,
        emit: Emit,
        expired: &mut Expired,
    ) -> Result<()> {
        let segment = self.segments.get(id);
        let mut earliest = i64::MAX;
        let mut gone = Vec::new();
        for block in &segment.blocks {
            let Some(expiry) = &block.expiry else {
                continue;
            };
            self.counters
                .compared
                .fetch_add(block.len() as u64, Relaxed);
            let first = gone.len();
            let mask = BooleanBuffer::collect_bool(block.len(), |row| {
                let slot = block.start + row as u32;
                let millis = expiry.value(row);
                let live = segment.live.get(slot as usize) && expiry.is_valid(row);
                let goes = live && millis <= limit;
                if goes {
                    gone.push(slot);
                } else if live {
                    earliest = earliest.min(millis);
                }
                goes
            });
            if gone.len() > first {
                self.emit(segment, block, mask, emit, expired)?;
            }
        }
        expired.removed += gone.len();
        self.kill(id, &gone);
        let segment = self.segments.get_mut(id);
        segment.earliest = earliest;
        if segment.rows == 0 {
            self.remove_segment(id);
        }
        Ok(())
    }

    /// Adds those of some rows of a block that are asked for.
    fn emit(
        &self,
        segment: &Segment,
        block: &Block,
        rows: BooleanBuffer,
        emit: Emit,
        expired: &mut Expired,
    ) -> Result<()> {
        let wanted = match emit {
            Emit::Nothing => return Ok(()),
            Emit::Unmarked if self.shape.spec.marks => {
                &rows & &!&segment.marked.slice(block.start as usize, block.len())
            }
            Emit::All | Emit::Unmarked => rows,
        };
        let count = wanted.count_set_bits();
        if count == 0 {
            return Ok(());
        }
        self.counters.copied.fetch_add(count as u64, Relaxed);
        let batch = self.shape.visible(&block.rows)?;
        expired.rows.push(match count == block.len() {
            true => batch,
            false => filter_record_batch(&batch, &BooleanArray::new(wanted, None))?,
        });
        Ok(())
    }
}
