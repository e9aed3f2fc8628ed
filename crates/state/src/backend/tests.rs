//! Damaged and missing files, other numbers of partitions; that restores are right is the business of
//! [`crate::conformance`].

use arrow::{
    array::{ArrayRef, Int64Array},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use headwater_core::ErrorKind;
use headwater_log::store::MemoryStorage;
use uuid::Uuid;

use super::*;
use crate::{RowIndexFactory, key_groups, partition_of};

mod golden;
mod rows;

const RUN: RunId = RunId(Uuid::from_u128(1 << 100));

fn schema(name: &str) -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new(name, DataType::Int64, true)]))
}

fn spec() -> StateSpec {
    StateSpec {
        keys: schema("key"),
        values: schema("value"),
        owner_columns: None,
        expires: false,
        bucket_millis: 1,
        chained: false,
    }
}

fn store() -> KeyedState {
    KeyedState::new(spec(), Arc::new(RowIndexFactory)).unwrap()
}

/// Puts the keys that each partition owns.
fn put(states: &mut [KeyedState], keys: std::ops::Range<i64>) {
    let partitions = states.len() as u32;
    for (partition, state) in (0..).zip(states) {
        let all: ArrayRef = Arc::new(Int64Array::from_iter_values(keys.clone()));
        let groups = key_groups(&[all], keys.clone().count()).unwrap();
        let ours = keys
            .clone()
            .zip(groups)
            .filter(|(_, g)| partition_of(*g, partitions) == partition);
        let ours: ArrayRef = Arc::new(Int64Array::from_iter_values(ours.map(|(key, _)| key)));
        let touched = state.touch(&[Arc::clone(&ours)], None).unwrap();
        state.put(&touched, vec![ours]).unwrap();
    }
}

/// Commits, writes and adopts.
async fn commit(
    backend: &StateBackend,
    states: &mut [KeyedState],
    epoch: u64,
) -> Result<StateFile> {
    let partitions = states.len() as u32;
    let sections = (0..).zip(states).map(|(partition, state)| {
        Ok(("groups".to_owned(), partition, state.commit(Epoch(epoch))?))
    });
    let sections = sections.collect::<Result<Vec<_>>>()?;
    let file = backend
        .write_delta("agg", Epoch(epoch), RUN, partitions, sections)
        .await?;
    backend.adopt(backend.next_manifest([("agg".to_owned(), file.clone())])?);
    Ok(file)
}

async fn load(backend: &StateBackend, partition: u32, partitions: u32) -> Result<KeyedState> {
    let index = Arc::new(RowIndexFactory);
    backend
        .load("agg", "groups", partition, partitions, spec(), index)
        .await
}

async fn load_error(backend: &StateBackend, partition: u32) -> Error {
    load(backend, partition, 2)
        .await
        .err()
        .expect("loading must fail")
}

/// Two partitions, two epochs; the files.
async fn world() -> Result<(Arc<MemoryStorage>, StateBackend, Vec<StateFile>)> {
    let storage = Arc::new(MemoryStorage::new());
    let backend = StateBackend::new(
        Arc::clone(&storage) as Arc<dyn Storage>,
        StateManifest::default(),
    );
    let mut states = [store(), store()];
    let mut files = vec![];
    for epoch in 0..2u32 {
        put(&mut states, i64::from(epoch) * 50..100);
        files.push(commit(&backend, &mut states, epoch.into()).await?);
    }
    Ok((storage, backend, files))
}

#[tokio::test]
async fn one_object_per_operator_and_epoch() -> Result<()> {
    let (storage, backend, files) = world().await?;
    let listed: Vec<(String, u64)> = storage
        .list("state")
        .await?
        .into_iter()
        .map(|object| (object.path, object.size))
        .collect();
    let named: Vec<_> = files
        .iter()
        .map(|file| (file.path.clone(), file.size))
        .collect();
    assert_eq!(listed, named);
    assert_eq!(
        files[1].path,
        "state/agg/00000000000000000001-00000010000000000000000000000000-1.delta"
    );
    assert_eq!(
        backend.manifest().paths().collect::<Vec<_>>(),
        [&files[0].path, &files[1].path]
    );
    // Other operators, and stores that never changed, are empty.
    let other = backend
        .load("agg", "other", 0, 2, spec(), Arc::new(RowIndexFactory))
        .await?;
    assert!(other.is_empty());
    Ok(())
}

