//! Brokers that are away, topics that are missing or deleted, messages that are too large: clear errors, nothing lost,
//! and on it goes once the cause is gone.

use std::sync::Arc;

use headwater::{
    Storage,
    engine::{Driver, Step},
    prelude::*,
};
use headwater_log::MemoryStorage;

use super::{
    super::broker::Broker,
    world::{ONCE, World, options, run, sink, spec, values},
};

fn memory() -> Arc<dyn Storage> {
    Arc::new(MemoryStorage::new())
}

/// Runs the rows of a world into a topic.
async fn write(
    world: &World,
    broker: &Broker,
    topic: &str,
    checkpoint: &Arc<dyn Storage>,
    more: &[(&str, &str)],
) -> Result<()> {
    let sink = sink(&world.session, &options(broker, topic, more))?;
    run(spec(world.rows(), sink, checkpoint)?).await
}

fn assert_says(error: &Error, kind: ErrorKind, parts: &[&str]) {
    println!("{error}");
    assert_eq!(error.kind(), kind, "{error}");
    for part in parts {
        assert!(
            error.to_string().contains(part),
            "'{part}' is missing: {error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_that_cannot_be_reached_are_named_with_the_reason() {
    let world = World::new();
    world.add(&[("a", 1)]);
    for more in [&[][..], &[ONCE]] {
        let mut options: headwater::core::Options = more.iter().copied().collect();
        options.set("kafka.bootstrap.servers", "127.0.0.1:1");
        options.set("kafka.default.api.timeout.ms", "1500");
        options.set("topic", "t");
        let sink = sink(&world.session, &options).expect("a sink");
        let error = run(spec(world.rows(), sink, &memory()).expect("a query")).await;
        assert_says(
            &error.expect_err("nobody is there"),
            ErrorKind::Unavailable,
            &[
                "query 'written'",
                "topic 't'",
                "127.0.0.1:1",
                "Connection refused",
            ],
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_larger_than_allowed_is_told_with_its_place_and_size() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    for more in [&[][..], &[ONCE]] {
        let limit = ("max.message.bytes", "2000");
        let topic = broker.topic_with("large", 1, &[limit]).await;
        let world = World::new();
        let key = "k".repeat(3_000);
        world.add(&[("small", 1)]);
        world.add(&[("small", 2), (&key, 3)]);
        let checkpoint = memory();
        let error = write(&world, broker, &topic, &checkpoint, more).await;
        let error = error.expect_err("the broker refuses it");
        assert_says(
            &error,
            ErrorKind::Data,
            &[
                "epoch 1",
                &format!("topic '{topic}', partition 0"),
                "a batch, whose largest message has 6002 bytes, is larger",
                "'max.message.bytes'",
            ],
        );
        broker.set_topic(&topic, "max.message.bytes", "10000").await;
        write(&world, broker, &topic, &checkpoint, more)
            .await
            .expect("now it is allowed");
        let found = values(broker, &topic);
        let expected = ["small=1", "small=2", &format!("{key}=3")];
        for value in expected {
            let times = found.iter().filter(|it| *it == value).count();
            assert!(
                times == 1 || (times > 1 && more.is_empty()),
                "{times} × {value}"
            );
        }
        // The client has a limit of its own.
        let world = World::new();
        world.add(&[(&"k".repeat(1_100_000), 1)]);
        let error = write(&world, broker, &topic, &memory(), more).await;
        assert_says(
            &error.expect_err("the client refuses it"),
            ErrorKind::Data,
            &["row 1 of partition 0", &topic, "'kafka.message.max.bytes'"],
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_missing_or_deleted_is_named() {
    let Some(broker) = Broker::own("auto.create.topics.enable=false\n") else {
        return;
    };
    for more in [&[][..], &[ONCE]] {
        let world = World::new();
        world.add(&[("a", 1)]);
        let missing = format!("missing-{}", more.len());
        let checkpoint = memory();
        let error = write(&world, &broker, &missing, &checkpoint, more).await;
        assert_says(
            &error.expect_err("there is none"),
            ErrorKind::Invalid,
            &[
                &format!("there is no topic '{missing}'"),
                "kafka-topics.sh --create",
            ],
        );
        broker.create_topic(&missing, 1, &[]).await;
        let impatient = ("kafka.message.timeout.ms", "5000");
        let more: Vec<(&str, &str)> = more.iter().copied().chain([impatient]).collect();
        let sink = sink(&world.session, &options(&broker, &missing, &more)).expect("a sink");
        let spec = spec(world.rows(), sink, &checkpoint).expect("a query");
        world.add(&[("b", 2)]);
        let mut driver = Driver::start(spec).await.expect("now there is one");
        driver.step().await.expect("it is written");
        broker.delete_topic(&missing).await;
        let error = driver.step().await.expect_err("it is gone");
        assert_says(
            &error,
            ErrorKind::Unavailable,
            &["epoch 1", &format!("topic '{missing}'")],
        );
        broker.create_topic(&missing, 1, &[]).await;
        drop(driver);
        let mut more = more;
        if more.contains(&ONCE) {
            // With the topic its number is gone.
            let error = write(&world, &broker, &missing, &checkpoint, &more).await;
            assert_says(
                &error.expect_err("nobody knows"),
                ErrorKind::Data,
                &["holds epoch 1 cannot be known", "'whenEpochIsUnknown'"],
            );
            more.push(("whenEpochIsUnknown", "write"));
        }
        write(&world, &broker, &missing, &checkpoint, &more)
            .await
            .expect("there is one again");
        assert_eq!(values(&broker, &missing), ["b=2"], "{more:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_restarts_in_the_middle_is_waited_for() {
    let Some(broker) = Broker::own("") else {
        return;
    };
    for more in [&[][..], &[ONCE]] {
        let topic = broker.topic("restarted", 3).await;
        let world = World::new();
        world.add(&[("a", 1)]);
        world.add(&[("b", 2), ("c", 3)]);
        world.add(&[("d", 4)]);
        let checkpoint = memory();
        let sink = sink(&world.session, &options(&broker, &topic, more)).expect("a sink");
        let spec = spec(world.rows(), sink, &checkpoint).expect("a query");
        let mut driver = Driver::start(spec).await.expect("it starts");
        driver.step().await.expect("it is written");
        broker.kill();
        let (stepped, ()) = tokio::join!(driver.step(), async {
            tokio::task::block_in_place(|| broker.start());
        });
        stepped.expect("the broker comes back");
        while !matches!(driver.step().await.expect("on it goes"), Step::Finished) {}
        assert_eq!(
            values(&broker, &topic),
            ["a=1", "b=2", "c=3", "d=4"],
            "{more:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_allows_only_short_transactions_is_told_with_the_option() {
    let Some(broker) = Broker::own("transaction.max.timeout.ms=60000\n") else {
        return;
    };
    let topic = broker.topic("short", 1).await;
    let world = World::new();
    world.add(&[("a", 1)]);
    let checkpoint = memory();
    let error = write(&world, &broker, &topic, &checkpoint, &[ONCE]).await;
    assert_says(
        &error.expect_err("the broker refuses"),
        ErrorKind::Invalid,
        &[
            "'kafka.transaction.timeout.ms'",
            "'transaction.max.timeout.ms'",
        ],
    );
    let short = ("kafka.transaction.timeout.ms", "60000");
    write(&world, &broker, &topic, &checkpoint, &[ONCE, short])
        .await
        .expect("now it fits");
    assert_eq!(values(&broker, &topic), ["a=1"]);
}
