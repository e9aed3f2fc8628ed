//! Prints the memory and the durable bytes that a store needs per key: 1,000,000 keys of type int64 with three int64
//! values each, put in epochs of 10,000 rows, every key twice; and what a store of rows by key needs per row, for as
//! many rows of the same columns that expire over an hour.
//!
//! `cargo run --release -p headwater-state --features test-util --example footprint`

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Int64Array},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use headwater_core::{Epoch, Result};
use headwater_state::{KeyedState, RowIndexFactory, RowStore, RowsSpec, StateSpec};

const KEYS: i64 = 1_000_000;
const EPOCH_ROWS: i64 = 10_000;

fn columns(names: &[&str]) -> SchemaRef {
    let fields = names
        .iter()
        .map(|name| Field::new(*name, DataType::Int64, false));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn main() -> Result<()> {
    let spec = StateSpec {
        keys: columns(&["key"]),
        values: columns(&["count", "sum", "max"]),
        owner_columns: None,
        expires: false,
        bucket_millis: 1,
        chained: false,
    };
    let mut state = KeyedState::new(spec, Arc::new(RowIndexFactory))?;
    let epochs = 2 * KEYS / EPOCH_ROWS;
    let mut delta_bytes = 0;
    for epoch in 0..epochs {
        // Not in order: every epoch touches keys all over the range.
        let keys =
            (0..EPOCH_ROWS).map(|row| (row * epochs / 2 + epoch % (epochs / 2)) * 7_919 % KEYS);
        let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(keys));
        let touched = state.touch(std::slice::from_ref(&keys), None)?;
        let values = vec![Arc::clone(&keys); 3];
        state.put(&touched, values)?;
        delta_bytes += state.commit(Epoch(epoch.unsigned_abs()))?.bytes.len();
    }
    let (rows, row_delta_bytes) = rows_by_key()?;
    let row_snapshot = rows.snapshot().encode()?.bytes.len();
    let keys = state.len();
    let snapshot = state.snapshot().encode()?.bytes.len();
    let work = state.work();
    #[expect(clippy::print_stdout, reason = "printing is what this program is for")]
    {
        println!("keys                      {keys}");
        println!(
            "memory per key            {} bytes",
            state.memory_bytes() / keys
        );
        println!("snapshot per key          {} bytes", snapshot / keys);
        println!(
            "delta per row             {} bytes",
            delta_bytes as i64 / (epochs * EPOCH_ROWS)
        );
        println!(
            "rows copied per row put   {:.2}",
            work.rows_copied as f64 / (epochs * EPOCH_ROWS) as f64
        );
        println!("rows                      {}", rows.len());
        println!(
            "memory per row            {} bytes",
            rows.memory_bytes() / rows.len()
        );
        println!(
            "snapshot per row          {} bytes",
            row_snapshot / rows.len()
        );
        println!(
            "delta per row             {} bytes",
            row_delta_bytes / rows.len()
        );
        println!(
            "rows copied per row added {:.2}",
            rows.work().rows_copied as f64 / rows.len() as f64
        );
    }
    Ok(())
}

/// Rows of keys that come twice, and the bytes of their deltas.
fn rows_by_key() -> Result<(RowStore, usize)> {
    let mut store = RowStore::new(RowsSpec {
        keys: columns(&["key"]),
        values: columns(&["a", "b", "c"]),
        owner_columns: None,
        expires: true,
        bucket_millis: 36_000,
        marks: true,
    })?;
    let mut bytes = 0;
    for epoch in 0..KEYS / EPOCH_ROWS {
        let rows = epoch * EPOCH_ROWS..(epoch + 1) * EPOCH_ROWS;
        let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(
            rows.clone().map(|row| row * 7_919 % (KEYS / 2)),
        ));
        let expiry = Int64Array::from_iter_values(rows.map(|row| row * 3_600_000 / KEYS));
        let values = vec![Arc::clone(&keys); 3];
        store.append(&[keys], &values, Some(&expiry), None)?;
        bytes += store.commit(Epoch(epoch.unsigned_abs()))?.bytes.len();
    }
    Ok((store, bytes))
}
