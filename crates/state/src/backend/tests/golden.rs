//! Files of the second format of sections, whose columns are narrowed, beside those of the first
//! ([`super::golden_files_of_every_version_can_be_read`], [`super::rows::golden_files_of_rows_can_be_read`]).
//!
//! To make those of a new version, run these tests with `WRITE_GOLDEN_NARROW` set to a folder that has the folders
//! `values` and `rows`.

use arrow::{
    array::{
        Decimal128Array, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
        UInt32Array, UInt64Array,
    },
    datatypes::TimeUnit,
    util::pretty::pretty_format_batches,
};

use super::*;

fn schema_of(columns: &[(&str, DataType)]) -> SchemaRef {
    let fields = columns.iter();
    let fields = fields.map(|(name, data_type)| Field::new(*name, data_type.clone(), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn keys() -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
    schema_of(&[("name", DataType::Utf8), ("window", time)])
}

fn values() -> SchemaRef {
    schema_of(&[
        ("count", DataType::Int64),
        ("max", DataType::UInt32),
        ("sum", DataType::Decimal128(38, 2)),
        ("ratio", DataType::Float64),
        ("bits", DataType::UInt64),
    ])
}

/// Ten keys per window of a second.
fn key_columns(keys: impl Iterator<Item = i64> + Clone) -> Vec<ArrayRef> {
    let names = keys.clone().map(|key| format!("name {}", key % 10));
    let windows = keys.map(|key| 1_795_305_600_000_000 + key / 10 * 1_000_000);
    let windows = TimestampMicrosecondArray::from_iter_values(windows).with_timezone("+00:00");
    vec![
        Arc::new(StringArray::from_iter_values(names)),
        Arc::new(windows),
    ]
}

fn value_columns(keys: impl Iterator<Item = i64> + Clone, epoch: i64) -> Vec<ArrayRef> {
    let max = keys
        .clone()
        .map(|key| (key % 7 != 0).then_some(4_000_000_000 + key as u32 * 200));
    let sums = keys.clone().map(|key| i128::from(key * epoch) * -100_000);
    let sums = Decimal128Array::from_iter_values(sums).with_precision_and_scale(38, 2);
    let ratios = keys.clone().map(|key| key as f64 / 3.0);
    let bits = keys
        .clone()
        .map(|key| u64::MAX - key.unsigned_abs() * (u64::MAX >> 20));
    vec![
        Arc::new(Int64Array::from_value(epoch, keys.count())),
        Arc::new(max.collect::<UInt32Array>()),
        Arc::new(sums.expect("they fit")),
        Arc::new(Float64Array::from_iter_values(ratios)),
        Arc::new(UInt64Array::from_iter_values(bits)),
    ]
}

/// When keys expire, in milliseconds; every fourth never does.
fn expiry(keys: impl Iterator<Item = i64>) -> Int64Array {
    keys.map(|key| (key % 4 != 0).then_some(1_795_305_600_000 + key / 10 * 1_000))
        .collect()
}

/// Before this the first ten windows are over.
const LIMIT: i64 = 1_795_305_609_500;

fn groups_spec() -> StateSpec {
    StateSpec {
        keys: keys(),
        values: values(),
        expires: true,
        bucket_millis: 1_000,
        ..spec()
    }
}

fn rows_spec() -> RowsSpec {
    RowsSpec {
        keys: keys(),
        values: values(),
        owner_columns: None,
        expires: true,
        bucket_millis: 1_000,
        marks: true,
    }
}

/// A snapshot of epoch 0 and the delta of epoch 1; the state as it is in memory.
async fn groups(storage: &Arc<MemoryStorage>) -> Result<(StateBackend, KeyedState)> {
    let backend = StateBackend::new(Arc::clone(storage) as _, StateManifest::default());
    let mut state = KeyedState::new(groups_spec(), Arc::new(RowIndexFactory))?;
    for (epoch, keys) in [(1, 0..400), (2, 350..600)] {
        if epoch == 2 {
            let parts = vec![("groups".to_owned(), 0, state.snapshot())];
            let snapshot = backend
                .write_snapshot("agg", Epoch(0), RUN, 1, parts)
                .await?;
            backend.adopt(backend.next_manifest([("agg".to_owned(), snapshot)])?);
            let removed = (100..400).step_by(5);
            let touched = state.touch(&key_columns(removed.clone()), Some(&expiry(removed)))?;
            state.remove(&touched)?;
            state.expire(LIMIT, false)?;
        }
        let touched = state.touch(&key_columns(keys.clone()), Some(&expiry(keys.clone())))?;
        state.put(&touched, value_columns(keys, epoch))?;
        commit(
            &backend,
            std::slice::from_mut(&mut state),
            epoch.unsigned_abs() - 1,
        )
        .await?;
    }
    Ok((backend, state))
}

/// The same of a store of rows by key.
async fn rows(storage: &Arc<MemoryStorage>) -> Result<(StateBackend, RowStore)> {
    let backend = StateBackend::new(Arc::clone(storage) as _, StateManifest::default());
    let mut store = RowStore::new(rows_spec())?;
    for (epoch, keys) in [(1, 0..400), (2, 350..600)] {
        if epoch == 2 {
            let parts = vec![("left".to_owned(), 0, store.snapshot())];
            let snapshot = backend
                .write_snapshot("join", Epoch(0), RUN, 1, parts)
                .await?;
            backend.adopt(backend.next_manifest([("join".to_owned(), snapshot)])?);
            let of = |keys: Vec<i64>| key_columns(keys.into_iter());
            let find = |store: &RowStore, keys: Vec<i64>| {
                let rows = keys.len();
                store.probe(&crate::Probe::new(&of(keys), rows))
            };
            let removed = find(&store, (100..400).step_by(5).collect())?.rows;
            store.remove(&removed)?;
            let marked = find(&store, (101..400).step_by(5).collect())?.rows;
            store.mark(&marked)?;
            store.expire(LIMIT, crate::Emit::Nothing)?;
        }
        let values = value_columns(keys.clone(), epoch);
        store.append(
            &key_columns(keys.clone()),
            &values,
            Some(&expiry(keys)),
            None,
        )?;
        let delta = store.commit(Epoch(epoch.unsigned_abs() - 1))?;
        let parts = vec![("left".to_owned(), 0, delta)];
        let number = Epoch(epoch.unsigned_abs() - 1);
        let file = backend.write_delta("join", number, RUN, 1, parts).await?;
        backend.adopt(backend.next_manifest([("join".to_owned(), file)])?);
    }
    Ok((backend, store))
}

/// The rows of batches as sorted lines.
fn lines(batches: &[RecordBatch]) -> Result<Vec<String>> {
    let table = pretty_format_batches(batches)?.to_string();
    let mut lines: Vec<String> = table.lines().map(str::to_owned).collect();
    lines.sort();
    Ok(lines)
}

/// A storage that holds a snapshot and a delta, and the manifest that names them.
async fn files(manifest: &str, files: [&'static [u8]; 2]) -> Result<StateBackend> {
    let storage = Arc::new(MemoryStorage::new());
    let manifest: StateManifest = serde_json::from_str(manifest)?;
    for (path, bytes) in manifest.paths().zip(files) {
        storage.replace(path, bytes.into()).await?;
    }
    Ok(StateBackend::new(storage, manifest))
}

/// Asserts that a file has a narrow column of every kind.
fn check_kinds(bytes: &[u8]) {
    for expected in [
        "Timestamp(µs, \"+00:00\")",
        "UInt32",
        "Decimal128(38, 2)",
        "step",
    ] {
        let expected = expected.as_bytes();
        let is_there = bytes.windows(expected.len()).any(|at| at == expected);
        assert!(is_there, "{}", String::from_utf8_lossy(expected));
    }
}

#[tokio::test]
async fn golden_files_of_narrow_values_can_be_read() -> Result<()> {
    let storage = Arc::new(MemoryStorage::new());
    let (written, expected) = groups(&storage).await?;
    if let Ok(folder) = std::env::var("WRITE_GOLDEN_NARROW") {
        write_files(&format!("{folder}/values"), &storage, &written.manifest()).await?;
    }
    let snapshot = include_bytes!("../../golden/v2/snapshot");
    let delta = include_bytes!("../../golden/v2/delta");
    let manifest = include_str!("../../golden/v2/manifest.json");
    let golden = files(manifest, [snapshot, delta]).await?;
    for backend in [written, golden] {
        for partitions in [1, 3] {
            let mut found = vec![];
            for partition in 0..partitions {
                let index = Arc::new(RowIndexFactory);
                let state =
                    backend.load("agg", "groups", partition, partitions, groups_spec(), index);
                found.extend(state.await?.scan()?);
            }
            assert_eq!(lines(&found)?, lines(&expected.scan()?)?);
        }
    }
    Ok(())
}

#[tokio::test]
async fn golden_files_of_narrow_rows_can_be_read() -> Result<()> {
    let storage = Arc::new(MemoryStorage::new());
    let (written, expected) = rows(&storage).await?;
    if let Ok(folder) = std::env::var("WRITE_GOLDEN_NARROW") {
        write_files(&format!("{folder}/rows"), &storage, &written.manifest()).await?;
    }
    let snapshot = include_bytes!("../../golden/v2-rows/snapshot");
    let delta = include_bytes!("../../golden/v2-rows/delta");
    let manifest = include_str!("../../golden/v2-rows/manifest.json");
    check_kinds(delta);
    let golden = files(manifest, [snapshot, delta]).await?;
    // With numbers, expiry and marks.
    let all = |store: &RowStore| lines(&store.snapshot().batches()?);
    for backend in [written, golden] {
        let store = backend.load_rows("join", "left", 0, 1, rows_spec()).await?;
        assert_eq!(all(&store)?, all(&expected)?);
        let mut found = vec![];
        for partition in 0..3 {
            let store = backend.load_rows("join", "left", partition, 3, rows_spec());
            found.extend(store.await?.scan()?);
        }
        assert_eq!(lines(&found)?, lines(&expected.scan()?)?);
    }
    Ok(())
}
