//! Topics that change under a query: more partitions, more topics, fewer topics, other topics of the same name.

use headwater::{ErrorKind, prelude::*};

use super::{
    broker::Broker,
    query::{Collecting, numbered, send_numbered},
};

#[tokio::test]
async fn new_partitions_and_topics_are_read_from_their_beginning() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let topic = broker.topic("growing", 1).await;
    let pattern = format!("{topic}.*");
    let query = Collecting::new(
        broker,
        &[
            ("subscribePattern", &pattern),
            ("startingOffsets", "latest"),
            ("kafka.metadata.max.age.ms", "100"),
        ],
    );
    let running = query.start(Trigger::Default).await.expect("started");
    broker.send_to(&topic, 0, &["a"]).await;
    query.until(&running, 1).await;
    broker.add_partitions(&topic, 3).await;
    broker.send_to(&topic, 2, &["b"]).await;
    query.until(&running, 2).await;
    let other = format!("{topic}-other");
    broker.create_topic(&other, 2, &[]).await;
    broker.send_to(&other, 1, &["c"]).await;
    query.until(&running, 3).await;
    running.stop().await.expect("stopped");
    broker.send_to(&other, 0, &["d"]).await;
    query.catch_up().await.expect("goes on");
    assert_eq!(query.values(), ["a", "b", "c", "d"]);
}

#[tokio::test]
async fn a_deleted_topic_ends_the_query_unless_that_is_accepted() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let (gone, stays) = (
        broker.topic("gone", 1).await,
        broker.topic("stays", 1).await,
    );
    broker.send_to(&gone, 0, &["a"]).await;
    broker.send_to(&stays, 0, &["b"]).await;
    let both = format!("{gone},{stays}");
    let mut query = Collecting::new(broker, &[("subscribe", &both)]);
    query.catch_up().await.expect("read");
    broker.delete_topic(&gone).await;
    broker.send_to(&stays, 0, &["c"]).await;
    let error = query.failure().await;
    assert_eq!(error.kind(), ErrorKind::Data);
    for part in [
        &format!("topic '{gone}', partition 0")[..],
        "offset 1",
        "deleted",
        "failOnDataLoss",
    ] {
        assert!(error.message().contains(part), "{error}");
    }
    query.set("failOnDataLoss", "false");
    query.catch_up().await.expect("goes on without it");
    // It comes again: a new topic, from its beginning.
    broker.create_topic(&gone, 1, &[]).await;
    broker.send_to(&gone, 0, &["d"]).await;
    query.catch_up().await.expect("goes on with it");
    assert_eq!(query.values(), ["a", "b", "c", "d"]);
}

#[tokio::test]
async fn a_topic_deleted_while_it_is_read_is_named() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let topic = broker.topic("vanishing", 1).await;
    broker.send_to(&topic, 0, &["a"]).await;
    let query = Collecting::new(
        broker,
        &[("subscribe", &topic), ("kafka.metadata.max.age.ms", "100")],
    );
    let running = query.start(Trigger::Default).await.expect("started");
    query.until(&running, 1).await;
    broker.delete_topic(&topic).await;
    let error = running
        .await_termination()
        .await
        .expect_err("the topic is gone");
    assert!(
        error
            .message()
            .contains(&format!("topic '{topic}', partition 0")),
        "{error}"
    );
    assert!(error.message().contains("deleted"), "{error}");
}

#[tokio::test]
async fn a_topic_created_again_is_read_from_its_beginning_where_that_is_accepted() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let topic = broker.topic("again", 1).await;
    send_numbered(broker, &topic, 0, "old", 0..5).await;
    let mut query = Collecting::new(broker, &[("subscribe", &topic)]);
    query.catch_up().await.expect("read");
    broker.delete_topic(&topic).await;
    broker.create_topic(&topic, 1, &[]).await;
    send_numbered(broker, &topic, 0, "new", 0..2).await;
    let error = query.failure().await;
    for part in ["offset 5", "ends at 2", "created again"] {
        assert!(error.message().contains(part), "{error}");
    }
    query.set("failOnDataLoss", "false");
    query.catch_up().await.expect("goes on with the new one");
    query.catch_up().await.expect("nothing more");
    let mut expected = numbered("new", 0..2);
    expected.extend(numbered("old", 0..5));
    assert_eq!(query.values(), expected);
}
