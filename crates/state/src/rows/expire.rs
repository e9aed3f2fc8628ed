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
    /// Costs O(rows expired), those left included where they are fewer, plus a comparison for each row of the one bucket that
    /// `limit` cuts.
    pub fn expire(&mut self, limit: i64, emit: Emit) -> Result<Expired> {
        self.generation += 1;
        let mut expired = Expired::default();
        let (mut whole, mut cut) = (Vec::new(), Vec::new());
        let mut is_recorded = false;
        for (id, is_whole) in self.segments.up_to(limit) {
            let segment = self.segments.get(id);
            if segment.earliest > limit {
                continue;
            }
            let oldest = segment.blocks.first();
            let is_old = oldest.is_some_and(|block| block.numbers.value(0) < self.uncommitted);
            match is_whole || segment.latest <= limit {
                true => {
                    is_recorded |= is_old && segment.rows > 0;
                    whole.push(id);
                }
                false => cut.push((id, is_old)),
            }
        }
        for segment in self.remove_segments(&whole) {
            expired.removed += segment.rows;
            for block in &segment.blocks {
                let live = segment.live.slice(block.start as usize, block.len());
                self.emit(&segment, block, live, emit, &mut expired)?;
            }
        }
        for (id, is_old) in cut {
            let before = expired.removed;
            self.cut_segment(id, limit, emit, &mut expired)?;
            is_recorded |= is_old && expired.removed > before;
        }
        if is_recorded {
            self.pending.expired_to = self.pending.expired_to.max(Some(limit));
        }
        Ok(expired)
    }

    /// Takes segments and their chains out of the store.
    fn remove_segments(&mut self, ids: &[u32]) -> Vec<Segment> {
        let gone: Vec<u32> = ids
            .iter()
            .flat_map(|id| self.segments.get(*id).own_chains(&self.index))
            .collect();
        if gone.len() * 2 <= self.index.len() {
            return ids
                .iter()
                .filter_map(|id| self.remove_segment(*id))
                .collect();
        }
        let removed: Vec<Segment> = ids
            .iter()
            .filter_map(|id| self.segments.remove(*id))
            .collect();
        self.rows -= removed.iter().map(|segment| segment.rows).sum::<usize>();
        let left: Vec<u32> = self
            .segments
            .iter()
            .flat_map(|segment| segment.own_chains(&self.index))
            .collect();
        self.index.remove_most(&gone, &left);
        removed
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
