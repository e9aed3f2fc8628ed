//! Exactly once, case by case.

use std::{path::Path, sync::Arc};

use headwater::{
    Storage,
    core::QueryId,
    engine::{Driver, QuerySpec, Step},
    prelude::*,
};
use headwater_log::{
    LocalStorage, LogReader, MemoryStorage,
    store::{FailingStorage, Fault, Operation},
};
use rdkafka::{
    admin::{AdminClient, AdminOptions},
    client::DefaultClientContext,
};

use super::{
    super::broker::Broker,
    world::{ONCE, World, options, run, sink, spec, values},
};

/// Three epochs, of which the second repeats a key of the first.
fn world() -> World {
    let world = World::new();
    world.add(&[("a", 1), ("b", 2)]);
    world.add(&[("a", 3), ("c", 4)]);
    world.add(&[("d", 5)]);
    world
}

const ALL: [&str; 4] = ["a=1", "b=2", "c=4", "d=5"];

fn query(
    world: &World,
    broker: &Broker,
    topic: &str,
    checkpoint: &Arc<dyn Storage>,
) -> Result<QuerySpec> {
    query_with(world, broker, topic, checkpoint, &[])
}

fn query_with(
    world: &World,
    broker: &Broker,
    topic: &str,
    checkpoint: &Arc<dyn Storage>,
    more: &[(&str, &str)],
) -> Result<QuerySpec> {
    let mut options = options(broker, topic, &[ONCE]);
    for (name, value) in more {
        options.set(*name, *value);
    }
    let sink = sink(&world.session, &options)?;
    spec(world.first_of_each_key(), sink, checkpoint)
}

/// How the transaction of the newest epoch came about.
async fn delivery(checkpoint: &Arc<dyn Storage>) -> String {
    let newest = LogReader::new(Arc::clone(checkpoint)).newest_commit().await;
    let newest = newest.expect("it can be read").expect("there is one");
    newest.parts[0].detail["transaction"].to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_whose_commit_record_was_lost_is_adopted() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    for fault in [Fault::DiskFull, Fault::LostAnswer] {
        let topic = broker.topic("adopted", 2).await;
        let world = world();
        let memory: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
        let failing = FailingStorage::new(Arc::clone(&memory));
        failing.fail_once(fault.clone(), |operation, path| {
            operation == Operation::Create && path.starts_with("commits/") && path.contains("0001")
        });
        let checkpoint: Arc<dyn Storage> = Arc::new(failing.clone());
        let error = run(query(&world, broker, &topic, &checkpoint).expect("a query")).await;
        if fault == Fault::DiskFull {
            error.expect_err("the record cannot be written");
            assert_eq!(values(broker, &topic), ["a=1", "b=2", "c=4"]);
            let mut driver =
                Driver::start(query(&world, broker, &topic, &memory).expect("a query"))
                    .await
                    .expect("it goes on");
            driver.step().await.expect("the epoch again");
            assert_eq!(delivery(&memory).await, r#""adopted""#);
            drop(driver);
        }
        assert_eq!(failing.outstanding(), 0);
        run(query(&world, broker, &topic, &memory).expect("a query"))
            .await
            .expect("it goes on");
        assert_eq!(values(broker, &topic), ALL, "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_number_is_found_though_it_was_kept_beside_another_topic_meanwhile() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let topic = broker.topic("moved", 2).await;
    let (one, other) = (
        broker.topic("beside", 1).await,
        broker.topic("beside", 1).await,
    );
    let world = world();
    let memory: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let beside = |name: &str, checkpoint: &Arc<dyn Storage>| {
        let more = [("transactionTopic", name)];
        query_with(&world, broker, &topic, checkpoint, &more).expect("a query")
    };
    let mut driver = Driver::start(beside(&one, &memory))
        .await
        .expect("it starts");
    driver.step().await.expect("an epoch");
    driver.shut_down().await;
    // The number moves, and the run dies with an epoch in Kafka that its checkpoint does not know.
    let failing = FailingStorage::new(Arc::clone(&memory));
    failing.fail_once(Fault::DiskFull, |operation, path| {
        operation == Operation::Create && path.starts_with("commits/") && path.contains("0001")
    });
    let failing: Arc<dyn Storage> = Arc::new(failing);
    run(beside(&other, &failing))
        .await
        .expect_err("the record cannot be written");
    assert_eq!(values(broker, &topic), ["a=1", "b=2", "c=4"]);
    // It moves back.
    run(beside(&one, &memory)).await.expect("it goes on");
    assert_eq!(values(broker, &topic), ALL);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_epoch_is_aborted_and_written_by_the_next_run() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let topic = broker.topic("aborted", 2).await;
    let world = world();
    let memory: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    // The third epoch's value is too large.
    let frame = world.table().select_expr([
        "k AS key",
        "CASE WHEN v < 5 THEN k ELSE repeat(k, 1100000) END AS value",
    ]);
    let options = options(broker, &topic, &[ONCE]);
    let failing = sink(&world.session, &options).expect("a sink");
    let failing = spec(frame.expect("a query"), failing, &memory).expect("a query");
    run(failing).await.expect_err("the client refuses it");
    assert_eq!(values(broker, &topic), ["a", "a", "b", "c"]);
    // A reader of committed messages waits for none of a run that has given up.
    let frame = world
        .table()
        .select_expr(["k AS key", "k AS value"])
        .expect("a query");
    let sink = sink(&world.session, &options).expect("a sink");
    run(spec(frame, sink, &memory).expect("a query"))
        .await
        .expect("now it can be written");
    assert_eq!(values(broker, &topic), ["a", "a", "b", "c", "d"]);
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        match entry.file_type().expect("a kind").is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).expect("a copy")),
        }
    }
}