#[tokio::test]
async fn an_epoch_without_changes_writes_nothing() -> Result<()> {
    let (storage, backend, _) = world().await?;
    let mut states = [load(&backend, 0, 2).await?, load(&backend, 1, 2).await?];
    let before = backend.manifest();
    assert!(commit(&backend, &mut states, 2).await?.is_empty());
    assert_eq!(backend.manifest(), before);
    assert_eq!(storage.list("").await?.len(), 2);
    Ok(())
}

#[tokio::test]
async fn every_flipped_byte_of_a_section_is_found() -> Result<()> {
    let (storage, backend, files) = world().await?;
    let bytes = storage.read(&files[1].path).await?.expect("it was written");
    let section = &files[1].sections[1];
    for at in (section.offset..section.offset + section.len).step_by(13) {
        let mut damaged = bytes.to_vec();
        damaged[at as usize] ^= 0x10;
        storage.replace(&files[1].path, damaged.into()).await?;
        let error = load_error(&backend, 1).await;
        assert_eq!(error.kind(), ErrorKind::Data);
        let expected = format!(
            "state file {} of operator agg, store groups, partition 1: bytes {}..{} are damaged",
            files[1].path,
            section.offset,
            section.offset + section.len
        );
        assert!(error.to_string().starts_with(&expected), "{error}");
        // The other partition does not read them.
        load(&backend, 0, 2).await?;
    }
    Ok(())
}

#[tokio::test]
async fn missing_and_short_files_are_named() -> Result<()> {
    let (storage, backend, files) = world().await?;
    let bytes = storage.read(&files[0].path).await?.expect("it was written");
    storage.replace(&files[0].path, bytes.slice(..100)).await?;
    let error = load_error(&backend, 0).await;
    let prefix = format!(
        "state file {} of operator agg, store groups, partition 0: ",
        files[0].path
    );
    assert!(error.to_string().starts_with(&prefix), "{error}");
    storage.delete(&[files[0].path.clone()]).await?;
    let error = load_error(&backend, 0).await;
    assert_eq!(error.kind(), ErrorKind::Data);
    assert_eq!(error.to_string(), format!("{prefix}the file is missing"));
    Ok(())
}

/// Loads partition 0 after its section in the first file was changed, checksum and all.
async fn load_changed(change: impl Fn(&mut [u8])) -> Result<Error> {
    let (storage, backend, files) = world().await?;
    let mut bytes = storage
        .read(&files[0].path)
        .await?
        .expect("it was written")
        .to_vec();
    let section = &files[0].sections[0];
    let range = section.offset as usize..(section.offset + section.len) as usize;
    change(&mut bytes[range.clone()]);
    let mut manifest = backend.manifest().as_ref().clone();
    let files = manifest.operators.get_mut("agg").expect("it has files");
    files.deltas[0].sections[0].crc32 = crc32fast::hash(&bytes[range]);
    storage.replace(&files.deltas[0].path, bytes.into()).await?;
    backend.adopt(manifest);
    let error = load_error(&backend, 0).await;
    assert_eq!(error.kind(), ErrorKind::Data);
    Ok(error)
}

