//! Stores of rows by key: their files, damaged files, other numbers of partitions.

use arrow::{
    array::{Array, AsArray, StringArray},
    datatypes::Int64Type,
};

use super::*;
use crate::{Emit, NullKeys, Probe, Within};

fn spec() -> RowsSpec {
    RowsSpec {
        keys: Arc::new(Schema::new(vec![Field::new("key", DataType::Utf8, true)])),
        values: schema("value"),
        owner_columns: None,
        expires: true,
        bucket_millis: 1_000,
        marks: true,
    }
}

fn text(key: i64) -> Option<String> {
    (key != 0).then(|| format!("key {key}"))
}

fn texts(keys: &[i64]) -> ArrayRef {
    Arc::new(keys.iter().map(|key| text(*key)).collect::<StringArray>())
}

/// Adds rows of (key, value, expiry) to the stores that own them.
fn append(stores: &mut [RowStore], rows: &[(i64, i64, Option<i64>)]) -> Result<()> {
    let partitions = stores.len() as u32;
    let keys: Vec<i64> = rows.iter().map(|row| row.0).collect();
    let groups = key_groups(&[texts(&keys)], rows.len())?;
    for (partition, store) in (0..).zip(stores) {
        let ours = rows.iter().zip(&groups);
        let ours = ours.filter(|(_, group)| partition_of(**group, partitions) == partition);
        let ours: Vec<_> = ours.map(|(row, _)| row).collect();
        let keys: Vec<i64> = ours.iter().map(|row| row.0).collect();
        let values = Int64Array::from_iter_values(ours.iter().map(|row| row.1));
        let expiry: Int64Array = ours.iter().map(|row| row.2).collect();
        store.append(&[texts(&keys)], &[Arc::new(values)], Some(&expiry), None)?;
    }
    Ok(())
}

/// The rows of a key.
fn find(store: &RowStore, key: i64) -> Result<crate::RowRefs> {
    let probe = store.probe(&Probe::new(&[texts(&[key])], 1))?;
    Ok(probe.rows)
}

/// Keys 0 to 12, as texts: value, expiry, whether it is marked; oldest first per key.
fn shown(stores: &[RowStore]) -> Result<Vec<String>> {
    let mut lines = vec![];
    for key in 0..12 {
        for store in stores {
            let rows = find(store, key)?;
            let values = store.gather(&rows, &[1])?;
            let values = values[0].as_primitive::<Int64Type>();
            let (expiry, marked) = (store.expiry_of(&rows)?, store.marked(&rows)?);
            for row in 0..rows.len() {
                let until = match expiry.is_valid(row) {
                    true => format!("until {}", expiry.value(row)),
                    false => "for ever".to_owned(),
                };
                let mark = if marked.value(row) { ", marked" } else { "" };
                let key = text(key).unwrap_or("null".to_owned());
                lines.push(format!("{key}: {} {until}{mark}", values.value(row)));
            }
        }
    }
    Ok(lines)
}

async fn commit_rows(
    backend: &StateBackend,
    stores: &mut [RowStore],
    epoch: u64,
) -> Result<StateFile> {
    let partitions = stores.len() as u32;
    let sections = (0..)
        .zip(stores)
        .map(|(partition, store)| Ok(("left".to_owned(), partition, store.commit(Epoch(epoch))?)));
    let sections = sections.collect::<Result<Vec<_>>>()?;
    let file = backend
        .write_delta("join", Epoch(epoch), RUN, partitions, sections)
        .await?;
    backend.adopt(backend.next_manifest([("join".to_owned(), file.clone())])?);
    Ok(file)
}

async fn load_rows(backend: &StateBackend, partitions: u32) -> Result<Vec<RowStore>> {
    let mut stores = vec![];
    for partition in 0..partitions {
        let store = backend.load_rows("join", "left", partition, partitions, spec());
        stores.push(store.await?);
    }
    Ok(stores)
}

