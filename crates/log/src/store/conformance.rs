//! What every storage promises, as a test to run against it.
//!
//! It checks what can be seen from one process: atomicity of names, idempotence, invisibility. Durability is what the
//! crash sweep checks, with the simulated machine.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::join_all;
use headwater_core::{CreateOutcome, ErrorKind, Payload, Prepared, Storage};

/// Runs the whole suite against an empty storage; panics at the first broken promise.
pub async fn storage_conformance(storage: Arc<dyn Storage>) {
    let storage = storage.as_ref();
    what_is_absent_is_no_error(storage).await;
    a_name_is_created_once(storage).await;
    pieces_become_one_object(storage).await;
    of_racing_creators_one_wins(storage).await;
    replacing_shows_the_new_bytes(storage).await;
    ranges_are_read_exactly(storage).await;
    listing_is_sorted_and_confined_to_its_folder(storage).await;
    deleting_is_idempotent(storage).await;
    prepared_objects_stay_hidden_until_published(storage).await;
    prepared_objects_survive_as_plain_data(storage).await;
    publishing_what_was_lost_is_an_error_that_names_it(storage).await;
    discarding_leaves_nothing(storage).await;
    discarding_an_owner_leaves_others_alone(storage).await;
    large_and_empty_objects_arrive_whole(storage).await;
    paths_that_leave_the_root_are_refused(storage).await;
}

async fn paths(storage: &dyn Storage, prefix: &str) -> Vec<String> {
    let listed = storage.list(prefix).await.expect("can be listed");
    listed.into_iter().map(|object| object.path).collect()
}

async fn read(storage: &dyn Storage, path: &str) -> Option<Bytes> {
    storage.read(path).await.expect("can be read")
}

async fn create(storage: &dyn Storage, path: &str, bytes: &'static str) -> CreateOutcome {
    storage
        .create(path, bytes.into())
        .await
        .expect("can be created")
}

async fn prepare(storage: &dyn Storage, path: &str, owner: &str, chunks: &[Bytes]) -> Prepared {
    let mut write = storage.prepare(path, owner).await.expect("can be prepared");
    for chunk in chunks {
        write.write(chunk.clone()).await.expect("can be written");
    }
    write.finish().await.expect("can be finished")
}

async fn what_is_absent_is_no_error(storage: &dyn Storage) {
    assert_eq!(read(storage, "absent/object").await, None);
    let range = storage.read_range("absent/object", 0..4).await;
    assert_eq!(range.expect("can be read"), None);
    assert_eq!(paths(storage, "absent").await, [""; 0]);
    let nothing = storage.delete(&["absent/object".to_owned()]).await;
    nothing.expect("deleting what is not there is no error");
    let nothing = storage.discard_prepared("nobody").await;
    nothing.expect("an owner without objects is no error");
}

async fn a_name_is_created_once(storage: &dyn Storage) {
    assert_eq!(
        create(storage, "once/a", "first").await,
        CreateOutcome::Created
    );
    assert_eq!(
        create(storage, "once/a", "second").await,
        CreateOutcome::AlreadyExists
    );
    assert_eq!(read(storage, "once/a").await, Some("first".into()));
    assert_eq!(
        create(storage, "once/empty", "").await,
        CreateOutcome::Created
    );
    assert_eq!(read(storage, "once/empty").await, Some(Bytes::new()));
}

async fn pieces_become_one_object(storage: &dyn Storage) {
    // More than a system takes at once.
    let pieces = (0..1_100u32).map(|number| vec![number as u8; 10_000 * (number as usize % 2)]);
    let mut payload = Payload::new();
    for piece in pieces {
        payload.push(piece.into());
        payload.push_copy(b"between");
    }
    for (path, payload) in [("pieces/many", payload), ("pieces/none", Payload::new())] {
        let create = async || storage.create_own(path, payload.clone()).await;
        let outcome = create().await.expect("can be created");
        assert_eq!(outcome, CreateOutcome::Created);
        let outcome = create().await.expect("is there");
        assert_eq!(outcome, CreateOutcome::AlreadyExists);
        let found = read(storage, path).await.expect("is there");
        assert!(payload.is(&found), "{path} has {} bytes", found.len());
    }
}

