//! Keys that came lately, kept to recognise rows that repeat them.
//!
//! Only what is certain is said: of two rows with equal keys the second may pass for new, a new one never for repeated.
//! So hashes that meet by chance, floats that are equal but not the same bits, and keys that came long ago need no care,
//! and neither time nor memory grows with the number of keys.

use std::collections::VecDeque;

use datafusion::{
    arrow::{
        array::{Array, ArrayRef, UInt32Array},
        buffer::BooleanBuffer,
        compute::{interleave, kernels::cmp::not_distinct, take},
        datatypes::Schema,
    },
    common::hash_utils::{RandomState, create_hashes},
    error::Result,
};

/// How many keys are known at most, a power of two: their table of 16 bytes each stays in the cache of a core.
const KEYS: usize = 32 * 1_024;

/// How many batches are known at most: of small ones more, as long as their keys are fewer than the table can hold.
const BATCHES: usize = 64;
const SMALL_BATCHES: usize = 1_024;

/// Whether keys of these types can be compared many at a time.
pub(super) fn can_be_compared(keys: &Schema) -> bool {
    let mut fields = keys.fields().iter();
    fields.all(|field| !field.data_type().is_nested())
}

/// The last row with a hash that did not repeat one, as far as it is known.
#[derive(Clone, Copy)]
struct Known {
    hash: u64,
    /// The number of its batch.
    batch: u32,
    row: u32,
}

/// Keys of the last batches.
pub(super) struct KnownKeys {
    random: RandomState,
    /// By the low bits of the hash; as many as a power of two.
    table: Vec<Known>,
    /// How many rows came.
    rows: usize,
    /// The key columns of the last batches.
    batches: VecDeque<Vec<ArrayRef>>,
    /// How many rows these have.
    kept: usize,
    /// The number of the first of them. None has number 0, so that no entry of an empty table is among them.
    first: u32,
}

/// What an entry of an empty table is.
const NONE: Known = Known {
    hash: 0,
    batch: 0,
    row: 0,
};

impl Default for KnownKeys {
    fn default() -> Self {
        Self {
            random: RandomState::default(),
            table: Vec::new(),
            rows: 0,
            batches: VecDeque::new(),
            kept: 0,
            first: 1,
        }
    }
}

impl KnownKeys {
    /// Which rows repeat a key that came lately, in these rows or before; the keys of the others are known from now on.
    pub(super) fn repeated(&mut self, keys: Vec<ArrayRef>) -> Result<BooleanBuffer> {
        let rows = keys.first().map_or(0, |key| key.len());
        let mut hashes = vec![0; rows];
        create_hashes(&keys, &self.random, &mut hashes)?;
        self.make_room(rows);
        self.keep(keys, rows);
        let last = self.batches.len() - 1;
        let batch = self.first + last as u32;
        let mask = self.table.len() - 1;
        let (mut met, mut with) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
        for (row, hash) in (0..).zip(hashes) {
            let known = &mut self.table[hash as usize & mask];
            if known.hash == hash && known.batch >= self.first {
                met.push(row);
                with.push(((known.batch - self.first) as usize, known.row as usize));
            } else {
                *known = Known { hash, batch, row };
            }
        }
        let equal = self.equal(last, &UInt32Array::from(met.clone()), &with)?;
        let mut repeated = vec![false; rows];
        for (row, equal) in met.into_iter().zip(&equal) {
            repeated[row as usize] = equal;
        }
        Ok(BooleanBuffer::collect_bool(rows, |row| repeated[row]))
    }

    /// Makes a batch the last one; forgets those from long ago.
    fn keep(&mut self, keys: Vec<ArrayRef>, rows: usize) {
        self.batches.push_back(keys);
        self.kept += rows;
        let is_enough = |batches: usize, kept: usize| {
            batches > SMALL_BATCHES || batches > BATCHES && kept > KEYS
        };
        while is_enough(self.batches.len(), self.kept) {
            let first = self.batches.pop_front().unwrap_or_default();
            self.kept -= first.first().map_or(0, |key| key.len());
            self.first += 1;
        }
    }