fn local(folder: &Path) -> Arc<dyn Storage> {
    Arc::new(LocalStorage::open(folder).expect("a folder"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_writer_on_a_copied_checkpoint_fences_the_first() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let topic = broker.topic("fenced", 2).await;
    let world = world();
    let folder = tempfile::tempdir().expect("a folder");
    let (mine, other) = (folder.path().join("mine"), folder.path().join("other"));
    let spec = query(&world, broker, &topic, &local(&mine)).expect("a query");
    let mut first = Driver::start(spec).await.expect("it starts");
    first.step().await.expect("an epoch");
    copy(&mine, &other);
    let spec = query(&world, broker, &topic, &local(&other)).expect("a query");
    let mut second = Driver::start(spec).await.expect("it starts");
    second.step().await.expect("an epoch");
    let run = second.run();
    let error = first.step().await.expect_err("it is fenced");
    assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
    for part in [
        "another writer has taken over this query's transactions",
        &format!("run {run} has written up to epoch 2"),
    ] {
        assert!(error.to_string().contains(part), "{error}");
    }
    while !matches!(second.step().await.expect("it goes on"), Step::Finished) {}
    assert_eq!(values(broker, &topic), ALL);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_that_is_older_than_the_topic_is_refused() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let topic = broker.topic("older", 2).await;
    let world = world();
    let folder = tempfile::tempdir().expect("a folder");
    let (mine, old) = (folder.path().join("mine"), folder.path().join("old"));
    let spec = query(&world, broker, &topic, &local(&mine)).expect("a query");
    let mut driver = Driver::start(spec).await.expect("it starts");
    driver.step().await.expect("an epoch");
    copy(&mine, &old);
    // One epoch ahead, then two.
    for _ in 0..2 {
        driver.step().await.expect("an epoch");
        let again = folder.path().join("again");
        let _ = std::fs::remove_dir_all(&again);
        copy(&old, &again);
        let written = values(broker, &topic);
        let error = run(query(&world, broker, &topic, &local(&again)).expect("a query")).await;
        let error = error.expect_err("it is refused");
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(
            error.to_string().contains("it is older than the topic"),
            "{error}"
        );
        assert_eq!(values(broker, &topic), written, "nothing is written twice");
        // The refused run has shut the other out; it starts again.
        let spec = query(&world, broker, &topic, &local(&mine)).expect("a query");
        driver = Driver::start(spec).await.expect("it starts");
    }
    while !matches!(driver.step().await.expect("it goes on"), Step::Finished) {}
    assert_eq!(values(broker, &topic), ALL);
}

/// Deletes the number of a query's last epoch, as a broker does that keeps those of stopped queries for so long only.
async fn forget_number(broker: &Broker, query: QueryId) {
    let admin: AdminClient<DefaultClientContext> = broker.config().create().expect("a client");
    let group = format!("headwater-{query}");
    let deleted = admin.delete_groups(&[&group], &AdminOptions::new()).await;
    let deleted = deleted.expect("the broker answers");
    assert_eq!(deleted, [Ok(group)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_number_stops_only_an_epoch_in_doubt() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let topic = broker.topic("forgotten", 2).await;
    let world = world();
    let memory: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let spec = query(&world, broker, &topic, &memory).expect("a query");
    let mut driver = Driver::start(spec).await.expect("it starts");
    driver.step().await.expect("an epoch");
    let id = driver.id();
    drop(driver);
    // A query that was stopped in good order goes on as if nothing had happened.
    forget_number(broker, id).await;
    let failing = FailingStorage::new(Arc::clone(&memory));
    failing.fail_once(Fault::DiskFull, |operation, path| {
        operation == Operation::Create && path.starts_with("commits/")
    });
    let checkpoint: Arc<dyn Storage> = Arc::new(failing);
    run(query(&world, broker, &topic, &checkpoint).expect("a query"))
        .await
        .expect_err("the record cannot be written");
    assert_eq!(values(broker, &topic), ["a=1", "b=2", "c=4"]);
    // Whether epoch 1 is there cannot be known now.
    forget_number(broker, id).await;
    let error = run(query(&world, broker, &topic, &memory).expect("a query")).await;
    let error = error.expect_err("it cannot be known");
    for part in ["holds epoch 1 cannot be known", "'whenEpochIsUnknown'"] {
        assert!(error.to_string().contains(part), "{error}");
    }
    let told = [("whenEpochIsUnknown", "skip")];
    run(query_with(&world, broker, &topic, &memory, &told).expect("a query"))
        .await
        .expect("it is told");
    assert_eq!(values(broker, &topic), ALL);
}

#[tokio::test(flavor = "multi_thread")]
async fn results_and_late_rows_may_both_go_to_kafka() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let (topic, late) = (
        broker.topic("result", 1).await,
        broker.topic("late", 1).await,
    );
    let world = World::new();
    world.add(&[("a", 100), ("b", 200)]);
    world.add(&[("c", 1), ("d", 300)]);
    world.add(&[("e", 1)]);
    let frame = world
        .table()
        .select_expr(["k AS value", "to_timestamp_seconds(v) AS t"])
        .and_then(|frame| frame.with_watermark("t", "0 seconds"))
        .and_then(|frame| frame.drop_duplicates(&["value", "t"]));
    let checkpoint: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let late_sink = sink(&world.session, &options(broker, &late, &[ONCE])).expect("a sink");
    let spec = frame
        .expect("a query")
        .write_stream()
        .query_name("both")
        .checkpoint(checkpoint)
        .trigger(Trigger::available_now())
        .late_rows_to(LateRows::sink(late_sink))
        .sink(sink(&world.session, &options(broker, &topic, &[ONCE])).expect("a sink"))
        .into_spec(None)
        .expect("a query");
    run(spec).await.expect("both are written");
    assert_eq!(values(broker, &topic), ["a", "b", "c", "d"]);
    assert_eq!(values(broker, &late), ["e"]);
}

#[tokio::test]
async fn exactly_once_needs_a_checkpoint() {
    let world = World::new();
    let error = world
        .rows()
        .write_stream()
        .format("kafka")
        .option("kafka.bootstrap.servers", "127.0.0.1:1")
        .option("topic", "t")
        .option("exactlyOnce", "true")
        .into_spec(None)
        .expect_err("there is none");
    assert!(error.message().contains("'checkpointLocation'"), "{error}");
}
