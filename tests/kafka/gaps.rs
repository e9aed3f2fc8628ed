//! Offsets that nobody can read: compacted messages, aborted transactions, control records, messages that retention took.

use std::time::Duration;

use headwater::{
    ErrorKind,
    core::{Clock, SystemClock},
    prelude::*,
};
use rdkafka::{
    consumer::{BaseConsumer, Consumer},
    producer::{BaseProducer, BaseRecord, Producer},
};

use super::{
    broker::{Broker, Message},
    query::{Collecting, numbered, send_numbered},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// Where a partition begins and ends.
fn edges(broker: &Broker, topic: &str) -> (i64, i64) {
    let consumer: BaseConsumer = broker.config().create().expect("a client");
    consumer
        .fetch_watermarks(topic, 0, PATIENCE)
        .expect("an answer")
}

/// Asks again until it is so.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let clock = SystemClock::default();
    while !is_so().await {
        assert!(clock.monotonic() < PATIENCE, "waited for {what}");
        clock.sleep_until(clock.now_millis() + 50).await;
    }
}

/// Sends messages in transactions: `true` is committed, `false` aborted.
fn transact(broker: &Broker, topic: &str, transactions: &[(&[&str], bool)]) {
    let producer: BaseProducer = broker
        .config()
        .set("transactional.id", topic)
        .create()
        .expect("a producer");
    producer.init_transactions(PATIENCE).expect("a coordinator");
    for (values, is_committed) in transactions {
        producer.begin_transaction().expect("begun");
        for value in *values {
            let record = BaseRecord::<[u8], str>::to(topic)
                .partition(0)
                .payload(*value);
            producer
                .send(record)
                .map_err(|(error, _)| error)
                .expect("room");
        }
        producer.flush(PATIENCE).expect("sent");
        if *is_committed {
            producer.commit_transaction(PATIENCE).expect("committed");
        } else {
            producer.abort_transaction(PATIENCE).expect("aborted");
        }
    }
}

#[tokio::test]
async fn transactions_are_read_as_the_isolation_level_says_and_their_marks_hold_nothing_up() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let topic = broker.topic("transactions", 1).await;
    let transactions: [(&[&str], bool); 5] = [
        (&["a", "b"], true),
        (&["x", "y", "z"], false),
        (&["c"], true),
        (&["x"], false),
        (&["x"], false),
    ];
    transact(broker, &topic, &transactions);
    // What is read ends with marks, in the middle of any epoch too.
    for limit in ["1", "3", "1000"] {
        let options = [
            ("subscribe", topic.as_str()),
            ("kafka.isolation.level", "read_committed"),
            ("maxOffsetsPerTrigger", limit),
        ];
        let query = Collecting::new(broker, &options);
        query.catch_up().await.expect("read");
        assert_eq!(query.values(), ["a", "b", "c"], "{limit}");
    }
    let query = Collecting::new(broker, &[("subscribe", &topic)]);
    query.catch_up().await.expect("read");
    assert_eq!(query.values(), ["a", "b", "c", "x", "x", "x", "y", "z"]);
}

#[tokio::test]
async fn an_open_transaction_is_waited_for_and_then_read() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let topic = broker.topic("open", 1).await;
    broker.send_to(&topic, 0, &["before"]).await;
    let producer: BaseProducer = broker
        .config()
        .set("transactional.id", &topic)
        .create()
        .expect("a producer");
    producer.init_transactions(PATIENCE).expect("a coordinator");
    producer.begin_transaction().expect("begun");
    let record = BaseRecord::<[u8], str>::to(&topic)
        .partition(0)
        .payload("inside");
    producer
        .send(record)
        .map_err(|(error, _)| error)
        .expect("room");
    producer.flush(PATIENCE).expect("sent");
    let query = Collecting::new(
        broker,
        &[
            ("subscribe", &topic),
            ("kafka.isolation.level", "read_committed"),
        ],
    );
    let running = query.start(Trigger::Default).await.expect("started");
    query.until(&running, 1).await;
    assert_eq!(query.values(), ["before"]);
    producer.commit_transaction(PATIENCE).expect("committed");
    query.until(&running, 2).await;
    running.stop().await.expect("stopped");
    assert_eq!(query.values(), ["before", "inside"]);
}

