//! What a store of rows costs, and its edges; what it holds is the business of [`crate::conformance`].

use arrow::{
    array::{Array, AsArray, Float64Array, StringArray},
    datatypes::{DataType, Field, Int64Type, Schema, SchemaRef},
};
use headwater_core::ErrorKind;

use super::*;
use crate::expire::Expired;

fn schema(columns: &[(&str, DataType)]) -> SchemaRef {
    let fields = columns
        .iter()
        .map(|(name, data_type)| Field::new(*name, data_type.clone(), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn spec() -> RowsSpec {
    RowsSpec {
        keys: schema(&[("key", DataType::Int64)]),
        values: schema(&[("value", DataType::Int64)]),
        owner_columns: None,
        expires: true,
        bucket_millis: 1_000,
        marks: true,
    }
}

fn new_store(spec: RowsSpec) -> RowStore {
    RowStore::new(spec).unwrap()
}

fn ints(values: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}

/// Adds rows of (key, value, expiry).
fn append(store: &mut RowStore, rows: impl IntoIterator<Item = (i64, i64, i64)>) -> RowRefs {
    let rows: Vec<_> = rows.into_iter().collect();
    let expiry = Int64Array::from_iter_values(rows.iter().map(|row| row.2));
    let keys = ints(rows.iter().map(|row| row.0));
    let values = ints(rows.iter().map(|row| row.1));
    store
        .append(&[keys], &[values], Some(&expiry), None)
        .unwrap()
}

fn values_of(store: &RowStore, rows: &RowRefs) -> Vec<i64> {
    let columns = store.gather(rows, &[1]).unwrap();
    columns[0].as_primitive::<Int64Type>().values().to_vec()
}

/// Pairs of probe row and value.
fn found(store: &RowStore, keys: impl IntoIterator<Item = i64>) -> Vec<(u32, i64)> {
    let keys = [ints(keys)];
    let matches = store.probe(&Probe::new(&keys, keys[0].len())).unwrap();
    let values = values_of(store, &matches.rows);
    std::iter::zip(matches.probe_rows.values().to_vec(), values).collect()
}

fn within(store: &RowStore, key: i64, low: Option<i64>, high: Option<i64>) -> Vec<i64> {
    let keys = [ints([key])];
    let (low, high) = (Int64Array::from(vec![low]), Int64Array::from(vec![high]));
    let probe = Probe {
        within: Within::Range {
            low: &low,
            high: &high,
        },
        ..Probe::new(&keys, 1)
    };
    values_of(store, &store.probe(&probe).unwrap().rows)
}

fn values(batches: &[RecordBatch]) -> Vec<i64> {
    let values = batches.iter().flat_map(|batch| {
        let values = batch.column(1).as_primitive::<Int64Type>();
        values.values().to_vec()
    });
    values.collect()
}

fn difference(new: Work, old: Work) -> Work {
    Work {
        rows_indexed: new.rows_indexed - old.rows_indexed,
        rows_copied: new.rows_copied - old.rows_copied,
        rows_compared: new.rows_compared - old.rows_compared,
    }
}

#[test]
fn rows_of_a_key_are_found_across_time_from_the_oldest_to_the_newest() {
    let mut store = new_store(spec());
    append(&mut store, [(1, 10, 9_000), (2, 20, 100), (1, 11, 200)]);
    append(&mut store, [(1, 12, 9_500), (1, 13, 150), (3, 30, 100)]);
    assert_eq!(
        found(&store, [2, 7, 1]),
        [(0, 20), (2, 10), (2, 11), (2, 12), (2, 13)]
    );
    assert_eq!(within(&store, 1, Some(150), Some(9_000)), [10, 11, 13]);
    assert_eq!(within(&store, 1, Some(151), None), [10, 11, 12]);
    assert_eq!(within(&store, 1, None, Some(149)).len(), 0);
    assert_eq!(within(&store, 1, None, Some(150)), [13]);
}

#[test]
fn rows_that_never_expire_are_later_than_any_time() {
    let mut store = new_store(spec());
    let expiry = Int64Array::from(vec![None, Some(i64::MAX), Some(5)]);
    store
        .append(&[ints([1; 3])], &[ints([0, 1, 2])], Some(&expiry), None)
        .unwrap();
    assert_eq!(within(&store, 1, None, None), [0, 1, 2]);
    assert_eq!(within(&store, 1, Some(i64::MAX), None), [0, 1]);
    assert_eq!(within(&store, 1, None, Some(i64::MAX)), [1, 2]);
    assert_eq!(within(&store, 1, Some(6), Some(7)).len(), 0);
    assert_eq!(store.expire(i64::MAX, Emit::Nothing).unwrap().removed, 2);
    assert_eq!(found(&store, [1]), [(0, 0)]);
    let all = store.probe(&Probe::new(&[ints([1])], 1)).unwrap();
    assert!(store.expiry_of(&all.rows).unwrap().is_null(0));
}

#[test]
fn rows_that_expire_are_returned_as_asked_for() {
    for (emit, expected) in [
        (Emit::Nothing, vec![]),
        (Emit::All, vec![10, 11, 12]),
        (Emit::Unmarked, vec![10, 12]),
    ] {
        // A whole bucket and one that is cut.
        let mut store = new_store(spec());
        let rows = append(
            &mut store,
            [
                (1, 10, 10),
                (1, 11, 20),
                (2, 12, 1_000),
                (2, 13, 1_001),
                (9, 14, 5),
            ],
        );
        let removed = rows.take(&vec![4].into()).unwrap();
        assert_eq!(store.remove(&removed).unwrap(), 1);
        assert_eq!(
            store
                .mark(&rows.take(&vec![1, 3, 4].into()).unwrap())
                .unwrap(),
            2
        );
        let Expired { rows, removed } = store.expire(1_000, emit).unwrap();
        assert_eq!((values(&rows), removed), (expected, 3));
        assert_eq!((store.len(), found(&store, [1, 2])), (1, vec![(1, 13)]));
    }
}

#[test]
fn null_keys_match_or_never_do() {
    let mut store = new_store(RowsSpec {
        keys: schema(&[("a", DataType::Float64), ("b", DataType::Utf8)]),
        ..spec()
    });
    let a: ArrayRef = Arc::new(Float64Array::from(vec![
        Some(0.0),
        Some(f64::NAN),
        None,
        None,
    ]));
    let b: ArrayRef = Arc::new(StringArray::from(vec![Some("x"), None, Some("x"), None]));
    store.append(&[a, b], &[ints(0..4)], None, None).unwrap();
    let a: ArrayRef = Arc::new(Float64Array::from(vec![
        Some(-0.0),
        Some(-f64::NAN),
        None,
        None,
    ]));
    let b: ArrayRef = Arc::new(StringArray::from(vec![Some("x"), None, Some("x"), None]));
    let keys = [a, b];
    for (null_keys, expected) in [
        (NullKeys::Match, vec![0, 1, 2, 3]),
        (NullKeys::Never, vec![0]),
    ] {
        let probe = Probe {
            null_keys,
            ..Probe::new(&keys, 4)
        };
        let matches = store.probe(&probe).unwrap();
        let expected_rows: Vec<u32> = expected.iter().map(|row| *row as u32).collect();
        assert_eq!(matches.probe_rows.values(), expected_rows.as_slice());
        let values = store.gather(&matches.rows, &[2]).unwrap();
        assert_eq!(
            values[0].as_primitive::<Int64Type>().values(),
            expected.as_slice()
        );
    }
}

#[test]
fn a_probe_stops_and_goes_on() {
    let mut store = new_store(spec());
    append(&mut store, (0..100).map(|i| (i % 10, i, 5)));
    let keys = [ints((0..20).map(|i| i / 2))];
    let mut start = 0;
    let mut rows = vec![];
    let mut rounds = 0;
    while start < 20 {
        let probe = Probe {
            rows: start..20,
            at_most: 25,
            ..Probe::new(&keys, 20)
        };
        let matches = store.probe(&probe).unwrap();
        assert!(matches.rows.len() < 25 + 10);
        rows.extend(matches.probe_rows.values().to_vec());
        (start, rounds) = (matches.end, rounds + 1);
    }
    assert_eq!(rounds, 7);
    assert_eq!(rows, (0..20).flat_map(|row| [row; 10]).collect::<Vec<_>>());
}

#[test]
fn references_are_refused_once_rows_may_have_moved() {
    let mut store = new_store(spec());
    let rows = append(&mut store, [(1, 10, 5)]);
    let other = append(&mut store, [(1, 11, 5)]);
    let error = store.gather(&rows, &[1]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert_eq!(
        error.message(),
        "rows of state were referred to after the store was appended to, expired or committed: probe again"
    );
    store.remove(&other).unwrap();
    assert_eq!(values_of(&store, &other), [11]);
    store.commit(Epoch(0)).unwrap();
    assert!(store.mark(&other).is_err());
    let error = store.gather(
        &store.probe(&Probe::new(&[ints([1])], 1)).unwrap().rows,
        &[2],
    );
    assert_eq!(
        error.unwrap_err().message(),
        "state rows have 2 columns, column 2 was asked for"
    );
}

#[test]
fn what_came_and_went_within_an_epoch_is_not_written() {
    let mut store = new_store(spec());
    append(
        &mut store,
        [(1, 10, 5_000), (2, 20, 9_000), (3, 30, 20_000)],
    );
    assert_eq!(store.commit(Epoch(0)).unwrap().rows, 3);
    let rows = append(&mut store, [(4, 40, 9_000), (5, 50, 100), (6, 60, 9_000)]);
    store.remove(&rows.take(&vec![0].into()).unwrap()).unwrap();
    store.mark(&rows.take(&vec![2].into()).unwrap()).unwrap();
    store.expire(200, Emit::All).unwrap();
    let delta = store.commit(Epoch(1)).unwrap();
    assert_eq!(delta.rows, 1);
    assert!(store.commit(Epoch(2)).unwrap().is_empty());
    let mut restored = new_store(spec());
    restored
        .apply_delta(&store.snapshot().encode().unwrap().bytes.into_bytes(), None)
        .unwrap();
    assert_eq!(found(&restored, 1..7), [(0, 10), (1, 20), (2, 30), (5, 60)]);
    assert_eq!(restored.expire(9_000, Emit::Unmarked).unwrap().removed, 3);
}

#[test]
fn an_epoch_costs_what_it_touches_however_many_rows_there_are() {
    let mut store = new_store(RowsSpec {
        bucket_millis: 3_000,
        ..spec()
    });
    // 300,000 rows of 100,000 keys over a hundred buckets.
    append(&mut store, (0..300_000).map(|i| (i % 100_000, i, i)));
    store.commit(Epoch(0)).unwrap();
    let start = store.work();
    for epoch in 1..=100 {
        let before = store.work();
        append(&mut store, (0..10).map(|i| (i * 97, -1, 1_000_000 + epoch)));
        let keys = [ints((0..10).map(|i| i * 97))];
        let high = Int64Array::from(vec![200_000; 10]);
        let low = Int64Array::from(vec![100_000; 10]);
        let probe = Probe {
            within: Within::Range {
                low: &low,
                high: &high,
            },
            ..Probe::new(&keys, 10)
        };
        let matches = store.probe(&probe).unwrap();
        // One row of each key expires in the range, of key 0 one at each end of it.
        assert_eq!(matches.rows.len(), 11);
        store.mark(&matches.rows).unwrap();
        let delta = store.commit(Epoch(epoch.unsigned_abs())).unwrap();
        assert_eq!(delta.rows, 10);
        assert!(delta.bytes.len() < 4_000, "{} bytes", delta.bytes.len());
        let work = difference(store.work(), before);
        assert_eq!(work.rows_indexed, 20);
        assert!(work.rows_compared < 40, "{work:?}");
        // What is copied now and then is merged small blocks, never the large ones.
        assert!(work.rows_copied <= 11 + 10 * 100, "{work:?}");
    }
    let work = difference(store.work(), start);
    // Each row: fetched once, and merged once per size class of blocks that 1,000 rows can fill.
    assert!(work.rows_copied <= 100 * (11 + 10 * 3), "{work:?}");
}

#[test]
fn expiry_of_whole_buckets_compares_no_row() {
    let mut store = new_store(spec());
    append(&mut store, (0..100_000).map(|i| (i % 100, i, i)));
    let before = store.work();
    let expired = store.expire(49_999, Emit::Nothing).unwrap();
    assert_eq!(expired.removed, 50_000);
    assert_eq!(difference(store.work(), before), Work::default());
    // The limit cuts a bucket: only its rows are compared.
    let expired = store.expire(50_499, Emit::All).unwrap();
    assert_eq!(expired.removed, 500);
    let work = difference(store.work(), before);
    assert_eq!((work.rows_compared, work.rows_copied), (1_000, 500));
    // Nothing is due before the first row of the bucket.
    store.expire(50_499, Emit::All).unwrap();
    assert_eq!(store.work().rows_compared - before.rows_compared, 1_000);
    assert_eq!(store.len(), 49_500);
    store.check_invariants();
}

#[test]
fn what_is_left_is_found_however_much_has_expired() {
    // Of key k there are rows in buckets 0 to k / 10, and one that never expires where k is a multiple of seven.
    let timed = (0..100).flat_map(|key| (0..=key / 10).map(move |i| (key, i, i * 1_000 + key)));
    let timed: Vec<_> = timed.collect();
    for limit in [
        -1,
        0,
        550,
        999,
        2_050,
        4_999,
        6_000,
        8_999,
        9_094,
        9_098,
        9_099,
        i64::MAX,
    ] {
        let mut store = new_store(spec());
        append(&mut store, timed.iter().copied());
        let forever: Vec<_> = (0..100).filter(|key| key % 7 == 0).collect();
        let never = vec![99; forever.len()];
        store
            .append(&[ints(forever)], &[ints(never)], None, None)
            .unwrap();
        let expired = store.expire(limit, Emit::All).unwrap();
        let due = |row: &&(i64, i64, i64)| row.2 <= limit;
        let mut gone = values(&expired.rows);
        gone.sort_unstable();
        let mut expected: Vec<_> = timed.iter().filter(due).map(|row| row.1).collect();
        expected.sort_unstable();
        assert_eq!(gone, expected, "{limit}");
        store.check_invariants();
        for again in [false, true] {
            if again {
                // What went can come again, in the place of what went.
                append(
                    &mut store,
                    timed.iter().copied().filter(|row| row.2 <= limit),
                );
                store.check_invariants();
            }
            for key in 0..100 {
                let left = timed
                    .iter()
                    .filter(|row| row.0 == key && (again || row.2 > limit));
                let left = left.map(|row| row.1).chain((key % 7 == 0).then_some(99));
                let mut found: Vec<_> = found(&store, [key]).into_iter().map(|it| it.1).collect();
                found.sort_unstable();
                assert_eq!(found, left.collect::<Vec<_>>(), "{key} after {limit}");
            }
        }
    }
}

#[test]
fn a_probe_of_a_range_looks_only_at_segments_that_overlap() {
    let mut store = new_store(spec());
    // One key, a hundred buckets of a hundred rows.
    append(&mut store, (0..10_000).map(|i| (1, i, i * 10)));
    let before = store.work();
    assert_eq!(within(&store, 1, Some(50_000), Some(50_990)).len(), 100);
    let work = difference(store.work(), before);
    assert_eq!(work.rows_compared, 100, "a whole segment");
    let before = store.work();
    assert_eq!(within(&store, 1, Some(50_500), Some(51_490)).len(), 100);
    let work = difference(store.work(), before);
    assert_eq!(work.rows_compared, 200, "two halves");
}

#[test]
fn a_key_whose_row_is_replaced_again_and_again_stays_cheap() {
    // As the sessions of one busy key among many idle ones.
    let mut store = new_store(RowsSpec {
        expires: false,
        ..spec()
    });
    let keys = [ints(0..100_000)];
    store
        .append(&keys, &[ints(0..100_000)], None, None)
        .unwrap();
    store.commit(Epoch(0)).unwrap();
    for epoch in 1..2_000 {
        let before = store.work();
        let key = [ints([7])];
        let found = store.probe(&Probe::new(&key, 1)).unwrap();
        assert_eq!(found.rows.len(), 1);
        store.remove(&found.rows).unwrap();
        store.append(&key, &[ints([epoch])], None, None).unwrap();
        let delta = store.commit(Epoch(epoch.unsigned_abs())).unwrap();
        assert!(
            delta.rows == 1 && delta.bytes.len() < 1_600,
            "{}",
            delta.bytes.len()
        );
        let work = difference(store.work(), before);
        assert_eq!((work.rows_indexed, work.rows_compared), (2, 1));
        assert!(work.rows_copied <= 1 + 2_000, "{work:?}");
    }
    store.check_invariants();
}

#[test]
fn garbage_never_outweighs_what_is_live() {
    let mut store = new_store(RowsSpec {
        expires: false,
        ..spec()
    });
    let keys = [ints(0..20_000)];
    let mut once = 0;
    let before = store.work();
    for epoch in 0..20 {
        let old = store.probe(&Probe::new(&keys, 20_000)).unwrap();
        store.remove(&old.rows).unwrap();
        store.append(&keys, &[ints(0..20_000)], None, None).unwrap();
        store.commit(Epoch(epoch)).unwrap();
        once = once.max(if epoch == 0 {
            store.memory_bytes()
        } else {
            once
        });
        assert!(store.memory_bytes() < 3 * once);
        store.check_invariants();
    }
    // Each row was fetched to compare its key, and moved at most once.
    let work = difference(store.work(), before);
    assert!(work.rows_copied <= 2 * 20 * 20_000, "{work:?}");
    // Nothing is left of a store that was emptied.
    let rows = store.probe(&Probe::new(&keys, 20_000)).unwrap();
    store.remove(&rows.rows).unwrap();
    store.commit(Epoch(20)).unwrap();
    assert!(
        store.memory_bytes() < 10_000,
        "{} bytes",
        store.memory_bytes()
    );
}

#[test]
fn buckets_widen_when_there_would_be_too_many() {
    let mut store = new_store(RowsSpec {
        bucket_millis: 1,
        ..spec()
    });
    let before = store.work();
    for epoch in 0..500i64 {
        append(
            &mut store,
            (0..100).map(|i| (i % 7, epoch * 100 + i, epoch * 100 + i)),
        );
        store.commit(Epoch(epoch.unsigned_abs())).unwrap();
        assert!(store.segments.len() <= crate::segments::MAX_SEGMENTS);
    }
    store.check_invariants();
    let work = difference(store.work(), before);
    // 50,000 rows, whose buckets have doubled about six times.
    assert!(work.rows_copied < 50_000 * 8, "{work:?}");
    let expected: Vec<i64> = (0..50_000).filter(|i| i % 100 % 7 == 3).collect();
    let found: Vec<i64> = found(&store, [3])
        .into_iter()
        .map(|(_, value)| value)
        .collect();
    assert_eq!(found, expected);
    // Far away in time, too.
    append(
        &mut store,
        (0..3_000).map(|i| (8, i, (i - 1_500) * (i64::MAX / 1_500))),
    );
    store.check_invariants();
    assert_eq!(
        store.expire(i64::MAX, Emit::Nothing).unwrap().removed,
        53_000
    );
    store.check_invariants();
}

#[test]
fn keys_whose_hashes_meet_are_told_apart() {
    let mut store = new_store(spec());
    // Among 150,000 keys some pairs share 32 bits of hash, and so a chain.
    append(&mut store, (0..150_000).map(|i| (i, i, 5)));
    assert!(store.index.len() < 150_000, "no hashes have met");
    let pairs = found(&store, 0..150_000);
    assert!(pairs.iter().all(|(row, value)| i64::from(*row) == *value));
    assert_eq!(pairs.len(), 150_000);
    // A pair in one chain: removing one leaves the other.
    let keys = [ints((0..150_000).step_by(2))];
    let even = store.probe(&Probe::new(&keys, 75_000)).unwrap();
    assert_eq!(store.remove(&even.rows).unwrap(), 75_000);
    store.check_invariants();
    assert_eq!(found(&store, 0..150_000).len(), 75_000);
}

#[test]
fn a_snapshot_keeps_its_version_while_the_store_goes_on() {
    let mut store = new_store(spec());
    let rows = append(&mut store, (0..1_000).map(|i| (i % 10, i, i)));
    store.mark(&rows.take(&vec![500].into()).unwrap()).unwrap();
    store.commit(Epoch(7)).unwrap();
    let snapshot = store.snapshot();
    let all = [ints(0..10)];
    let rows = store.probe(&Probe::new(&all, 10)).unwrap().rows;
    store.mark(&rows).unwrap();
    store.remove(&rows.take(&vec![3].into()).unwrap()).unwrap();
    store.expire(100, Emit::Nothing).unwrap();
    append(&mut store, (0..500).map(|i| (i, i, 5_000)));
    assert_eq!(
        store.snapshot().encode().unwrap_err().kind(),
        ErrorKind::Internal
    );
    assert_eq!(snapshot.rows(), 1_000);
    let mut restored = new_store(spec());
    let bytes = snapshot.encode().unwrap().bytes.into_bytes();
    restored.apply_delta(&bytes, None).unwrap();
    assert_eq!(
        (restored.version(), restored.len()),
        (Some(Epoch(7)), 1_000)
    );
    let rows = restored.probe(&Probe::new(&all, 10)).unwrap().rows;
    assert_eq!(restored.marked(&rows).unwrap().true_count(), 1);
    let error = restored.apply_delta(&bytes, None).unwrap_err();
    assert_eq!(
        error.message(),
        "a snapshot of version 7 follows rows of an older version"
    );
}

#[test]
fn rows_without_key_or_value_columns_can_be_kept() {
    let mut store = new_store(RowsSpec {
        keys: schema(&[]),
        ..spec()
    });
    let expiry = Int64Array::from(vec![5, 15, 25]);
    store
        .append(&[], &[ints(0..3)], Some(&expiry), None)
        .unwrap();
    let found = store.probe(&Probe::new(&[], 2)).unwrap();
    assert_eq!(found.probe_rows.values(), &[0, 0, 0, 1, 1, 1]);
    let mut store = new_store(RowsSpec {
        values: schema(&[]),
        ..spec()
    });
    store.append(&[ints([1, 2, 1])], &[], None, None).unwrap();
    let delta = store.commit(Epoch(0)).unwrap();
    let mut restored = new_store(store.spec().clone());
    restored
        .apply_delta(&delta.bytes.into_bytes(), None)
        .unwrap();
    assert_eq!(
        restored
            .probe(&Probe::new(&[ints([1])], 1))
            .unwrap()
            .rows
            .len(),
        2
    );
}

#[test]
fn columns_and_references_that_do_not_fit_are_refused() {
    let mut store = new_store(spec());
    let text: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
    let one = || ints([1]);
    let expiry = Int64Array::from(vec![1]);
    let message = |error: Option<Error>| error.map(|error| error.message().to_owned());
    let error = store.append(&[Arc::clone(&text)], &[one()], None, None);
    assert_eq!(
        message(error.err()).as_deref(),
        Some("state column key is of type Utf8, expected Int64")
    );
    let error = store.append(
        &[one()],
        &[one()],
        Some(&Int64Array::from(vec![1, 2])),
        None,
    );
    assert_eq!(
        message(error.err()).as_deref(),
        Some("state column __expiry has 2 rows, expected 1")
    );
    let error = store.append(&[one()], &[one()], None, Some(&vec![true, false].into()));
    assert_eq!(
        message(error.err()).as_deref(),
        Some("state was given 2 marks for 1 rows")
    );
    let error = store.probe(&Probe::new(&[text], 1));
    assert_eq!(
        message(error.err()).as_deref(),
        Some(
            "state was probed with key key of 1 rows of type Utf8, expected 1 or more of type Int64"
        )
    );
    let keys = [ints([1, 2])];
    let probe = Probe {
        within: Within::Range {
            low: &expiry,
            high: &expiry,
        },
        ..Probe::new(&keys, 2)
    };
    assert_eq!(
        message(store.probe(&probe).err()).as_deref(),
        Some("state was probed with 1 lower and 1 upper bounds, expected 2 or more")
    );
    let rows = store
        .append(&[one()], &[one()], Some(&expiry), None)
        .unwrap();
    assert_eq!(
        message(rows.take(&vec![1].into()).err()).as_deref(),
        Some("reference 1 of 1 to rows of state was asked for")
    );
    assert_eq!(
        message(rows.filter(&vec![true, true].into()).err()).as_deref(),
        Some("1 references to rows of state were filtered by 2 bits")
    );
    let mut other = new_store(RowsSpec {
        expires: false,
        marks: false,
        ..spec()
    });
    let error = other.append(&[one()], &[one()], Some(&expiry), None);
    assert_eq!(
        message(error.err()).as_deref(),
        Some("an expiry was given to a store whose rows never expire")
    );
    let rows = other.append(&[one()], &[one()], None, None).unwrap();
    assert_eq!(
        message(other.mark(&rows).err()).as_deref(),
        Some("rows were marked in a store whose rows carry no mark")
    );
    assert!(!other.marked(&rows).unwrap().value(0));
    assert!(
        RowStore::new(RowsSpec {
            bucket_millis: 0,
            ..spec()
        })
        .is_err()
    );
}

#[test]
fn a_store_can_move_to_another_thread() {
    fn sendable<T: Send>() {}
    sendable::<RowStore>();
    sendable::<RowRefs>();
    sendable::<Snapshot>();
}

#[test]
fn damaged_headers_and_short_sections_are_errors() {
    let mut store = new_store(spec());
    append(&mut store, (0..40).map(|i| (i % 10, i, i * 100)));
    let first = store.commit(Epoch(0)).unwrap().bytes.into_bytes();
    let rows = store.probe(&Probe::new(&[ints([1, 2])], 2)).unwrap().rows;
    store.mark(&rows.take(&vec![0, 1].into()).unwrap()).unwrap();
    store.remove(&rows.take(&vec![2].into()).unwrap()).unwrap();
    store.expire(100, Emit::Nothing).unwrap();
    append(&mut store, [(1, 1, 5_000)]);
    let second = store.commit(Epoch(1)).unwrap().bytes.into_bytes();
    let apply = |second: &[u8]| {
        let mut restored = new_store(spec());
        restored.apply_delta(&first, None).unwrap();
        restored.apply_delta(second, None).map(|()| restored.len())
    };
    assert_eq!(apply(&second).unwrap(), store.len());
    // The header of the section and of its first entry, without the epoch, which may be another one.
    for at in (0..8).chain(16..20).chain(24..33).chain(40..48) {
        let mut damaged = second.to_vec();
        damaged[at] ^= 0x41;
        let error = apply(&damaged).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data, "byte {at}: {error}");
    }
    for end in 1..second.len() {
        assert_eq!(apply(&second[..end]).unwrap_err().kind(), ErrorKind::Data);
    }
}

/// The numbers of the rows that a section puts, entry by entry.
fn numbers_put(store: &RowStore, bytes: &[u8]) -> Vec<u64> {
    let (section, rest) = crate::section::decode(&store.shape.layout, None, bytes).unwrap();
    assert!(rest.is_empty());
    let puts = section.changes.iter().filter_map(|change| match change {
        crate::delta::Change::Put(rows) => Some(store.shape.numbers(rows).values().to_vec()),
        _ => None,
    });
    puts.flatten().collect()
}

#[test]
fn rows_are_written_by_bucket_and_restored_into_buckets_of_any_width() {
    let narrow = RowsSpec {
        bucket_millis: 10,
        ..spec()
    };
    let mut store = new_store(narrow.clone());
    // Times that jump to and fro, so that neighbours in age are in other segments.
    let rows = |from: i64| (from..from + 500).map(|i| (i % 3, i, i * 379 % 1_000));
    append(&mut store, rows(0));
    let first = store.commit(Epoch(0)).unwrap().bytes.into_bytes();
    let whole = store.snapshot().encode().unwrap().bytes.into_bytes();
    for bytes in [&first, &whole] {
        let mut numbers = numbers_put(&store, bytes);
        assert!(!numbers.is_sorted(), "by bucket");
        numbers.sort_unstable();
        assert_eq!(numbers, (0..500).collect::<Vec<_>>());
    }
    let rows = store.probe(&Probe::new(&[ints([1])], 1)).unwrap().rows;
    store
        .mark(&rows.take(&vec![7, 70].into()).unwrap())
        .unwrap();
    store
        .remove(&rows.take(&vec![8, 80].into()).unwrap())
        .unwrap();
    let second = store.commit(Epoch(1)).unwrap().bytes.into_bytes();
    for bucket_millis in [1, 10, 100, 100_000] {
        for base in [&first, &whole] {
            let mut restored = new_store(RowsSpec {
                bucket_millis,
                ..narrow.clone()
            });
            restored.apply_delta(base, None).unwrap();
            restored.check_invariants();
            restored.apply_delta(&second, None).unwrap();
            restored.check_invariants();
            assert_eq!(found(&restored, 0..3), found(&store, 0..3));
            let rows = restored.probe(&Probe::new(&[ints([1])], 1)).unwrap().rows;
            assert_eq!(restored.marked(&rows).unwrap().true_count(), 2);
        }
    }
}
