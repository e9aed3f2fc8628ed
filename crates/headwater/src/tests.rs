//! The façade over real sources and sinks: what a user's program sees.

use std::sync::{Arc, Mutex};

use datafusion::{
    arrow::array::{Int64Array, StringArray, TimestampMicrosecondArray},
    assert_batches_sorted_eq,
};

use crate::{connect::memory::MemoryStream, prelude::*};

mod as_of;
mod chained;
mod checkpoints;
mod diagnose;
mod explain;
mod late;
mod payloads;
mod rescaling;
mod sessions;
mod sink_tables;
mod soup;
mod sql_reference;
mod state_tables;
mod statements;
mod tables;
mod texts;
mod upgrades;
mod windowing;
mod world;
mod wrong;

const SECOND: i64 = 1_000_000;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new(
            "time",
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            true,
        ),
        Field::new("host", DataType::Utf8, true),
        Field::new("status", DataType::Int64, true),
    ]))
}

fn rows(rows: &[(i64, &str, i64)]) -> RecordBatch {
    let times: TimestampMicrosecondArray = rows.iter().map(|row| Some(row.0 * SECOND)).collect();
    let hosts: StringArray = rows.iter().map(|row| Some(row.1)).collect();
    let statuses: Int64Array = rows.iter().map(|row| Some(row.2)).collect();
    let times = times.with_timezone("UTC");
    let columns = vec![
        Arc::new(times) as _,
        Arc::new(hosts) as _,
        Arc::new(statuses) as _,
    ];
    RecordBatch::try_new(schema(), columns).expect("rows of the schema")
}

/// The query of the front page: any frame, growing or not.
fn errors_per_window(logs: DataFrame) -> Result<DataFrame> {
    logs.with_watermark("time", "10 seconds")?
        .filter(col("status").gt_eq(lit(500)))?
        .group_by([
            window(col("time"), "10 seconds").slide("5 seconds"),
            col("host"),
        ])?
        .agg([count(lit(1)).alias("errors")])?
        .select_expr(["window.start AS start", "host", "errors"])
}

fn log() -> Vec<(i64, &'static str, i64)> {
    vec![
        (1, "a", 500),
        (7, "b", 503),
        (8, "a", 200),
        (12, "a", 500),
        (60, "a", 500),
    ]
}

/// A session with one memory stream.
fn streaming(name: &str) -> (Session, MemoryStream) {
    let session = Session::new();
    let stream = MemoryStream::new(name, schema());
    session
        .register_memory_stream(&stream)
        .expect("a good name");
    (session, stream)
}

async fn table(session: &Session, name: &str) -> Vec<RecordBatch> {
    let frame = session.table(name).await.expect("a table");
    frame.collect().await.expect("rows")
}

#[tokio::test]
async fn one_function_serves_streams_and_tables() {
    let (session, stream) = streaming("logs");
    stream.add_batch(rows(&log())).expect("rows of the stream");
    let query = errors_per_window(session.table("logs").await.expect("registered"))
        .expect("a query")
        .write_stream()
        .format("memory")
        .query_name("errors")
        .output_mode(OutputMode::Complete)
        .trigger(Trigger::available_now())
        .start(None)
        .await
        .expect("started");
    query.await_termination().await.expect("it works");
    session
        .register_batch("finished", rows(&log()))
        .expect("a table");
    let batch = errors_per_window(session.table("finished").await.expect("registered"));
    let batch = batch.expect("a query").collect().await.expect("rows");
    let expected = [
        "+----------------------+------+--------+",
        "| start                | host | errors |",
        "+----------------------+------+--------+",
        "| 1969-12-31T23:59:55Z | a    | 1      |",
        "| 1970-01-01T00:00:00Z | a    | 1      |",
        "| 1970-01-01T00:00:00Z | b    | 1      |",
        "| 1970-01-01T00:00:05Z | a    | 1      |",
        "| 1970-01-01T00:00:05Z | b    | 1      |",
        "| 1970-01-01T00:00:10Z | a    | 1      |",
        "| 1970-01-01T00:00:55Z | a    | 1      |",
        "| 1970-01-01T00:01:00Z | a    | 1      |",
        "+----------------------+------+--------+",
    ];
    assert_batches_sorted_eq!(expected, &batch);
    assert_batches_sorted_eq!(expected, &table(&session, "errors").await);
}

