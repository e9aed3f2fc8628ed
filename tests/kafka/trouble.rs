//! A broker that is away, or comes back.

use std::time::Duration;

use headwater::{
    ErrorKind,
    core::{Clock, SystemClock},
    prelude::*,
};

use super::{
    broker::Broker,
    query::{Collecting, numbered, send_numbered},
};

#[tokio::test]
async fn a_query_goes_on_after_its_broker_was_killed_and_loses_nothing() {
    let Some(broker) = Broker::own("") else {
        return;
    };
    let topic = broker.topic("restarted", 2).await;
    send_numbered(&broker, &topic, 0, "v", 0..100).await;
    let query = Collecting::new(
        &broker,
        &[
            ("subscribe", &topic),
            ("kafka.default.api.timeout.ms", "90000"),
        ],
    );
    let running = query.start(Trigger::Default).await.expect("started");
    query.until(&running, 100).await;
    broker.kill();
    broker.start();
    send_numbered(&broker, &topic, 1, "v", 100..200).await;
    query.until(&running, 200).await;
    // Idle, it does not even notice.
    broker.stop();
    broker.start();
    send_numbered(&broker, &topic, 0, "v", 200..300).await;
    query.until(&running, 300).await;
    running.stop().await.expect("stopped");
    assert_eq!(query.values(), numbered("v", 0..300));
}

#[tokio::test]
async fn a_broker_that_goes_away_in_the_middle_of_an_epoch_is_waited_for() {
    let Some(broker) = Broker::own("") else {
        return;
    };
    let topic = broker.topic("interrupted", 1).await;
    let long = "x".repeat(10_000);
    let values = vec![long.as_str(); 5_000];
    broker.send_to(&topic, 0, &values).await;
    let query = Collecting::new(
        &broker,
        &[
            ("subscribe", &topic),
            ("kafka.default.api.timeout.ms", "90000"),
            // A little at a time, so that most is still to come when the broker goes.
            ("kafka.queued.max.messages.kbytes", "1024"),
            ("kafka.fetch.message.max.bytes", "65536"),
            ("kafka.fetch.max.bytes", "65536"),
            ("kafka.receive.message.max.bytes", "1000000"),
            ("kafka.message.max.bytes", "65000"),
        ],
    );
    let running = query.start(Trigger::Default).await.expect("started");
    broker.kill();
    broker.start();
    query.until(&running, 5_000).await;
    running.stop().await.expect("stopped");
    assert_eq!(query.values().len(), 5_000);
}

#[tokio::test]
async fn a_broker_that_cannot_be_reached_is_named_in_time() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let clock = SystemClock::default();
    let mut query = Collecting::new(broker, &[("subscribe", "t")]);
    query.set("kafka.bootstrap.servers", "127.0.0.1:1");
    query.set("kafka.default.api.timeout.ms", "1500");
    let error = query.failure().await;
    assert!(
        clock.monotonic() < Duration::from_secs(15),
        "{:?}",
        clock.monotonic()
    );
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    for part in ["127.0.0.1:1", "topics t", "Connection refused"] {
        assert!(error.message().contains(part), "{error}");
    }
}
