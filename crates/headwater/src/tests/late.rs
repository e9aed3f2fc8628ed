//! Late rows as data: what is recorded of them, for every operator that drops rows.

use std::sync::Arc;

use datafusion::{assert_batches_sorted_eq, scalar::ScalarValue};

use super::{rows, streaming, table};
use crate::{
    connect::memory::MemoryStream,
    prelude::*,
    processor::{GroupState, Output},
};

/// One row: seconds, host, status.
type Log = (i64, &'static str, i64);

/// Runs a query over blocks of rows, each until there is nothing left to do, with late rows in the table `late`; how
/// many rows the progress reports count as late.
async fn run(
    frame: DataFrame,
    mode: OutputMode,
    stream: &MemoryStream,
    blocks: &[&[Log]],
) -> Result<u64> {
    let query = frame
        .write_stream()
        .format("memory")
        .query_name("out")
        .output_mode(mode)
        .late_rows_to(LateRows::table("late"))
        .start(None)
        .await?;
    for block in blocks {
        stream.add_batch(rows(block))?;
        query.process_all_available().await?;
    }
    let epochs = query.recent_progress();
    query.stop().await?;
    for epoch in &epochs {
        let written = epoch.late_sink.as_ref().map(|sink| sink.num_output_rows);
        let operators = epoch.state_operators.iter();
        let counted = operators.map(|operator| operator.num_rows_dropped_by_watermark);
        assert_eq!(written, Some(counted.sum()), "epoch {}", epoch.batch_id);
    }
    let epochs = epochs.iter();
    let counted = epochs.flat_map(|epoch| &epoch.state_operators);
    Ok(counted
        .map(|operator| operator.num_rows_dropped_by_watermark)
        .sum())
}

/// The columns `columns` of the late rows.
async fn late(session: &Session, columns: &[&str]) -> Vec<RecordBatch> {
    let frame = session.table("late").await.expect("late rows");
    let frame = frame.select_expr(columns.iter().copied()).expect("columns");
    frame.collect().await.expect("rows")
}

fn columns(batches: &[RecordBatch]) -> Vec<String> {
    let schema = batches[0].schema();
    let fields = schema.fields().iter();
    fields.map(|field| field.name().clone()).collect()
}

const WINDOW: [&str; 7] = [
    "date_part('second', time) AS s",
    "host",
    "status",
    "late_operator AS op",
    "date_part('second', late_window_start) AS start",
    "date_part('second', late_window_end) AS end",
    "date_part('second', late_watermark) AS watermark",
];

#[tokio::test]
async fn a_record_has_all_columns_of_the_row_also_those_that_nobody_asks_for() {
    let (session, stream) = streaming("logs");
    let logs = session.table("logs").await.expect("registered");
    // The plan itself needs the time only.
    let counts = logs
        .with_watermark("time", "0 seconds")
        .and_then(|logs| logs.group_by([window(col("time"), "10 seconds")]))
        .and_then(|groups| groups.agg([count(lit(1)).alias("n")]))
        .expect("a query");
    let blocks: [&[Log]; 3] = [
        &[(1, "a", 500), (25, "a", 200)],
        &[(3, "b", 503), (12, "c", 404), (26, "d", 1)],
        &[(19, "e", 7)],
    ];
    let dropped = run(counts, OutputMode::Append, &stream, &blocks).await;
    assert_eq!(dropped.expect("it runs"), 3);
    assert_batches_sorted_eq!(
        [
            "+----+------+--------+-------------+-------+-----+-----------+",
            "| s  | host | status | op          | start | end | watermark |",
            "+----+------+--------+-------------+-------+-----+-----------+",
            "| 12 | c    | 404    | aggregate-0 | 10    | 20  | 25        |",
            "| 19 | e    | 7      | aggregate-0 | 10    | 20  | 26        |",
            "| 3  | b    | 503    | aggregate-0 | 0     | 10  | 25        |",
            "+----+------+--------+-------------+-------+-----+-----------+",
        ],
        &late(&session, &WINDOW).await
    );
    let all = table(&session, "late").await;
    let names = [
        "time",
        "host",
        "status",
        "late_operator",
        "late_input",
        "late_window_start",
        "late_window_end",
        "late_watermark",
        "late_epoch",
    ];
    assert_eq!(columns(&all), names);
}

#[tokio::test]
async fn a_row_is_recorded_for_each_window_that_it_is_late_for() {
    let (session, stream) = streaming("logs");
    let logs = session.table("logs").await.expect("registered");
    let counts = logs
        .with_watermark("time", "0 seconds")
        .and_then(|logs| logs.group_by([window(col("time"), "10 seconds").slide("5 seconds")]))
        .and_then(|groups| groups.agg([count(lit(1)).alias("n")]))
        .expect("a query");
    let blocks: [&[Log]; 2] = [&[(16, "a", 1)], &[(2, "b", 2), (8, "c", 3), (12, "d", 4)]];
    let dropped = run(counts, OutputMode::Update, &stream, &blocks).await;
    assert_eq!(dropped.expect("it runs"), 5);
    assert_batches_sorted_eq!(
        [
            "+---+----+-----+",
            "| s | st | end |",
            "+---+----+-----+",
            "| b | -5 | 5   |",
            "| b | 0  | 10  |",
            "| c | 0  | 10  |",
            "| c | 5  | 15  |",
            "| d | 5  | 15  |",
            "+---+----+-----+",
        ],
        &late(
            &session,
            &[
                "host AS s",
                "CAST(late_window_start AS BIGINT) / 1000000 AS st",
                "CAST(late_window_end AS BIGINT) / 1000000 AS end",
            ]
        )
        .await
    );
}

#[tokio::test]
async fn a_row_that_opens_no_live_session_is_recorded_with_its_own_interval() {
    let (session, stream) = streaming("logs");
    let visits = session
        .sql(
            "SELECT session_window.end AS e, host, count(*) AS n FROM logs WATERMARK time DELAY OF INTERVAL 0 SECONDS \
             GROUP BY session_window(time, '5 seconds'), host",
        )
        .await
        .expect("a query");
    let blocks: [&[Log]; 2] = [&[(1, "a", 1), (20, "a", 2)], &[(4, "a", 3), (16, "b", 4)]];
    let dropped = run(visits, OutputMode::Append, &stream, &blocks).await;
    assert_eq!(dropped.expect("it runs"), 1);
    assert_batches_sorted_eq!(
        [
            "+---+------+--------+-----------+-------+-----+-----------+",
            "| s | host | status | op        | start | end | watermark |",
            "+---+------+--------+-----------+-------+-----+-----------+",
            "| 4 | a    | 3      | session-0 | 4     | 9   | 20        |",
            "+---+------+--------+-----------+-------+-----+-----------+",
        ],
        &late(&session, &WINDOW).await
    );
}

#[tokio::test]
async fn a_row_that_is_late_by_its_own_time_has_no_window() {
    for within in [false, true] {
        let (session, stream) = streaming("logs");
        let logs = session.table("logs").await.expect("registered");
        let logs = logs.with_watermark("time", "0 seconds").expect("a time");
        let first = match within {
            false => logs.drop_duplicates(&["host", "time"]),
            true => logs.drop_duplicates_within_watermark(&["host"]),
        };
        let first = first.and_then(|first| first.select_expr(["host"]));
        let blocks: [&[Log]; 2] = [&[(10, "a", 1)], &[(9, "a", 2), (10, "b", 3), (11, "c", 4)]];
        let dropped = run(
            first.expect("a query"),
            OutputMode::Append,
            &stream,
            &blocks,
        )
        .await;
        assert_eq!(dropped.expect("it runs"), 2);
        assert_batches_sorted_eq!(
            [
                "+----+------+--------+---------+-------+-----+-----------+",
                "| s  | host | status | op      | start | end | watermark |",
                "+----+------+--------+---------+-------+-----+-----------+",
                "| 10 | b    | 3      | dedup-0 |       |     | 10        |",
                "| 9  | a    | 2      | dedup-0 |       |     | 10        |",
                "+----+------+--------+---------+-------+-----+-----------+",
            ],
            &late(&session, &WINDOW).await
        );
    }
}

/// Gives out how many rows a key has in the epoch.
fn count_rows(
    key: &[ScalarValue],
    rows: &RecordBatch,
    _state: &mut GroupState,
    output: &mut Output,
) -> Result<()> {
    output.row((key[0].clone(), rows.num_rows() as i64))
}

#[tokio::test]
async fn a_row_too_late_for_a_processor_is_recorded_with_all_its_columns() {
    let (session, stream) = streaming("logs");
    let output = [("host", DataType::Utf8), ("n", DataType::Int64)];
    session
        .register_group_function("count", [("unused", DataType::Int64)], output, count_rows)
        .expect("a function");
    let logs = session.table("logs").await.expect("registered");
    let counted = logs
        .with_watermark("time", "0 seconds")
        .and_then(|logs| logs.group_by_key(["host"]))
        .and_then(|logs| logs.flat_map_groups_with_state("count", TimeMode::EventTime));
    let blocks: [&[Log]; 2] = [&[(10, "a", 1)], &[(9, "a", 2), (10, "b", 3), (11, "c", 4)]];
    let dropped = run(
        counted.expect("a query"),
        OutputMode::Append,
        &stream,
        &blocks,
    )
    .await;
    assert_eq!(dropped.expect("it runs"), 2);
    assert_batches_sorted_eq!(
        [
            "+----+------+--------+-------------+-------+-----+-----------+",
            "| s  | host | status | op          | start | end | watermark |",
            "+----+------+--------+-------------+-------+-----+-----------+",
            "| 10 | b    | 3      | processor-0 |       |     | 10        |",
            "| 9  | a    | 2      | processor-0 |       |     | 10        |",
            "+----+------+--------+-------------+-------+-----+-----------+",
        ],
        &late(&session, &WINDOW).await
    );
    let out: Vec<String> = table(&session, "out")
        .await
        .iter()
        .map(|batch| format!("{batch:?}"))
        .collect();
    assert!(!out.join("").contains("\"b\""), "{out:?}");
}

#[tokio::test]
async fn records_of_a_join_say_which_side_the_row_came_from() {
    let (session, stream) = streaming("logs");
    let pairs = session
        .sql(
            "SELECT l.host AS host FROM logs WATERMARK time DELAY OF INTERVAL 0 SECONDS AS l \
             RIGHT SEMI JOIN (SELECT time, host AS other, status * 2 AS twice FROM logs \
             WATERMARK time DELAY OF INTERVAL 3 SECONDS) AS r \
             ON l.host = r.other AND r.time BETWEEN l.time AND l.time + INTERVAL 5 SECONDS",
        )
        .await;
    // A right semi join gives columns of the right side only.
    assert!(pairs.is_err());
    let pairs = session
        .sql(
            "SELECT r.other AS host FROM logs WATERMARK time DELAY OF INTERVAL 0 SECONDS AS l \
             RIGHT SEMI JOIN (SELECT time, host AS other, status * 2 AS twice FROM logs \
             WATERMARK time DELAY OF INTERVAL 3 SECONDS) AS r \
             ON l.host = r.other AND r.time BETWEEN l.time AND l.time + INTERVAL 5 SECONDS",
        )
        .await
        .expect("a query");
    let blocks: [&[Log]; 2] = [&[(20, "a", 1)], &[(17, "b", 7), (18, "c", 8)]];
    let dropped = run(pairs, OutputMode::Append, &stream, &blocks).await;
    assert_eq!(dropped.expect("it runs"), 2);
    assert_batches_sorted_eq!(
        [
            "+----+------+--------+-------+-------+--------+-------+",
            "| s  | host | status | other | twice | op     | input |",
            "+----+------+--------+-------+-------+--------+-------+",
            "| 17 |      |        | b     | 14    | join-0 | right |",
            "| 17 | b    | 7      |       |       | join-0 | left  |",
            "+----+------+--------+-------+-------+--------+-------+",
        ],
        &late(
            &session,
            &[
                "date_part('second', time) AS s",
                "host",
                "status",
                "other",
                "twice",
                "late_operator AS op",
                "late_input AS input",
            ]
        )
        .await
    );
}

#[tokio::test]
async fn operators_of_unlike_inputs_share_one_schema_or_are_refused() {
    let (session, stream) = streaming("logs");
    let chained = |inner: &str| {
        format!(
            "SELECT window.start AS ws, count(*) AS windows FROM (SELECT window(time, '5 seconds') AS w, {inner} AS n \
             FROM logs WATERMARK time DELAY OF INTERVAL 0 SECONDS GROUP BY window(time, '5 seconds'), status) \
             GROUP BY window(w, '10 seconds')"
        )
    };
    let frame = session.sql(&chained("max(host)")).await.expect("a query");
    let blocks: [&[Log]; 2] = [&[(21, "a", 1)], &[(4, "b", 2)]];
    let dropped = run(frame, OutputMode::Append, &stream, &blocks).await;
    assert_eq!(dropped.expect("it runs"), 1);
    let all = table(&session, "late").await;
    assert_eq!(columns(&all)[..5], ["time", "host", "status", "w", "n"]);
    assert_batches_sorted_eq!(
        [
            "+---+------+--------+-------------+",
            "| n | host | status | op          |",
            "+---+------+--------+-------------+",
            "|   | b    | 2      | aggregate-1 |",
            "+---+------+--------+-------------+",
        ],
        &late(&session, &["n", "host", "status", "late_operator AS op"]).await
    );
    let unlike = chained("max(host)").replace(" AS n ", " AS status ");
    let frame = session.sql(&unlike).await.expect("a query");
    let error = run(frame, OutputMode::Append, &stream, &[]).await;
    let message = error.expect_err("refused").to_string();
    assert!(
        message.contains("the column 'status' is Int64 in the input of aggregate-1 and Utf8")
            && message.contains("in the input of aggregate-0: rename one of them"),
        "{message}"
    );
}

/// A query in a folder of its own, started and stopped again and again.
struct Restarts {
    folder: tempfile::TempDir,
    session: Session,
    stream: MemoryStream,
    sql: &'static str,
}

impl Restarts {
    fn of(sql: &'static str) -> Self {
        let (session, stream) = streaming("logs");
        Self {
            folder: tempfile::tempdir().expect("a folder"),
            session,
            stream,
            sql,
        }
    }

    fn place(&self, name: &str) -> String {
        let place = self.folder.path().join(name);
        place.to_str().expect("text").to_owned()
    }

    async fn start(&self, late: Option<&str>) -> Result<StreamingQuery> {
        let frame = self.session.sql(self.sql).await?;
        let checkpoint = self.place("checkpoint");
        let writer = frame
            .write_stream()
            .option("checkpointLocation", checkpoint);
        let writer = match late {
            None => writer,
            Some(late) => writer.late_rows_to(LateRows::format("json").path(self.place(late))),
        };
        writer.start(self.place("out")).await
    }

    /// Runs over further rows and stops.
    async fn run(&self, late: Option<&str>, more: &[Log]) -> Result<()> {
        let query = self.start(late).await?;
        self.stream.add_batch(rows(more))?;
        query.process_all_available().await?;
        query.stop().await
    }
}

#[tokio::test]
async fn a_sink_of_late_rows_may_be_added_but_not_left_out() {
    let query = Restarts::of(
        "SELECT l.host AS host FROM logs WATERMARK time DELAY OF INTERVAL 0 SECONDS AS l \
         JOIN logs WATERMARK time DELAY OF INTERVAL 0 SECONDS AS r \
         ON l.host = r.host AND r.time BETWEEN l.time AND l.time + INTERVAL 2 SECONDS",
    );
    let run = query.run(None, &[(1, "a", 1), (20, "a", 2)]).await;
    run.expect("it runs");
    // What is only recorded is not kept in state: `status` changes nothing there.
    let run = query.run(Some("late"), &[(2, "a", 3), (21, "a", 4)]).await;
    run.expect("it goes on");
    let schema = Schema::new(vec![
        Field::new("status", DataType::Int64, true),
        Field::new("late_input", DataType::Utf8, true),
    ]);
    let reader = query.session.read().schema(schema);
    let written = reader.json(query.place("late")).await.expect("files");
    assert_batches_sorted_eq!(
        [
            "+--------+------------+",
            "| status | late_input |",
            "+--------+------------+",
            "| 3      | left       |",
            "| 3      | right      |",
            "+--------+------------+",
        ],
        &written.collect().await.expect("rows")
    );
    for other in [None, Some("elsewhere")] {
        let error = query.start(other).await.expect_err("refused").to_string();
        assert!(
            error.contains("start the query with late_rows_to"),
            "{error}"
        );
    }
    let run = query.run(Some("late"), &[(22, "a", 5)]).await;
    run.expect("as before");
}

#[tokio::test]
async fn where_late_rows_need_more_of_an_operator_below_a_restart_says_so() {
    let query = Restarts::of(
        "SELECT window.start AS ws, count(*) AS n FROM (SELECT l.time AS time, r.status AS status \
         FROM logs WATERMARK time DELAY OF INTERVAL 0 SECONDS AS l \
         JOIN logs WATERMARK time DELAY OF INTERVAL 0 SECONDS AS r \
         ON l.host = r.host AND r.time BETWEEN l.time AND l.time + INTERVAL 2 SECONDS) \
         GROUP BY window(time, '5 seconds')",
    );
    let run = query.run(None, &[(1, "a", 1), (20, "a", 2)]).await;
    run.expect("it runs");
    let error = query
        .start(Some("late"))
        .await
        .expect_err("refused")
        .to_string();
    assert!(
        error.contains("'join-1'") && error.contains("status: Int64"),
        "{error}"
    );
    let query = Restarts::of(
        "SELECT window.start AS ws, count(*) AS n FROM (SELECT window(time, '5 seconds') AS w, host, \
         max(status) AS worst FROM logs WATERMARK time DELAY OF INTERVAL 0 SECONDS \
         GROUP BY window(time, '5 seconds'), host) GROUP BY window(w, '10 seconds')",
    );
    let run = query.run(None, &[(1, "a", 1), (20, "a", 2)]).await;
    run.expect("it runs");
    let error = query
        .start(Some("late"))
        .await
        .expect_err("refused")
        .to_string();
    assert!(
        error.contains("operator 'aggregate-1'") && error.contains("column 'max(status)["),
        "{error}"
    );
}

#[tokio::test]
async fn late_rows_where_the_result_goes_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("text").to_owned();
    let (session, _stream) = streaming("logs");
    let writer = || async {
        let logs = session.table("logs").await.expect("registered");
        logs.write_stream()
            .option("checkpointLocation", path("checkpoint"))
    };
    let inside = writer()
        .await
        .late_rows_to(path("out/late"))
        .start(path("out"))
        .await;
    let message = inside.expect_err("refused").to_string();
    assert!(
        message.contains("would be read together with the output"),
        "{message}"
    );
    let same = writer().await.format("memory").query_name("t");
    let same = same.late_rows_to(LateRows::table("t")).start(None).await;
    let message = same.expect_err("refused").to_string();
    assert!(message.contains("would both be the table 't'"), "{message}");
    let logs = session.table("logs").await.expect("registered");
    let forgetful = logs
        .write_stream()
        .format("noop")
        .late_rows_to(path("late"));
    let message = forgetful
        .start(None)
        .await
        .expect_err("refused")
        .to_string();
    assert!(
        message.contains("say where the query's checkpoint is"),
        "{message}"
    );
}

