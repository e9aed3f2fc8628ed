//! Starts, races and damage, on a storage in memory.

use headwater_core::{ErrorKind, OffsetRange, OutputMode, QueryId};
use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::{
    MemoryStorage,
    gc::{self, StateInventory},
    record::{SourceStep, WatermarkRecord},
};

fn run(n: u128) -> RunId {
    RunId(Uuid::from_u128(n))
}

async fn open(storage: &Arc<dyn Storage>, n: u128) -> EpochLog {
    let started = Started {
        run: run(n),
        started_millis: 0,
        engine: "test".to_owned(),
    };
    EpochLog::open(Arc::clone(storage), &started).await.unwrap()
}

fn memory() -> Arc<dyn Storage> {
    Arc::new(MemoryStorage::new())
}

fn planned(epoch: u64, by: &EpochLog) -> Planned {
    let offset = |n: u64| headwater_core::Offset::count(n);
    Planned {
        epoch: Epoch(epoch),
        run: by.run(),
        time_millis: 1_000,
        watermark: WatermarkRecord::default(),
        sources: vec![
            SourceStep::Read(OffsetRange {
                start: epoch.checked_sub(1).map(offset),
                end: offset(epoch),
                detail: json!(null),
            }),
            SourceStep::Idle {
                at: Some(offset(42)),
            },
        ],
        has_data: true,
    }
}

fn committed(epoch: u64, by: &EpochLog) -> Committed {
    Committed {
        epoch: Epoch(epoch),
        run: by.run(),
        next: WatermarkRecord::default(),
        state: json!({"files": []}),
        parts: Vec::new(),
        late: None,
        stats: json!(null),
    }
}

async fn run_epochs(log: &EpochLog, epochs: std::ops::Range<u64>) {
    for epoch in epochs {
        log.put_plan(&planned(epoch, log)).await.unwrap();
        log.put_commit(&committed(epoch, log)).await.unwrap();
    }
}

#[tokio::test]
async fn a_new_run_goes_on_where_the_last_one_stopped() {
    let storage = memory();
    let first = open(&storage, 1).await;
    assert_eq!(first.recover().await.unwrap().start, Start::Fresh);
    run_epochs(&first, 0..3).await;

    let second = open(&storage, 2).await;
    let recovery = second.recover().await.unwrap();
    assert_eq!(recovery.earlier_runs, [run(1)]);
    let Start::Resume(resume) = recovery.start else {
        panic!("{recovery:?}");
    };
    assert_eq!(resume.next, Epoch(3));
    assert_eq!(resume.committed, committed(2, &first));
    let ends: Vec<_> = resume.planned.sources.iter().map(|it| it.end()).collect();
    assert_eq!(ends.len(), 2);
    assert!(ends.iter().all(Option::is_some), "idle sources too");
    second.put_plan(&planned(3, &second)).await.unwrap();

    let third = open(&storage, 3).await;
    let recovery = third.recover().await.unwrap();
    assert_eq!(recovery.earlier_runs, [run(1), run(2)]);
    let Start::Replay(replay) = recovery.start else {
        panic!("{recovery:?}");
    };
    assert_eq!(replay.planned, planned(3, &second));
    assert_eq!(replay.previous, Some(committed(2, &first)));
    // The plan stays as it is; the replaying run commits it.
    third.put_commit(&committed(3, &third)).await.unwrap();
    third.forget_earlier_runs().await.unwrap();
    let recovery = third.recover().await.unwrap();
    assert_eq!(recovery.earlier_runs, []);
    assert_eq!(third.history().await.unwrap().len(), 4);
}

