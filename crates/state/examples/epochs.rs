//! Prints what it costs to make epochs durable and to read them back: rows like those of a join (an id, two values, a
//! time, a number, an expiry) and rows like those of an aggregation over windows (an id and a window, a count, a sum,
//! a maximum), 460,000 of them an epoch in two partitions, on the local disk.
//!
//! `cargo run --release -p headwater-state --features test-util --example epochs`

use std::{path::PathBuf, sync::Arc, time::Duration};

use arrow::{
    array::{ArrayRef, Int64Array, TimestampMicrosecondArray},
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
};
use headwater_core::{Clock, Epoch, Error, Result, RunId, Storage, SystemClock};
use headwater_log::LocalStorage;
use headwater_state::{
    DeltaBytes, KeyedState, RowIndexFactory, RowStore, RowsSpec, StateBackend, StateManifest,
    StateSpec,
};

const EPOCHS: i64 = 10;
const EPOCH_ROWS: i64 = 460_000;
const PARTITIONS: u32 = 2;
/// Rows of a partition in an epoch.
const SHARE: i64 = EPOCH_ROWS / PARTITIONS as i64;
/// Event time between two rows of a partition.
const MICROS: i64 = 4;
/// 2026-11-22, in microseconds.
const START: i64 = 1_795_305_600_000_000;

/// What the epochs of one kind of rows took.
#[derive(Default)]
struct Cost {
    encode: Duration,
    write: Duration,
    read: Duration,
    bytes: u64,
    snapshot: u64,
}

