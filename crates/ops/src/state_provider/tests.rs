//! Stores of both kinds, out and in, and back from the checkpoint.

use datafusion::arrow::{
    array::{ArrayRef, Int64Array},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use headwater_core::{ErrorKind, Storage};
use headwater_log::store::MemoryStorage;
use headwater_state::{StateManifest, key_groups, partition_of};
use uuid::Uuid;

use super::*;

fn schema(name: &str) -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new(name, DataType::Int64, true)]))
}

fn keyed() -> StateSpec {
    StateSpec {
        keys: schema("key"),
        values: schema("value"),
        owner_columns: None,
        expires: false,
        bucket_millis: 1,
        chained: false,
    }
}

fn rows() -> RowsSpec {
    RowsSpec {
        keys: schema("key"),
        values: schema("value"),
        owner_columns: None,
        expires: false,
        bucket_millis: 1,
        marks: true,
    }
}

fn provider(storage: &Arc<dyn Storage>, manifest: StateManifest, partitions: u32) -> StateProvider {
    let backend = StateBackend::new(Arc::clone(storage), manifest);
    StateProvider::new(
        Arc::new(backend),
        crate::key_index_factory(),
        partitions,
        RunId(Uuid::from_u128(u128::from(partitions))),
    )
}

fn address(store: &str, partition: u32) -> StateAddress {
    StateAddress {
        operator: "join".to_owned(),
        store: store.to_owned(),
        partition,
    }
}

async fn check_out(
    provider: &StateProvider,
    partition: u32,
    version: Option<Epoch>,
) -> Result<(KeyedState, RowStore)> {
    let partitions = provider.partitions();
    let counts = address("counts", partition);
    let left = address("left", partition);
    Ok((
        provider
            .check_out(&counts, version, &keyed(), partitions)
            .await?,
        provider
            .check_out_rows(&left, version, &rows(), partitions)
            .await?,
    ))
}

/// Adds ten keys to both stores of all partitions, and commits them.
async fn epoch(provider: &StateProvider, number: u64) -> Result<()> {
    change(provider, number).await?;
    let manifest = provider
        .backend
        .next_manifest(provider.take_deltas()?.durable().await?)?;
    provider.backend.adopt(manifest);
    Ok(())
}

/// Adds ten keys to both stores of all partitions.
async fn change(provider: &StateProvider, number: u64) -> Result<()> {
    let partitions = provider.partitions();
    let version = number.checked_sub(1).map(Epoch);
    let all: ArrayRef = Arc::new(Int64Array::from_iter_values(0..10));
    let groups = key_groups(&[all], 10)?;
    for partition in 0..partitions {
        let (mut counts, mut left) = check_out(provider, partition, version).await?;
        let ours = (0..10).zip(&groups);
        let ours = ours.filter(|(_, group)| partition_of(**group, partitions) == partition);
        let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(ours.map(|(key, _)| key)));
        let touched = counts.touch(&[Arc::clone(&keys)], None)?;
        counts.put(&touched, vec![Arc::clone(&keys)])?;
        left.append(&[Arc::clone(&keys)], &[keys], None, None)?;
        let stores: Vec<(String, Store)> = vec![
            ("counts".to_owned(), counts.into()),
            ("left".to_owned(), left.into()),
        ];
        provider.check_in("join", partition, Epoch(number), stores, partitions)?;
    }
    Ok(())
}

#[tokio::test]
async fn stores_of_both_kinds_go_out_and_in_and_come_back_from_the_checkpoint() -> Result<()> {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let first = provider(&storage, StateManifest::default(), 2);
    epoch(&first, 0).await?;
    epoch(&first, 1).await?;
    let manifest = first.backend.manifest();
    assert_eq!(manifest.paths().count(), 2, "one object per epoch");
    assert_eq!(first.capture("join").len(), 4);
    for partitions in [2, 3] {
        let again = provider(&storage, manifest.as_ref().clone(), partitions);
        let (mut keys, mut stored) = (0, 0);
        for partition in 0..partitions {
            let (counts, left) = check_out(&again, partition, Some(Epoch(1))).await?;
            keys += counts.len();
            stored += left.len();
        }
        assert_eq!((keys, stored), (10, 20), "with {partitions} partitions");
    }
    Ok(())
}

#[tokio::test]
async fn a_store_of_the_other_kind_is_refused() -> Result<()> {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let resident = provider(&storage, StateManifest::default(), 1);
    epoch(&resident, 0).await?;
    let counts = address("counts", 0);
    let error = resident
        .check_out_rows(&counts, Some(Epoch(0)), &rows(), 1)
        .await;
    assert_eq!(
        error.err().map(|error| error.to_string()).as_deref(),
        Some("a store of a value by key was asked for as one of rows by key")
    );
    let restored = provider(&storage, resident.backend.manifest().as_ref().clone(), 1);
    let error = restored
        .check_out_rows(&counts, Some(Epoch(0)), &rows(), 1)
        .await;
    let error = error.err().expect("it is of the other kind");
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(
        error
            .to_string()
            .contains("the section's flags are 0x00, those of the store are 0x0c"),
        "{error}"
    );
    Ok(())
}

#[tokio::test]
async fn deltas_wait_until_the_plan_is_recorded() -> Result<()> {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let files = async || storage.list("").await.map(|files| files.len());
    let first = provider(&storage, StateManifest::default(), 2);
    let (recorded, when) = PlanRecorded::when();
    first.begin(Some(when));
    change(&first, 0).await?;
    {
        let mut flush = std::pin::pin!(first.take_deltas()?.durable());
        assert!(futures::poll!(&mut flush).is_pending());
        assert_eq!(files().await?, 0);
        recorded.send(true).expect("somebody waits");
        assert_eq!(flush.await?.len(), 1);
    }
    assert_eq!(files().await?, 1);

    let (never, when) = PlanRecorded::when();
    first.begin(Some(when));
    change(&first, 1).await?;
    drop(never);
    let failed = first.take_deltas()?.durable().await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Internal);
    assert_eq!(files().await?, 1);
    Ok(())
}

#[tokio::test]
async fn an_epoch_begins_while_the_deltas_of_the_one_before_are_written() -> Result<()> {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let provider = provider(&storage, StateManifest::default(), 2);
    let (recorded, when) = PlanRecorded::when();
    provider.begin(Some(when));
    change(&provider, 0).await?;
    let first = provider.take_deltas()?;
    let (never, when) = PlanRecorded::when();
    provider.begin(Some(when));
    change(&provider, 1).await?;
    recorded.send(true).expect("somebody waits");
    let files = first.durable().await?;
    let epochs: Vec<Epoch> = files.iter().map(|(_, file)| file.epoch).collect();
    assert_eq!(epochs, [Epoch(0)], "those of the second are its own");
    let manifest = provider.backend.next_manifest(files)?;
    provider.backend.adopt(manifest);
    let second = provider.take_deltas()?;
    drop(never);
    assert!(second.durable().await.is_err());
    assert_eq!(storage.list("").await?.len(), 1);
    Ok(())
}
