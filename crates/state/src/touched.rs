//! The keys of a batch, found in a store.

use arrow::array::{ArrayRef, Int64Array};

/// Where a key is: a segment and a slot of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) segment: u32,
    pub(crate) slot: u32,
}

impl Place {
    pub(crate) fn new(segment: u32, slot: usize) -> Self {
        // Segments refuse to grow beyond 32 bits of slots.
        Self {
            segment,
            slot: slot as u32,
        }
    }
}

/// The distinct keys of a batch of incoming rows, numbered 0, 1, 2 … in order of first appearance.
///
/// It belongs to the store that made it. Use it before the store is next touched, expired or committed; a put or
/// remove later than that looks the keys up again, a gather is refused.
#[derive(Debug, Clone)]
pub struct Touched {
    pub(crate) row_ids: Vec<usize>,
    pub(crate) first_rows: Vec<u32>,
    pub(crate) places: Vec<Place>,
    pub(crate) new: Vec<bool>,
    pub(crate) keys: Vec<ArrayRef>,
    pub(crate) expiry: Option<Int64Array>,
    pub(crate) generation: u64,
}

impl Touched {
    /// The id of each incoming row's key.
    pub fn row_ids(&self) -> &[usize] {
        &self.row_ids
    }

    /// Number of distinct keys.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there were no rows.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// For each id the first incoming row that holds its key; ascending.
    pub fn first_rows(&self) -> &[u32] {
        &self.first_rows
    }

    /// Whether the store held no row of this key.
    pub fn is_new(&self, id: usize) -> bool {
        self.new[id]
    }

    /// The ids of keys of which the store held no row, ascending.
    pub fn new_ids(&self) -> Vec<usize> {
        (0..self.len()).filter(|id| self.new[*id]).collect()
    }

    /// The key columns in id order.
    pub fn keys(&self) -> &[ArrayRef] {
        &self.keys
    }
}
