//! How much an epoch takes, and what its report says.

use headwater::prelude::*;

use super::{
    broker::Broker,
    query::{Collecting, numbered, send_numbered},
};

#[tokio::test]
async fn epochs_take_no_more_than_they_may_from_all_partitions_in_proportion() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let topic = broker.topic("limited", 2).await;
    send_numbered(broker, &topic, 0, "v", 0..10).await;
    send_numbered(broker, &topic, 1, "v", 10..40).await;
    let query = Collecting::new(
        broker,
        &[("subscribe", &topic), ("maxOffsetsPerTrigger", "8")],
    );
    let running = query
        .start(Trigger::available_now())
        .await
        .expect("started");
    running.await_termination().await.expect("done");
    assert_eq!(query.sizes(), [8, 8, 8, 8, 8]);
    assert_eq!(query.values(), numbered("v", 0..40));
    let reports = running.recent_progress();
    let first = &reports.first().expect("a report").sources[0];
    assert_eq!(first.end_offset[&topic]["0"], 2);
    assert_eq!(first.end_offset[&topic]["1"], 6);
    assert_eq!(first.metrics["maxOffsetsBehindLatest"], "24");
    assert_eq!(first.metrics["minOffsetsBehindLatest"], "8");
    assert_eq!(first.metrics["avgOffsetsBehindLatest"], "16.0");
    let last = &reports.last().expect("a report").sources[0];
    assert_eq!(last.metrics["maxOffsetsBehindLatest"], "0");
    assert_eq!(last.latest_offset[&topic]["1"], 30);
}

#[tokio::test]
async fn bytes_limit_an_epoch_by_what_messages_weighed_so_far() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let topic = broker.topic("heavy", 1).await;
    let heavy = "x".repeat(1_000);
    let values = vec![heavy.as_str(); 30];
    broker.send_to(&topic, 0, &values).await;
    let query = Collecting::new(
        broker,
        &[("subscribe", &topic), ("maxBytesPerTrigger", "10240")],
    );
    query.catch_up().await.expect("read");
    assert_eq!(query.sizes(), [10, 10, 10]);
}

#[tokio::test]
async fn an_epoch_waits_for_enough_messages_but_not_for_ever() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let topic = broker.topic("patient", 1).await;
    broker.send_to(&topic, 0, &["first"]).await;
    let options = [
        ("subscribe", topic.as_str()),
        ("minOffsetsPerTrigger", "5"),
        ("maxTriggerDelay", "5 minutes"),
    ];
    let query = Collecting::new(broker, &options);
    let running = query.start(Trigger::Default).await.expect("started");
    query.until(&running, 1).await;
    send_numbered(broker, &topic, 0, "v", 0..3).await;
    send_numbered(broker, &topic, 0, "v", 3..5).await;
    query.until(&running, 6).await;
    assert_eq!(query.sizes(), [1, 5]);
    running.stop().await.expect("stopped");

    let mut query = Collecting::new(broker, &options);
    query.set("maxTriggerDelay", "300 milliseconds");
    let running = query.start(Trigger::Default).await.expect("started");
    query.until(&running, 6).await;
    send_numbered(broker, &topic, 0, "w", 0..2).await;
    query.until(&running, 8).await;
    assert_eq!(query.sizes(), [6, 2]);
    running.stop().await.expect("stopped");
}

#[tokio::test]
async fn a_long_partition_is_read_by_several_tasks_and_nothing_is_lost_between_them() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let topic = broker.topic("divided", 1).await;
    send_numbered(broker, &topic, 0, "v", 0..1_000).await;
    let query = Collecting::new(broker, &[("subscribe", &topic), ("minPartitions", "4")]);
    let running = query.start(Trigger::Default).await.expect("started");
    query.until(&running, 1_000).await;
    send_numbered(broker, &topic, 0, "v", 1_000..1_100).await;
    query.until(&running, 1_100).await;
    running.stop().await.expect("stopped");
    assert_eq!(query.values(), numbered("v", 0..1_100));
}
