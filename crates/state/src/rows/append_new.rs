//! Rows in, but only those whose key is not there yet.
//!
//! Hashes decide nearly everything: a row of which no stored row shares the hash, nor an earlier one of its batch, is
//! new without a comparison. The others are compared all at once, column by column, with what their hash leads to.

use std::{iter::zip, sync::atomic::Ordering::Relaxed};

use arrow::{
    array::{Array, ArrayRef, AsArray, Int64Array, UInt32Array},
    compute::{take, take_arrays},
};
use headwater_core::Result;

use super::{
    Probe, RowStore, Within,
    equal::rows_equal,
    index::{AT_A_TIME, Claim, NONE},
};
use crate::{hash::row_hashes, numbers::Numbers, touched::Place};

impl RowStore {
    /// Adds the rows whose key no row of the store has, nor an earlier one of these; their numbers, ascending. NULL
    /// equals NULL.
    ///
    /// Costs a look-up for each row, a comparison for each that is not added, and what [`Self::append`] costs for the
    /// others. `expiry` is in milliseconds, one per row; null or `None` means that the row never expires.
    ///
    /// # Errors
    /// `Internal` if columns do not fit the spec, or an expiry is given to a store without them: nothing has changed then.
    /// After an error of another kind the store is of no use any more.
    pub fn append_new(
        &mut self,
        keys: &[ArrayRef],
        values: &[ArrayRef],
        expiry: Option<&Int64Array>,
    ) -> Result<UInt32Array> {
        let rows = keys.first().map_or(0, |key| key.len());
        self.check_probe(&Probe::new(keys, rows))?;
        self.check_appended(rows, expiry, None)?;
        let hashes = row_hashes(keys, rows)?;
        self.counters.indexed.fetch_add(rows as u64, Relaxed);
        let Claimed { rows: new, chains } = self.claim_new(keys, &hashes)?;
        let new = UInt32Array::from(new);
        if new.is_empty() {
            return Ok(new);
        }
        if new.len() == rows {
            self.append_hashed(keys, values, expiry, None, &hashes, &chains)?;
            return Ok(new);
        }
        let expiry = expiry.map(|expiry| take(expiry, &new, None)).transpose()?;
        let new_hashes: Vec<u64> = new
            .values()
            .iter()
            .map(|row| hashes[*row as usize])
            .collect();
        self.append_hashed(
            &take_arrays(keys, &new, None)?,
            &take_arrays(values, &new, None)?,
            expiry.as_ref().map(|expiry| expiry.as_primitive()),
            None,
            &new_hashes,
            &chains,
        )?;
        Ok(new)
    }

    /// The rows whose key is not there yet. One look into the index tells of nearly every row what there is of its hash,
    /// and claims the chain where there is nothing.
    fn claim_new(&mut self, keys: &[ArrayRef], hashes: &[u64]) -> Result<Claimed> {
        let mut new = Claimed {
            rows: Vec::with_capacity(hashes.len()),
            chains: Vec::with_capacity(hashes.len()),
        };
        // Rows that met stored ones, with these, and rows that met an earlier one of the batch, with that.
        let (mut met, mut places): (Vec<u32>, Vec<Place>) = (Vec::new(), Vec::new());
        let (mut later, mut firsts) = (Vec::new(), Vec::new());
        let mut rows = 0..;
        for some in hashes.chunks(AT_A_TIME) {
            self.index.fetch(some.iter().map(|hash| *hash as u32));
            for (hash, row) in some.iter().zip(&mut rows) {
                match self.index.claim(*hash as u32, row) {
                    Claim::Made(chain) => {
                        new.rows.push(row);
                        new.chains.push(chain);
                    }
                    Claim::By(first) => {
                        later.push(row);
                        firsts.push(first);
                    }
                    Claim::Stored => {
                        let known = places.len();
                        self.follow(*hash as u32, Within::Any.bounds(0), &mut places);
                        debug_assert!(places.len() > known, "a chain has rows");
                        met.resize(places.len(), row);
                    }
                }
            }
        }
        let mut by_chance = self.unlike_stored(keys, met, &places)?;
        by_chance.extend(unlike_earlier(keys, later, firsts)?);
        if by_chance.is_empty() {
            return Ok(new);
        }
        by_chance.sort_unstable();
        let by_chance = first_of_each_key(keys, hashes, by_chance)?;
        let without_claim = by_chance.values().iter().map(|row| (*row, NONE));
        let mut both: Vec<_> = zip(new.rows, new.chains).chain(without_claim).collect();
        // Two ascending runs, one of them short: the stable sort merges them in one pass.
        both.sort_by_key(|(row, _)| *row);
        let (rows, chains) = both.into_iter().unzip();
        Ok(Claimed { rows, chains })
    }