#[tokio::test]
async fn sql_over_a_stream_feeds_a_table_of_the_session() {
    let (session, stream) = streaming("logs");
    stream.add_batch(rows(&log())).expect("rows of the stream");
    let query = session
        .sql("SELECT host, sum(status) AS s FROM logs GROUP BY host")
        .await
        .expect("a query")
        .write_stream()
        .output_mode(OutputMode::Update)
        .to_table("sums")
        .await
        .expect("started");
    query.process_all_available().await.expect("it works");
    assert_eq!(session.streams().active().len(), 1);
    query.stop().await.expect("stopped");
    assert!(!query.is_active());
    let expected = [
        "+------+------+",
        "| host | s    |",
        "+------+------+",
        "| a    | 1700 |",
        "| b    | 503  |",
        "+------+------+",
    ];
    assert_batches_sorted_eq!(expected, &table(&session, "sums").await);
}

#[tokio::test]
async fn foreach_batch_gets_each_epoch_as_a_frame() {
    let (session, stream) = streaming("logs");
    stream.add_batch(rows(&log())).expect("rows of the stream");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let writes = Arc::clone(&seen);
    let query = session
        .table("logs")
        .await
        .expect("registered")
        .write_stream()
        .foreach_batch(move |frame, epoch| {
            let writes = Arc::clone(&writes);
            async move {
                let hosts = frame.group_by(["host"])?.count()?.collect().await?;
                let hosts = hosts.iter().map(RecordBatch::num_rows).sum::<usize>();
                writes.lock().expect("not poisoned").push((epoch.0, hosts));
                Ok(())
            }
        })
        .trigger(Trigger::once())
        .start(None)
        .await
        .expect("started");
    query.await_termination().await.expect("it works");
    assert_eq!(*seen.lock().expect("not poisoned"), [(0, 2)]);
}

#[tokio::test]
async fn a_frame_does_what_its_methods_say() {
    let session = Session::new();
    session
        .register_batch("logs", rows(&log()))
        .expect("a table");
    let frame = session.table("logs").await.expect("registered");
    let frame = frame
        .with_column("bad", col("status").gt_eq(lit(500)))
        .and_then(|frame| frame.drop(&["status"]))
        .and_then(|frame| frame.with_column_renamed("host", "server"))
        .and_then(|frame| frame.alias("l"))
        .and_then(|frame| frame.filter(col("l.bad")))
        .and_then(|frame| {
            frame
                .group_by(["server"])?
                .agg([(count(lit(1)) + lit(1)).alias("n")])
        })
        .and_then(|frame| frame.sort([col("server").sort(true, true)]))
        .and_then(|frame| frame.limit(1))
        .expect("a query");
    let expected = [
        "+--------+---+",
        "| server | n |",
        "+--------+---+",
        "| a      | 4 |",
        "+--------+---+",
    ];
    assert_batches_sorted_eq!(expected, &frame.collect().await.expect("rows"));
}

#[tokio::test]
async fn lists_become_rows_in_a_selection_and_by_a_method() {
    let session = Session::builder()
        .spark_functions(true)
        .build()
        .expect("a session");
    let table = "SELECT 1 AS id, 'a b' AS text UNION ALL SELECT 2, CAST(NULL AS STRING)";
    let frame = session.sql(table).await.expect("a table");
    let selected = frame
        .clone()
        .select_expr(["id", "upper(explode(split(text, ' '))) AS word"])
        .expect("a query");
    let expected = [
        "+----+------+",
        "| id | word |",
        "+----+------+",
        "| 1  | A    |",
        "| 1  | B    |",
        "+----+------+",
    ];
    assert_batches_sorted_eq!(expected, &selected.collect().await.expect("rows"));
    let exploding = frame.expr("explode(split(text, ' '))").expect("a function");
    let exploded = frame
        .clone()
        .with_column("word", exploding)
        .expect("a column");
    let names: Vec<_> = exploded
        .schema()
        .fields()
        .iter()
        .map(|field| field.name())
        .collect();
    assert_eq!(names, ["id", "text", "word"]);
    let words = frame.expr("split(text, ' ')").expect("a function");
    let frame = frame
        .with_column("word", words)
        .and_then(|frame| frame.drop(&["text"]));
    let outer = frame
        .and_then(|frame| frame.explode_outer("word"))
        .expect("a column");
    let expected = [
        "+----+------+",
        "| id | word |",
        "+----+------+",
        "| 1  | a    |",
        "| 1  | b    |",
        "| 2  |      |",
        "+----+------+",
    ];
    assert_batches_sorted_eq!(expected, &outer.collect().await.expect("rows"));
}

#[tokio::test]
async fn aggregates_are_named_as_they_are_asked_for() {
    let session = Session::new();
    session
        .register_batch("logs", rows(&log()))
        .expect("a table");
    let frame = session.table("logs").await.expect("registered");
    let grouped = frame.group_by(["host"]).expect("a column");
    let summed = grouped.clone().sum(["status"]).expect("a column");
    assert!(
        summed
            .schema()
            .has_column_with_unqualified_name("sum(status)")
    );
    let counted = grouped.count().expect("no column");
    assert!(counted.schema().has_column_with_unqualified_name("count"));
}

