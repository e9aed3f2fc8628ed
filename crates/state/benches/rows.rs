//! What the stores do for each row: hash its key, and for joins append, find and remove rows by key.
//!
//! `cargo bench -p headwater-state`. In a build without optimisation everything runs over few rows, to see that it does.

use std::{ops::Range, sync::Arc};

use arrow::{
    array::{ArrayRef, Int64Array, StringArray},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use divan::{Bencher, black_box, counter::ItemsCount};
use headwater_core::Epoch;
use headwater_state::{Emit, Probe, RowStore, RowsSpec, key_groups};

/// Rows of a batch, as operators hand them on.
const BATCH: i64 = 8_192;
/// Rows that expire together.
const BUCKET: i64 = if cfg!(debug_assertions) { 100 } else { 10_000 };
/// Rows that a store holds beside those of a batch.
const STORED: i64 = 100 * BUCKET;

fn main() {
    divan::main();
}

fn columns(names: &[&str]) -> SchemaRef {
    let fields = names
        .iter()
        .map(|name| Field::new(*name, DataType::Int64, false));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Numbers below `bound` in an order without a pattern.
fn scattered(rows: Range<i64>, bound: i64) -> ArrayRef {
    let numbers = rows.map(|row| row * 7_919 % bound);
    Arc::new(Int64Array::from_iter_values(numbers))
}

/// The key group of each row of a batch, by the types of its key.
#[divan::bench(args = ["i64", "text", "i64, text"])]
fn key_groups_of(bencher: Bencher<'_, '_>, types: &str) {
    let texts = (0..BATCH).map(|row| format!("channel-{}", row * 7_919 % STORED));
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values(texts));
    let numbers = scattered(0..BATCH, STORED);
    let column = |data_type| match data_type {
        "text" => Arc::clone(&texts),
        _ => Arc::clone(&numbers),
    };
    let keys: Vec<ArrayRef> = types.split(", ").map(column).collect();
    bencher
        .counter(ItemsCount::new(BATCH.unsigned_abs()))
        .bench_local(|| key_groups(black_box(&keys), BATCH as usize).expect("keys hash"));
}

/// A store of rows whose keys come twice, and which expire a bucket after the other.
fn filled() -> RowStore {
    let mut store = RowStore::new(RowsSpec {
        keys: columns(&["key"]),
        values: columns(&["a", "b"]),
        owner_columns: None,
        expires: true,
        bucket_millis: 1,
        marks: true,
    })
    .expect("the spec is sound");
    for bucket in 0..STORED / BUCKET {
        append(&mut store, bucket);
        let delta = store.commit(Epoch(bucket.unsigned_abs()));
        delta.expect("versions rise");
    }
    store
}

fn append(store: &mut RowStore, bucket: i64) {
    let keys = scattered(bucket * BUCKET..(bucket + 1) * BUCKET, STORED / 2);
    let expiry = Int64Array::from_iter_values((0..BUCKET).map(|_| bucket));
    let values = [Arc::clone(&keys), Arc::clone(&keys)];
    store
        .append(&[keys], &values, Some(&expiry), None)
        .expect("the columns fit");
}

/// The stored rows with the keys of a batch: all of them are there, or few.
#[divan::bench(args = ["all found", "few found"])]
fn probe(bencher: Bencher<'_, '_>, found: &str) {
    let store = filled();
    let bound = if found == "all found" {
        STORED / 2
    } else {
        STORED * 50
    };
    let keys = [scattered(0..BATCH, bound)];
    bencher
        .counter(ItemsCount::new(BATCH.unsigned_abs()))
        .bench_local(|| {
            let found = store.probe(&Probe::new(black_box(&keys), BATCH as usize));
            found.expect("the keys fit")
        });
}

/// What an epoch of a join does to a side: as many rows come as go, and the changes are encoded.
#[divan::bench]
fn append_expire_commit(bencher: Bencher<'_, '_>) {
    let mut store = filled();
    let mut bucket = STORED / BUCKET;
    bencher
        .counter(ItemsCount::new(BUCKET.unsigned_abs()))
        .bench_local(|| {
            append(&mut store, bucket);
            let oldest = bucket - STORED / BUCKET;
            let expired = store.expire(oldest, Emit::Unmarked);
            let delta = store.commit(Epoch(bucket.unsigned_abs()));
            bucket += 1;
            (expired.expect("rows expire"), delta.expect("versions rise"))
        });
}

/// What an epoch of deduplication does: rows come, of which every tenth has a key that came before, and as many go as
/// come. What is stored beside them is of the last epoch only, or of a hundred.
#[divan::bench(args = ["all go", "few go"])]
fn append_new_then_expire(bencher: Bencher<'_, '_>, go: &str) {
    let kept = if go == "all go" { 1 } else { STORED / BUCKET };
    let mut store = RowStore::new(RowsSpec {
        keys: columns(&["key"]),
        values: columns(&[]),
        owner_columns: None,
        expires: true,
        bucket_millis: 1,
        marks: false,
    })
    .expect("the spec is sound");
    let mut bucket = 0;
    let mut epoch = || {
        let first = bucket * BUCKET * 9 / 10;
        let keys = [scattered(first..first + BUCKET, i64::MAX / 8_000)];
        let expiry = Int64Array::from_value(bucket, BUCKET as usize);
        let renewed = store.append_new_then_expire(&keys, &[], Some(&expiry), bucket - kept);
        let delta = store.commit(Epoch(bucket.unsigned_abs()));
        bucket += 1;
        (
            renewed.expect("the keys fit"),
            delta.expect("versions rise"),
        )
    };
    (0..kept).for_each(|_| drop(epoch()));
    bencher
        .counter(ItemsCount::new(BUCKET.unsigned_abs()))
        .bench_local(epoch);
}
