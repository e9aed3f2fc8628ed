//! What an aggregation does for the keys of an epoch, with the index that it uses, and the exchange in front of it.
//!
//! `cargo bench -p headwater-ops`. In a build without optimisation everything runs over few rows, to see that it does.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{ArrayRef, Int64Array, RecordBatch},
        datatypes::{DataType, Field, Schema, SchemaRef},
    },
    datasource::memory::MemorySourceConfig,
    execution::TaskContext,
    physical_plan::collect,
};
use divan::{Bencher, black_box, counter::ItemsCount};
use headwater_core::Epoch;
use headwater_ops::{exchange::exchange_by_key, key_index_factory};
use headwater_state::{KeyedState, StateSpec};

/// Keys that an epoch touches.
const TOUCHED: i64 = if cfg!(debug_assertions) { 100 } else { 10_000 };
/// Keys that lie beside them.
const STORED: [i64; 2] = [10 * TOUCHED, 100 * TOUCHED];

fn main() {
    divan::main();
}

fn columns(names: &[&str]) -> SchemaRef {
    let fields = names
        .iter()
        .map(|name| Field::new(*name, DataType::Int64, false));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn numbers(numbers: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(numbers))
}

/// An empty store of counts, sums and maxima by one number.
fn store(expires: bool) -> KeyedState {
    let spec = StateSpec {
        keys: columns(&["key"]),
        values: columns(&["count", "sum", "max"]),
        owner_columns: None,
        expires,
        bucket_millis: 1,
        chained: false,
    };
    KeyedState::new(spec, key_index_factory()).expect("the spec is sound")
}

/// Finds the keys, reads what is there, writes three values each, and ends the epoch.
fn epoch(state: &mut KeyedState, keys: &ArrayRef, expiry: Option<&Int64Array>, number: i64) {
    let touched = state
        .touch(std::slice::from_ref(keys), expiry)
        .expect("the keys fit");
    black_box(state.gather(&touched).expect("nothing has moved"));
    let values = numbers(0..touched.len() as i64);
    let values = vec![Arc::clone(&values), Arc::clone(&values), values];
    state.put(&touched, values).expect("the values fit");
    let delta = state.commit(Epoch(number.unsigned_abs()));
    black_box(delta.expect("versions rise"));
}

/// An epoch of totals for ever, whose keys lie all over the stored ones.
#[divan::bench(args = STORED)]
fn running_totals(bencher: Bencher<'_, '_>, stored: i64) {
    let mut state = store(false);
    let epochs = stored / TOUCHED;
    let keys = |number: i64| numbers((0..TOUCHED).map(|row| row * epochs + number % epochs));
    for number in 0..epochs {
        epoch(&mut state, &keys(number), None, number);
    }
    let mut number = epochs;
    bencher
        .counter(ItemsCount::new(TOUCHED.unsigned_abs()))
        .bench_local(|| {
            epoch(&mut state, &keys(number), None, number);
            number += 1;
        });
}

/// An epoch of windows: as many keys come as expire.
#[divan::bench(args = STORED)]
fn windows(bencher: Bencher<'_, '_>, stored: i64) {
    let mut state = store(true);
    let kept = stored / TOUCHED;
    let step = |state: &mut KeyedState, number: i64| {
        let keys = numbers(number * TOUCHED..(number + 1) * TOUCHED);
        let ends = Int64Array::from_iter_values((0..TOUCHED).map(|_| number));
        let expired = state.expire(number - kept, true);
        black_box(expired.expect("keys expire"));
        epoch(state, &keys, Some(&ends), number);
    };
    for number in 0..kept {
        step(&mut state, number);
    }
    let mut number = kept;
    bencher
        .counter(ItemsCount::new(TOUCHED.unsigned_abs()))
        .bench_local(|| {
            step(&mut state, number);
            number += 1;
        });
}

/// Two partitions deal their rows out to two by the hash of a key.
#[divan::bench]
fn exchange(bencher: Bencher<'_, '_>) {
    const BATCHES: i64 = if cfg!(debug_assertions) { 2 } else { 64 };
    const ROWS: i64 = 8_192;
    let schema = columns(&["key", "count", "sum"]);
    let batch = |number: i64| {
        let keys = numbers((number * ROWS..(number + 1) * ROWS).map(|row| row * 7_919 % 100_003));
        let columns = vec![Arc::clone(&keys), Arc::clone(&keys), keys];
        RecordBatch::try_new(Arc::clone(&schema), columns).expect("the columns fit")
    };
    let part = |part: i64| -> Vec<_> {
        let batches = part * BATCHES / 2..(part + 1) * BATCHES / 2;
        batches.map(batch).collect()
    };
    let parts = [part(0), part(1)];
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .expect("threads start");
    bencher
        .counter(ItemsCount::new((BATCHES * ROWS).unsigned_abs()))
        .bench_local(|| {
            let input = MemorySourceConfig::try_new_exec(&parts, Arc::clone(&schema), None)
                .expect("the batches fit");
            let plan = exchange_by_key(input, 1, 2).expect("there is a key");
            let rows = runtime.block_on(collect(plan, Arc::new(TaskContext::default())));
            rows.expect("rows go through")
        });
}
