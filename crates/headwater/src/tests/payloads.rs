//! Messages as columns and back, as users write them: in SQL with both kinds of words, in Rust, and over streams.

use datafusion::arrow::array::BinaryArray;
use datafusion::functions::core::expr_ext::FieldAccessor;

use super::world::shown;
use super::*;

const MESSAGES: [&str; 4] = [
    r#"{"id":1,"at":"2024-01-01T00:00:01Z","tags":["a","b"],"more":{"x":1}}"#,
    r#"{"id":2,"at":"2024-01-01T00:00:02Z"}"#,
    r#"{"id":"three"}"#,
    "no json",
];

fn messages(texts: &[&str]) -> RecordBatch {
    let values = BinaryArray::from_iter_values(texts);
    RecordBatch::try_from_iter_with_nullable([("value", Arc::new(values) as _, true)])
        .expect("a batch")
}

/// A session with DataFusion's words and one with Spark's.
fn sessions() -> [Session; 2] {
    let spark = Session::builder().spark_functions(true).build();
    [Session::new(), spark.expect("a session")]
}

async fn rows_of(session: &Session, sql: &str) -> Result<Vec<String>> {
    Ok(shown(&session.sql(sql).await?.collect().await?))
}

#[tokio::test]
async fn messages_become_columns_with_either_words() {
    for session in sessions() {
        session
            .register_batch("topic", messages(&MESSAGES))
            .expect("registered");
        let sql = "SELECT m.id, m.tags, m._corrupt_record AS bad FROM (SELECT from_json(value, \
                   'id BIGINT, tags ARRAY<STRING>, _corrupt_record STRING') AS m FROM topic) t";
        let rows = rows_of(&session, sql).await.expect("rows");
        assert_eq!(
            rows,
            ["  no json", r#"  {"id":"three"}"#, "1 [a, b] ", "2  "]
        );
        let sql = "SELECT to_json(m) AS j FROM (SELECT from_json(CAST(value AS STRING), 'id BIGINT, at TIMESTAMP') AS m FROM topic) t";
        let rows = rows_of(&session, sql).await.expect("rows");
        assert_eq!(
            rows,
            [
                r#"{"id":1,"at":"2024-01-01T00:00:01.000Z"}"#,
                r#"{"id":2,"at":"2024-01-01T00:00:02.000Z"}"#,
                "{}",
                "{}",
            ]
        );
        let sql =
            "SELECT to_csv(from_csv(value, 'a STRING, b INT', map('sep', ':'))) AS c FROM topic";
        assert_eq!(rows_of(&session, sql).await.expect("rows").len(), 4);
    }
}

#[tokio::test]
async fn options_are_checked_before_there_are_rows() {
    for (session, map) in sessions().into_iter().zip([
        "MAP {'mode': 'FAILFAST', 'wibble': '1'}",
        "map('mode', 'FAILFAST', 'wibble', '1')",
    ]) {
        session
            .register_batch("topic", messages(&[]))
            .expect("registered");
        for (options, part) in [
            (map, "'wibble'"),
            ("map('mode', 'DROPMALFORMED')", "DROPMALFORMED"),
        ] {
            let sql = format!("SELECT from_json(value, 'id INT', {options}) AS m FROM topic");
            let refused = rows_of(&session, &sql).await.expect_err(options);
            assert!(refused.to_string().contains(part), "{refused}");
        }
        let refused = rows_of(&session, "SELECT from_json(value, 'id WIBBLE') FROM topic").await;
        assert!(refused.expect_err("no type").to_string().contains("WIBBLE"));
    }
}

#[tokio::test]
async fn a_malformed_message_fails_the_query_if_asked_to() {
    for session in sessions() {
        session
            .register_batch("topic", messages(&MESSAGES))
            .expect("registered");
        let sql = "SELECT from_json(value, 'id BIGINT', map('mode', 'FAILFAST')) AS m FROM topic";
        let failed = rows_of(&session, sql).await.expect_err("malformed");
        assert_eq!(failed.kind(), ErrorKind::Data, "{failed}");
        assert!(failed.to_string().contains("row 2"), "{failed}");
    }
}

#[tokio::test]
async fn raw_bytes_are_read_as_in_spark() {
    let [_, spark] = sessions();
    let bytes: [&[u8]; 1] = [&[0, 0, 0, 1, 0x2a, b'h', b'i']];
    let values = BinaryArray::from_iter_values(bytes);
    let batch = RecordBatch::try_from_iter([("value", Arc::new(values) as _)]).expect("a batch");
    spark.register_batch("topic", batch).expect("registered");
    for (expression, row) in [
        ("hex(value)", "000000012A6869"),
        ("CAST(substring(value, 6, 2) AS STRING)", "hi"),
        ("decode(substring(value, 6, 2), 'UTF-8')", "hi"),
        ("hex(encode('é', 'UTF-8'))", "C3A9"),
        ("conv(hex(substring(value, 2, 4)), 16, 10)", "298"),
        ("length(value)", "7"),
        ("base64(substring(value, 6, 2))", "aGk="),
        ("hex(unbase64('aGk='))", "6869"),
    ] {
        let sql = format!("SELECT {expression} AS x FROM topic");
        let rows = rows_of(&spark, &sql).await;
        assert_eq!(rows.expect(expression), [row], "{expression}");
    }
}

#[tokio::test]
async fn a_stream_of_messages_is_grouped_by_what_is_in_them() -> Result<()> {
    let session = Session::new();
    let schema = messages(&[]).schema();
    let topic = MemoryStream::new("topic", schema);
    session.register_memory_stream(&topic)?;
    let counted = session
        .read_stream()
        .table("topic")
        .await?
        .select([from_json(col("value"), "id BIGINT, at TIMESTAMP").alias("m")])?
        .select([
            col("m").field("id").alias("id"),
            col("m").field("at").alias("at"),
        ])?
        .with_watermark("at", "1 second")?
        .group_by([window(col("at"), "10 seconds")])?
        .agg([count(col("id")).alias("ids")])?
        .select_expr(["window.start AS start", "ids"])?
        .select([
            to_json(datafusion::functions::core::expr_fn::named_struct(vec![
                lit("ids"),
                col("ids"),
            ]))
            .alias("value"),
        ])?;
    let query = counted
        .write_stream()
        .output_mode(OutputMode::Append)
        .to_table("counted")
        .await?;
    topic.add_batch(messages(&MESSAGES))?;
    topic.add_batch(messages(&[r#"{"id":9,"at":"2024-01-01T00:01:00Z"}"#]))?;
    query.process_all_available().await?;
    let rows = shown(&session.table("counted").await?.collect().await?);
    query.stop().await?;
    assert_eq!(rows, [r#"{"ids":2}"#]);
    Ok(())
}