#[tokio::test]
async fn sections_of_other_formats_are_refused() -> Result<()> {
    let cases: [(usize, u8, &str); 6] = [
        (0, b'X', "not a section of state"),
        (
            4,
            9,
            "the section is of format version 9, this build reads versions 1 and 2",
        ),
        (6, 7, "unknown kind of section: 7"),
        (
            7,
            2,
            "the section's flags are 0x02, those of the store are 0x00",
        ),
        (27, 1, "cut short"),
        (32, 9, "unknown entry of kind 9"),
    ];
    for (at, value, expected) in cases {
        let error = load_changed(|section| section[at] = value).await?;
        assert!(error.to_string().contains(expected), "{error}");
        assert!(
            error
                .to_string()
                .contains("operator agg, store groups, partition 0"),
            "{error}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_store_of_other_columns_is_refused() -> Result<()> {
    let (_, backend, _) = world().await?;
    let other = StateSpec {
        values: Arc::new(Schema::new(vec![Field::new("value", DataType::Utf8, true)])),
        ..spec()
    };
    let loaded = backend
        .load("agg", "groups", 0, 2, other, Arc::new(RowIndexFactory))
        .await;
    let error = loaded.err().expect("types differ");
    assert!(
        error.to_string().ends_with(
            "the stored rows have columns (key Int64, value Int64), the store has (key Int64, value Utf8)"
        ),
        "{error}"
    );
    Ok(())
}

#[tokio::test]
async fn the_first_commit_after_rescaling_is_the_whole_state() -> Result<()> {
    let (storage, backend, _) = world().await?;
    let mut states = vec![];
    for partition in 0..3 {
        states.push(load(&backend, partition, 3).await?);
    }
    assert_eq!(states.iter().map(KeyedState::len).sum::<usize>(), 100);
    put(&mut states, 90..120);
    let file = commit(&backend, &mut states, 2).await?;
    assert!(file.full && file.path.ends_with(".snapshot"), "{file:?}");
    assert_eq!(backend.manifest().paths().collect::<Vec<_>>(), [&file.path]);
    assert_eq!(backend.manifest().operators["agg"].partitions, 3);
    // From then on deltas again.
    put(&mut states, 0..10);
    assert!(!commit(&backend, &mut states, 3).await?.full);
    let manifest = backend.manifest().as_ref().clone();
    let again = StateBackend::new(storage, manifest);
    let mut keys = 0;
    for partition in 0..3 {
        keys += load(&again, partition, 3).await?.len();
    }
    assert_eq!(keys, 120);
    Ok(())
}

#[tokio::test]
async fn an_incomplete_whole_state_is_refused() -> Result<()> {
    let (_, backend, _) = world().await?;
    let mut state = load(&backend, 0, 3).await?;
    let error = commit(&backend, std::slice::from_mut(&mut state), 2).await;
    // One partition of one is complete, but it is not what the operator has.
    assert!(error.is_ok());
    let snapshot = state.snapshot();
    let parts = vec![("groups".to_owned(), 0, snapshot)];
    let error = backend
        .write_snapshot("agg", Epoch(2), RUN, 3, parts)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert!(
        error
            .to_string()
            .contains("needs 3 partitions of each store"),
        "{error}"
    );
    Ok(())
}

#[tokio::test]
async fn attempts_of_an_epoch_do_not_meet() -> Result<()> {
    let (storage, backend, _) = world().await?;
    // The same run opens the state anew and counts its attempts from the start.
    let again = StateBackend::new(
        Arc::clone(&storage) as Arc<dyn Storage>,
        StateManifest::default(),
    );
    let mut states = [store(), store()];
    put(&mut states, 500..600);
    let file = commit(&again, &mut states, 0).await?;
    assert!(!backend.manifest().paths().any(|path| path == file.path));
    assert_eq!(
        load(&backend, 0, 2).await?.len() + load(&backend, 1, 2).await?.len(),
        100
    );
    Ok(())
}

#[tokio::test]
async fn upkeep_asks_for_merges_and_merged_files_restore_the_same() -> Result<()> {
    let (_, backend, _) = world().await?;
    let mut states = [load(&backend, 0, 2).await?, load(&backend, 1, 2).await?];
    let mut merges = 0;
    for epoch in 2..40u32 {
        put(&mut states, i64::from(epoch)..i64::from(epoch) + 8);
        commit(&backend, &mut states, epoch.into()).await?;
        for (operator, upkeep) in backend.upkeep() {
            let Upkeep::Merge(deltas) = upkeep else {
                continue;
            };
            merges += 1;
            let file = backend.merge_deltas(&operator, RUN, &deltas).await?;
            backend.adopt(backend.next_manifest([(operator, file)])?);
        }
    }
    assert_eq!(merges, 1);
    assert!(backend.manifest().operators["agg"].deltas.len() < 10);
    let restored = load(&backend, 1, 2).await?;
    assert_eq!(restored.len(), states[1].len());
    assert_eq!(restored.version(), Some(Epoch(39)));
    Ok(())
}

/// Files written by the first version of the formats; see `docs/formats-state.md`. To make those of a new version, run
/// this test with `WRITE_GOLDEN` set to a folder.
#[tokio::test]
async fn golden_files_of_every_version_can_be_read() -> Result<()> {
    if let Ok(folder) = std::env::var("WRITE_GOLDEN") {
        write_golden(&folder).await?;
    }
    let manifest = include_str!("../golden/v1/manifest.json");
    let storage = Arc::new(MemoryStorage::new());
    let manifest: StateManifest = serde_json::from_str(manifest)?;
    let snapshot = include_bytes!("../golden/v1/snapshot").as_slice();
    let delta = include_bytes!("../golden/v1/delta").as_slice();
    for (path, bytes) in manifest.paths().zip([snapshot, delta]) {
        storage.replace(path, bytes.into()).await?;
    }
    let backend = StateBackend::new(storage, manifest);
    let mut rows = vec![];
    for partition in 0..3 {
        let index = Arc::new(RowIndexFactory);
        let state = backend
            .load("agg", "groups", partition, 3, golden_spec(), index)
            .await?;
        for batch in state.scan()? {
            let text = arrow::util::pretty::pretty_format_batches(&[batch])?.to_string();
            let lines = text.lines().filter(|line| line.starts_with("| ")).skip(1);
            rows.extend(lines.map(|line| line.split_whitespace().collect::<String>()));
        }
    }
    rows.sort();
    assert_eq!(
        rows,
        [
            "|key10|1100|",
            "|key11|1100|",
            "|key6|3|",
            "|key8|4|",
            "|key9|1100|"
        ]
    );
    Ok(())
}

fn golden_spec() -> StateSpec {
    StateSpec {
        keys: Arc::new(Schema::new(vec![Field::new("key", DataType::Utf8, true)])),
        expires: true,
        bucket_millis: 1_000,
        ..spec()
    }
}

async fn write_golden(folder: &str) -> Result<()> {
    let storage = Arc::new(MemoryStorage::new());
    let backend = StateBackend::new(
        Arc::clone(&storage) as Arc<dyn Storage>,
        StateManifest::default(),
    );
    let index = Arc::new(RowIndexFactory);
    let mut state = KeyedState::new(golden_spec(), index)?;
    let touch = |state: &mut KeyedState, keys: std::ops::Range<i64>| {
        let names = keys.clone().map(|key| Some(format!("key {key}")));
        let names: ArrayRef = Arc::new(names.collect::<arrow::array::StringArray>());
        // Keys that are a multiple of four never expire.
        let expiry: Int64Array = keys
            .map(|key| (key % 4 != 0).then_some(key * 1_000))
            .collect();
        state.touch(&[names], Some(&expiry))
    };
    let touched = touch(&mut state, 0..9)?;
    let values = Int64Array::from_iter_values((0..9).map(|value| value / 2));
    state.put(&touched, vec![Arc::new(values)])?;
    commit(&backend, std::slice::from_mut(&mut state), 0).await?;
    let parts = vec![("groups".to_owned(), 0, state.snapshot())];
    let snapshot = backend
        .write_snapshot("agg", Epoch(0), RUN, 1, parts)
        .await?;
    backend.adopt(backend.next_manifest([("agg".to_owned(), snapshot)])?);
    let touched = touch(&mut state, 9..12)?;
    state.put(&touched, vec![Arc::new(Int64Array::from(vec![1_100; 3]))])?;
    let touched = touch(&mut state, 0..1)?;
    state.remove(&touched)?;
    let touched = touch(&mut state, 4..5)?;
    state.remove(&touched)?;
    let touched = touch(&mut state, 7..8)?;
    state.remove(&touched)?;
    state.expire(5_000, false)?;
    commit(&backend, std::slice::from_mut(&mut state), 1).await?;
    write_files(folder, storage.as_ref(), &backend.manifest()).await
}

/// Writes a manifest of a snapshot and a delta to a folder, and these two.
async fn write_files(
    folder: &str,
    storage: &MemoryStorage,
    manifest: &StateManifest,
) -> Result<()> {
    let write = |name: &str, bytes: &[u8]| {
        std::fs::write(format!("{folder}/{name}"), bytes)
            .map_err(|error| Error::unavailable("cannot write a golden file").with_source(error))
    };
    for (name, path) in ["snapshot", "delta"].into_iter().zip(manifest.paths()) {
        write(name, &storage.read(path).await?.expect("it was written"))?;
    }
    write(
        "manifest.json",
        serde_json::to_string_pretty(manifest)?.as_bytes(),
    )
}