/// A snapshot of epoch 0 and the delta of epoch 1, which has changes of every kind.
async fn two_epochs(partitions: u32) -> Result<(Arc<MemoryStorage>, StateBackend, Vec<RowStore>)> {
    let storage = Arc::new(MemoryStorage::new());
    let backend = StateBackend::new(
        Arc::clone(&storage) as Arc<dyn Storage>,
        StateManifest::default(),
    );
    let mut stores = vec![];
    for _ in 0..partitions {
        stores.push(RowStore::new(spec())?);
    }
    let first: Vec<_> = (0..10)
        .map(|key| (key, key * 10, (key % 4 != 3).then_some(key * 1_000)))
        .collect();
    append(&mut stores, &first)?;
    append(
        &mut stores,
        &[(5, 51, Some(9_500)), (5, 52, None), (5, 53, Some(5_200))],
    )?;
    for store in &mut stores {
        let rows = find(store, 9)?;
        store.mark(&rows)?;
    }
    commit_rows(&backend, &mut stores, 0).await?;
    let snapshots = (0..).zip(&stores);
    let snapshots = snapshots.map(|(p, store)| ("left".to_owned(), p, store.snapshot()));
    let snapshot = backend
        .write_snapshot("join", Epoch(0), RUN, partitions, snapshots.collect())
        .await?;
    backend.adopt(backend.next_manifest([("join".to_owned(), snapshot)])?);
    append(
        &mut stores,
        &[
            (11, 110, Some(11_000)),
            (5, 54, Some(5_001)),
            (4, 1, Some(3_000)),
        ],
    )?;
    for store in &mut stores {
        for marked in [5, 11] {
            let rows = find(store, marked)?;
            store.mark(&rows)?;
        }
        let rows = find(store, 7)?;
        store.remove(&rows)?;
        store.expire(5_000, Emit::Nothing)?;
    }
    append(&mut stores, &[(1, 1, Some(2))])?;
    commit_rows(&backend, &mut stores, 1).await?;
    Ok((storage, backend, stores))
}

const EXPECTED: [&str; 9] = [
    "key 1: 1 until 2",
    "key 3: 30 for ever",
    "key 5: 51 until 9500, marked",
    "key 5: 52 for ever, marked",
    "key 5: 53 until 5200, marked",
    "key 5: 54 until 5001, marked",
    "key 6: 60 until 6000",
    "key 8: 80 until 8000",
    "key 9: 90 until 9000, marked",
];

fn expected() -> Vec<&'static str> {
    let mut expected = EXPECTED.to_vec();
    expected.push("key 11: 110 until 11000, marked");
    expected
}

