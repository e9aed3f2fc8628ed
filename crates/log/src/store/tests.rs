//! The conformance suite against every storage of this crate, and what is special to each.

use std::{
    fs,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use headwater_core::{CreateOutcome, ErrorKind, Storage};
use object_store::memory::InMemory;

use super::{conformance::storage_conformance, *};

#[tokio::test(flavor = "multi_thread")]
async fn local_storage_conforms() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("not/there/yet");
    storage_conformance(Arc::new(LocalStorage::open(root).unwrap())).await;
}

#[tokio::test]
async fn memory_storage_conforms() {
    storage_conformance(Arc::new(MemoryStorage::new())).await;
}

#[tokio::test]
async fn object_storage_conforms() {
    let store = Arc::new(InMemory::new());
    storage_conformance(Arc::new(ObjectStorage::new(store, "some/prefix").unwrap())).await;
}

#[tokio::test]
async fn object_storage_without_uploads_conforms() {
    let store = Arc::new(InMemory::new());
    storage_conformance(Arc::new(ObjectStorage::without_uploads(store, "").unwrap())).await;
}

#[tokio::test]
async fn a_folder_of_a_counted_storage_conforms() {
    let counted = Arc::new(CountedStorage::new(
        Arc::new(MemoryStorage::new()),
        Arc::default(),
    ));
    let folder = FolderStorage::new(Arc::clone(&counted) as _, "sources/0").unwrap();
    storage_conformance(Arc::new(folder)).await;
    let counts = counted.counts();
    assert!(counts.creates > 0 && counts.finishes > 0 && counts.bytes_written > 18_000_000);
}

#[tokio::test]
async fn a_small_record_costs_two_syncs_and_a_published_part_three() {
    let folder = tempfile::tempdir().unwrap();
    let storage =
        counted_storage_for_url(folder.path().to_str().unwrap(), &Default::default()).unwrap();
    // The first write makes folders.
    storage.create("commits/0", "x".into()).await.unwrap();
    let part = storage.prepare("part-0", "0-a").await.unwrap();
    storage
        .publish(&[part.finish().await.unwrap()])
        .await
        .unwrap();

    let before = storage.counts();
    storage.create("commits/1", "x".into()).await.unwrap();
    let record = storage.counts();
    assert_eq!(record.since(&before).syncs(), 2);
    let own = storage.create_own("state/1", Bytes::from("x").into());
    own.await.unwrap();
    let record = storage.counts();
    // Of its bytes, and of the names of the new folder and in it.
    assert_eq!(record.since(&before).syncs(), 2 + 3);
    let part = storage.prepare("part-1", "1-a").await.unwrap();
    storage
        .publish(&[part.finish().await.unwrap()])
        .await
        .unwrap();
    assert_eq!(storage.counts().since(&record).syncs(), 3);
}

#[tokio::test]
async fn opening_a_local_storage_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("checkpoint");
    let storage = LocalStorage::open(&root).unwrap();
    assert_eq!(storage.list("").await.unwrap(), []);
    assert!(!root.exists());
    fs::write(&root, "a file").unwrap();
    let error = LocalStorage::open(&root).expect_err("it is a file");
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn a_folder_removed_behind_our_back_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let storage = LocalStorage::open(folder.path()).unwrap();
    storage.create("plans/0", "x".into()).await.unwrap();
    let part = storage
        .prepare("plans/2", "0-a")
        .await
        .unwrap()
        .finish()
        .await
        .unwrap();
    fs::remove_dir_all(folder.path().join("plans")).unwrap();
    storage.publish(&[part]).await.unwrap();
    fs::remove_dir_all(folder.path().join("plans")).unwrap();
    let outcome = storage.create("plans/1", "x".into()).await.unwrap();
    assert_eq!(outcome, CreateOutcome::Created);
    fs::remove_dir_all(folder.path().join("plans")).unwrap();
    let own = storage.create_own("plans/3", Bytes::from("x").into());
    assert_eq!(own.await.unwrap(), CreateOutcome::Created);
}

#[tokio::test]
async fn temporary_files_of_a_crash_are_hidden_and_swept_when_old() {
    let folder = tempfile::tempdir().unwrap();
    let staging = folder.path().join(STAGING);
    fs::create_dir_all(&staging).unwrap();
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    for name in ["tmp-dead.0", "3-dead.1"] {
        let file = fs::File::create(staging.join(name)).unwrap();
        file.set_modified(old).unwrap();
    }
    fs::write(staging.join("tmp-alive.0"), "of a neighbour").unwrap();
    let storage = LocalStorage::open(folder.path()).unwrap();
    storage.create("a", "x".into()).await.unwrap();
    assert_eq!(storage.list("").await.unwrap().len(), 1);
    let mut left: Vec<_> = fs::read_dir(&staging)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    // What was prepared may still be published; only temporary files are nobody's.
    assert_eq!(left, ["3-dead.1", "tmp-alive.0"]);
}

#[tokio::test]
async fn a_token_of_another_storage_is_refused() {
    let memory = MemoryStorage::new();
    let write = memory.prepare("a", "0-a").await.unwrap();
    let prepared = [write.finish().await.unwrap()];
    let folder = tempfile::tempdir().unwrap();
    let local = LocalStorage::open(folder.path()).unwrap();
    let object = ObjectStorage::new(Arc::new(InMemory::new()), "").unwrap();
    for storage in [&local as &dyn Storage, &object] {
        let error = storage.publish(&prepared).await.expect_err("not its own");
        assert_eq!(error.kind(), ErrorKind::Data, "{error}");
    }
}

#[tokio::test]
async fn a_lost_list_of_uploads_is_found_by_its_markers() {
    let store = Arc::new(InMemory::new());
    let storage = ObjectStorage::new(Arc::clone(&store) as _, "").unwrap();
    let mut write = storage.prepare("a", "0-a").await.unwrap();
    write.write("x".into()).await.unwrap();
    drop(write);
    let reopened = ObjectStorage::new(Arc::clone(&store) as _, "").unwrap();
    let markers = || async { reopened.store.list(None).count().await };
    use futures::StreamExt;
    assert_eq!(markers().await, 1);
    reopened.discard_prepared("0-a").await.unwrap();
    assert_eq!(markers().await, 0);
}
