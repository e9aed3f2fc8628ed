//! What a restart makes of whatever the last run left behind.

use std::sync::Arc;

use headwater_core::{Epoch, ErrorKind, OutputMode, RunId, Storage, Trigger};
use headwater_log::{
    WatermarkPolicy, layout,
    store::{FailingStorage, Fault, Operation},
};
use uuid::Uuid;

use crate::{
    Step,
    testing::{FailAt, Fixture, Query, batch_ids, idle, ran},
};

async fn lose_commit(world: &Fixture, epoch: u64) {
    let path = layout::commit(Epoch(epoch));
    world.checkpoint.delete(&[path]).await.unwrap();
}

#[tokio::test]
async fn an_epoch_whose_commit_was_lost_runs_again_with_its_rows_and_no_others() {
    let world = Fixture::new();
    world.a.append(&[(1, 1)]);
    let mut first = world.start(Query::Windows, Trigger::Default).await.unwrap();
    idle(&mut first).await;
    world.a.append(&[(5, 2)]);
    ran(&mut first).await;
    lose_commit(&world, 2).await;
    world.a.append(&[(30, 4)]);

    let mut second = world.start(Query::Windows, Trigger::Default).await.unwrap();
    assert_eq!(second.id(), first.id());
    assert_ne!(second.run(), first.run());
    let again = ran(&mut second).await;
    assert_eq!((again.batch_id, again.num_input_rows), (2, 1));
    assert_eq!(again.event_time["watermark"], "1970-01-01T00:00:01.000Z");
    assert_eq!(batch_ids(&idle(&mut second).await), [3, 4]);
    assert_eq!(world.rows().await, ["00:00 n=2 s=3"]);
}

#[tokio::test]
async fn an_epoch_without_data_whose_commit_was_lost_runs_again() {
    let world = Fixture::new();
    world.a.append(&[(1, 1), (25, 2)]);
    let mut first = world.start(Query::Windows, Trigger::Default).await.unwrap();
    assert_eq!(batch_ids(&idle(&mut first).await), [0, 1]);
    lose_commit(&world, 1).await;
    let mut second = world.start(Query::Windows, Trigger::Default).await.unwrap();
    let again = idle(&mut second).await;
    assert_eq!(batch_ids(&again), [1]);
    assert_eq!(again[0].state_operators[0].num_rows_removed, 1);
    assert_eq!(again[0].sink.num_output_rows, 1);
}

#[tokio::test]
async fn an_epoch_without_data_that_was_due_at_a_stop_runs_after_the_restart() {
    for trigger in [Trigger::Default, Trigger::AvailableNow] {
        let world = Fixture::new();
        world.a.append(&[(1, 1), (25, 2)]);
        let mut first = world.start(Query::Windows, Trigger::Default).await.unwrap();
        ran(&mut first).await;
        let mut second = world.start(Query::Windows, trigger).await.unwrap();
        assert_eq!(batch_ids(&idle(&mut second).await), [1]);
        assert_eq!(world.rows().await, ["00:00 n=1 s=1"]);
        let mut third = world.start(Query::Windows, trigger).await.unwrap();
        assert!(idle(&mut third).await.is_empty(), "it has run");
    }
}

#[tokio::test]
async fn strictly_an_epoch_without_data_that_was_due_at_a_stop_waits_for_data() {
    let mut world = Fixture::new();
    world.settings.strict_spark = true;
    world.a.append(&[(1, 1), (25, 2)]);
    let mut first = world.start(Query::Windows, Trigger::Default).await.unwrap();
    ran(&mut first).await;
    let mut second = world.start(Query::Windows, Trigger::Default).await.unwrap();
    assert_eq!(second.step().await.unwrap(), Step::Idle);
    world.a.append(&[(26, 4)]);
    assert_eq!(batch_ids(&idle(&mut second).await), [1, 2]);
    assert_eq!(world.rows().await, ["00:00 n=1 s=1"]);
}

