//! What one run of a query does, trigger by trigger.

use headwater_core::Trigger;

use crate::{
    Step,
    testing::{Fixture, Query, TestTable, batch_ids, idle, ran},
};

#[tokio::test]
async fn an_epoch_takes_what_is_there_and_the_next_trigger_finds_nothing() {
    let world = Fixture::new();
    world.a.append(&[(1, 10), (2, 20)]);
    world.a.append(&[(3, 30)]);
    let mut driver = world.start(Query::Rows, Trigger::Default).await.unwrap();
    let progress = ran(&mut driver).await;
    assert_eq!(progress.batch_id, 0);
    assert_eq!(progress.num_input_rows, 3);
    assert_eq!(progress.sink.num_output_rows, 3);
    assert_eq!(progress.sources[0].end_offset, 2);
    assert!(progress.event_time.is_empty());
    for phase in [
        "latestOffset",
        "walCommit",
        "queryPlanning",
        "addBatch",
        "commitOffsets",
        "publish",
    ] {
        assert!(progress.duration_ms.contains_key(phase), "{phase}");
    }
    assert_eq!(driver.step().await.unwrap(), Step::Idle);
    assert_eq!(world.rows().await, ["10", "20", "30"]);
}

#[tokio::test]
async fn an_empty_block_is_new_data() {
    let world = Fixture::new();
    world.a.append(&[]);
    let mut driver = world.start(Query::Rows, Trigger::Default).await.unwrap();
    let progress = ran(&mut driver).await;
    assert_eq!((progress.batch_id, progress.num_input_rows), (0, 0));
    assert_eq!(driver.step().await.unwrap(), Step::Idle);
}

#[tokio::test]
async fn a_risen_watermark_makes_one_epoch_without_data() {
    let world = Fixture::new();
    world.a.append(&[(1, 1)]);
    world.a.append(&[(25, 2)]);
    let mut driver = world.start(Query::Windows, Trigger::Default).await.unwrap();
    let epochs = idle(&mut driver).await;
    assert_eq!(batch_ids(&epochs), [0, 1]);
    assert_eq!(
        epochs[0].event_time["watermark"],
        "1970-01-01T00:00:00.000Z"
    );
    assert_eq!(epochs[0].event_time["max"], "1970-01-01T00:00:25.000Z");
    assert_eq!(epochs[0].event_time["avg"], "1970-01-01T00:00:13.000Z");
    assert_eq!(
        epochs[1].event_time["watermark"],
        "1970-01-01T00:00:25.000Z"
    );
    assert_eq!(epochs[1].num_input_rows, 0);
    assert_eq!(epochs[1].state_operators[0].num_rows_removed, 1);
    assert_eq!(world.rows().await, ["00:00 n=1 s=1"]);

    // An unmoved watermark makes none.
    world.a.append(&[(25, 3)]);
    assert_eq!(batch_ids(&idle(&mut driver).await), [2]);
}

#[tokio::test]
async fn without_no_data_epochs_windows_come_with_the_next_data() {
    let mut world = Fixture::new();
    world.settings.no_data_epochs = false;
    world.a.append(&[(1, 1), (25, 2)]);
    let mut driver = world.start(Query::Windows, Trigger::Default).await.unwrap();
    assert_eq!(batch_ids(&idle(&mut driver).await), [0]);
    assert!(world.rows().await.is_empty());
    world.a.append(&[(26, 3)]);
    assert_eq!(batch_ids(&idle(&mut driver).await), [1]);
    assert_eq!(world.rows().await, ["00:00 n=1 s=1"]);
}

#[tokio::test]
async fn late_rows_are_filtered_with_the_watermark_of_the_epoch_before() {
    let mut world = Fixture::new();
    world.settings.no_data_epochs = false;
    world.a.append(&[(1, 1), (25, 1)]);
    let mut driver = world.start(Query::Windows, Trigger::Default).await.unwrap();
    ran(&mut driver).await;
    // Late by the watermark in force, but not by the one before: it is added to the window, which closes at once.
    world.a.append(&[(2, 10)]);
    let second = ran(&mut driver).await;
    assert_eq!(second.state_operators[0].num_rows_dropped_by_watermark, 0);
    assert_eq!(world.rows().await, ["00:00 n=2 s=11"]);
    world.a.append(&[(3, 100)]);
    let third = ran(&mut driver).await;
    assert_eq!(third.state_operators[0].num_rows_dropped_by_watermark, 1);
    assert_eq!(world.rows().await, ["00:00 n=2 s=11"]);
}

