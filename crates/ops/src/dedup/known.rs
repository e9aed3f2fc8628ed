//! Keys that have come, kept to recognise rows that repeat them.
//!
//! Only what is certain is said: of two rows with equal keys the second may pass for new, a new one never for repeated.
//! So hashes that meet by chance, and floats that are equal but not the same bits, need no care.

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
use hashbrown::{HashTable, hash_table::Entry};

/// Whether keys of these types can be compared many at a time.
pub(super) fn can_be_compared(keys: &Schema) -> bool {
    let mut fields = keys.fields().iter();
    fields.all(|field| !field.data_type().is_nested())
}

/// The distinct keys of some batches. Grows with them.
#[derive(Default)]
pub(super) struct KnownKeys {
    random: RandomState,
    /// Numbers of keys.
    table: HashTable<u32>,
    /// By number of a key.
    hashes: Vec<u64>,
    /// By number of a key, its batch and its row there.
    places: Vec<(usize, usize)>,
    /// The key columns of each batch.
    batches: Vec<Vec<ArrayRef>>,
}

impl KnownKeys {
    /// Which rows repeat a key that has come, in these rows or before; the keys of the others are known from now on.
    pub(super) fn repeated(&mut self, keys: Vec<ArrayRef>) -> Result<BooleanBuffer> {
        let rows = keys.first().map_or(0, |key| key.len());
        let mut hashes = vec![0; rows];
        create_hashes(&keys, &self.random, &mut hashes)?;
        let batch = self.batches.len();
        self.batches.push(keys);
        let (mut met, mut with) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
        for (row, hash) in hashes.into_iter().enumerate() {
            let known = &self.hashes;
            let same = |number: &u32| known[*number as usize] == hash;
            match self
                .table
                .entry(hash, same, |number| known[*number as usize])
            {
                Entry::Occupied(number) => {
                    met.push(row as u32);
                    with.push(self.places[*number.get() as usize]);
                }
                Entry::Vacant(vacant) => {
                    vacant.insert(self.places.len() as u32);
                    self.hashes.push(hash);
                    self.places.push((batch, row));
                }
            }
        }
        let equal = self.equal(batch, &UInt32Array::from(met.clone()), &with)?;
        let mut repeated = vec![false; rows];
        for (row, equal) in met.into_iter().zip(&equal) {
            repeated[row as usize] = equal;
        }
        Ok(BooleanBuffer::collect_bool(rows, |row| repeated[row]))
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