#[tokio::test]
async fn the_watermark_before_the_stop_still_filters_after_it() {
    let world = Fixture::new();
    world.a.append(&[(1, 1), (25, 2)]);
    let mut first = world.start(Query::Windows, Trigger::Default).await.unwrap();
    idle(&mut first).await;
    world.a.append(&[(2, 100)]);
    let mut second = world.start(Query::Windows, Trigger::Default).await.unwrap();
    let late = ran(&mut second).await;
    assert_eq!(late.state_operators[0].num_rows_dropped_by_watermark, 1);
}

#[tokio::test]
async fn after_a_restart_every_input_is_waited_for_before_the_watermark_rises() {
    let world = Fixture::new();
    world.a.append(&[(100, 1)]);
    world.b.append(&[(5, 1)]);
    let start = || world.start(Query::UnionWindows, Trigger::Default);
    idle(&mut start().await.unwrap()).await;
    world.b.append(&[(50, 1)]);
    let mut second = start().await.unwrap();
    let epochs = idle(&mut second).await;
    assert_eq!(batch_ids(&epochs), [2], "the other input was not seen yet");
    assert_eq!(
        epochs[0].event_time["watermark"],
        "1970-01-01T00:00:05.000Z"
    );
    world.a.append(&[(101, 1)]);
    let epochs = idle(&mut second).await;
    assert_eq!(batch_ids(&epochs), [3, 4]);
    assert_eq!(
        epochs[1].event_time["watermark"],
        "1970-01-01T00:00:50.000Z"
    );
}

#[tokio::test]
async fn the_watermark_policy_of_the_first_start_stays() {
    let mut world = Fixture::new();
    world.a.append(&[(1, 1)]);
    world.b.append(&[(1, 1)]);
    let mut first = world
        .start(Query::UnionWindows, Trigger::Default)
        .await
        .unwrap();
    idle(&mut first).await;
    world.settings.watermark_policy = WatermarkPolicy::Max;
    world.a.append(&[(50, 1)]);
    let mut second = world
        .start(Query::UnionWindows, Trigger::Default)
        .await
        .unwrap();
    assert_eq!(batch_ids(&idle(&mut second).await), [2]);
}

#[tokio::test]
async fn a_committed_epoch_that_was_not_published_is_published_and_not_run_again() {
    let world = Fixture::new();
    world.a.append(&[(1, 7)]);
    let mut first = world.start(Query::Rows, Trigger::Default).await.unwrap();
    world.sink.fail(FailAt::Publish);
    let error = first.step().await.expect_err("publishing fails");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(
        error.message().starts_with("query 'q', epoch 0: "),
        "{error}"
    );
    assert!(world.rows().await.is_empty());

    let mut second = world.start(Query::Rows, Trigger::Default).await.unwrap();
    assert_eq!(world.rows().await, ["7"]);
    assert_eq!(second.step().await.unwrap(), Step::Idle);
}

#[tokio::test]
async fn a_failed_epoch_discards_what_it_prepared_and_runs_again_at_the_next_start() {
    for at in [FailAt::Prepare, FailAt::BeforeCommit] {
        let world = Fixture::new();
        world.a.append(&[(1, 7)]);
        let mut first = world.start(Query::Rows, Trigger::Default).await.unwrap();
        world.sink.fail(at);
        let error = first.step().await.expect_err("the sink fails");
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert_eq!(world.sink.calls(), ["discard 0"]);
        let error = first
            .step()
            .await
            .expect_err("a failed driver stays failed");
        assert_eq!(error.kind(), ErrorKind::Invalid);

        let mut second = world.start(Query::Rows, Trigger::Default).await.unwrap();
        assert_eq!(ran(&mut second).await.batch_id, 0);
        assert_eq!(world.rows().await, ["7"]);
    }
}

