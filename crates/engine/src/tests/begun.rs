//! The rows of an epoch are worked on while the one before is committed, and nobody can tell.

use std::{future::Future, panic::AssertUnwindSafe, pin::Pin, sync::Arc};

use futures::{FutureExt, poll};
use headwater_core::{Epoch, ErrorKind, Result, Trigger};
use headwater_log::{
    LocalStorage, MemoryStorage, layout,
    store::{FailingStorage, Fault, Operation},
};

use crate::{
    Driver, Step,
    testing::{Call, FailAt, Fixture, Query, TestTable, idle, ran},
};

/// Blocks of one row, in which windows of ten seconds end one after the other.
const BLOCKS: [(i64, i64); 6] = [(1, 1), (12, 2), (25, 4), (26, 8), (47, 16), (61, 32)];

/// What comes out of them.
const WINDOWS: [&str; 4] = [
    "00:00 n=1 s=1",
    "00:10 n=1 s=2",
    "00:20 n=2 s=12",
    "00:40 n=1 s=16",
];

/// A world whose table offers a block an epoch, with these blocks.
fn world(blocks: &[(i64, i64)]) -> Fixture {
    let mut world = Fixture::new();
    world.a = TestTable::with_limit("a", 1);
    for block in blocks {
        world.a.append(&[*block]);
    }
    world
}

/// Lets everything go on that can: in memory nothing waits for long.
async fn stuck<T>(step: &mut Pin<Box<impl Future<Output = T>>>) {
    for _ in 0..1_000 {
        assert!(poll!(&mut *step).is_pending(), "it waits for the sink");
        tokio::task::yield_now().await;
    }
}

/// Runs triggers, each of which begins what follows, until one finds nothing to do; how many epochs had been begun.
async fn run_on(driver: &mut Driver) -> Result<usize> {
    let mut begun = 0;
    while let Step::Ran(_) = driver.step_and_begin_next().await? {
        begun += usize::from(driver.begun.is_some());
    }
    Ok(begun)
}

#[tokio::test]
async fn rows_are_worked_on_while_the_epoch_before_is_published() -> Result<()> {
    let world = world(&BLOCKS);
    let mut driver = world.start(Query::Windows, Trigger::Default).await?;
    world.sink.hold(Call::Publish);
    let mut step = Box::pin(driver.step_and_begin_next());
    stuck(&mut step).await;
    // That epoch 1 has read all its rows is what lets block 2 be read ahead.
    assert_eq!(world.a.opened(), [0, 1, 2]);
    let plans = world.checkpoint.list(layout::PLANS).await?;
    assert_eq!(plans.len(), 1, "nothing of epoch 1 is recorded: {plans:?}");
    assert_eq!(world.sink.prepared(), [Epoch(0)], "no part of it is begun");
    let state = world.checkpoint.list(layout::STATE).await?;
    assert_eq!(state.len(), 1, "no state of it is written: {state:?}");
    assert!(world.output.list("").await?.is_empty());
    world.sink.release();
    let Step::Ran(first) = step.await? else {
        panic!("epoch 0 has run");
    };
    assert_eq!(first.num_input_rows, 1);
    assert!(driver.begun.is_some());
    assert_eq!(world.a.calls(), ["acknowledge 0..1"]);
    assert_eq!(world.sink.calls(), ["publish 0"]);
    let second = ran(&mut driver).await;
    assert_eq!((second.batch_id, second.num_input_rows), (1, 1));
    for phase in ["latestOffset", "walCommit", "addBatch", "commitOffsets"] {
        assert!(second.duration_ms.contains_key(phase), "{phase}");
    }
    assert!(driver.begun.is_none(), "a plain step begins nothing");
    assert_eq!(run_on(&mut driver).await?, 3);
    assert_eq!(world.rows().await, WINDOWS);
    Ok(())
}

#[tokio::test]
async fn what_is_begun_takes_what_the_sources_offer_then() -> Result<()> {
    let mut world = Fixture::new();
    world.a = TestTable::with_limit("a", 2);
    for v in 0..3 {
        world.a.append(&[(v, v)]);
    }
    let mut driver = world.start(Query::Rows, Trigger::Default).await?;
    world.sink.hold(Call::Prepare);
    let mut step = Box::pin(driver.step_and_begin_next());
    stuck(&mut step).await;
    assert_eq!(world.a.opened(), [0, 1, 2], "one block was guessed");
    world.a.append(&[(3, 3)]);
    world.sink.release();
    step.await?;
    assert!(driver.begun.is_some());
    // Too late for the epoch that is begun.
    world.a.append(&[(4, 4)]);
    assert_eq!(ran(&mut driver).await.num_input_rows, 2);
    assert_eq!(ran(&mut driver).await.num_input_rows, 1);
    assert_eq!(world.rows().await, ["0", "1", "2", "3", "4"]);
    Ok(())
}

#[tokio::test]
async fn of_an_epoch_that_is_begun_and_never_stepped_nothing_is_left() -> Result<()> {
    let world = world(&BLOCKS);
    let mut driver = world.start(Query::Windows, Trigger::Default).await?;
    driver.step_and_begin_next().await?;
    assert!(driver.begun.is_some());
    driver.shut_down().await;
    assert!(driver.begun.is_none());
    drop(driver);
    assert_eq!(world.checkpoint.list(layout::PLANS).await?.len(), 1);
    let mut driver = world.start(Query::Windows, Trigger::Default).await?;
    assert_eq!(driver.next, Epoch(1));
    assert!(driver.replay.is_none());
    run_on(&mut driver).await?;
    assert_eq!(world.rows().await, WINDOWS);
    Ok(())
}

