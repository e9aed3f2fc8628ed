//! Conditions and aggregates as SQL text.

use super::*;

/// A session with the log under two names.
fn two_tables() -> Session {
    let session = Session::new();
    for name in ["logs", "others"] {
        let registered = session.register_batch(name, rows(&log()));
        registered.expect("a table");
    }
    session
}

#[tokio::test]
async fn conditions_and_aggregates_are_read_from_text() {
    let frame = two_tables().table("logs").await.expect("registered");
    let frame = frame
        .filter_expr("status >= 500")
        .and_then(|frame| frame.group_by(["host"]))
        .and_then(|group| {
            group.agg_expr([
                "count(*) AS n",
                "first_value(status ORDER BY time DESC) AS newest",
            ])
        })
        .expect("a query");
    let expected = [
        "+------+---+--------+",
        "| host | n | newest |",
        "+------+---+--------+",
        "| a    | 3 | 500    |",
        "| b    | 1 | 503    |",
        "+------+---+--------+",
    ];
    assert_batches_sorted_eq!(expected, &frame.collect().await.expect("rows"));
}

#[tokio::test]
async fn a_join_takes_its_condition_as_text() {
    let session = two_tables();
    let left = session.table("logs").await.expect("registered");
    let right = session.table("others").await.expect("registered");
    let joined = left
        .join_expr(
            right,
            JoinType::Left,
            "logs.host = others.host AND others.time BETWEEN logs.time + INTERVAL '1 second' AND logs.time + INTERVAL '10 seconds'",
        )
        .and_then(|joined| joined.group_by(["logs.host"])?.agg_expr(["count(*) AS n", "count(others.time) AS met"]))
        .expect("a query");
    let expected = [
        "+------+---+-----+",
        "| host | n | met |",
        "+------+---+-----+",
        "| a    | 4 | 2   |",
        "| b    | 1 | 0   |",
        "+------+---+-----+",
    ];
    assert_batches_sorted_eq!(expected, &joined.collect().await.expect("rows"));
}

#[tokio::test]
async fn a_join_of_columns_that_cannot_be_told_apart_says_so() {
    let session = two_tables();
    let frame = session.table("logs").await.expect("registered");
    let error = frame
        .clone()
        .join_expr(frame, JoinType::Inner, "host = host");
    let error = error.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("alias"), "{error}");
}