    /// Lets the table grow with the rows until it is as large as it may become: an epoch of few rows pays for few.
    fn make_room(&mut self, rows: usize) {
        self.rows += rows;
        let wanted = (2 * self.rows).next_power_of_two().clamp(KEYS / 32, KEYS);
        if wanted <= self.table.len() {
            return;
        }
        for known in std::mem::replace(&mut self.table, vec![NONE; wanted]) {
            if known.batch >= self.first {
                self.table[known.hash as usize & (wanted - 1)] = known;
            }
        }
    }

    /// Which of these rows of a batch have the keys at these places.
    fn equal(
        &self,
        batch: usize,
        rows: &UInt32Array,
        places: &[(usize, usize)],
    ) -> Result<BooleanBuffer> {
        let mut equal = BooleanBuffer::new_set(rows.len());
        if rows.is_empty() {
            return Ok(equal);
        }
        for (column, keys) in self.batches[batch].iter().enumerate() {
            let known = self.batches.iter().map(|keys| keys[column].as_ref());
            let known = interleave(&known.collect::<Vec<&dyn Array>>(), places)?;
            let same = not_distinct(&take(keys, rows, None)?, &known)?;
            equal = &equal & same.values();
        }
        Ok(equal)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{Float64Array, Int64Array, StringArray};

    use super::*;

    fn repeated(known: &mut KnownKeys, keys: Vec<ArrayRef>) -> Vec<bool> {
        known.repeated(keys).unwrap().iter().collect()
    }

    #[test]
    fn a_key_repeats_one_of_the_same_batch_or_of_an_earlier_one() {
        let mut known = KnownKeys::default();
        let batch = |names: [Option<&str>; 4], numbers: [i64; 4]| -> Vec<ArrayRef> {
            vec![
                Arc::new(StringArray::from(names.to_vec())),
                Arc::new(Int64Array::from(numbers.to_vec())),
            ]
        };
        let first = batch([Some("a"), None, Some("a"), None], [1, 1, 1, 1]);
        assert_eq!(repeated(&mut known, first), [false, false, true, true]);
        let second = batch([Some("a"), Some("b"), Some("a"), None], [1, 1, 2, 1]);
        assert_eq!(repeated(&mut known, second), [true, false, false, true]);
        let third = batch([Some("b"), Some("a"), None, None], [1, 2, 2, 2]);
        assert_eq!(repeated(&mut known, third), [true, true, false, true]);
    }

    /// Keys 0, 1, … in batches of 1,000, then once more the first and the last ones.
    #[test]
    fn a_key_that_came_long_ago_may_pass_for_new() {
        let mut known = KnownKeys::default();
        let keys = |from: i64| -> Vec<ArrayRef> {
            vec![Arc::new(Int64Array::from_iter_values(from..from + 1_000))]
        };
        let batches = BATCHES as i64 + 10;
        for batch in 0..batches {
            let repeated = repeated(&mut known, keys(batch * 1_000));
            assert!(!repeated.contains(&true), "batch {batch}");
        }
        assert!(known.batches.len() <= BATCHES && known.kept <= KEYS + 1_000 * BATCHES);
        assert!(!repeated(&mut known, keys(0)).contains(&true));
        let last = repeated(&mut known, keys((batches - 1) * 1_000));
        let found = last.iter().filter(|repeated| **repeated).count();
        assert!(found > 900, "{found}");
    }

    #[test]
    fn what_is_equal_in_other_bits_may_pass_for_new() {
        let mut known = KnownKeys::default();
        let keys: ArrayRef = Arc::new(Float64Array::from(vec![0.0, -0.0, 1.0, 1.0]));
        assert_eq!(
            repeated(&mut known, vec![keys]),
            [false, false, false, true]
        );
    }
}