#[tokio::test]
async fn an_epoch_that_fails_takes_with_it_what_was_begun_after_it() -> Result<()> {
    for fail in [FailAt::Prepare, FailAt::BeforeCommit, FailAt::Publish] {
        for good in 0..BLOCKS.len() {
            let world = world(&BLOCKS);
            let context = format!("{fail:?} after {good} epochs");
            let mut driver = world.start(Query::Windows, Trigger::Default).await?;
            for _ in 0..good {
                driver.step_and_begin_next().await?;
            }
            world.sink.fail(fail);
            driver.step_and_begin_next().await.expect_err(&context);
            assert!(driver.begun.is_none(), "{context}");
            assert!(driver.step().await.is_err(), "{context}");
            let mut driver = world.start(Query::Windows, Trigger::Default).await?;
            run_on(&mut driver).await?;
            assert_eq!(world.rows().await, WINDOWS, "{context}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_commit_record_that_fails_takes_with_it_what_was_begun_meanwhile() -> Result<()> {
    for fault in [Fault::DiskFull, Fault::LostAnswer] {
        for epoch in 0..BLOCKS.len() as u64 {
            let context = format!("{fault:?} at epoch {epoch}");
            let mut world = world(&BLOCKS);
            let storage = FailingStorage::new(Arc::new(MemoryStorage::default()));
            world.checkpoint = Arc::new(storage.clone());
            let path = layout::commit(Epoch(epoch));
            storage.fail_once(fault.clone(), move |operation, at| {
                operation == Operation::Create && at == path
            });
            let mut driver = world.start(Query::Windows, Trigger::Default).await?;
            let ran = run_on(&mut driver).await;
            // A lost answer is found out by looking; a full disk is not mended by that.
            if ran.is_err() {
                assert!(driver.begun.is_none(), "{context}");
                let mut driver = world.start(Query::Windows, Trigger::Default).await?;
                run_on(&mut driver).await?;
            }
            assert_eq!(storage.outstanding(), 0, "{context}");
            assert_eq!(world.rows().await, WINDOWS, "{context}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn nothing_is_begun_once_the_query_is_to_stop() -> Result<()> {
    let world = world(&BLOCKS);
    let mut driver = world.start(Query::Windows, Trigger::Default).await?;
    driver.stop.cancel();
    let Step::Ran(_) = driver.step_and_begin_next().await? else {
        panic!("epoch 0 has run");
    };
    assert!(driver.begun.is_none());
    let error = driver.step().await.expect_err("it is stopped");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    Ok(())
}

/// On a real disk, where a record that nobody waits for any more comes a moment later.
#[tokio::test]
async fn a_panic_waits_for_the_plan_record_that_is_on_its_way() -> Result<()> {
    let folder = tempfile::tempdir().unwrap();
    for attempt in 0..10 {
        let mut world = world(&BLOCKS);
        let at = folder.path().join(format!("{attempt}"));
        world.checkpoint = Arc::new(LocalStorage::open(at)?);
        let mut driver = world.start(Query::Rows, Trigger::Default).await?;
        world.a.panic_at(1);
        driver.step_and_begin_next().await?;
        assert!(driver.begun.is_some());
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        let step = AssertUnwindSafe(driver.step()).catch_unwind().await;
        assert!(!matches!(step, Ok(Ok(_))), "it panics, or says so");
        let plans = world.checkpoint.list(layout::PLANS).await?;
        assert_eq!(plans.len(), 2, "{plans:?}");
    }
    Ok(())
}

#[tokio::test]
async fn nothing_is_begun_where_a_source_cannot_say_what_comes_next() -> Result<()> {
    let world = world(&BLOCKS);
    // The other table is silent: it may have more than it knows of.
    let mut driver = world.start(Query::UnionWindows, Trigger::Default).await?;
    assert_eq!(run_on(&mut driver).await?, 0);
    Ok(())
}

#[tokio::test]
async fn a_snapshot_is_of_the_epoch_that_is_committed_whatever_is_worked_on_since() -> Result<()> {
    const WINDOWS: i64 = 4_000;
    const EPOCHS: i64 = 24;
    let mut world = Fixture::new();
    world.a = TestTable::with_limit("a", 1);
    world.b = TestTable::with_limit("b", 1);
    for epoch in 0..EPOCHS {
        let rows: Vec<(i64, i64)> = (0..WINDOWS)
            .map(|window| (window * 10, window * 1_000_003 + epoch))
            .collect();
        world.a.append(&rows);
        // No event time: no window ends.
        world.b.append(&[]);
    }
    let mut driver = world.start(Query::UnionWindows, Trigger::Default).await?;
    for _ in 0..EPOCHS {
        world.sink.hold(Call::Publish);
        let mut step = Box::pin(driver.step_and_begin_next());
        // The rows of the next epoch have changed the state before this one is at its end.
        stuck(&mut step).await;
        world.sink.release();
        step.await?;
    }
    let snapshots: Vec<bool> = driver
        .backend
        .manifest()
        .operators
        .values()
        .map(|files| files.snapshot.is_some())
        .collect();
    assert_eq!(snapshots, [true], "a snapshot was due, written and named");
    drop(driver);
    let mut driver = world.start(Query::UnionWindows, Trigger::Default).await?;
    // Windows end when both have come so far.
    world.b.append(&[(WINDOWS * 10, 0)]);
    world.a.append(&[(WINDOWS * 10, 0)]);
    idle(&mut driver).await;
    let rows = world.rows().await;
    assert_eq!(rows.len(), WINDOWS as usize);
    let whole = rows
        .iter()
        .filter(|row| row.contains(&format!(" n={EPOCHS} ")));
    assert_eq!(whole.count(), WINDOWS as usize, "no window has lost a row");
    Ok(())
}