#[tokio::test]
async fn what_a_dead_run_prepared_is_discarded_only_after_the_replay_is_committed() {
    let world = Fixture::new();
    world.a.append(&[(1, 7)]);
    let first = world.start(Query::Rows, Trigger::Default).await.unwrap();
    drop(first);
    let mut second = world.start(Query::Rows, Trigger::Default).await.unwrap();
    assert!(world.sink.calls().is_empty());
    ran(&mut second).await;
    assert_eq!(world.sink.calls(), ["publish 0", "discard 0"]);
    world.a.append(&[(1, 8)]);
    ran(&mut second).await;
    assert_eq!(world.sink.calls(), ["publish 1"]);
}

#[tokio::test]
async fn a_run_that_was_replaced_is_fenced_and_loses_nothing_of_the_other_s() {
    let world = Fixture::new();
    world.a.append(&[(1, 1)]);
    let mut old = world.start(Query::Rows, Trigger::Default).await.unwrap();
    ran(&mut old).await;
    let mut new = world.start(Query::Rows, Trigger::Default).await.unwrap();
    world.a.append(&[(1, 2)]);
    ran(&mut new).await;
    world.a.append(&[(1, 3)]);
    let error = old.step().await.expect_err("another run planned epoch 1");
    assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
    ran(&mut new).await;
    assert_eq!(world.rows().await, ["1", "2", "3"]);
}

#[tokio::test]
async fn a_slow_run_that_commits_first_wins_and_the_replay_is_fenced() {
    let world = Fixture::new();
    world.a.append(&[(1, 1)]);
    let mut old = world.start(Query::Rows, Trigger::Default).await.unwrap();
    ran(&mut old).await;
    world.a.append(&[(1, 2)]);
    ran(&mut old).await;
    let commit = layout::commit(Epoch(1));
    let bytes = world.checkpoint.read(&commit).await.unwrap().unwrap();
    lose_commit(&world, 1).await;
    // The old run is merely slow: its commit of epoch 1 arrives while the new one replays it.
    let mut new = world.start(Query::Rows, Trigger::Default).await.unwrap();
    world.checkpoint.create(&commit, bytes).await.unwrap();
    let error = new.step().await.expect_err("the old run has won");
    assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
    let mut third = world.start(Query::Rows, Trigger::Default).await.unwrap();
    assert_eq!(third.step().await.unwrap(), Step::Idle);
    assert_eq!(world.rows().await, ["1", "2"]);
}

#[tokio::test]
async fn a_record_whose_answer_was_lost_is_recovered_by_the_next_start() {
    for folder in ["plans", "commits"] {
        let storage = Arc::new(FailingStorage::new(Fixture::new().checkpoint));
        let output = Fixture::new().output;
        let world = Fixture::on(Arc::clone(&storage) as Arc<dyn Storage>, output);
        world.a.append(&[(1, 1)]);
        let mut first = world.start(Query::Rows, Trigger::Default).await.unwrap();
        storage.fail_once(Fault::LostAnswer, move |operation, path| {
            operation == Operation::Create && path.starts_with(folder)
        });
        first.step().await.expect_err("the answer was lost");
        let mut second = world.start(Query::Rows, Trigger::Default).await.unwrap();
        idle(&mut second).await;
        assert_eq!(world.rows().await, ["1"], "{folder}");
    }
}

#[tokio::test]
async fn a_query_that_has_changed_is_refused_and_its_checkpoint_left_alone() {
    let world = Fixture::new();
    world.a.append(&[(1, 1)]);
    let mut first = world.start(Query::Windows, Trigger::Default).await.unwrap();
    ran(&mut first).await;
    let before = world.checkpoint.list("").await.unwrap();
    let other_query = world.start(Query::Rows, Trigger::Default).await;
    let error = other_query.expect_err("the aggregation is gone");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("operator"), "{error}");
    let mut spec = world.spec(Query::Windows, Trigger::Default);
    spec.mode = OutputMode::Update;
    let error = crate::Driver::start(spec)
        .await
        .expect_err("the mode has changed");
    assert!(error.message().contains("the output mode"), "{error}");
    assert_eq!(world.checkpoint.list("").await.unwrap(), before);
}