#[tokio::test]
async fn rows_and_marks_come_back_with_any_number_of_partitions() -> Result<()> {
    for written in [1, 3] {
        let (_, backend, stores) = two_epochs(written).await?;
        assert_eq!(shown(&stores)?, expected());
        for read in [1, 2, 3, 7] {
            let stores = load_rows(&backend, read).await?;
            assert_eq!(shown(&stores)?, expected(), "from {written} to {read}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_first_commit_of_rows_after_rescaling_is_the_whole_state() -> Result<()> {
    let (_, backend, _) = two_epochs(2).await?;
    let mut stores = load_rows(&backend, 3).await?;
    append(&mut stores, &[(2, 22, None)])?;
    let file = commit_rows(&backend, &mut stores, 2).await?;
    assert!(file.full && file.path.ends_with(".snapshot"), "{file:?}");
    // New numbers hold from then on.
    for store in &mut stores {
        let rows = find(store, 5)?;
        store.remove(&rows)?;
    }
    assert!(!commit_rows(&backend, &mut stores, 3).await?.full);
    let shown_before = shown(&stores)?;
    assert_eq!(shown_before.len(), 7);
    assert_eq!(shown(&load_rows(&backend, 3).await?)?, shown_before);
    Ok(())
}

#[tokio::test]
async fn every_flipped_byte_of_stored_rows_is_found() -> Result<()> {
    let (storage, backend, _) = two_epochs(1).await?;
    let manifest = backend.manifest();
    for file in manifest.operators["join"].files() {
        let bytes = storage.read(&file.path).await?.expect("it was written");
        let section = &file.sections[0];
        for at in (section.offset..section.offset + section.len).step_by(11) {
            let mut damaged = bytes.to_vec();
            damaged[at as usize] ^= 0x04;
            storage.replace(&file.path, damaged.into()).await?;
            let error = load_rows(&backend, 1).await.err().expect("it is damaged");
            assert_eq!(error.kind(), ErrorKind::Data);
            let prefix = format!(
                "state file {} of operator join, store left, partition 0: bytes {}..{} are damaged",
                file.path,
                section.offset,
                section.offset + section.len
            );
            assert!(error.to_string().starts_with(&prefix), "{error}");
        }
        storage.replace(&file.path, bytes).await?;
    }
    Ok(())
}

#[tokio::test]
async fn changes_of_rows_that_are_not_there_are_refused() -> Result<()> {
    let (_, backend, _) = two_epochs(1).await?;
    let mut manifest = backend.manifest().as_ref().clone();
    let files = manifest.operators.get_mut("join").expect("it has files");
    files.snapshot = None;
    let path = files.deltas[0].path.clone();
    backend.adopt(manifest);
    let error = load_rows(&backend, 1)
        .await
        .err()
        .expect("rows are missing");
    assert_eq!(error.kind(), ErrorKind::Data);
    assert_eq!(
        error.to_string(),
        format!(
            "state file {path} of operator join, store left, partition 0: row 5 is marked or removed, but there is \
             no such row"
        )
    );
    Ok(())
}

#[tokio::test]
async fn rows_of_other_columns_and_kinds_are_refused() -> Result<()> {
    let (_, backend, _) = two_epochs(1).await?;
    let cases = [
        (
            RowsSpec {
                marks: false,
                ..spec()
            },
            "the section's flags are 0x0e, those of the store are 0x06 (1: chained, 2: expires, 4: rows by key, 8: marks)",
        ),
        (
            RowsSpec {
                values: schema("value"),
                keys: schema("key"),
                ..spec()
            },
            "the stored rows have columns (key Utf8, value Int64, __row UInt64, __expiry Int64, __marked Boolean), \
             the store has (key Int64, value Int64, __row UInt64, __expiry Int64, __marked Boolean)",
        ),
    ];
    for (other, expected) in cases {
        let loaded = backend.load_rows("join", "left", 0, 1, other).await;
        let error = loaded.err().expect("it is another store");
        assert_eq!(error.kind(), ErrorKind::Data);
        assert!(error.to_string().ends_with(expected), "{error}");
    }
    let index = Arc::new(RowIndexFactory);
    let keyed = backend
        .load("join", "left", 0, 1, super::spec(), index)
        .await;
    assert_eq!(keyed.err().map(|error| error.kind()), Some(ErrorKind::Data));
    Ok(())
}

#[tokio::test]
async fn leading_key_columns_decide_about_the_owner() -> Result<()> {
    let columns = ["group", "key"].map(|name| Field::new(name, DataType::Int64, true));
    let spec = RowsSpec {
        keys: Arc::new(Schema::new(columns.to_vec())),
        owner_columns: Some(1),
        ..spec()
    };
    let backend = StateBackend::new(Arc::new(MemoryStorage::new()), StateManifest::default());
    let mut store = RowStore::new(spec.clone())?;
    let ints = |values: Vec<i64>| Arc::new(Int64Array::from(values)) as ArrayRef;
    let groups = ints((0..1_000).map(|i| i % 50).collect());
    let keys = [groups, ints((0..1_000).collect())];
    store.append(&keys, &[ints((0..1_000).collect())], None, None)?;
    commit_rows(&backend, std::slice::from_mut(&mut store), 0).await?;
    let mut found = 0;
    for partition in 0..3 {
        let loaded = backend.load_rows("join", "left", partition, 3, spec.clone());
        for batch in loaded.await?.scan()? {
            let groups = key_groups(&batch.columns()[..1], batch.num_rows())?;
            assert!(
                groups
                    .iter()
                    .all(|group| partition_of(*group, 3) == partition)
            );
            found += batch.num_rows();
        }
    }
    assert_eq!(found, 1_000);
    Ok(())
}

/// Files of rows by key as they were first written. To make those of a new version, run this test with
/// `WRITE_GOLDEN_ROWS` set to a folder.
#[tokio::test]
async fn golden_files_of_rows_can_be_read() -> Result<()> {
    if let Ok(folder) = std::env::var("WRITE_GOLDEN_ROWS") {
        let (storage, backend, _) = two_epochs(1).await?;
        write_files(&folder, storage.as_ref(), &backend.manifest()).await?;
    }
    let manifest = include_str!("../../golden/v1-rows/manifest.json");
    let snapshot = include_bytes!("../../golden/v1-rows/snapshot").as_slice();
    let delta = include_bytes!("../../golden/v1-rows/delta").as_slice();
    let storage = Arc::new(MemoryStorage::new());
    let manifest: StateManifest = serde_json::from_str(manifest)?;
    for (path, bytes) in manifest.paths().zip([snapshot, delta]) {
        storage.replace(path, bytes.into()).await?;
    }
    let backend = StateBackend::new(storage, manifest);
    for partitions in [1, 3] {
        let stores = load_rows(&backend, partitions).await?;
        assert_eq!(shown(&stores)?, expected());
    }
    // Rows are found by time and key as when they were written.
    let stores = load_rows(&backend, 1).await?;
    let bound = Int64Array::from(vec![5_200]);
    let within = Within::Range {
        low: &bound,
        high: &bound,
    };
    let keys = [texts(&[5])];
    let probe = Probe {
        within,
        null_keys: NullKeys::Never,
        ..Probe::new(&keys, 1)
    };
    assert_eq!(stores[0].probe(&probe)?.rows.len(), 1);
    Ok(())
}
