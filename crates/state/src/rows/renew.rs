//! Rows in, but only those whose key is not there yet, and then rows out.
//!
//! A row may find its key among those that are about to go, so nothing can go before all rows are in. But where nearly
//! all that is stored is about to go, it need not be taken out of the index row by row: it is set apart as a store of
//! its own, in which keys are looked up and which is then dropped as a whole. What is left, the smaller part, is put
//! into a new index.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use arrow::array::{ArrayRef, Int64Array, UInt32Array};
use headwater_core::Result;

use super::{Emit, RowStore, index::Index};

/// What [`RowStore::append_new_then_expire`] did.
#[derive(Debug)]
pub struct Renewed {
    /// The rows that were added, by their number among those given, ascending.
    pub new: UInt32Array,
    /// How many rows expired, of those added also.
    pub removed: usize,
}

/// A row that stays is taken out of one index and put into another: so many must go for each that stays.
const GO_FOR_ONE_THAT_STAYS: usize = 4;

/// A row that comes is looked up in two indexes: so many may come for each that goes.
const COME_FOR_ONE_THAT_GOES: usize = 4;

/// Whether to set apart the rows that go.
fn is_worth_it(go: usize, stay: usize, come: usize) -> bool {
    go > 0
        && go >= stay.saturating_mul(GO_FOR_ONE_THAT_STAYS)
        && go.saturating_mul(COME_FOR_ONE_THAT_GOES) >= come
}

impl RowStore {
    /// Adds the rows whose key no row of the store has, nor an earlier one of these; then removes every row that expires
    /// at or before `limit`, in milliseconds. NULL equals NULL. References to rows are void from then on.
    ///
    /// Costs a look-up for each row, a comparison for each that is not added, what [`Self::append`] costs for the others,
    /// and what [`Self::expire`] costs; less where nearly all that is stored expires. `expiry` is in milliseconds, one
    /// per row; null or `None` means that the row never expires.
    ///
    /// # Errors
    /// `Internal` if columns do not fit the spec, or an expiry is given to a store without them: nothing has changed then.
    /// After an error of another kind the store is of no use any more.
    pub fn append_new_then_expire(
        &mut self,
        keys: &[ArrayRef],
        values: &[ArrayRef],
        expiry: Option<&Int64Array>,
        limit: i64,
    ) -> Result<Renewed> {
        let rows = self.check_new(keys, expiry)?;
        let gone = self.set_apart(limit, rows);
        let new = self.append_new(keys, values, expiry, gone.as_ref())?;
        let expired = self.expire(limit, Emit::Nothing)?;
        Ok(Renewed {
            new,
            removed: expired.removed + gone.map_or(0, |gone| gone.rows),
        })
    }