#[tokio::test]
async fn a_refused_query_leaves_no_checkpoint() {
    let world = Fixture::new();
    let mut spec = world.spec(Query::Rows, Trigger::Default);
    spec.mode = OutputMode::Complete;
    let error = crate::Driver::start(spec)
        .await
        .expect_err("complete mode needs an aggregation");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(world.checkpoint.list("").await.unwrap().is_empty());
}

#[tokio::test]
async fn state_is_dealt_out_anew_when_the_number_of_partitions_changes() {
    let mut world = Fixture::new();
    for second in [1, 11, 21, 31] {
        world.a.append(&[(second, second)]);
    }
    let mut first = world.start(Query::Windows, Trigger::Default).await.unwrap();
    ran(&mut first).await;
    for partitions in [5, 1, 3] {
        world.settings.state_partitions = Some(partitions);
        world.a.append(&[(35, 1)]);
        let mut next = world.start(Query::Windows, Trigger::Default).await.unwrap();
        let epochs = idle(&mut next).await;
        assert_eq!(
            epochs[0].state_operators[0].num_shuffle_partitions,
            partitions as u64
        );
    }
    world.a.append(&[(40, 0)]);
    let mut last = world.start(Query::Windows, Trigger::Default).await.unwrap();
    idle(&mut last).await;
    assert_eq!(
        world.rows().await,
        [
            "00:00 n=1 s=1",
            "00:10 n=1 s=11",
            "00:20 n=1 s=21",
            "00:30 n=4 s=34"
        ]
    );
}

#[tokio::test]
async fn sources_hear_of_retained_ranges_and_of_the_newest_committed_one_again() {
    let world = Fixture::new();
    world.a.append(&[(1, 1)]);
    let mut first = world.start(Query::Rows, Trigger::Default).await.unwrap();
    ran(&mut first).await;
    world.a.append(&[(1, 2)]);
    ran(&mut first).await;
    assert_eq!(world.a.calls(), ["acknowledge 0..1", "acknowledge 1..2"]);
    let second = world.start(Query::Rows, Trigger::Default).await.unwrap();
    assert_eq!(
        world.a.calls(),
        ["resume 0..1", "resume 1..2", "acknowledge 1..2"]
    );
    drop(second);
    lose_commit(&world, 1).await;
    let mut third = world.start(Query::Rows, Trigger::Default).await.unwrap();
    assert_eq!(
        world.a.calls(),
        ["resume 0..1", "resume 1..2", "acknowledge 0..1"],
        "the run that planned the second range may have died before the source was done with the first"
    );
    ran(&mut third).await;
    assert_eq!(world.a.calls(), ["acknowledge 1..2"]);
}

#[tokio::test]
async fn old_records_and_state_files_are_deleted_and_restarts_go_on() {
    let mut world = Fixture::new();
    world.settings.min_batches_to_retain = 3;
    let mut driver = world.start(Query::Windows, Trigger::Default).await.unwrap();
    for second in 0..40 {
        world.a.append(&[(second * 5, 1)]);
        idle(&mut driver).await;
        driver.shut_down().await;
    }
    let plans = world.checkpoint.list("plans").await.unwrap().len();
    assert!((3..=5).contains(&plans), "{plans} plans");
    let state = world.checkpoint.list("state").await.unwrap().len();
    assert!(state < 60, "{state} state files");
    let mut again = world.start(Query::Windows, Trigger::Default).await.unwrap();
    world.a.append(&[(200, 1)]);
    idle(&mut again).await;
    assert_eq!(world.rows().await.len(), 20);
    assert_eq!(world.rows().await[0], "00:00 n=2 s=2");
}

/// Runs epochs, each of which writes few rows and a snapshot now and then, and gives the most plans that were kept when
/// the background had come to rest.
async fn most_plans_kept(retained: u64) -> usize {
    let mut world = Fixture::new();
    world.settings.min_batches_to_retain = retained;
    let mut driver = world.start(Query::Windows, Trigger::Default).await.unwrap();
    let mut most = 0;
    for second in 0..3 * retained as i64 {
        world.a.append(&[(second * 5, 1)]);
        ran(&mut driver).await;
        // In memory nothing waits for long.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        most = most.max(world.checkpoint.list(layout::PLANS).await.unwrap().len());
    }
    most
}