#[tokio::test]
async fn what_cannot_be_is_refused_with_what_to_do() {
    let (session, _stream) = streaming("logs");
    let logs = session.table("logs").await.expect("registered");
    session
        .register_batch("finished", rows(&log()))
        .expect("a table");
    let finished = session.table("finished").await.expect("registered");
    let no_checkpoint = logs
        .clone()
        .write_stream()
        .format("parquet")
        .start("out")
        .await;
    let unknown_option = session
        .read_stream()
        .format("rate")
        .option("rowPerSecond", 5)
        .load(None);
    let cases: Vec<(Error, &str)> = vec![
        (
            logs.clone().collect().await.expect_err("endless"),
            "write_stream()",
        ),
        (
            logs.clone()
                .drop_duplicates(&["hots"])
                .expect_err("misspelt"),
            "time, host, status",
        ),
        (
            logs.clone().group_by(["hots"]).expect_err("misspelt"),
            "time, host, status",
        ),
        (
            logs.clone().drop(&["hots"]).expect_err("misspelt"),
            "time, host, status",
        ),
        (no_checkpoint.expect_err("needs one"), "checkpointLocation"),
        (unknown_option.expect_err("misspelt"), "rowsPerSecond"),
        (
            finished
                .write_stream()
                .format("noop")
                .start(None)
                .await
                .expect_err("static"),
            "read_stream()",
        ),
        (
            session
                .read_stream()
                .table("finished")
                .await
                .expect_err("static"),
            "session.table()",
        ),
        (
            session
                .read_stream()
                .load("somewhere")
                .expect_err("no format"),
            "format(",
        ),
        (
            Session::builder()
                .time_zone("Mars/Olympus")
                .build()
                .expect_err("unknown"),
            "Europe/Paris",
        ),
    ];
    for (error, remedy) in cases {
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(
            error.to_string().contains(remedy),
            "'{error}' lacks '{remedy}'"
        );
    }
}

#[tokio::test]
async fn a_frame_of_a_plain_context_cannot_stream() {
    let context = datafusion::prelude::SessionContext::new();
    let frame = DataFrame::from(context.read_batch(rows(&log())).expect("a frame"));
    let error = frame
        .write_stream()
        .start(None)
        .await
        .expect_err("no session");
    assert!(error.message().contains("headwater Session"), "{error}");
}

#[tokio::test]
async fn files_go_through_exactly_once_over_restarts() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("text").to_owned();
    let (input, output, checkpoint) = (path("in"), path("out"), path("checkpoint"));
    std::fs::create_dir(&input).expect("a folder");
    for (number, line) in [r#"{"host":"a","status":1}"#, r#"{"host":"b","status":2}"#]
        .iter()
        .enumerate()
    {
        std::fs::write(format!("{input}/{number}.json"), line).expect("a file");
        let session = Session::new();
        let query = session
            .read_stream()
            .schema(schema())
            .json(&input)
            .and_then(|logs| logs.select(["host", "status"]))
            .expect("a query")
            .write_stream()
            .partition_by(["host"])
            .option("checkpointLocation", &checkpoint)
            .trigger(Trigger::available_now())
            .start(&output)
            .await
            .expect("started");
        query.await_termination().await.expect("it works");
    }
    let session = Session::new();
    let pattern = format!("{output}/host=a");
    let written = session.read().parquet(&pattern).await.expect("Parquet");
    let expected = [
        "+--------+",
        "| status |",
        "+--------+",
        "| 1      |",
        "+--------+",
    ];
    assert_batches_sorted_eq!(expected, &written.collect().await.expect("rows"));
}

#[tokio::test]
async fn a_static_table_is_read_by_the_reader_that_streams_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("odd [name]*.txt");
    std::fs::write(&file, "{\"host\":\"a\",\"status\":1}\nno json\n").expect("a file");
    std::fs::write(folder.path().join("other.txt"), "{\"host\":\"b\"}\n").expect("a file");
    let session = Session::new();
    let lines = session.read().text(&file).await.expect("lines");
    let expected = [
        "+-------------------------+",
        "| value                   |",
        "+-------------------------+",
        "| no json                 |",
        "| {\"host\":\"a\",\"status\":1} |",
        "+-------------------------+",
    ];
    assert_batches_sorted_eq!(expected, &lines.collect().await.expect("rows"));

    let schema = Schema::new(vec![Field::new("host", DataType::Utf8, true)]);
    let reader = session
        .read()
        .schema(schema)
        .option("mode", "DROPMALFORMED");
    let hosts = reader.json(folder.path()).await.expect("rows");
    let expected = [
        "+------+", "| host |", "+------+", "| a    |", "| b    |", "+------+",
    ];
    assert_batches_sorted_eq!(expected, &hosts.collect().await.expect("rows"));
}
