//! Messages that are not what they should be.

use headwater::prelude::*;

use super::{broker::Broker, query::Collecting};

#[tokio::test]
async fn a_malformed_message_is_named_and_nothing_is_lost_by_it() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let topic = broker.topic("malformed", 2).await;
    broker.send_to(&topic, 0, &[r#"{"id": 1}"#]).await;
    let broken = [r#"{"id": 2}"#, r#"{"id": 3}"#, r#"{"id": "#, r#"{"id": 4}"#];
    broker.send_to(&topic, 1, &broken).await;
    let query = Collecting::new(broker, &[("subscribe", &topic)]);
    let ids = |mode: &str| {
        let parsed = from_json_with(
            col("value"),
            "id BIGINT, _corrupt_record STRING",
            [("mode", mode)],
        );
        let stream = query.stream().expect("a stream");
        stream
            .select([col("value"), parsed.alias("m")])
            .expect("a query")
    };

    let running = query
        .start_with(ids("FAILFAST"), Trigger::available_now())
        .await;
    let error = running.expect("started").await_termination().await;
    let error = error.expect_err("a message is malformed").to_string();
    let named = format!("topic '{topic}', partition 1, offset 2");
    assert!(error.contains(&named), "{error}");
    assert_eq!(
        query.values().len(),
        0,
        "nothing of a failed epoch is there"
    );

    // The cause is not in the topic's power to mend, but the query can take it.
    let running = query
        .start_with(ids("PERMISSIVE"), Trigger::available_now())
        .await;
    let ended = running.expect("started").await_termination().await;
    ended.expect("it goes on");
    assert_eq!(query.values().len(), 5);
}

#[tokio::test]
async fn a_message_that_is_no_avro_is_named() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let topic = broker.topic("no-avro", 1).await;
    // Two bytes of text as Avro writes it, and one whose length is beyond its end.
    broker.send_to(&topic, 0, &["\u{4}ab", "\u{6}ab"]).await;
    let query = Collecting::new(broker, &[("subscribe", &topic)]);
    let stream = query.stream().expect("a stream");
    let texts = stream.select([
        col("value"),
        from_avro(col("value"), r#""string""#).alias("text"),
    ]);
    let running = query
        .start_with(texts.expect("a query"), Trigger::available_now())
        .await;
    let error = running.expect("started").await_termination().await;
    let error = error.expect_err("a message is malformed").to_string();
    let named = format!("topic '{topic}', partition 0, offset 1");
    assert!(error.contains(&named), "{error}");
}
