//! Rows in, but only those whose key is not there yet, nor among rows that were set apart.
//!
//! Hashes decide nearly everything: a row of which no stored row shares the hash, nor an earlier one of its batch, is
//! new without a comparison. The others are compared all at once, column by column, with what their hash leads to.

use std::sync::atomic::Ordering::Relaxed;

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
    /// Checks rows for [`Self::append_new`]; how many there are.
    pub(super) fn check_new(
        &self,
        keys: &[ArrayRef],
        expiry: Option<&Int64Array>,
    ) -> Result<usize> {
        let rows = keys.first().map_or(0, |key| key.len());
        self.check_probe(&Probe::new(keys, rows))?;
        self.check_appended(rows, expiry, None)?;
        Ok(rows)
    }

    /// Adds the rows whose key no row of the store has, nor one of those `apart`, nor an earlier one of these; their
    /// numbers, ascending. Only for rows that [`Self::check_new`] has passed.
    pub(super) fn append_new(
        &mut self,
        keys: &[ArrayRef],
        values: &[ArrayRef],
        expiry: Option<&Int64Array>,
        apart: Option<&Self>,
    ) -> Result<UInt32Array> {
        let rows = keys.first().map_or(0, |key| key.len());
        let hashes = row_hashes(keys, rows)?;
        self.counters.indexed.fetch_add(rows as u64, Relaxed);
        let Claimed { rows: new, chains } = self.claim_new(keys, &hashes, apart)?;
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

    /// The rows whose key is neither there yet nor apart. One look into the index tells of nearly every row what there is
    /// of its hash, and claims the chain where there is nothing.
    fn claim_new(
        &mut self,
        keys: &[ArrayRef],
        hashes: &[u64],
        apart: Option<&Self>,
    ) -> Result<Claimed> {
        let mut claimed = Claimed {
            rows: Vec::with_capacity(hashes.len()),
            chains: Vec::with_capacity(hashes.len()),
        };
        // Rows that met stored ones, with these, and rows that met an earlier one of the batch, with that.
        let mut stored = Met::default();
        let (mut later, mut firsts) = (Vec::new(), Vec::new());
        // Rows that met rows apart. All rows of their hashes do, so that nothing is claimed for these.
        let mut aside = Met::default();
        let mut rows = 0..;
        for some in hashes.chunks(AT_A_TIME) {
            self.index.fetch(some.iter().map(|hash| *hash as u32));
            if let Some(apart) = apart {
                apart.index.fetch(some.iter().map(|hash| *hash as u32));
            }
            for (hash, row) in some.iter().zip(&mut rows) {
                if apart.is_some_and(|apart| aside.follow(apart, *hash, row)) {
                    continue;
                }
                match self.index.claim(*hash as u32, row) {
                    Claim::Made(chain) => {
                        claimed.rows.push(row);
                        claimed.chains.push(chain);
                    }
                    Claim::By(first) => {
                        later.push(row);
                        firsts.push(first);
                    }
                    Claim::Stored => {
                        let has_rows = stored.follow(self, *hash, row);
                        debug_assert!(has_rows, "a chain has rows");
                    }
                }
            }
        }
        let mut by_chance = Vec::new();
        if let Some(apart) = apart {
            for row in self.unlike(aside, apart, keys)? {
                if !stored.follow(self, hashes[row as usize], row) {
                    by_chance.push(row);
                }
            }
        }
        by_chance.extend(self.unlike(stored, self, keys)?);
        by_chance.extend(unlike_earlier(keys, later, firsts)?);
        if !by_chance.is_empty() {
            by_chance.sort_unstable();
            let by_chance = first_of_each_key(keys, hashes, by_chance)?;
            claimed.add_without_claim(by_chance.values());
        }
        Ok(claimed)
    }

    /// Of rows that met ones of a store those that equal none that they met.
    fn unlike(&self, met: Met, store: &Self, keys: &[ArrayRef]) -> Result<Vec<u32>> {
        let Met { rows, places } = met;
        self.counters
            .compared
            .fetch_add(places.len() as u64, Relaxed);
        if rows.is_empty() {
            return Ok(rows);
        }
        let met = UInt32Array::from(rows);
        let left = take_arrays(keys, &met, None)?;
        let right = store.fetch(&places, 0..keys.len())?;
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

/// Pairs of a row and a stored one with its hash; those of one row are beside each other.
#[derive(Default)]
struct Met {
    rows: Vec<u32>,
    places: Vec<Place>,
}

impl Met {
    /// Adds the pairs of a row; whether there are any.
    #[inline]
    fn follow(&mut self, store: &RowStore, hash: u64, row: u32) -> bool {
        let hash = hash as u32;
        if store.index.first(hash) == NONE {
            return false;
        }
        store.follow(hash, Within::Any.bounds(0), &mut self.places);
        self.rows.resize(self.places.len(), row);
        true
    }
}

/// Rows whose key is not there yet, ascending, and the chain that is claimed for each; [`NONE`] where there are others of
/// its hash.
struct Claimed {
    rows: Vec<u32>,
    chains: Vec<u32>,
}

impl Claimed {
    /// Adds rows, ascending, that are few beside those that are there: what lies between two of them is moved once.
    fn add_without_claim(&mut self, more: &[u32]) {
        let mut end = self.rows.len();
        self.rows.resize(end + more.len(), 0);
        self.chains.resize(end + more.len(), NONE);
        for (before, row) in more.iter().enumerate().rev() {
            let at = self.rows[..end].partition_point(|other| other < row);
            let place = at + before;
            self.rows.copy_within(at..end, place + 1);
            self.chains.copy_within(at..end, place + 1);
            (self.rows[place], self.chains[place]) = (*row, NONE);
            end = at;
        }
    }
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
    use std::{collections::HashMap, iter::zip, sync::Arc};

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
    fn rows_without_a_claim_are_put_in_order() {
        for more in [vec![], vec![0], vec![9], vec![3, 4], vec![0, 2, 4, 5, 7, 9]] {
            let mut claimed = Claimed {
                rows: vec![1, 6, 8],
                chains: vec![10, 60, 80],
            };
            claimed.add_without_claim(&more);
            let mut expected = vec![(1, 10), (6, 60), (8, 80)];
            expected.extend(more.into_iter().map(|row| (row, NONE)));
            expected.sort_unstable();
            let found: Vec<_> = zip(claimed.rows, claimed.chains).collect();
            assert_eq!(found, expected);
        }
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
            let new = store
                .append_new(&[Arc::clone(&keys)], &[], None, None)
                .unwrap();
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
                let new = store.append_new(&[keys], &[], Some(&expiry), None).unwrap();
                assert_eq!(new.values(), &expected);
                store.check_invariants();
            }
        }
    }

    #[test]
    fn keys_whose_hashes_meet_are_told_apart_while_one_of_them_goes() {
        let (a, b) = numbers_of_one_hash();
        for (stays, come, expected) in [
            (vec![], vec![b, a, b], vec![0]),
            (vec![b], vec![b, a, b], vec![]),
            (vec![], vec![a, a], vec![]),
        ] {
            let mut store = RowStore::new(spec(DataType::Int64)).unwrap();
            let goes = vec![a, -1, -2, -3];
            let mut enter = |keys: &[i64], expiry: i64, limit: i64| {
                let expiry = Int64Array::from_value(expiry, keys.len());
                let keys: ArrayRef = Arc::new(Int64Array::from(keys.to_vec()));
                let renewed = store.append_new_then_expire(&[keys], &[], Some(&expiry), limit);
                store.check_invariants();
                renewed.unwrap().new.values().to_vec()
            };
            assert_eq!(enter(&goes, 5, 0).len(), goes.len());
            assert_eq!(enter(&stays, 50, 0).len(), stays.len());
            assert_eq!(enter(&come, 50, 9), expected);
            assert_eq!(enter(&[a], 50, 9), [0], "it has gone");
            assert!(enter(&stays, 50, 9).is_empty(), "it has stayed");
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
            let new = store.append_new(&[enter], &[], Some(&keys), None).unwrap();
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
                let new = store.append_new(&[keys], &[], Some(&expiry), None).unwrap();
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
