//! Queries as tasks: waiting, stopping, failing, being listened to.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use headwater_core::{ErrorKind, Trigger};

use crate::{
    QueryIdle, QueryProgress, QueryStarted, QueryTerminated, StreamingQueryListener,
    StreamingQueryManager,
    testing::{FailAt, Fixture, Query},
};

#[tokio::test]
async fn process_all_available_waits_for_everything_that_is_there() {
    let world = Fixture::new();
    world.a.append(&[(1, 1), (25, 2)]);
    let queries = StreamingQueryManager::new();
    let query = queries
        .start(world.spec(Query::Windows, Trigger::Default))
        .await
        .unwrap();
    query.process_all_available().await.unwrap();
    assert_eq!(world.rows().await, ["00:00 n=1 s=1"]);
    world.a.append(&[(40, 4)]);
    query.process_all_available().await.unwrap();
    assert_eq!(world.rows().await, ["00:00 n=1 s=1", "00:20 n=1 s=2"]);
    assert_eq!(query.last_progress().unwrap().batch_id, 3);
    assert_eq!(query.recent_progress().len(), 4);
    assert!(query.is_active());
    assert_eq!(query.status().message, "Waiting for data to arrive");
    query.stop().await.unwrap();
    assert!(!query.is_active());
    assert!(query.exception().is_none());
    assert_eq!(query.status().message, "Stopped");
    query.stop().await.unwrap();
}

#[tokio::test]
async fn a_restart_after_stop_goes_on_under_the_same_id() {
    let world = Fixture::new();
    world.a.append(&[(1, 1)]);
    let queries = StreamingQueryManager::new();
    let spec = || world.spec(Query::Rows, Trigger::Default);
    let first = queries.start(spec()).await.unwrap();
    first.process_all_available().await.unwrap();
    first.stop().await.unwrap();
    world.a.append(&[(1, 2)]);
    let second = queries.start(spec()).await.unwrap();
    second.process_all_available().await.unwrap();
    assert_eq!(first.id(), second.id());
    assert_ne!(first.run_id(), second.run_id());
    assert_eq!(second.last_progress().unwrap().batch_id, 1);
    assert_eq!(world.rows().await, ["1", "2"]);
}

#[tokio::test]
async fn a_failing_epoch_ends_the_query_with_its_error() {
    let world = Fixture::new();
    let queries = StreamingQueryManager::new();
    let query = queries
        .start(world.spec(Query::Rows, Trigger::Default))
        .await
        .unwrap();
    world.sink.fail(FailAt::Prepare);
    world.a.append(&[(1, 1)]);
    let error = query
        .process_all_available()
        .await
        .expect_err("the sink fails");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("query 'q', epoch 0"), "{error}");
    assert_eq!(
        query.await_termination().await.unwrap_err().kind(),
        ErrorKind::Unavailable
    );
    assert_eq!(query.exception().unwrap().kind(), ErrorKind::Unavailable);
    assert!(
        query
            .status()
            .message
            .starts_with("Terminated with exception")
    );
    assert!(queries.active().is_empty());
    assert!(queries.await_any_termination().await.is_err());
    queries.reset_terminated();
}

#[tokio::test]
async fn a_panic_in_user_code_ends_the_query_with_an_error_that_names_it() {
    let world = Fixture::new();
    world.a.append(&[(1, 1)]);
    let queries = StreamingQueryManager::new();
    let query = queries
        .start(world.spec(Query::Rows, Trigger::Default))
        .await
        .unwrap();
    world.sink.fail(FailAt::Panic);
    let error = query
        .await_termination()
        .await
        .expect_err("user code panics");
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert!(error.message().contains("query 'q'"), "{error}");
    assert!(error.message().contains("user code panics"), "{error}");
    // Nothing is lost: the next start runs the epoch again.
    let again = queries
        .start(world.spec(Query::Rows, Trigger::Default))
        .await
        .unwrap();
    again.process_all_available().await.unwrap();
    assert_eq!(world.rows().await, ["1"]);
}

