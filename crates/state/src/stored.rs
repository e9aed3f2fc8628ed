//! Stored rows in and out: appending them to their segments, following a key's chain, copying rows out.

use std::{ops::Range, sync::atomic::Ordering::Relaxed};

use arrow::{
    array::{Array, ArrayRef, RecordBatch, UInt32Array, new_empty_array},
    compute::{interleave, min, take},
};
use headwater_core::Result;

use crate::{
    block::{Block, Position},
    keyed::KeyedState,
    pieces::by_segment,
    touched::Place,
};

impl KeyedState {
    /// Appends rows to the segments of their keys. If a key appears twice, the later row is the newer one.
    pub(crate) fn insert(&mut self, rows: &RecordBatch, places: &[Place]) -> Result<()> {
        let segments: Vec<u32> = places.iter().map(|place| place.segment).collect();
        for piece in by_segment(rows, &segments)? {
            let order = piece.order.iter();
            let slots = order.map(|row| places[*row as usize].slot).collect();
            self.append(piece.segment, piece.rows, slots)?;
            self.settle(piece.segment)?;
        }
        Ok(())
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
                    ([], _) => new_empty_array(self.shape.layout.rows.field(column).data_type()),
                    ([array], Some(rows)) => take(*array, rows, None)?,
                    _ => interleave(&arrays, &indices)?,
                })
            })
            .collect()
    }
}