#[tokio::test]
async fn the_slowest_of_two_inputs_holds_the_watermark() {
    let world = Fixture::new();
    world.a.append(&[(100, 1)]);
    let mut driver = world
        .start(Query::UnionWindows, Trigger::Default)
        .await
        .unwrap();
    assert_eq!(
        batch_ids(&idle(&mut driver).await),
        [0],
        "an unseen input holds the start"
    );
    world.b.append(&[]);
    assert_eq!(
        batch_ids(&idle(&mut driver).await),
        [1],
        "an empty block is no event time"
    );
    world.b.append(&[(15, 1)]);
    let epochs = idle(&mut driver).await;
    assert_eq!(batch_ids(&epochs), [2, 3]);
    assert_eq!(
        epochs[1].event_time["watermark"],
        "1970-01-01T00:00:15.000Z"
    );
}

#[tokio::test]
async fn once_runs_one_epoch_over_everything_and_no_epoch_without_data() {
    let world = Fixture {
        a: TestTable::with_limit("a", 1),
        ..Fixture::new()
    };
    world.a.append(&[(1, 1)]);
    world.a.append(&[(25, 2)]);
    let mut driver = world.start(Query::Windows, Trigger::Once).await.unwrap();
    assert_eq!(ran(&mut driver).await.num_input_rows, 2);
    world.a.append(&[(26, 2)]);
    assert_eq!(driver.step().await.unwrap(), Step::Finished);
    assert!(world.rows().await.is_empty());

    let mut again = world.start(Query::Windows, Trigger::Once).await.unwrap();
    assert_eq!(ran(&mut again).await.batch_id, 1);
    assert_eq!(world.rows().await, ["00:00 n=1 s=1"]);

    let mut idle = world.start(Query::Windows, Trigger::Once).await.unwrap();
    assert_eq!(idle.step().await.unwrap(), Step::Finished);
}

#[tokio::test]
async fn available_now_takes_what_was_there_in_limited_epochs_and_the_one_without_data() {
    let world = Fixture {
        a: TestTable::with_limit("a", 1),
        ..Fixture::new()
    };
    world.a.append(&[(1, 1)]);
    world.a.append(&[(25, 2)]);
    let mut driver = world
        .start(Query::Windows, Trigger::AvailableNow)
        .await
        .unwrap();
    world.a.append(&[(99, 3)]);
    let epochs = idle(&mut driver).await;
    assert_eq!(batch_ids(&epochs), [0, 1, 2]);
    assert_eq!(epochs[2].num_input_rows, 0);
    assert_eq!(driver.step().await.unwrap(), Step::Finished);
    assert_eq!(world.rows().await, ["00:00 n=1 s=1"]);
}

#[tokio::test]
async fn a_rate_limit_spreads_what_is_there_over_epochs() {
    let world = Fixture {
        a: TestTable::with_limit("a", 2),
        ..Fixture::new()
    };
    for v in 0..5 {
        world.a.append(&[(v, v)]);
    }
    let mut driver = world.start(Query::Rows, Trigger::Default).await.unwrap();
    let epochs = idle(&mut driver).await;
    let rows: Vec<u64> = epochs.iter().map(|epoch| epoch.num_input_rows).collect();
    assert_eq!(rows, [2, 2, 1]);
    assert_eq!(epochs[0].sources[0].latest_offset, 5);
}

#[tokio::test]
async fn epoch_time_and_rates_come_from_the_query_s_clock() {
    let world = Fixture::new();
    world.a.append(&[(1, 1)]);
    let mut driver = world.start(Query::Rows, Trigger::Default).await.unwrap();
    assert_eq!(ran(&mut driver).await.timestamp, "2001-09-09T01:46:40.000Z");
    world.clock.advance(2_000);
    world.a.append(&[(1, 1), (1, 1)]);
    let second = ran(&mut driver).await;
    assert_eq!(second.timestamp, "2001-09-09T01:46:42.000Z");
    assert!((second.input_rows_per_second - 1.0).abs() < 1e-9);
}