    /// Of rows that met stored ones, at these places, those that equal none that they met.
    fn unlike_stored(
        &self,
        keys: &[ArrayRef],
        met: Vec<u32>,
        places: &[Place],
    ) -> Result<Vec<u32>> {
        self.counters
            .compared
            .fetch_add(places.len() as u64, Relaxed);
        if met.is_empty() {
            return Ok(met);
        }
        let met = UInt32Array::from(met);
        let left = take_arrays(keys, &met, None)?;
        let right = self.fetch(places, 0..keys.len())?;
        let equal = rows_equal(&left, &right, places.len())?;
        let mut unlike = Vec::new();
        if equal.count_set_bits() < met.len() {
            let pairs: Vec<_> = met.values().iter().copied().zip(&equal).collect();
            for of_row in pairs.chunk_by(|a, b| a.0 == b.0) {
                if !of_row.iter().any(|(_, equal)| *equal) {
                    unlike.push(of_row[0].0);
                }
            }
        }
        Ok(unlike)
    }
}

/// Rows whose key is not there yet, ascending, and the chain that is claimed for each; [`NONE`] where there are others of
/// its hash.
struct Claimed {
    rows: Vec<u32>,
    chains: Vec<u32>,
}

/// Of these rows those whose keys are not the ones of the earlier rows beside them.
fn unlike_earlier(keys: &[ArrayRef], later: Vec<u32>, earlier: Vec<u32>) -> Result<Vec<u32>> {
    if later.is_empty() {
        return Ok(later);
    }
    let later = UInt32Array::from(later);
    let left = take_arrays(keys, &later, None)?;
    let right = take_arrays(keys, &UInt32Array::from(earlier), None)?;
    let equal = rows_equal(&left, &right, later.len())?;
    let pairs = later.values().iter().zip(&equal);
    Ok(pairs
        .filter(|(_, equal)| !equal)
        .map(|(row, _)| *row)
        .collect())
}