    /// Takes the segments that expire as a whole out of the store, as a store of their own, where that is worth it for
    /// so many rows to come.
    fn set_apart(&mut self, limit: i64, come: usize) -> Option<Self> {
        let up_to = self.segments.up_to(limit).into_iter().map(|(id, _)| id);
        let expires = |id: &u32| self.segments.get(*id).latest <= limit;
        let go: Vec<u32> = up_to.filter(expires).collect();
        let segments = go.iter().map(|id| self.segments.get(*id));
        let rows = segments.clone().map(|segment| segment.rows).sum();
        if !is_worth_it(rows, self.rows - rows, come) {
            return None;
        }
        if segments
            .clone()
            .any(|segment| segment.rows > 0 && self.is_of_version(segment))
        {
            self.pending.expired_to = self.pending.expired_to.max(Some(limit));
        }
        self.generation += 1;
        self.rows -= rows;
        self.counters.indexed.fetch_add(self.rows as u64, Relaxed);
        let segments = self.segments.split_off(&go);
        // Those that stay, and as many new ones as came last time, if so many come at all.
        let chains = self.rows + come.min(rows + rows / 4);
        let mut index = std::mem::replace(&mut self.index, Index::with_capacity(chains));
        for id in self.segments.ids() {
            let chains: Vec<u32> = self.segments.get(id).own_chains(&index).collect();
            self.index_again(id, &index);
            chains.into_iter().for_each(|chain| index.remove(chain));
        }
        Some(Self {
            next_number: self.next_number,
            uncommitted: self.uncommitted,
            ..Self::over(Arc::clone(&self.shape), segments, index, rows)
        })
    }
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::{RecordBatch, StringArray},
        compute::concat_batches,
        datatypes::{DataType, Field, Schema},
    };
    use headwater_core::Epoch;
    use proptest::prelude::*;

    use super::*;
    use crate::RowsSpec;

    #[test]
    fn rows_are_set_apart_where_nearly_all_go() {
        assert!(is_worth_it(400, 100, 1_600));
        assert!(!is_worth_it(399, 100, 0), "too many stay");
        assert!(!is_worth_it(400, 0, 1_601), "too many come");
        assert!(!is_worth_it(0, 0, 0), "nothing goes");
        assert!(is_worth_it(usize::MAX, usize::MAX / 4, usize::MAX));
    }

    fn store() -> RowStore {
        RowStore::new(RowsSpec {
            keys: Arc::new(Schema::new(vec![Field::new("k", DataType::Utf8, true)])),
            values: Arc::new(Schema::empty()),
            owner_columns: None,
            expires: true,
            bucket_millis: 10,
            marks: false,
        })
        .unwrap()
    }

    fn keys(keys: impl IntoIterator<Item = Option<u16>>) -> [ArrayRef; 1] {
        let names = keys
            .into_iter()
            .map(|key| key.map(|key| format!("key {key}")));
        [Arc::new(names.collect::<StringArray>())]
    }

    /// A key that goes is known until all rows are in; one that stays is known in the next epoch too.
    #[test]
    fn a_key_that_is_about_to_go_is_known() {
        let mut store = store();
        let mut enter = |numbers: &[u16], at: i64, limit: i64| {
            let keys = keys(numbers.iter().copied().map(Some));
            let expiry = Int64Array::from_value(at, numbers.len());
            let renewed = store.append_new_then_expire(&keys, &[], Some(&expiry), limit);
            store.check_invariants();
            let Renewed { new, removed } = renewed.unwrap();
            (new.values().to_vec(), removed, store.len())
        };
        assert_eq!(enter(&[1, 2, 3, 4], 19, 0), (vec![0, 1, 2, 3], 0, 4));
        assert_eq!(enter(&[5], 40, 0), (vec![0], 0, 5));
        // Four go for the one that stays.
        assert_eq!(enter(&[5, 2, 6, 6, 1], 60, 20), (vec![2], 4, 2));
        assert_eq!(enter(&[1, 5, 6, 2], 70, 20), (vec![0, 3], 0, 4));
    }

    /// Both parts are stores that hold what an index of theirs leads to, rows of one key on both sides included.
    #[test]
    fn rows_that_go_and_rows_that_stay_are_two_stores() {
        let mut store = store();
        for (numbers, at) in [(0..40, 5), (30..50, 25), (20..60, 15)] {
            let keys = keys(numbers.map(Some));
            let expiry = Int64Array::from_value(at, keys[0].len());
            store.append(&keys, &[], Some(&expiry), None).unwrap();
        }
        assert!(store.set_apart(14, 0).is_none(), "too many would stay");
        let apart = store.set_apart(15, 0).unwrap();
        assert_eq!((apart.len(), store.len()), (80, 20));
        apart.check_invariants();
        store.check_invariants();
        let found = |store: &RowStore| {
            let keys = keys((0..60).map(Some));
            let found = store.probe(&crate::Probe::new(&keys, 60)).unwrap();
            found.probe_rows.values().to_vec()
        };
        assert_eq!(found(&store), (30..50).collect::<Vec<_>>());
        let once_and_twice = (0..60).flat_map(|key| match key {
            20..40 => vec![key, key],
            _ => vec![key],
        });
        assert_eq!(found(&apart), once_and_twice.collect::<Vec<_>>());
    }

    /// Whether few rows come or many that are not new: what was made room for is not kept.
    #[test]
    fn memory_goes_with_the_rows() {
        for (come, new) in [(40_000..40_100_u16, 100), (0..40_000, 0)] {
            let mut store = store();
            let mut epoch = 1;
            let mut enter = |numbers: std::ops::Range<u16>, at: i64, limit: i64| {
                let keys = keys(numbers.map(Some));
                let expiry = Int64Array::from_value(at, keys[0].len());
                store
                    .append_new_then_expire(&keys, &[], Some(&expiry), limit)
                    .unwrap();
                store.commit(Epoch(epoch)).unwrap();
                epoch += 1;
                store.check_invariants();
                (store.len(), store.memory_bytes())
            };
            let (rows, many) = enter(0..40_000, 5, 0);
            assert!(rows == 40_000 && many > 1_000_000, "{many}");
            let (rows, few) = enter(come, 25, 9);
            assert!(rows == new && few < 100_000, "{few}");
        }
    }

    /// Rows of an epoch, key and expiry, and what expires at its end.
    type Epochs = Vec<(Vec<(Option<u16>, Option<i64>)>, i64)>;

    /// Times that move on, so that what is stored goes sooner or later, now and then all at once.
    fn epochs() -> impl Strategy<Value = Epochs> {
        let key = prop::option::weighted(0.95, 0_u16..60);
        let row = (key, prop::option::weighted(0.98, 1_i64..60));
        let epoch = (prop::collection::vec(row, 0..60), 0_i64..80, -10_i64..20);
        prop::collection::vec(epoch, 1..10).prop_map(|epochs| {
            let mut now = 0;
            let epochs = epochs.into_iter().map(|(rows, step, ahead)| {
                let rows = rows.into_iter();
                let rows = rows.map(|(key, after)| (key, after.map(|after| now + after)));
                let rows = rows.collect();
                now += step;
                (rows, now - step + ahead)
            });
            epochs.collect()
        })
    }

    fn rows_of(store: &RowStore) -> RecordBatch {
        concat_batches(&store.spec().keys, &store.scan().unwrap()).unwrap()
    }

    proptest! {
        #[test]
        fn rows_that_are_set_apart_are_what_expires_one_by_one(epochs in epochs()) {
            let (mut store, mut other, mut restored) = (store(), store(), store());
            for (epoch, (rows, limit)) in (1..).zip(epochs) {
                let keys = keys(rows.iter().map(|row| row.0));
                let expiry: Int64Array = rows.iter().map(|row| row.1).collect();
                let renewed =
                    store.append_new_then_expire(&keys, &[], Some(&expiry), limit).unwrap();
                store.check_invariants();
                let new = other.append_new(&keys, &[], Some(&expiry), None).unwrap();
                let expired = other.expire(limit, Emit::Nothing).unwrap();
                prop_assert_eq!(renewed.new, new);
                prop_assert_eq!(renewed.removed, expired.removed);
                prop_assert_eq!(store.len(), other.len());
                prop_assert_eq!(store.earliest_expiry(), other.earliest_expiry());
                let delta = store.commit(Epoch(epoch)).unwrap();
                let expected = other.commit(Epoch(epoch)).unwrap();
                prop_assert_eq!((delta.rows, delta.live), (expected.rows, expected.live));
                prop_assert_eq!(delta.bytes.is_empty(), expected.bytes.is_empty());
                restored.apply_delta(&delta.bytes.into_bytes(), None).unwrap();
                store.check_invariants();
                prop_assert_eq!(rows_of(&store), rows_of(&other));
                prop_assert_eq!(rows_of(&restored), rows_of(&other));
            }
        }
    }
}