#[tokio::test]
async fn a_function_gets_the_late_rows_of_each_epoch() {
    let (session, stream) = streaming("logs");
    let logs = session.table("logs").await.expect("registered");
    let logs = logs.with_watermark("time", "0 seconds").expect("a time");
    let first = logs.drop_duplicates(&["time"]).expect("a column");
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (notes, sink) = (Arc::clone(&seen), "noop");
    let late = LateRows::foreach_batch(move |rows, epoch| {
        let notes = Arc::clone(&notes);
        async move {
            let batches = rows.collect().await?;
            let count: usize = batches.iter().map(RecordBatch::num_rows).sum();
            notes.lock().expect("no panic").push((epoch.0, count));
            Ok(())
        }
    });
    let query = first
        .write_stream()
        .format(sink)
        .late_rows_to(late)
        .start(None)
        .await;
    let query = query.expect("started");
    stream.add_batch(rows(&[(10, "a", 1)])).expect("rows");
    query.process_all_available().await.expect("it runs");
    stream
        .add_batch(rows(&[(9, "a", 1), (8, "a", 1)]))
        .expect("rows");
    query.process_all_available().await.expect("it runs");
    query.stop().await.expect("stopped");
    let seen = seen.lock().expect("no panic");
    assert_eq!(seen.iter().map(|(_, count)| count).sum::<usize>(), 2);
    assert!(seen.contains(&(2, 2)), "{seen:?}");
}