#[tokio::test]
async fn compacted_messages_leave_gaps_that_are_no_loss() {
    let Some(broker) = Broker::own("log.cleaner.backoff.ms=50\nlog.initial.task.delay.ms=100\n")
    else {
        return;
    };
    let settings = [
        ("cleanup.policy", "compact"),
        ("segment.ms", "50"),
        ("max.compaction.lag.ms", "50"),
        ("min.cleanable.dirty.ratio", "0.001"),
    ];
    let topic = broker.topic_with("compacted", 1, &settings).await;
    let texts: Vec<String> = (0..50).map(|n| format!("v{n}")).collect();
    for text in &texts {
        let message = Message {
            key: Some(b"the same"),
            ..Message::to(0, text)
        };
        broker.send(&topic, &[message]).await;
    }
    let all = Collecting::new(&broker, &[("subscribe", &topic)]);
    until("compaction", async || {
        // Each message lets a segment end.
        let message = Message {
            key: Some(b"the same"),
            ..Message::to(0, "last")
        };
        broker.send(&topic, &[message]).await;
        let fresh = Collecting::new(&broker, &[("subscribe", &topic)]);
        fresh.catch_up().await.expect("read");
        fresh.values().len() < 40
    })
    .await;
    assert!(edges(&broker, &topic).1 > 50, "offsets are not used again");
    all.catch_up().await.expect("gaps are no loss");
    let read = all.values();
    assert!(read.contains(&"last".to_owned()), "{read:?}");
    // In small steps, most of which have nothing to read.
    let steps = Collecting::new(
        &broker,
        &[("subscribe", &topic), ("maxOffsetsPerTrigger", "7")],
    );
    steps.catch_up().await.expect("read");
    assert!(steps.values().contains(&"last".to_owned()));
}

#[tokio::test]
async fn messages_that_retention_took_are_a_loss_that_can_be_accepted() {
    let properties = "log.retention.check.interval.ms=100\nlog.initial.task.delay.ms=100\nlog.segment.delete.delay.ms=0\n";
    let Some(broker) = Broker::own(properties) else {
        return;
    };
    let settings = [("retention.bytes", "1"), ("segment.bytes", "1048576")];
    let topic = broker.topic_with("retained", 1, &settings).await;
    send_numbered(&broker, &topic, 0, "old", 0..5).await;
    let mut query = Collecting::new(&broker, &[("subscribe", &topic)]);
    query.catch_up().await.expect("read");
    // More than a segment.
    let long = "x".repeat(100_000);
    let values = vec![long.as_str(); 30];
    broker.send_to(&topic, 0, &values).await;
    until("retention", async || edges(&broker, &topic).0 > 5).await;
    send_numbered(&broker, &topic, 0, "new", 0..3).await;
    let (earliest, _) = edges(&broker, &topic);

    let error = query.failure().await;
    assert_eq!(error.kind(), ErrorKind::Data);
    for part in [
        &format!("topic '{topic}', partition 0")[..],
        "from offset 5 on",
        "the first is",
        "failOnDataLoss",
    ] {
        assert!(error.message().contains(part), "{error}");
    }
    query.set("failOnDataLoss", "false");
    query.catch_up().await.expect("goes on with what is left");
    let read = query.values();
    for expected in numbered("new", 0..3).iter().chain(&numbered("old", 0..5)) {
        assert!(read.contains(expected), "{expected} is missing");
    }
    let most = usize::try_from(35 - earliest).expect("few") + 5 + 3;
    assert!(read.len() <= most, "{} rows", read.len());
}

#[tokio::test]
async fn a_query_that_has_lost_everything_notices_what_comes_next() {
    let properties = "log.retention.check.interval.ms=100\nlog.initial.task.delay.ms=100\nlog.segment.delete.delay.ms=0\n";
    let Some(broker) = Broker::own(properties) else {
        return;
    };
    let topic = broker.topic("emptied", 1).await;
    send_numbered(&broker, &topic, 0, "v", 0..5).await;
    let options = [("subscribe", topic.as_str()), ("failOnDataLoss", "false")];
    let query = Collecting::new(&broker, &options);
    query.catch_up().await.expect("read");
    send_numbered(&broker, &topic, 0, "lost", 0..5).await;
    broker.set_topic(&topic, "retention.ms", "1").await;
    until("retention", async || edges(&broker, &topic) == (10, 10)).await;
    broker.set_topic(&topic, "retention.ms", "-1").await;

    let running = query.start(Trigger::Default).await.expect("started");
    until("an epoch", async || !running.recent_progress().is_empty()).await;
    send_numbered(&broker, &topic, 0, "v", 5..8).await;
    query.until(&running, 8).await;
    running.stop().await.expect("stopped");
    assert_eq!(query.values(), numbered("v", 0..8));
}
