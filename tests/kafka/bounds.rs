//! Where reading begins and ends, what a row holds, and what is refused.

use headwater::{ErrorKind, prelude::*};

use super::{
    broker::{Broker, Message},
    query::{Collecting, values},
};

/// Two partitions with five messages each, a second apart: `a0` … `a4`, and `b0` … `b4` from two seconds later on.
async fn timed(broker: &Broker) -> String {
    // Retention goes by what messages say of their time.
    let kept = [("retention.ms", "-1")];
    let topic = broker.topic_with("timed", 2, &kept).await;
    let texts: Vec<(i32, i64, String)> = (0..5)
        .flat_map(|n| {
            [
                (0, 1_000_000 + n * 1_000, format!("a{n}")),
                (1, 1_002_000 + n * 1_000, format!("b{n}")),
            ]
        })
        .collect();
    let messages: Vec<Message<'_>> = texts
        .iter()
        .map(|(partition, timestamp, text)| Message {
            timestamp: Some(*timestamp),
            ..Message::to(*partition, text)
        })
        .collect();
    broker.send(&topic, &messages).await;
    topic
}

#[tokio::test]
async fn reading_begins_where_it_is_told_to() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let topic = timed(broker).await;
    let by_offset = format!(r#"{{"{topic}":{{"0":3,"1":-2}}}}"#);
    let by_time = format!(r#"{{"{topic}":{{"0":1004000,"1":1000000}}}}"#);
    let beyond = format!(r#"{{"{topic}":{{"0":9999999999999,"1":1005500}}}}"#);
    for (options, expected) in [
        (
            &[("startingOffsets", "earliest")][..],
            "a0 a1 a2 a3 a4 b0 b1 b2 b3 b4",
        ),
        (&[("startingOffsets", "latest")], ""),
        (&[("startingOffsets", &by_offset)], "a3 a4 b0 b1 b2 b3 b4"),
        (&[("startingTimestamp", "1003500")], "a4 b2 b3 b4"),
        (
            &[("startingOffsetsByTimestamp", &by_time)],
            "a4 b0 b1 b2 b3 b4",
        ),
        (
            &[
                ("startingOffsetsByTimestamp", &beyond),
                ("startingOffsetsByTimestampStrategy", "latest"),
            ],
            "b4",
        ),
    ] {
        let mut query = Collecting::new(broker, &[("subscribe", &topic)]);
        for (name, value) in options {
            query.set(name, value);
        }
        query.catch_up().await.expect("it can be read");
        assert_eq!(query.values().join(" "), expected, "{options:?}");
    }
    let query = Collecting::new(
        broker,
        &[
            ("subscribe", &topic),
            ("startingOffsetsByTimestamp", &beyond),
        ],
    );
    let error = query.failure().await;
    let remedy = "startingOffsetsByTimestampStrategy to latest";
    assert!(error.message().contains(remedy), "{error}");
    assert!(error.message().contains(&topic), "{error}");
}

#[tokio::test]
async fn what_comes_after_a_start_at_the_latest_is_not_missed_by_a_restart() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let topic = broker.topic("latest", 1).await;
    broker.send_to(&topic, 0, &["old"]).await;
    let query = Collecting::new(
        broker,
        &[("subscribe", &topic), ("startingOffsets", "latest")],
    );
    query.catch_up().await.expect("nothing there");
    broker.send_to(&topic, 0, &["new"]).await;
    query.catch_up().await.expect("goes on where it began");
    assert_eq!(query.values(), ["new"]);
}

#[tokio::test]
async fn a_topic_is_a_table_between_two_bounds() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let topic = timed(broker).await;
    let session = Session::new();
    let some = format!(r#"{{"{topic}":{{"0":1,"1":1}}}}"#);
    let end = format!(r#"{{"{topic}":{{"0":3,"1":-1}}}}"#);
    for (options, expected) in [
        (&[][..], "a0 a1 a2 a3 a4 b0 b1 b2 b3 b4"),
        (
            &[("startingOffsets", &some[..]), ("endingOffsets", &end)],
            "a1 a2 b1 b2 b3 b4",
        ),
        (
            &[
                ("startingTimestamp", "1001000"),
                ("endingTimestamp", "1003000"),
            ],
            "a1 a2 b0",
        ),
        (&[("startingOffsets", &end), ("endingOffsets", &some)], ""),
        (
            &[("endingTimestamp", "99999999999999")],
            "a0 a1 a2 a3 a4 b0 b1 b2 b3 b4",
        ),
        (&[("minPartitions", "7")], "a0 a1 a2 a3 a4 b0 b1 b2 b3 b4"),
    ] {
        let options = options.iter().map(|(name, value)| (*name, *value));
        // A table must not begin at its end. (Names of topics may have -1 in them.)
        let options = options.map(|(name, value)| match name {
            "startingOffsets" => (name, value.replace(":-1", ":2")),
            _ => (name, value.to_owned()),
        });
        let table = session
            .read()
            .format("kafka")
            .option("kafka.bootstrap.servers", broker.servers())
            .option("subscribe", &topic)
            .options(options.clone())
            .load(None::<&str>)
            .await
            .expect("a table");
        let rows = table.collect().await.expect("rows");
        let mut found = values(&rows);
        found.sort();
        let options: Vec<_> = options.collect();
        assert_eq!(found.join(" "), expected, "{options:?}");
    }
}

#[tokio::test]
async fn rows_hold_what_messages_hold() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let kept = [("retention.ms", "-1")];
    let topic = broker.topic_with("columns", 1, &kept).await;
    let message = Message {
        partition: Some(0),
        key: Some(b"k"),
        value: None,
        timestamp: Some(1_500),
    };
    broker
        .send(
            &topic,
            &[
                message,
                Message {
                    timestamp: Some(2_500),
                    ..Message::to(0, "v")
                },
            ],
        )
        .await;
    let session = Session::new();
    let table = session
        .read()
        .format("kafka")
        .option("kafka.bootstrap.servers", broker.servers())
        .option("subscribe", &topic)
        .option("includeHeaders", true)
        .load(None::<&str>)
        .await
        .expect("a table");
    session.register_view("t", table).expect("a name");
    let rows = session
        .sql(
            "SELECT CAST(key AS STRING) AS key, CAST(value AS STRING) AS value, partition, offset, timestamp, \
             `timestampType` AS kind, headers IS NULL AS bare FROM t ORDER BY offset",
        )
        .await
        .expect("valid")
        .collect()
        .await
        .expect("rows");
    datafusion::assert_batches_eq!(
        [
            "+-----+-------+-----------+--------+--------------------------+------+------+",
            "| key | value | partition | offset | timestamp                | kind | bare |",
            "+-----+-------+-----------+--------+--------------------------+------+------+",
            "| k   |       | 0         | 0      | 1970-01-01T00:00:01.500Z | 0    | true |",
            "|     | v     | 0         | 1      | 1970-01-01T00:00:02.500Z | 0    | true |",
            "+-----+-------+-----------+--------+--------------------------+------+------+",
        ],
        &rows
    );
    let counted = session.sql("SELECT count(*) AS n FROM t").await;
    let counted = counted.expect("valid").collect().await.expect("rows");
    datafusion::assert_batches_eq!(["+---+", "| n |", "+---+", "| 2 |", "+---+"], &counted);
}

#[tokio::test]
async fn patterns_and_single_partitions_find_their_messages() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let first = broker.topic("pattern-x", 2).await;
    let second = broker.topic("pattern-y", 1).await;
    broker.send_to(&first, 0, &["x0"]).await;
    broker.send_to(&first, 1, &["x1"]).await;
    broker.send_to(&second, 0, &["y0"]).await;
    let assigned = format!(r#"{{"{first}":[1],"{second}":[0]}}"#);
    for (option, expected) in [
        (("subscribePattern", "pattern-[xy]-.*"), "x0 x1 y0"),
        (("subscribePattern", "pattern-x.*"), "x0 x1"),
        (("assign", &assigned), "x1 y0"),
    ] {
        let query = Collecting::new(broker, &[option]);
        query.catch_up().await.expect("it can be read");
        assert_eq!(query.values().join(" "), expected, "{option:?}");
    }
}

#[tokio::test]
async fn a_topic_that_is_not_there_is_named() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let query = Collecting::new(broker, &[("subscribe", "no-such-topic")]);
    let error = query.failure().await;
    assert_eq!(error.kind(), ErrorKind::Invalid);
    for part in ["topic 'no-such-topic'", broker.servers(), "subscribe"] {
        assert!(error.message().contains(part), "{error}");
    }
}