#[tokio::test]
async fn of_two_runs_one_writes_each_record_and_the_other_is_fenced() {
    let storage = memory();
    let (a, b) = (open(&storage, 1).await, open(&storage, 2).await);
    a.put_plan(&planned(0, &a)).await.unwrap();
    let error = b.put_plan(&planned(0, &b)).await.expect_err("a was first");
    assert_eq!(error.kind(), ErrorKind::Fenced);
    assert!(error.message().contains(&run(1).to_string()), "{error}");
    b.put_commit(&committed(0, &b)).await.unwrap();
    let error = a
        .put_commit(&committed(0, &a))
        .await
        .expect_err("b was first");
    assert_eq!(error.kind(), ErrorKind::Fenced);
}

#[tokio::test]
async fn an_older_run_that_asks_learns_that_it_was_replaced() {
    let storage = memory();
    let a = open(&storage, 1).await;
    run_epochs(&a, 0..1).await;
    let b = open(&storage, 2).await;
    let error = a.recover().await.expect_err("b started later");
    assert_eq!(error.kind(), ErrorKind::Fenced);
    assert!(error.message().contains(&run(2).to_string()), "{error}");
    assert!(b.recover().await.is_ok());
}

#[tokio::test]
async fn a_record_of_our_own_is_our_own_retried_call() {
    let storage = memory();
    let log = open(&storage, 1).await;
    let plan = planned(0, &log);
    log.put_plan(&plan).await.unwrap();
    log.put_plan(&plan).await.unwrap();
    let other = Planned {
        time_millis: 7,
        ..plan
    };
    let error = log.put_plan(&other).await.expect_err("it differs");
    assert_eq!(error.kind(), ErrorKind::Internal);
    // A start whose answer was lost does not take a second number.
    assert_eq!(open(&storage, 1).await.number, 1);
}

#[tokio::test]
async fn the_first_identity_stays() {
    let storage = memory();
    let metadata = |n| Metadata {
        query: QueryId(Uuid::from_u128(n)),
        created_millis: 0,
        engine: "test".to_owned(),
        partitions: 2,
        output_mode: OutputMode::Update,
        watermark_policy: Default::default(),
        sources: vec![],
        sink: "memory".to_owned(),
        late_sink: None,
        operators: vec![],
        settings: Default::default(),
    };
    let storage = storage.as_ref();
    assert_eq!(EpochLog::metadata(storage).await.unwrap(), None);
    for n in [1, 2] {
        let now = EpochLog::create_metadata(storage, &metadata(n))
            .await
            .unwrap();
        assert_eq!(now, metadata(1));
    }
}

#[tokio::test]
async fn a_flipped_byte_or_a_lost_file_is_named() {
    let damage = [
        (layout::plan(Epoch(2)), "its checksum differs"),
        (layout::commit(Epoch(2)), "its checksum differs"),
    ];
    for (file, expected) in damage {
        let storage = memory();
        run_epochs(&open(&storage, 1).await, 0..3).await;
        let mut bytes = storage.read(&file).await.unwrap().unwrap().to_vec();
        let at = bytes.len() - 10;
        bytes[at] ^= 1;
        storage.replace(&file, bytes.into()).await.unwrap();
        let error = open(&storage, 2)
            .await
            .recover()
            .await
            .expect_err("damaged");
        assert_eq!(error.kind(), ErrorKind::Data);
        assert!(
            error.message().contains(&file) && error.message().contains(expected),
            "{error}"
        );
    }
    for file in [
        layout::plan(Epoch(2)),
        layout::commit(Epoch(1)),
        layout::plan(Epoch(0)),
    ] {
        let storage = memory();
        run_epochs(&open(&storage, 1).await, 0..3).await;
        storage.delete(std::slice::from_ref(&file)).await.unwrap();
        let error = open(&storage, 2)
            .await
            .recover()
            .await
            .expect_err("missing");
        assert!(
            error
                .message()
                .contains(&format!("'{file}' in the checkpoint memory: it is missing")),
            "{error}"
        );
    }
}

async fn collect(log: &EpochLog, newest: u64, retained: u64) -> usize {
    let retained = retained.try_into().unwrap();
    let state = |_| async { Ok(StateInventory::default()) };
    gc::collect(log, Epoch(newest), retained, state)
        .await
        .unwrap()
}

