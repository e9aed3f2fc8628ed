//! Stored rows in and out: appending them to their segments, following a key's chain, copying rows out.

use std::{ops::Range, sync::atomic::Ordering::Relaxed};

use arrow::{
    array::{Array, ArrayRef, RecordBatch, UInt32Array, new_empty_array},
    compute::{interleave, min, take, take_record_batch},
};
use headwater_core::Result;

use crate::{
    block::{Block, Position},
    columns::compact_batch,
    grouped::Grouped,
    keyed::KeyedState,
    touched::Place,
};

/// Larger batches are stored in pieces, which bounds what collecting one block's garbage costs.
pub(crate) const MAX_BLOCK_ROWS: usize = 1 << 17;

/// Fewer rows than this are stored as a slice of a batch shared with other segments; more get memory of their own,
/// which is free as soon as their segment is.
const SHARED_ROWS: usize = 64;

impl KeyedState {
    /// Appends rows to the segments of their keys. If a key appears twice, the later row is the newer one.
    pub(crate) fn insert(&mut self, rows: &RecordBatch, places: &[Place]) -> Result<()> {
        let segments: Vec<u32> = places.iter().map(|place| place.segment).collect();
        let Grouped { order, groups } = Grouped::by(&segments);
        if let [(segment, _)] = groups.as_slice() {
            let slots = places.iter().map(|place| place.slot).collect();
            return self.append_all(*segment, rows, slots);
        }
        let slots_of = |rows: &[u32]| rows.iter().map(|r| places[*r as usize].slot).collect();
        let (large, small): (Vec<_>, Vec<_>) = groups
            .into_iter()
            .partition(|(_, range)| range.len() >= SHARED_ROWS);
        for (segment, range) in large {
            let order = &order[range];
            let own = take_record_batch(rows, &UInt32Array::from(order.to_vec()))?;
            self.append_all(segment, &compact_batch(&own)?, slots_of(order))?;
        }
        let shared: Vec<u32> = small
            .iter()
            .flat_map(|(_, range)| &order[range.clone()])
            .copied()
            .collect();
        let rows = take_record_batch(rows, &UInt32Array::from(shared))?;
        let mut start = 0;
        for (segment, range) in small {
            let len = range.len();
            let piece = compact_batch(&rows.slice(start, len))?;
            self.append_all(segment, &piece, slots_of(&order[range]))?;
            start += len;
        }
        Ok(())
    }

    fn append_all(&mut self, segment: u32, rows: &RecordBatch, mut slots: Vec<u32>) -> Result<()> {
        if slots.len() <= MAX_BLOCK_ROWS {
            self.append(segment, rows.clone(), slots)?;
            return self.settle(segment);
        }
        let mut start = 0u32;
        while !slots.is_empty() {
            let rest = slots.split_off(slots.len().min(MAX_BLOCK_ROWS));
            let end = start + slots.len() as u32;
            // Copied: a slice would keep the whole batch alive.
            let piece = take_record_batch(rows, &UInt32Array::from_iter_values(start..end))?;
            let slots = std::mem::replace(&mut slots, rest);
            self.append(segment, compact_batch(&piece)?, slots)?;
            start = end;
        }
        self.settle(segment)
    }

    fn append(&mut self, segment: u32, rows: RecordBatch, slots: Vec<u32>) -> Result<()> {
        let expiry = self.shape.expiry(&rows).and_then(min);
        let chained = self.shape.spec.chained;
        let id = self
            .blocks
            .add(Block::new(rows, slots.clone(), segment, chained));
        let segment = self.segments.get_mut(segment);
        segment.blocks.push(id);
        segment.earliest = segment.earliest.min(expiry.unwrap_or(i64::MAX));
        for (row, slot) in slots.into_iter().enumerate() {
            let head = &mut segment.heads[slot as usize];
            let old = std::mem::replace(head, Position::new(id, row));
            if !old.is_some() {
                segment.keys += 1;
                self.keys += 1;
            } else if chained {
                self.blocks.get_mut(id).older[row] = old;
            } else {
                self.blocks.kill(old);
            }
        }
        Ok(())
    }

    /// Removes all rows of a key; false if there are none.
    pub(crate) fn remove_key(&mut self, place: Place) -> bool {
        let segment = self.segments.get_mut(place.segment);
        let head = &mut segment.heads[place.slot as usize];
        let mut position = std::mem::replace(head, Position::NONE);
        if !position.is_some() {
            return false;
        }
        segment.keys -= 1;
        self.keys -= 1;
        while position.is_some() {
            let older = self.blocks.older(position);
            self.blocks.kill(position);
            position = older;
        }
        true
    }

    /// Adds the rows of a key, newest first.
    pub(crate) fn chain(&self, head: Position, into: &mut Vec<Position>) {
        let mut position = head;
        while position.is_some() {
            into.push(position);
            position = self.blocks.older(position);
        }
    }

    /// Copies some columns of stored rows.
    pub(crate) fn fetch(
        &self,
        positions: &[Position],
        columns: Range<usize>,
    ) -> Result<Vec<ArrayRef>> {
        self.counters
            .copied
            .fetch_add(positions.len() as u64, Relaxed);
        // Only the blocks that are needed take part; 0 means not seen yet.
        let mut number = vec![0u32; self.blocks.bound()];
        let mut blocks = Vec::new();
        let mut indices = Vec::with_capacity(positions.len());
        for position in positions {
            let number = &mut number[position.block() as usize];
            if *number == 0 {
                blocks.push(self.blocks.get(position.block()));
                *number = blocks.len() as u32;
            }
            indices.push((*number as usize - 1, position.row()));
        }
        let rows_of_one = match blocks.as_slice() {
            [_] => Some(UInt32Array::from_iter_values(
                indices.iter().map(|(_, row)| *row as u32),
            )),
            _ => None,
        };
        columns
            .map(|column| {
                let arrays: Vec<&dyn Array> = blocks
                    .iter()
                    .map(|block| block.rows.column(column).as_ref())
                    .collect();
                Ok(match (arrays.as_slice(), &rows_of_one) {
                    ([], _) => new_empty_array(self.shape.rows.field(column).data_type()),
                    ([array], Some(rows)) => take(*array, rows, None)?,
                    _ => interleave(&arrays, &indices)?,
                })
            })
            .collect()
    }
}
