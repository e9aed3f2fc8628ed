//! What a store costs, and its edges; what it holds is the business of [`crate::conformance`].

use arrow::{
    array::{StringArray, StringViewArray},
    datatypes::{DataType, Field, Int64Type, Schema, SchemaRef},
};
use headwater_core::ErrorKind;

use super::*;
use crate::{RowIndexFactory, segments::MAX_SEGMENTS};

fn schema(columns: &[(&str, DataType)]) -> SchemaRef {
    let fields = columns
        .iter()
        .map(|(name, data_type)| Field::new(*name, data_type.clone(), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn spec() -> StateSpec {
    StateSpec {
        keys: schema(&[("key", DataType::Int64)]),
        values: schema(&[("value", DataType::Int64)]),
        owner_columns: None,
        expires: false,
        bucket_millis: 1,
        chained: false,
    }
}

fn expiring(bucket_millis: i64) -> StateSpec {
    StateSpec {
        expires: true,
        bucket_millis,
        ..spec()
    }
}

fn chained() -> StateSpec {
    StateSpec {
        chained: true,
        ..spec()
    }
}

fn store(spec: StateSpec) -> KeyedState {
    KeyedState::new(spec, Arc::new(RowIndexFactory)).unwrap()
}

fn ints(values: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}

/// Puts these keys, each with itself as value.
fn put(state: &mut KeyedState, keys: impl IntoIterator<Item = i64>) {
    let keys = ints(keys);
    let touched = state.touch(std::slice::from_ref(&keys), None).unwrap();
    let values = touched.keys().to_vec();
    state.put(&touched, values).unwrap();
    state.segments.check_invariants();
}

/// Puts keys that expire at the time of their own number.
fn put_expiring(state: &mut KeyedState, keys: impl IntoIterator<Item = i64>) {
    let keys = ints(keys);
    let expiry = keys.as_primitive::<Int64Type>();
    let touched = state.touch(&[Arc::clone(&keys)], Some(expiry)).unwrap();
    let values = touched.keys().to_vec();
    state.put(&touched, values).unwrap();
    state.segments.check_invariants();
}

fn values(state: &KeyedState) -> Vec<i64> {
    state.segments.check_invariants();
    let batches = state.scan().unwrap();
    let values = batches.iter().flat_map(|batch| {
        let values = batch.columns().last().unwrap().as_primitive::<Int64Type>();
        values.values().to_vec()
    });
    let mut values: Vec<i64> = values.collect();
    values.sort_unstable();
    values
}

fn difference(new: Work, old: Work) -> Work {
    Work {
        rows_indexed: new.rows_indexed - old.rows_indexed,
        rows_copied: new.rows_copied - old.rows_copied,
        rows_compared: new.rows_compared - old.rows_compared,
    }
}

#[test]
fn an_epoch_costs_what_it_touches_however_many_keys_there_are() {
    let mut state = store(spec());
    put(&mut state, 0..1_000_000);
    state.commit(Epoch(0)).unwrap();
    let start = state.work();
    let epochs = 1_000;
    for epoch in 1..=epochs {
        let keys = ints((0..10).map(|i| (epoch * 10 + i) * 97));
        let before = state.work();
        let touched = state.touch(&[keys], None).unwrap();
        let (ids, values) = state.gather(&touched).unwrap();
        assert_eq!(ids.len(), 10);
        state.put(&touched, values).unwrap();
        let delta = state.commit(Epoch(epoch.unsigned_abs())).unwrap();
        assert_eq!(delta.rows, 10);
        assert!(delta.bytes.len() < 1_500, "{} bytes", delta.bytes.len());
        let work = difference(state.work(), before);
        assert_eq!(work.rows_indexed, 10);
        // What is copied now and then is merged small blocks, never the large ones.
        assert!(
            work.rows_copied <= 10 + 10 * epochs.unsigned_abs(),
            "{work:?}"
        );
    }
    let work = difference(state.work(), start);
    // Each row: gathered once, and merged once per size class of blocks that 10,000 rows can fill.
    assert!(work.rows_copied <= 10 * 1_000 * 6, "{work:?}");
    assert_eq!(work.rows_compared, 0);
}

#[test]
fn garbage_never_outweighs_what_is_live() {
    let mut state = store(spec());
    put(&mut state, 0..50_000);
    state.commit(Epoch(0)).unwrap();
    let once = state.memory_bytes();
    let before = state.work();
    for epoch in 1..20 {
        put(&mut state, 0..50_000);
        state.commit(Epoch(epoch)).unwrap();
        assert!(state.memory_bytes() < 3 * once);
    }
    // Rows replaced all at once leave nothing to copy.
    assert_eq!(difference(state.work(), before).rows_copied, 0);
    assert_eq!(values(&state), (0..50_000).collect::<Vec<_>>());
}

#[test]
fn an_index_forgets_keys_that_were_removed() {
    let mut state = store(spec());
    let mut peak = 0;
    for epoch in 0..200 {
        let keys = ints(epoch * 100..(epoch + 1) * 100);
        let touched = state.touch(&[Arc::clone(&keys)], None).unwrap();
        state.put(&touched, vec![keys]).unwrap();
        let touched = state
            .touch(&[ints((epoch - 1) * 100..epoch * 100)], None)
            .unwrap();
        state.remove(&touched).unwrap();
        state.commit(Epoch(epoch.unsigned_abs())).unwrap();
        peak = peak.max(
            state
                .segments
                .iter()
                .map(|segment| segment.slots())
                .max()
                .unwrap(),
        );
    }
    assert_eq!(state.len(), 100);
    assert!(peak < 2_000, "{peak} slots for 200 keys");
}

#[test]
fn expiry_of_whole_buckets_looks_at_no_row() {
    let mut state = store(expiring(1_000));
    put_expiring(&mut state, 0..100_000);
    let before = state.work();
    let expired = state.expire(49_999, false).unwrap();
    assert_eq!(expired.removed, 50_000);
    assert_eq!(difference(state.work(), before), Work::default());
    assert_eq!(state.len(), 50_000);
    // The limit cuts a bucket: only its rows are compared.
    let expired = state.expire(50_499, true).unwrap();
    assert_eq!(expired.removed, 500);
    let work = difference(state.work(), before);
    assert_eq!((work.rows_compared, work.rows_copied), (1_000, 500));
    // Nothing is due before the first row of the bucket.
    state.expire(50_499, true).unwrap();
    assert_eq!(state.work().rows_compared - before.rows_compared, 1_000);
    assert_eq!(values(&state), (50_500..100_000).collect::<Vec<_>>());
}

#[test]
fn the_earliest_expiry_is_that_of_the_first_key_that_is_left() {
    let mut state = store(expiring(1_000));
    assert_eq!(state.earliest_expiry(), None);
    put_expiring(&mut state, [7_300, 2_100, 2_900]);
    assert_eq!(state.earliest_expiry(), Some(2_100));
    // In the middle of a bucket, at its end, and of the last one.
    for (limit, expected) in [(2_500, Some(2_900)), (2_999, Some(7_300)), (9_000, None)] {
        state.expire(limit, false).unwrap();
        assert_eq!(state.earliest_expiry(), expected, "{limit}");
    }
    let mut for_ever = store(spec());
    put(&mut for_ever, [1]);
    assert_eq!(for_ever.earliest_expiry(), None);
}

#[test]
fn a_microsecond_timestamp_does_not_make_a_segment_per_value() {
    let mut state = store(expiring(1));
    for start in (0..200_000).step_by(10_000) {
        put_expiring(&mut state, start..start + 10_000);
        assert!(state.segments.len() <= MAX_SEGMENTS);
    }
    assert_eq!(state.len(), 200_000);
    assert_eq!(state.expire(123_456, false).unwrap().removed, 123_457);
    assert_eq!(values(&state), (123_457..200_000).collect::<Vec<_>>());
    // Far away in time, too.
    put_expiring(
        &mut state,
        (0..3_000).map(|i| (i - 1_500) * (i64::MAX / 1_500)),
    );
    assert!(state.segments.len() <= MAX_SEGMENTS);
    assert_eq!(state.len(), 79_543);
    let expired = state.expire(i64::MAX, false).unwrap();
    assert_eq!((expired.removed, state.len()), (79_543, 0));
}

#[test]
fn buckets_that_widen_cost_little_in_the_long_run() {
    let mut state = store(expiring(1));
    let before = state.work();
    for epoch in 0..500i64 {
        put_expiring(&mut state, epoch * 100..(epoch + 1) * 100);
        state.commit(Epoch(epoch.unsigned_abs())).unwrap();
    }
    let work = difference(state.work(), before);
    // 50,000 rows, whose buckets have doubled about six times; half of the keys are indexed again each time.
    assert!(work.rows_indexed < 50_000 * 3, "{work:?}");
    assert!(work.rows_copied < 50_000 * 5, "{work:?}");
}

#[test]
fn touched_keys_that_have_moved_are_found_again_or_refused() {
    let mut state = store(expiring(10));
    put_expiring(&mut state, [5, 15, 25]);
    let keys = ints([5, 25]);
    let touched = state
        .touch(&[Arc::clone(&keys)], Some(keys.as_primitive()))
        .unwrap();
    state.expire(9, false).unwrap();
    let error = state.gather(&touched).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    state.put(&touched, vec![ints([50, 250])]).unwrap();
    assert_eq!(values(&state), [15, 50, 250]);
    assert_eq!(state.remove(&touched).unwrap(), 2);
    assert_eq!(values(&state), [15]);
}

#[test]
fn a_key_put_often_in_an_epoch_is_written_once() {
    let mut state = store(spec());
    for _ in 0..10 {
        put(&mut state, 0..100);
    }
    assert_eq!(state.commit(Epoch(0)).unwrap().rows, 100);
    let mut state = store(chained());
    for _ in 0..10 {
        put(&mut state, 0..100);
    }
    assert_eq!(state.commit(Epoch(0)).unwrap().rows, 1_000);
    assert_eq!((state.len(), values(&state).len()), (100, 1_000));
}

#[test]
fn an_epoch_without_changes_has_no_delta() {
    let mut state = store(expiring(10));
    put_expiring(&mut state, [100]);
    state.commit(Epoch(0)).unwrap();
    state
        .touch(&[ints([100, 200])], Some(&Int64Array::from(vec![100, 200])))
        .unwrap();
    state.expire(50, false).unwrap();
    assert!(state.commit(Epoch(1)).unwrap().is_empty());
    let error = state.commit(Epoch(1)).unwrap_err();
    assert_eq!(
        error.message(),
        "state was committed as version 1 after version 1"
    );
}

#[test]
fn a_snapshot_keeps_its_version_while_the_state_goes_on() {
    let mut state = store(expiring(10));
    put_expiring(&mut state, 0..100);
    state.commit(Epoch(7)).unwrap();
    let snapshot = state.snapshot();
    state.expire(50, false).unwrap();
    put_expiring(&mut state, 80..200);
    assert_eq!(
        state.snapshot().encode().unwrap_err().kind(),
        ErrorKind::Internal
    );
    assert_eq!(snapshot.rows(), 100);
    let mut restored = store(expiring(10));
    restored
        .apply_delta(&snapshot.encode().unwrap().bytes.into_bytes(), None)
        .unwrap();
    assert_eq!((restored.version(), restored.len()), (Some(Epoch(7)), 100));
}

#[test]
fn a_store_without_key_columns_has_one_key() {
    let mut state = store(StateSpec {
        keys: schema(&[]),
        ..spec()
    });
    for value in 0..3 {
        let touched = state.touch_rows(&[], 4, None).unwrap();
        assert_eq!(
            (touched.row_ids(), touched.is_new(0)),
            (&[0; 4][..], value == 0)
        );
        state.put(&touched, vec![ints([value])]).unwrap();
    }
    assert!(state.touch_rows(&[], 0, None).unwrap().is_empty());
    assert_eq!((state.len(), values(&state)), (1, vec![2]));
    let delta = state.commit(Epoch(0)).unwrap();
    let mut restored = store(state.spec().clone());
    restored
        .apply_delta(&delta.bytes.into_bytes(), None)
        .unwrap();
    assert_eq!(values(&restored), [2]);
}

#[test]
fn a_store_without_value_columns_is_a_set() {
    let mut state = store(StateSpec {
        values: schema(&[]),
        ..spec()
    });
    let touched = state.touch(&[ints([1, 2, 1])], None).unwrap();
    state.put_ids(&touched, &touched.new_ids(), vec![]).unwrap();
    let touched = state.touch(&[ints([3, 2])], None).unwrap();
    assert_eq!(touched.new_ids(), [0]);
    let (ids, columns) = state.gather(&touched).unwrap();
    assert_eq!((ids, columns.len()), (vec![1], 0));
    state.put_ids(&touched, &touched.new_ids(), vec![]).unwrap();
    assert_eq!((state.len(), values(&state)), (3, vec![1, 2, 3]));
}

#[test]
fn views_of_foreign_text_are_not_kept_alive() {
    let mut state = store(StateSpec {
        keys: schema(&[("key", DataType::Utf8View)]),
        ..spec()
    });
    let many: StringViewArray = (0..10_000)
        .map(|i| Some(format!("a long text, number {i}")))
        .collect();
    let few: ArrayRef = Arc::new(many.slice(0, 10));
    let touched = state.touch(&[few], None).unwrap();
    state.put(&touched, vec![ints(0..10)]).unwrap();
    assert!(state.commit(Epoch(0)).unwrap().bytes.len() < 3_000);
}

#[test]
fn snapshots_of_snapshots_of_views_do_not_grow() {
    let mut state = store(StateSpec {
        values: schema(&[("value", DataType::Utf8View)]),
        ..expiring(1)
    });
    let keys = ints(0..900);
    let touched = state
        .touch(&[Arc::clone(&keys)], Some(keys.as_primitive()))
        .unwrap();
    let texts: StringViewArray = (0..900)
        .map(|i| Some(format!("the text of value {i}")))
        .collect();
    state.put(&touched, vec![Arc::new(texts)]).unwrap();
    state.commit(Epoch(0)).unwrap();
    let mut snapshots = vec![];
    for _ in 0..3 {
        let bytes = state.snapshot().encode().unwrap().bytes.into_bytes();
        state = store(state.spec().clone());
        state.apply_delta(&bytes, None).unwrap();
        snapshots.push((bytes.len(), state.memory_bytes()));
    }
    assert!(snapshots[0].0 < 900 * 70, "{snapshots:?}");
    assert_eq!(snapshots[0], snapshots[2]);
}

#[test]
fn columns_that_do_not_fit_are_refused_by_name() {
    let mut state = store(spec());
    let text: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
    let error = state.touch(&[Arc::clone(&text)], None).unwrap_err();
    assert_eq!(
        error.message(),
        "state key key is 1 rows of type Utf8, expected 1 of type Int64"
    );
    let touched = state.touch(&[ints([1])], None).unwrap();
    let error = state.put(&touched, vec![text]).unwrap_err();
    assert_eq!(
        error.message(),
        "state column value is of type Utf8, expected Int64"
    );
    let error = state.put(&touched, vec![ints([1, 2])]).unwrap_err();
    assert_eq!(error.message(), "state column value has 2 rows, expected 1");
    let error = state
        .touch(&[ints([1])], Some(&Int64Array::from(vec![1])))
        .unwrap_err();
    assert_eq!(
        error.message(),
        "an expiry was given to a store whose keys never expire"
    );
    let narrow = KeyedState::new(expiring(0), Arc::new(RowIndexFactory));
    assert_eq!(narrow.err().unwrap().kind(), ErrorKind::Invalid);
}

#[test]
fn a_store_can_move_to_another_thread() {
    fn sendable<T: Send>() {}
    sendable::<KeyedState>();
    sendable::<Touched>();
    sendable::<Snapshot>();
}

#[test]
fn a_snapshot_of_many_segments_has_few_batches() {
    let mut state = store(expiring(10));
    put_expiring(&mut state, 0..10_000);
    assert_eq!(state.segments.len(), 1_000);
    state.commit(Epoch(0)).unwrap();
    let bytes = state.snapshot().encode().unwrap().bytes.into_bytes();
    assert!(bytes.len() < 10_000 * 27, "{} bytes", bytes.len());
    let mut restored = store(expiring(10));
    restored.apply_delta(&bytes, None).unwrap();
    assert_eq!(values(&restored), values(&state));
}
