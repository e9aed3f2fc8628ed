//! References to stored rows, and copying out what they refer to.

use std::sync::atomic::Ordering::Relaxed;

use arrow::{
    array::{Array, ArrayRef, BooleanArray, UInt32Array, new_empty_array},
    compute::{interleave, take},
};
use hashbrown::{HashMap, HashSet};
use headwater_core::{Error, Result};

use super::RowStore;
use crate::touched::Place;

/// Rows of a store, in any order, any row any number of times.
///
/// It belongs to the store that made it, and is good until rows are next appended to that store or expired from it, or
/// it is committed; used later than that it is refused. Marking and removing rows leaves it good.
#[derive(Debug, Clone)]
pub struct RowRefs {
    pub(super) places: Vec<Place>,
    pub(super) generation: u64,
}

impl RowRefs {
    /// Number of references.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is no reference.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Each row once, in the order in which they are first referred to.
    pub fn distinct(&self) -> Self {
        let mut seen = HashSet::with_capacity(self.len());
        let places = self.places.iter().copied();
        Self {
            places: places
                .filter(|place| seen.insert((place.segment, place.slot)))
                .collect(),
            generation: self.generation,
        }
    }

    /// Those at these positions, which are below [`Self::len`]; null is none.
    ///
    /// # Errors
    /// `Internal` if a position is out of range.
    pub fn take(&self, positions: &UInt32Array) -> Result<Self> {
        let places = positions.iter().flatten().map(|position| {
            let place = self.places.get(position as usize).copied();
            place.ok_or_else(|| {
                Error::internal(format!(
                    "reference {position} of {} to rows of state was asked for",
                    self.len()
                ))
            })
        });
        Ok(Self {
            places: places.collect::<Result<_>>()?,
            generation: self.generation,
        })
    }

    /// Those whose bit is true; null counts as false.
    ///
    /// # Errors
    /// `Internal` if there is not one bit per reference.
    pub fn filter(&self, wanted: &BooleanArray) -> Result<Self> {
        if wanted.len() != self.len() {
            return Err(Error::internal(format!(
                "{} references to rows of state were filtered by {} bits",
                self.len(),
                wanted.len()
            )));
        }
        let wanted = wanted.iter().map(|bit| bit == Some(true));
        let places = self.places.iter().zip(wanted);
        Ok(Self {
            places: places
                .filter(|(_, wanted)| *wanted)
                .map(|(p, _)| *p)
                .collect(),
            generation: self.generation,
        })
    }
}

impl RowStore {
    /// Refuses references that are void or of another store.
    pub(super) fn check(&self, rows: &RowRefs) -> Result<()> {
        if rows.generation != self.generation {
            return Err(Error::internal(
                "rows of state were referred to after the store was appended to, expired or committed: probe again",
            ));
        }
        let exists = |place: &Place| {
            let segment = self.segments.find_by_id(place.segment);
            segment.is_some_and(|segment| (place.slot as usize) < segment.slots())
        };
        match rows.places.iter().all(exists) {
            true => Ok(()),
            false => Err(Error::internal(
                "rows of state were referred to that another store holds",
            )),
        }
    }

    /// Copies some columns of stored rows.
    pub(super) fn fetch(
        &self,
        places: &[Place],
        columns: impl Iterator<Item = usize>,
    ) -> Result<Vec<ArrayRef>> {
        self.counters.copied.fetch_add(places.len() as u64, Relaxed);
        // Only the blocks that are needed take part.
        let mut blocks = Vec::new();
        let mut indices = Vec::with_capacity(places.len());
        let mut known: HashMap<(u32, usize), usize> = HashMap::new();
        let mut last = None;
        for place in places {
            let segment = self.segments.get(place.segment);
            let (block, row) = segment.locate(place.slot);
            let name = (place.segment, block);
            let number = match last {
                Some((last, number)) if last == name => number,
                _ => *known.entry(name).or_insert_with(|| {
                    blocks.push(&segment.blocks[block]);
                    blocks.len() - 1
                }),
            };
            last = Some((name, number));
            indices.push((number, row));
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
                    ([], _) => new_empty_array(self.shape.stored.field(column).data_type()),
                    ([array], Some(rows)) => take(*array, rows, None)?,
                    _ => interleave(&arrays, &indices)?,
                })
            })
            .collect()
    }
}