async fn of_racing_creators_one_wins(storage: &dyn Storage) {
    let names: Vec<String> = (0..16).map(|n| format!("creator {n}")).collect();
    let race = names
        .iter()
        .map(|name| storage.create("race/prize", name.clone().into()));
    let outcomes: Vec<_> = join_all(race).await;
    let winners: Vec<&String> = names
        .iter()
        .zip(&outcomes)
        .filter(|(_, outcome)| matches!(outcome, Ok(CreateOutcome::Created)))
        .map(|(name, _)| name)
        .collect();
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    assert_eq!(winners.len(), 1, "of racing creators one wins");
    assert_eq!(
        read(storage, "race/prize").await,
        Some(winners[0].clone().into())
    );
}

async fn replacing_shows_the_new_bytes(storage: &dyn Storage) {
    for bytes in ["one", "two, longer", ""] {
        let replaced = storage.replace("replace/a", bytes.into()).await;
        replaced.expect("can be replaced");
        assert_eq!(read(storage, "replace/a").await, Some(bytes.into()));
    }
}

async fn ranges_are_read_exactly(storage: &dyn Storage) {
    create(storage, "range/a", "0123456789").await;
    for (range, expected) in [
        (0..10, "0123456789"),
        (3..5, "34"),
        (9..10, "9"),
        (4..4, ""),
    ] {
        let found = storage.read_range("range/a", range.clone()).await;
        assert_eq!(
            found.expect("can be read"),
            Some(expected.into()),
            "{range:?}"
        );
    }
    for range in [5..11, 20..30] {
        let found = storage.read_range("range/a", range.clone()).await;
        assert!(
            found.is_err(),
            "{range:?} reaches beyond the end: {found:?}"
        );
    }
}

async fn listing_is_sorted_and_confined_to_its_folder(storage: &dyn Storage) {
    for path in ["list/b", "list/a/2", "list/a/1", "list/a.x", "list2/c"] {
        create(storage, path, "1234").await;
    }
    let expected = ["list/a.x", "list/a/1", "list/a/2", "list/b"];
    assert_eq!(paths(storage, "list").await, expected);
    assert_eq!(paths(storage, "list/").await, expected);
    assert_eq!(paths(storage, "list/a").await, ["list/a/1", "list/a/2"]);
    let all = storage.list("").await.expect("can be listed");
    assert!(all.is_sorted_by(|a, b| a.path < b.path));
    assert!(
        all.iter()
            .any(|object| object.path == "list2/c" && object.size == 4)
    );
}

async fn deleting_is_idempotent(storage: &dyn Storage) {
    create(storage, "delete/a", "a").await;
    create(storage, "delete/b", "b").await;
    let both = ["delete/a".to_owned(), "delete/absent".to_owned()];
    for _ in 0..2 {
        storage.delete(&both).await.expect("can be deleted");
    }
    assert_eq!(paths(storage, "delete").await, ["delete/b"]);
    assert_eq!(
        create(storage, "delete/a", "again").await,
        CreateOutcome::Created
    );
}

async fn prepared_objects_stay_hidden_until_published(storage: &dyn Storage) {
    let before = paths(storage, "").await;
    let a = prepare(
        storage,
        "new/k=1/a.parquet",
        "7-aaaa",
        &["12".into(), "34".into()],
    )
    .await;
    let b = prepare(storage, "new/k=2/b.parquet", "7-aaaa", &["5".into()]).await;
    assert_eq!((a.size, a.crc32), (4, crc32fast::hash(b"1234")));
    assert_eq!(
        paths(storage, "").await,
        before,
        "prepared objects are not listed"
    );
    assert_eq!(read(storage, "new/k=1/a.parquet").await, None);

    let both = [a, b];
    // Twice: publishing again, as a restart does, changes nothing.
    for _ in 0..2 {
        storage.publish(&both).await.expect("can be published");
        assert_eq!(
            read(storage, "new/k=1/a.parquet").await,
            Some("1234".into())
        );
        assert_eq!(read(storage, "new/k=2/b.parquet").await, Some("5".into()));
        assert_eq!(paths(storage, "").await.len(), before.len() + 2);
    }
    let nothing = storage.discard_prepared("7-aaaa").await;
    nothing.expect("an owner whose objects are published has nothing to discard");
    assert_eq!(
        read(storage, "new/k=1/a.parquet").await,
        Some("1234".into())
    );
}