/// Of these rows, ascending, the first with each key.
fn first_of_each_key(keys: &[ArrayRef], hashes: &[u64], mut rows: Vec<u32>) -> Result<UInt32Array> {
    let mut firsts: Vec<u32> = Vec::with_capacity(rows.len());
    let mut rounds = 0;
    // A round finds the first row of each hash. Only rows whose hash met by chance are left for the next one.
    while !rows.is_empty() {
        let mut first_of_hash = Numbers::with_capacity(rows.len());
        let (mut later, mut their_first) = (Vec::new(), Vec::new());
        for some in rows.chunks(AT_A_TIME) {
            first_of_hash.fetch(some.iter().map(|row| hashes[*row as usize] as u32));
            for row in some {
                match first_of_hash.get_or_set(hashes[*row as usize] as u32, *row) {
                    first if first == *row => firsts.push(first),
                    first => {
                        later.push(*row);
                        their_first.push(first);
                    }
                }
            }
        }
        rounds += 1;
        rows = unlike_earlier(keys, later, their_first)?;
    }
    if rounds > 1 {
        // Ascending runs, all but the first short.
        firsts.sort();
    }
    Ok(firsts.into())
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, sync::Arc};

    use arrow::{
        array::{Float64Array, StringArray},
        datatypes::{DataType, Field, Schema},
    };
    use headwater_core::Epoch;
    use proptest::prelude::*;

    use super::*;
    use crate::{Emit, RowsSpec};

    #[test]
    fn rows_whose_hashes_meet_are_told_apart_by_their_keys() {
        let keys: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "a", "c", "b", "c", "d"]));
        let hashes = [7, 7, 7, 7, 7, 7, 9];
        let firsts = first_of_each_key(&[keys], &hashes, (0..7).collect()).unwrap();
        assert_eq!(firsts.values(), &[0, 1, 3, 6]);
    }

    #[test]
    fn zeros_and_nulls_are_one_key_each() {
        let mut store = RowStore::new(spec(DataType::Float64)).unwrap();
        let keys = [
            Some(0.0),
            None,
            Some(-0.0),
            None,
            Some(f64::NAN),
            Some(-f64::NAN),
        ];
        let keys: ArrayRef = Arc::new(Float64Array::from(keys.to_vec()));
        let enter = |store: &mut RowStore| {
            let new = store.append_new(&[Arc::clone(&keys)], &[], None).unwrap();
            new.values().to_vec()
        };
        assert_eq!(enter(&mut store), [0, 1, 4]);
        assert!(enter(&mut store).is_empty());
    }

    /// Two numbers whose hashes the index cannot tell apart. Of so many there are some: about ten pairs.
    fn numbers_of_one_hash() -> (i64, i64) {
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..300_000));
        let hashes = row_hashes(&[numbers], 300_000).unwrap();
        let mut earlier = HashMap::new();
        for (number, hash) in (0..).zip(hashes) {
            if let Some(other) = earlier.insert(hash as u32, number) {
                return (other, number);
            }
        }
        panic!("no two hashes are the same");
    }

    #[test]
    fn keys_whose_hashes_meet_enter_a_store_each_once() {
        let (a, b) = numbers_of_one_hash();
        for first in [vec![a], vec![b, b], vec![a, b, a], vec![]] {
            let mut store = RowStore::new(spec(DataType::Int64)).unwrap();
            let mut known: Vec<i64> = Vec::new();
            // The expiry of a key is not the same in all batches, so chains of one hash are in two segments.
            for (keys, expiry) in [(first, 5), (vec![-1, b, a, b, -1], 50), (vec![a, b, -2], 5)] {
                let mut expected = Vec::new();
                for (row, key) in (0..).zip(&keys) {
                    if !known.contains(key) {
                        known.push(*key);
                        expected.push(row);
                    }
                }
                let expiry = Int64Array::from_value(expiry, keys.len());
                let keys: ArrayRef = Arc::new(Int64Array::from(keys));
                let new = store.append_new(&[keys], &[], Some(&expiry)).unwrap();
                assert_eq!(new.values(), &expected);
                store.check_invariants();
            }
        }
    }

    #[test]
    fn buckets_may_widen_while_rows_enter() {
        let mut store = RowStore::new(RowsSpec {
            bucket_millis: 1,
            ..spec(DataType::Int64)
        })
        .unwrap();
        for batch in 0..4 {
            // Every other key has been there before.
            let keys = Int64Array::from_iter_values((0..900).map(|key| key + 450 * batch));
            let enter: ArrayRef = Arc::new(keys.clone());
            let new = store.append_new(&[enter], &[], Some(&keys)).unwrap();
            assert_eq!(new.len(), if batch == 0 { 900 } else { 450 });
            store.check_invariants();
        }
        assert!(store.segments.len() < 1_500);
    }

    fn spec(key: DataType) -> RowsSpec {
        RowsSpec {
            keys: Arc::new(Schema::new(vec![Field::new("k", key, true)])),
            values: Arc::new(Schema::empty()),
            owner_columns: None,
            expires: true,
            bucket_millis: 10,
            marks: false,
        }
    }

    /// Rows of an epoch, key and expiry, and what expires at its end.
    type Epochs = Vec<(Vec<(Option<u8>, i64)>, i64)>;

    fn epochs() -> impl Strategy<Value = Epochs> {
        let row = (prop::option::weighted(0.9, 0_u8..30), 0_i64..100);
        let epoch = (prop::collection::vec(row, 0..40), 0_i64..60);
        prop::collection::vec(epoch, 1..8)
    }

    proptest! {
        #[test]
        fn batch_by_batch_the_same_rows_are_new_as_one_by_one(epochs in epochs()) {
            let mut store = RowStore::new(spec(DataType::Utf8)).unwrap();
            let mut known: Vec<(Option<u8>, i64)> = Vec::new();
            for (epoch, (rows, limit)) in (1..).zip(epochs) {
                let mut expected = Vec::new();
                for (number, row) in (0..).zip(&rows) {
                    if known.iter().all(|other| other.0 != row.0) {
                        known.push(*row);
                        expected.push(number);
                    }
                }
                let keys = rows.iter().map(|row| row.0.map(|key| format!("key {key}")));
                let keys: ArrayRef = Arc::new(keys.collect::<StringArray>());
                let expiry = Int64Array::from_iter_values(rows.iter().map(|row| row.1));
                let new = store.append_new(&[keys], &[], Some(&expiry)).unwrap();
                prop_assert_eq!(new.values(), &expected);
                prop_assert_eq!(store.len(), known.len());
                let removed = store.expire(limit, Emit::Nothing).unwrap().removed;
                let before = known.len();
                known.retain(|row| row.1 > limit);
                prop_assert_eq!(removed, before - known.len());
                store.commit(Epoch(epoch)).unwrap();
                store.check_invariants();
            }
        }
    }
}
