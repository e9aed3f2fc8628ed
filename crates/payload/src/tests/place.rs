//! Errors name the message that they are about.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BinaryArray, Int32Array, Int64Array, RecordBatch, StringArray,
};
use datafusion::common::Result;
use datafusion::execution::SessionStateBuilder;
use datafusion::prelude::SessionContext;

use crate::{PlaceOfMessages, functions};

/// Two messages of a topic, the second one malformed whatever it should be.
fn session() -> SessionContext {
    let mut builder = SessionStateBuilder::new().with_default_features();
    builder
        .scalar_functions()
        .get_or_insert_default()
        .extend(functions());
    let analyzer = builder.analyzer().get_or_insert_default();
    analyzer.rules.push(Arc::new(PlaceOfMessages));
    let session = SessionContext::new_with_state(builder.build());
    let values: [&[u8]; 2] = [b"{\"id\": 1}", b"{\"id\": "];
    let columns: [(&str, ArrayRef); 4] = [
        ("value", Arc::new(BinaryArray::from_iter_values(values))),
        ("topic", Arc::new(StringArray::from(vec!["orders"; 2]))),
        ("partition", Arc::new(Int32Array::from(vec![3; 2]))),
        ("offset", Arc::new(Int64Array::from(vec![41, 42]))),
    ];
    let batch = RecordBatch::try_from_iter(columns).expect("columns of one length");
    session.register_batch("messages", batch).expect("a table");
    session
}

async fn run(query: &str) -> Result<usize> {
    let batches = session().sql(query).await?.collect().await?;
    Ok(batches.iter().map(RecordBatch::num_rows).sum())
}

const FAILFAST: &str = "from_json(value, 'id BIGINT', MAP {'mode': 'FAILFAST'})";

#[tokio::test]
async fn a_malformed_message_is_named_by_topic_partition_and_offset() {
    let message = "the value of topic 'orders', partition 3, offset 42 is malformed";
    for query in [
        format!("SELECT {FAILFAST} FROM messages"),
        format!("SELECT m.\"offset\", {FAILFAST} AS it FROM messages AS m WHERE \"offset\" > 41"),
        format!("SELECT value FROM messages WHERE {FAILFAST} IS NOT NULL"),
        "SELECT from_csv(value, 'a INT, b INT', MAP {'mode': 'FAILFAST'}) FROM messages WHERE \"offset\" = 42".to_owned(),
        "SELECT from_avro(value, '\"string\"') FROM messages WHERE \"offset\" = 42".to_owned(),
    ] {
        let error = run(&query).await.expect_err(&query).to_string();
        assert!(error.contains(message), "{query}: {error}");
    }
}

#[tokio::test]
async fn where_the_columns_are_not_at_hand_the_row_is_named() {
    let query = format!("SELECT {FAILFAST} FROM (SELECT value, partition FROM messages) AS m");
    let error = run(&query).await.expect_err("malformed").to_string();
    assert!(error.contains("the value of row 1 of its batch"), "{error}");
}

#[tokio::test]
async fn a_call_that_cannot_fail_reads_the_value_only() {
    let permissive = "from_json(value, 'id BIGINT', MAP {'mode': 'permissive'})";
    for (call, places) in [(permissive, false), (FAILFAST, true)] {
        let frame = session().sql(&format!("SELECT {call} FROM messages")).await;
        let frame = frame.expect("a query");
        let name = frame.schema().field(0).name().clone();
        assert!(!name.contains("offset"), "{name}");
        let plan = frame.into_optimized_plan().expect("a plan");
        assert_eq!(plan.schema().field(0).name(), &name);
        let plan = plan.display_indent().to_string();
        assert_eq!(plan.contains("offset"), places, "{plan}");
    }
    let rows = run(&format!("SELECT {permissive} FROM messages")).await;
    assert_eq!(rows.expect("rows"), 2);
}

#[tokio::test]
async fn what_is_no_place_is_an_argument_too_many() {
    for call in [
        "from_json(value, 'id BIGINT', MAP {'mode': 'FAILFAST'}, 1, 2, 3)",
        "to_json(named_struct('a', 1), topic, partition, \"offset\")",
    ] {
        let error = run(&format!("SELECT {call} FROM messages")).await;
        let error = error.expect_err("refused").to_string();
        assert!(error.contains("arguments"), "{error}");
    }
}

#[tokio::test]
async fn only_a_message_of_the_same_rows_has_their_place() {
    let session = session();
    let other =
        RecordBatch::try_from_iter([("doc", Arc::new(StringArray::from(vec!["{"])) as ArrayRef)]);
    session
        .register_batch("other", other.expect("a column"))
        .expect("a table");
    for query in [
        "SELECT from_json(o.doc, 'id BIGINT', MAP {'mode': 'FAILFAST'}) FROM messages AS m CROSS JOIN other AS o",
        "SELECT from_json('{', 'id BIGINT', MAP {'mode': 'FAILFAST'}) FROM messages",
        // No row of the topic beside it.
        "SELECT from_json(coalesce(m.value, X'7b'), 'id BIGINT', MAP {'mode': 'FAILFAST'})
         FROM other AS o LEFT JOIN messages AS m ON m.\"offset\" = length(o.doc)",
    ] {
        let frame = session.sql(query).await;
        let error = match frame {
            Ok(frame) => frame.collect().await.expect_err(query).to_string(),
            Err(error) => error.to_string(),
        };
        assert!(
            error.contains("of its batch is malformed"),
            "{query}: {error}"
        );
    }
}
