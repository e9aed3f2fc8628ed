//! Expiry: what falls behind the watermark goes, a whole segment at a time.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use arrow::{
    array::{Array, BooleanArray, RecordBatch},
    buffer::BooleanBuffer,
    compute::filter_record_batch,
};
use headwater_core::Result;

use crate::{
    block::{DEAD, Position},
    delta::Change,
    keyed::KeyedState,
};

/// What [`KeyedState::expire`] or [`RowStore::expire`](crate::RowStore::expire) removed.
#[derive(Debug, Clone, Default)]
pub struct Expired {
    /// The removed rows, keys ++ values, by time bucket and, where a key has several rows, oldest first per key; only
    /// those that were asked for.
    pub rows: Vec<RecordBatch>,
    /// Number of keys removed, or of rows in a store of rows by key.
    pub removed: usize,
}

impl KeyedState {
    /// Removes every key that expires at or before `limit`, in milliseconds. Returns the rows only if `want_rows`.
    ///
    /// Costs O(segments expired), plus a comparison for each row of the one bucket that `limit` cuts, plus the rows
    /// asked for.
    pub fn expire(&mut self, limit: i64, want_rows: bool) -> Result<Expired> {
        let mut expired = Expired::default();
        for (segment, whole) in self.segments.up_to(limit) {
            if whole {
                self.drop_segment(segment, want_rows, &mut expired)?;
            } else if self.segments.get(segment).earliest <= limit {
                self.cut_segment(segment, limit, want_rows, &mut expired)?;
            }
        }
        if expired.removed > 0 {
            self.changes.push(Change::Expire(limit));
        }
        Ok(expired)
    }

    fn drop_segment(&mut self, id: u32, want_rows: bool, expired: &mut Expired) -> Result<()> {
        let Some(segment) = self.segments.remove(id) else {
            return Ok(());
        };
        self.generation += 1;
        self.keys -= segment.keys;
        expired.removed += segment.keys;
        for block in segment.blocks {
            let block = self.blocks.remove(block);
            if let Some(block) = block.filter(|block| want_rows && block.live > 0) {
                self.counters.copied.fetch_add(block.live as u64, Relaxed);
                expired.rows.push(self.shape.visible(&block.live_batch()?)?);
            }
        }
        Ok(())
    }

    fn cut_segment(
        &mut self,
        id: u32,
        limit: i64,
        want_rows: bool,
        expired: &mut Expired,
    ) -> Result<()> {
        let mut earliest = i64::MAX;
        for block_id in self.segments.get(id).blocks.clone() {
            let block = self.blocks.get(block_id);
            let Some(expiry) = self.shape.expiry(&block.rows) else {
                continue;
            };
            self.counters
                .compared
                .fetch_add(block.len() as u64, Relaxed);
            let slots = Arc::clone(&block.slots);
            let mut gone = Vec::new();
            let mask = BooleanBuffer::collect_bool(block.len(), |row| {
                let millis = expiry.value(row);
                let live = slots[row] != DEAD && expiry.is_valid(row);
                let goes = live && millis <= limit;
                if goes {
                    gone.push(row);
                } else if live {
                    earliest = earliest.min(millis);
                }
                goes
            });
            if gone.is_empty() {
                continue;
            }
            if want_rows {
                self.counters.copied.fetch_add(gone.len() as u64, Relaxed);
                let rows = filter_record_batch(&block.rows, &BooleanArray::new(mask, None))?;
                expired.rows.push(self.shape.visible(&rows)?);
            }
            let segment = self.segments.get_mut(id);
            for row in gone {
                // The rows of one key expire together, so that its chain goes as a whole.
                let head = &mut segment.heads[slots[row] as usize];
                if std::mem::replace(head, Position::NONE).is_some() {
                    segment.keys -= 1;
                    self.keys -= 1;
                    expired.removed += 1;
                }
                self.blocks.kill(Position::new(block_id, row));
            }
        }
        let segment = self.segments.get_mut(id);
        segment.earliest = earliest;
        if segment.keys == 0 {
            self.drop_segment(id, false, expired)?;
        }
        Ok(())
    }
}