fn schema(columns: &[(&str, DataType)]) -> SchemaRef {
    let fields = columns
        .iter()
        .map(|(name, data_type)| Field::new(*name, data_type.clone(), false));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn ints(values: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}

/// Numbers without order below `below`, the same in each run.
fn scattered(below: i64) -> impl Fn(i64) -> i64 {
    move |row| ((row.wrapping_mul(6_364_136_223_846_793_005) >> 33) & i64::MAX) % below
}

fn micros(epoch: i64) -> impl Iterator<Item = i64> {
    let first = epoch * SHARE;
    (first..first + SHARE).map(|row| START + row * MICROS)
}

/// A partition of a store, whichever kind it is.
trait Partition {
    fn fill(&mut self, epoch: i64) -> Result<()>;
    fn commit(&mut self, epoch: Epoch) -> Result<DeltaBytes>;
    fn snapshot(&self) -> Result<DeltaBytes>;
}

impl Partition for RowStore {
    fn fill(&mut self, epoch: i64) -> Result<()> {
        let rows = epoch * SHARE..(epoch + 1) * SHARE;
        let (auction, bidder, price) =
            (scattered(20_000), scattered(50_000), scattered(10_000_000));
        let keys = ints(rows.clone().map(|row| epoch * 15_000 + auction(row)));
        let times = TimestampMicrosecondArray::from_iter_values(micros(epoch));
        let values: [ArrayRef; 3] = [
            ints(rows.clone().map(|row| epoch * 25_000 + bidder(row))),
            ints(rows.map(price)),
            Arc::new(times),
        ];
        let expiry = Int64Array::from_iter_values(micros(epoch).map(|at| at / 1_000 + 10_000));
        self.append(&[keys], &values, Some(&expiry), None).map(drop)
    }

    fn commit(&mut self, epoch: Epoch) -> Result<DeltaBytes> {
        RowStore::commit(self, epoch)
    }

    fn snapshot(&self) -> Result<DeltaBytes> {
        RowStore::snapshot(self).encode()
    }
}

impl Partition for KeyedState {
    fn fill(&mut self, epoch: i64) -> Result<()> {
        let rows = epoch * SHARE..(epoch + 1) * SHARE;
        let window = START + epoch * 1_000_000;
        let windows = TimestampMicrosecondArray::from_value(window, rows.clone().count());
        // Every id once, in no order.
        let ids = rows.clone().map(|row| 1_000 + row * 7_919 % SHARE);
        let keys: [ArrayRef; 2] = [ints(ids), Arc::new(windows)];
        let expiry = Int64Array::from_value(window / 1_000 + 10_000, rows.clone().count());
        let touched = self.touch(&keys, Some(&expiry))?;
        let (count, sum, max) = (
            scattered(100),
            scattered(100_000_000),
            scattered(10_000_000),
        );
        let values = [
            ints(rows.clone().map(count)),
            ints(rows.clone().map(sum)),
            ints(rows.map(max)),
        ];
        self.put(&touched, values.to_vec())
    }

    fn commit(&mut self, epoch: Epoch) -> Result<DeltaBytes> {
        KeyedState::commit(self, epoch)
    }

    fn snapshot(&self) -> Result<DeltaBytes> {
        KeyedState::snapshot(self).encode()
    }
}

/// Runs the epochs on a storage; what they wrote is read back afterwards by `load`.
async fn measure<P: Partition>(
    mut partitions: Vec<P>,
    load: impl AsyncFn(&StateBackend, u32) -> Result<usize>,
) -> Result<Cost> {
    let clock = SystemClock::default();
    let folder = Folder(std::env::temp_dir().join(format!("epochs-{}", std::process::id())));
    let storage: Arc<dyn Storage> = Arc::new(LocalStorage::open(&folder.0)?);
    let backend = StateBackend::new(storage, StateManifest::default());
    let run = RunId(uuid::Uuid::from_u128(1));
    let mut cost = Cost::default();
    for epoch in 0..EPOCHS {
        for partition in &mut partitions {
            partition.fill(epoch)?;
        }
        let number = Epoch(epoch.unsigned_abs());
        let start = clock.monotonic();
        let mut deltas = Vec::new();
        for (at, partition) in (0..).zip(&mut partitions) {
            deltas.push(("rows".to_owned(), at, partition.commit(number)?));
        }
        let encoded = clock.monotonic();
        let file = backend.write_delta("op", number, run, PARTITIONS, deltas);
        let file = file.await?;
        cost.encode += encoded - start;
        cost.write += clock.monotonic() - encoded;
        cost.bytes += file.size;
        backend.adopt(backend.next_manifest([("op".to_owned(), file)])?);
    }
    for partition in &partitions {
        cost.snapshot += partition.snapshot()?.bytes.len() as u64;
    }
    let start = clock.monotonic();
    let mut rows = 0;
    for at in 0..PARTITIONS {
        rows += load(&backend, at).await? as i64;
    }
    cost.read = clock.monotonic() - start;
    match rows == EPOCHS * EPOCH_ROWS {
        true => Ok(cost),
        false => Err(Error::internal(format!("{rows} rows were read back"))),
    }
}

/// Removed at the end.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // What stays behind is in the system's folder for such things.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[expect(clippy::print_stdout, reason = "printing is what this program is for")]
fn print(what: &str, cost: &Cost) {
    let rows = (EPOCHS * EPOCH_ROWS) as f64;
    println!("{what}");
    println!("  delta per row     {:6.1} bytes", cost.bytes as f64 / rows);
    println!(
        "  snapshot per row  {:6.1} bytes",
        cost.snapshot as f64 / rows
    );
    for (what, took) in [
        ("encoding", cost.encode),
        ("writing", cost.write),
        ("restoring", cost.read),
    ] {
        let nanos = took.as_secs_f64() * 1e9 / rows;
        println!("  {what:<10}        {nanos:6.1} ns a row");
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let time = DataType::Timestamp(TimeUnit::Microsecond, None);
    let rows = RowsSpec {
        keys: schema(&[("auction", DataType::Int64)]),
        values: schema(&[
            ("bidder", DataType::Int64),
            ("price", DataType::Int64),
            ("time", time.clone()),
        ]),
        owner_columns: None,
        expires: true,
        bucket_millis: 10_000,
        marks: false,
    };
    let stores = (0..PARTITIONS).map(|_| RowStore::new(rows.clone()));
    let load = async |backend: &StateBackend, partition: u32| {
        let store = backend.load_rows("op", "rows", partition, PARTITIONS, rows.clone());
        Ok(store.await?.len())
    };
    let cost = measure(stores.collect::<Result<Vec<_>>>()?, load).await?;
    print("rows of a join", &cost);

    let groups = StateSpec {
        keys: schema(&[("id", DataType::Int64), ("window", time)]),
        values: schema(&[
            ("count", DataType::Int64),
            ("sum", DataType::Int64),
            ("max", DataType::Int64),
        ]),
        owner_columns: None,
        expires: true,
        bucket_millis: 1_000,
        chained: false,
    };
    let index = || Arc::new(RowIndexFactory);
    let states = (0..PARTITIONS).map(|_| KeyedState::new(groups.clone(), index()));
    let load = async |backend: &StateBackend, partition: u32| {
        let state = backend.load("op", "rows", partition, PARTITIONS, groups.clone(), index());
        Ok(state.await?.len())
    };
    let cost = measure(states.collect::<Result<Vec<_>>>()?, load).await?;
    print("groups of windows", &cost);
    Ok(())
}