#[tokio::test]
async fn after_garbage_collection_a_restart_goes_on() {
    let storage = memory();
    let log = open(&storage, 1).await;
    run_epochs(&log, 0..10).await;
    let early = storage
        .read(&layout::plan(Epoch(3)))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(collect(&log, 9, 3).await, 14);
    assert_eq!(collect(&log, 9, 3).await, 0);
    // A crash brings one of them back.
    storage
        .create(&layout::plan(Epoch(3)), early)
        .await
        .unwrap();
    let next = open(&storage, 2).await;
    let Start::Resume(resume) = next.recover().await.unwrap().start else {
        panic!("all is committed");
    };
    assert_eq!(resume.next, Epoch(10));
    let held: Vec<_> = next
        .history()
        .await
        .unwrap()
        .iter()
        .map(|it| it.epoch.0)
        .collect();
    assert_eq!(held, [7, 8, 9]);
    assert_eq!(collect(&next, 9, 3).await, 1);
}

#[tokio::test]
async fn the_floor_never_falls() {
    let storage = memory();
    let (old, new) = (open(&storage, 1).await, open(&storage, 2).await);
    run_epochs(&new, 0..10).await;
    collect(&new, 9, 2).await;
    collect(&old, 4, 2).await;
    old.raise_floor(Epoch(1)).await.unwrap();
    assert_eq!(new.floor().await.unwrap(), Epoch(8));
}

#[tokio::test]
async fn a_run_that_slept_through_garbage_collection_cannot_commit_again() {
    let storage = memory();
    let sleeper = open(&storage, 1).await;
    sleeper.put_plan(&planned(0, &sleeper)).await.unwrap();
    let other = open(&storage, 2).await;
    other.put_commit(&committed(0, &other)).await.unwrap();
    run_epochs(&other, 1..5).await;
    collect(&other, 4, 1).await;
    // The name is free again.
    let error = sleeper.put_commit(&committed(0, &sleeper)).await;
    let error = error.expect_err("epoch 0 was committed by another run long ago");
    assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
    assert!(
        other.recover().await.is_ok(),
        "the remains below the floor do no harm"
    );
}

#[tokio::test]
async fn an_answer_that_was_lost_is_found_out_at_the_next_start() {
    use crate::store::{FailingStorage, Fault, Operation};
    let failing = FailingStorage::new(memory());
    let storage: Arc<dyn Storage> = Arc::new(failing.clone());
    let log = open(&storage, 1).await;
    log.put_plan(&planned(0, &log)).await.unwrap();
    failing.fail_once(Fault::LostAnswer, |operation, path| {
        operation == Operation::Create && path.starts_with(COMMITS)
    });
    let commit = committed(0, &log);
    let error = log.put_commit(&commit).await.expect_err("no answer");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    // The same run may ask again, or another one may start: the epoch has happened.
    log.put_commit(&commit).await.unwrap();
    let next = open(&storage, 2).await;
    assert!(matches!(
        next.recover().await.unwrap().start,
        Start::Resume(_)
    ));
}

#[tokio::test]
async fn a_log_that_moves_while_it_is_read_is_not_taken_for_damaged() {
    use crate::store::{FailingStorage, Fault, Operation};
    let failing = FailingStorage::new(memory());
    let storage: Arc<dyn Storage> = Arc::new(failing.clone());
    run_epochs(&open(&storage, 1).await, 0..3).await;
    let log = open(&storage, 2).await;
    // As if the first run had written all its commits after we looked for them.
    failing.fail_once(Fault::Missing, |operation, path| {
        operation == Operation::List && path == COMMITS
    });
    assert!(matches!(
        log.recover().await.unwrap().start,
        Start::Resume(_)
    ));
    assert_eq!(failing.outstanding(), 0);
}