async fn prepared_objects_survive_as_plain_data(storage: &dyn Storage) {
    let prepared = prepare(storage, "data/a", "8-aaaa", &["x".into()]).await;
    let text = serde_json::to_string(&prepared).expect("is plain data");
    let again: Prepared = serde_json::from_str(&text).expect("is plain data");
    storage.publish(&[again]).await.expect("can be published");
    assert_eq!(read(storage, "data/a").await, Some("x".into()));
}

async fn publishing_what_was_lost_is_an_error_that_names_it(storage: &dyn Storage) {
    let lost = prepare(storage, "lost/a", "9-aaaa", &["x".into()]).await;
    let discarded = storage.discard(std::slice::from_ref(&lost)).await;
    discarded.expect("can be discarded");
    let error = storage
        .publish(std::slice::from_ref(&lost))
        .await
        .expect_err("its bytes are gone");
    assert_eq!(error.kind(), ErrorKind::Data, "{error}");
    assert!(error.message().contains("lost/a"), "{error}");
    // An object of that name that is not the prepared one does not count as published.
    create(storage, "lost/a", "another length").await;
    let published = storage.publish(&[lost]).await;
    assert!(published.is_err(), "another object has taken the name");
}

async fn discarding_leaves_nothing(storage: &dyn Storage) {
    let kept = prepare(storage, "discard/kept", "10-aaaa", &["k".into()]).await;
    let dropped = [prepare(storage, "discard/dropped", "10-aaaa", &["d".into()]).await];
    for _ in 0..2 {
        storage.discard(&dropped).await.expect("can be discarded");
    }
    storage.publish(&[kept]).await.expect("can be published");
    assert_eq!(paths(storage, "discard").await, ["discard/kept"]);
}

async fn discarding_an_owner_leaves_others_alone(storage: &dyn Storage) {
    let mine = prepare(storage, "owner/mine", "11-aaaa", &["m".into()]).await;
    let theirs = prepare(storage, "owner/theirs", "11-aaaab", &["t".into()]).await;
    let mut unfinished = storage
        .prepare("owner/unfinished", "11-aaaa")
        .await
        .expect("starts");
    unfinished.write("u".into()).await.expect("can be written");
    drop(unfinished);
    for _ in 0..2 {
        let discarded = storage.discard_prepared("11-aaaa").await;
        discarded.expect("can be discarded");
    }
    assert!(storage.publish(&[mine]).await.is_err(), "it was discarded");
    storage
        .publish(&[theirs])
        .await
        .expect("it belongs to another");
    assert_eq!(paths(storage, "owner").await, ["owner/theirs"]);
}

async fn large_and_empty_objects_arrive_whole(storage: &dyn Storage) {
    // Larger than one part of an upload, in pieces that do not divide it.
    let chunk: Bytes = (0..3_000_001_u32).map(|n| (n % 251) as u8).collect();
    let chunks = vec![chunk.clone(); 6];
    let large = prepare(storage, "size/large", "12-aaaa", &chunks).await;
    let empty = prepare(storage, "size/empty", "12-aaaa", &[]).await;
    assert_eq!((large.size, empty.size), (6 * 3_000_001, 0));
    storage
        .publish(&[large.clone(), empty])
        .await
        .expect("can be published");
    let bytes = read(storage, "size/large").await.expect("is published");
    assert_eq!(bytes.len() as u64, large.size);
    assert_eq!(crc32fast::hash(&bytes), large.crc32);
    assert!(bytes == chunks.concat(), "the chunks are in order");
    assert_eq!(read(storage, "size/empty").await, Some(Bytes::new()));
}

async fn paths_that_leave_the_root_are_refused(storage: &dyn Storage) {
    for path in ["../a", "/a", "a/../../b", "", "_headwater/staging/a"] {
        let created = storage.create(path, "x".into()).await;
        let error = created.expect_err(path);
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(storage.prepare(path, "1-a").await.is_err(), "{path}");
    }
}