#[tokio::test]
async fn background_work_of_one_epoch_does_not_put_off_the_deletion_after_the_next() {
    for retained in [5, 19, 20] {
        let late = (retained / 10).max(1) as usize - 1;
        let most = most_plans_kept(retained).await;
        assert_eq!(most, retained as usize + late, "{retained} are to be kept");
    }
}

#[tokio::test]
async fn a_missing_or_damaged_record_is_named_and_nothing_is_written() {
    let world = Fixture::new();
    let mut driver = world.start(Query::Rows, Trigger::Default).await.unwrap();
    for v in 0..3 {
        world.a.append(&[(1, v)]);
        ran(&mut driver).await;
    }
    let path = layout::plan(Epoch(1));
    let bytes = world.checkpoint.read(&path).await.unwrap().unwrap();
    world
        .checkpoint
        .delete(std::slice::from_ref(&path))
        .await
        .unwrap();
    let error = world
        .start(Query::Rows, Trigger::Default)
        .await
        .expect_err("plan 1 is missing");
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(error.message().contains(&path), "{error}");

    let mut flipped = bytes.to_vec();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    world
        .checkpoint
        .create(&path, flipped.into())
        .await
        .unwrap();
    let error = world
        .start(Query::Rows, Trigger::Default)
        .await
        .expect_err("plan 1 is damaged");
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(error.message().contains(&path), "{error}");
    assert_eq!(world.rows().await, ["0", "1", "2"]);
}

#[tokio::test]
async fn owners_of_attempts_differ_by_run() {
    let world = Fixture::new();
    let driver = world.start(Query::Rows, Trigger::Default).await.unwrap();
    let other = driver.write_of(Epoch(3), RunId(Uuid::nil()));
    assert_ne!(
        driver.write_of(Epoch(3), driver.run()).owner(),
        other.owner()
    );
}

#[tokio::test]
async fn a_failure_in_the_background_fails_no_epoch_and_is_made_good_later() {
    let storage = FailingStorage::new(Fixture::new().checkpoint);
    let output = Fixture::new().output;
    let mut world = Fixture::on(Arc::new(storage.clone()), output);
    world.settings.min_batches_to_retain = 2;
    storage.fail_once(Fault::DiskFull, |operation, path| {
        operation == Operation::Delete && path.starts_with("plans")
    });
    let mut driver = world.start(Query::Rows, Trigger::Default).await.unwrap();
    for v in 0..6 {
        world.a.append(&[(1, v)]);
        ran(&mut driver).await;
        // Lets the task in the background run.
        tokio::task::yield_now().await;
    }
    driver.shut_down().await;
    assert_eq!(storage.outstanding(), 0, "the failure has happened");
    world.a.append(&[(1, 6)]);
    ran(&mut driver).await;
    driver.shut_down().await;
    let plans = world.checkpoint.list("plans").await.unwrap().len();
    assert!(plans <= 3, "{plans} plans");
    assert_eq!(world.rows().await.len(), 7);
}

#[tokio::test]
async fn a_checkpoint_that_has_lost_its_metadata_is_refused() {
    let world = Fixture::new();
    world.a.append(&[(1, 1)]);
    let mut first = world.start(Query::Rows, Trigger::Default).await.unwrap();
    ran(&mut first).await;
    let metadata = world.checkpoint.read(layout::METADATA).await.unwrap();
    let lost = [layout::METADATA.to_owned()];
    world.checkpoint.delete(&lost).await.unwrap();
    let error = world
        .start(Query::Rows, Trigger::Default)
        .await
        .expect_err("nobody can tell whether the query fits");
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(
        error.message().contains("'metadata' in the checkpoint"),
        "{error}"
    );
    let metadata = metadata.unwrap();
    world
        .checkpoint
        .create(layout::METADATA, metadata)
        .await
        .unwrap();
    world.start(Query::Rows, Trigger::Default).await.unwrap();
}