#[tokio::test]
async fn a_name_or_checkpoint_in_use_is_refused() {
    let world = Fixture::new();
    let queries = StreamingQueryManager::new();
    let query = queries
        .start(world.spec(Query::Rows, Trigger::Default))
        .await
        .unwrap();
    let same_name = queries
        .start(Fixture::new().spec(Query::Rows, Trigger::Default))
        .await;
    let error = same_name.expect_err("the name is taken");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("'q' is active already"), "{error}");
    let mut same_checkpoint = world.spec(Query::Rows, Trigger::Default);
    same_checkpoint.name = None;
    let error = queries
        .start(same_checkpoint)
        .await
        .expect_err("the checkpoint is taken");
    assert!(error.message().contains("same checkpoint"), "{error}");
    assert_eq!(queries.active().len(), 1);
    assert_eq!(queries.get(query.id()).unwrap().run_id(), query.run_id());
    query.stop().await.unwrap();
    assert!(queries.get(query.id()).is_none());
    queries
        .start(world.spec(Query::Rows, Trigger::Default))
        .await
        .unwrap();
}

#[tokio::test]
async fn available_now_ends_by_itself() {
    let world = Fixture::new();
    world.a.append(&[(1, 1)]);
    let queries = StreamingQueryManager::new();
    let spec = world.spec(Query::Rows, Trigger::AvailableNow);
    let query = queries.start(spec).await.unwrap();
    query.await_termination().await.unwrap();
    queries.await_any_termination().await.unwrap();
    assert_eq!(world.rows().await, ["1"]);

    queries.reset_terminated();
    let waiting = queries.await_any_termination_timeout(Duration::from_secs(1), &*world.clock);
    tokio::pin!(waiting);
    assert!(futures::poll!(&mut waiting).is_pending());
    world.clock.advance(1_000);
    assert!(!waiting.await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn queries_start_and_stop_side_by_side_on_many_threads() {
    let queries = StreamingQueryManager::new();
    let runs = (0..8).map(|n| {
        let queries = queries.clone();
        async move {
            let world = Fixture::new();
            for round in 0..5 {
                world.a.append(&[(1, round)]);
                let mut spec = world.spec(Query::Rows, Trigger::Default);
                spec.name = Some(format!("q{n}"));
                let query = queries.start(spec).await.unwrap();
                query.process_all_available().await.unwrap();
                world.a.append(&[(1, round + 10)]);
                query.process_all_available().await.unwrap();
                query.stop().await.unwrap();
            }
            assert_eq!(world.rows().await.len(), 10);
        }
    });
    let tasks: Vec<_> = runs.map(tokio::spawn).collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert!(queries.active().is_empty());
}

#[tokio::test]
async fn a_processing_time_trigger_runs_at_its_ticks_only() {
    let world = Fixture::new();
    let queries = StreamingQueryManager::new();
    let every = Trigger::processing_time(Duration::from_secs(10));
    let query = queries.start(world.spec(Query::Rows, every)).await.unwrap();
    // The start is a trigger of its own.
    query.process_all_available().await.unwrap();
    world.clock.advance(1_000);
    world.a.append(&[(1, 1)]);
    // The query's task hears of the rows, and waits for the tick.
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert!(world.rows().await.is_empty());
    let mut status = query.shared.status.subscribe();
    world.clock.advance(9_000);
    status
        .wait_for(|status| status.message == "Waiting for next trigger")
        .await
        .unwrap();
    assert_eq!(
        query.last_progress().unwrap().timestamp,
        "2001-09-09T01:46:50.000Z"
    );
    assert_eq!(world.rows().await, ["1"]);
}

#[tokio::test]
async fn waiting_for_the_end_of_a_running_query_times_out_by_its_clock() {
    let world = Fixture::new();
    let queries = StreamingQueryManager::new();
    let query = queries
        .start(world.spec(Query::Rows, Trigger::Default))
        .await
        .unwrap();
    let timeout = Duration::from_secs(5);
    let waiting = query.await_termination_timeout(timeout);
    tokio::pin!(waiting);
    assert!(futures::poll!(&mut waiting).is_pending());
    world.clock.advance(5_000);
    assert!(!waiting.await.unwrap());
    query.stop().await.unwrap();
    assert!(query.await_termination_timeout(timeout).await.unwrap());
}

#[derive(Default)]
struct Diary(Mutex<Vec<String>>);

impl Diary {
    fn write(&self, entry: String) {
        self.0.lock().unwrap().push(entry);
    }
}

impl StreamingQueryListener for Diary {
    fn on_query_started(&self, event: &QueryStarted) {
        self.write(format!("started {}", event.name.as_deref().unwrap()));
    }

    fn on_query_progress(&self, event: &QueryProgress) {
        self.write(format!("epoch {}", event.progress.batch_id));
    }

    fn on_query_idle(&self, _event: &QueryIdle) {
        self.write("idle".to_owned());
    }

    fn on_query_terminated(&self, event: &QueryTerminated) {
        self.write(format!("terminated {}", event.exception.is_some()));
    }
}

#[tokio::test]
async fn listeners_hear_everything_in_order_and_before_the_end_is_told() {
    let world = Fixture::new();
    world.a.append(&[(1, 1), (25, 2)]);
    let queries = StreamingQueryManager::new();
    let diary = Arc::new(Diary::default());
    let id = queries.add_listener(Arc::clone(&diary) as _);
    let query = queries
        .start(world.spec(Query::Windows, Trigger::Default))
        .await
        .unwrap();
    query.process_all_available().await.unwrap();
    query.process_all_available().await.unwrap();
    query.stop().await.unwrap();
    assert_eq!(
        *diary.0.lock().unwrap(),
        [
            "started q",
            "epoch 0",
            "epoch 1",
            "idle",
            "terminated false"
        ]
    );
    assert!(queries.remove_listener(id));
}

#[tokio::test]
async fn a_query_with_nothing_to_do_takes_no_steps() {
    let world = Fixture::new();
    let queries = StreamingQueryManager::new();
    let every = Trigger::processing_time(Duration::from_millis(1));
    let query = queries.start(world.spec(Query::Rows, every)).await.unwrap();
    query.process_all_available().await.unwrap();
    let mut status = query.shared.status.subscribe();
    status.mark_unchanged();
    for _ in 0..100 {
        world.clock.advance(10);
        tokio::task::yield_now().await;
    }
    assert!(!status.has_changed().unwrap(), "it was woken for nothing");
}

#[tokio::test]
async fn an_explained_query_shows_its_plan() {
    let world = Fixture::new();
    let queries = StreamingQueryManager::new();
    let query = queries
        .start(world.spec(Query::Windows, Trigger::Default))
        .await
        .unwrap();
    assert!(
        query.explain().contains("TestTable") || query.explain().contains("test a"),
        "{}",
        query.explain()
    );
    assert!(query.explain().contains("SinkExec"));
}

#[tokio::test]
async fn an_epoch_that_hangs_is_cut_off_after_the_time_allowed_and_runs_again_later() {
    let mut world = Fixture::new();
    world.settings.stop_timeout_millis = Some(1_000);
    world.a.append(&[(1, 1)]);
    let queries = StreamingQueryManager::new();
    let query = queries
        .start(world.spec(Query::Rows, Trigger::Default))
        .await
        .unwrap();
    world.sink.fail(FailAt::Hang);
    let mut status = query.shared.status.subscribe();
    status
        .wait_for(|status| status.message == "Processing new data")
        .await
        .unwrap();
    let stopping = query.stop();
    tokio::pin!(stopping);
    assert!(futures::poll!(&mut stopping).is_pending());
    // The query's task hears of the stop, and sets itself a time.
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    world.clock.advance(1_000);
    stopping.await.unwrap();
    let again = queries
        .start(world.spec(Query::Rows, Trigger::Default))
        .await
        .unwrap();
    again.process_all_available().await.unwrap();
    assert_eq!(world.rows().await, ["1"]);
}

#[tokio::test]
async fn a_runtime_that_goes_away_is_the_end_of_the_query() {
    let world = Fixture::new();
    let spec = world.spec(Query::Rows, Trigger::Default);
    let query = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime
            .block_on(StreamingQueryManager::new().start(spec))
            .unwrap()
    })
    .join()
    .unwrap();
    let error = query
        .await_termination()
        .await
        .expect_err("nobody runs it any more");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}
