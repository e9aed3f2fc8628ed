//! Session windows through the façade: frames and SQL, over streams and over tables.

use datafusion::assert_batches_sorted_eq;

use super::{log, rows, streaming};
use crate::prelude::*;

/// Visits of each host, with a pause of five seconds between two of them, or another gap.
fn visits(logs: DataFrame, gap: impl Into<crate::Gap>) -> Result<DataFrame> {
    logs.with_watermark("time", "10 seconds")?
        .group_by([session_window(col("time"), gap), col("host")])?
        .agg([count(lit(1)).alias("n"), max(col("status")).alias("worst")])?
        .select_expr([
            "session_window.start AS start",
            "session_window.end AS end",
            "host",
            "n",
            "worst",
        ])
}

/// The answer of a query over a finished table, and over a stream of the same rows in complete mode.
async fn both_answers(
    query: impl Fn(DataFrame) -> Result<DataFrame>,
) -> (Vec<RecordBatch>, Vec<RecordBatch>) {
    let (session, stream) = streaming("logs");
    session
        .register_batch("finished", rows(&log()))
        .expect("a table");
    let finished = session.table("finished").await.expect("registered");
    let batch = query(finished).expect("a query").collect().await;
    // Two epochs, so that sessions grow from one to the next.
    let all = log();
    let (first, second) = all.split_at(2);
    stream.add_batch(rows(first)).expect("rows of the stream");
    let running = query(session.table("logs").await.expect("registered"))
        .expect("a query")
        .write_stream()
        .format("memory")
        .query_name("visits")
        .output_mode(OutputMode::Complete)
        .start(None)
        .await
        .expect("started");
    running.process_all_available().await.expect("it works");
    stream.add_batch(rows(second)).expect("rows of the stream");
    running.process_all_available().await.expect("it works");
    running.stop().await.expect("stopped");
    let streamed = session.table("visits").await.expect("a table").collect();
    (batch.expect("rows"), streamed.await.expect("rows"))
}

#[tokio::test]
async fn one_function_finds_the_sessions_of_streams_and_of_tables() {
    let (batch, streamed) = both_answers(|logs| visits(logs, "5 seconds")).await;
    let expected = [
        "+----------------------+----------------------+------+---+-------+",
        "| start                | end                  | host | n | worst |",
        "+----------------------+----------------------+------+---+-------+",
        "| 1970-01-01T00:00:01Z | 1970-01-01T00:00:06Z | a    | 1 | 500   |",
        "| 1970-01-01T00:00:07Z | 1970-01-01T00:00:12Z | b    | 1 | 503   |",
        "| 1970-01-01T00:00:08Z | 1970-01-01T00:00:17Z | a    | 2 | 500   |",
        "| 1970-01-01T00:01:00Z | 1970-01-01T00:01:05Z | a    | 1 | 500   |",
        "+----------------------+----------------------+------+---+-------+",
    ];
    assert_batches_sorted_eq!(expected, &batch);
    assert_batches_sorted_eq!(expected, &streamed);
}

#[tokio::test]
async fn the_gap_can_be_an_expression() {
    let query = |logs: DataFrame| {
        let gap = logs.expr(
            "CASE WHEN status = 200 THEN NULL WHEN host = 'b' THEN INTERVAL '0 seconds' \
             ELSE INTERVAL '11 seconds' END",
        )?;
        visits(logs, gap)
    };
    let (batch, streamed) = both_answers(query).await;
    let expected = [
        "+----------------------+----------------------+------+---+-------+",
        "| start                | end                  | host | n | worst |",
        "+----------------------+----------------------+------+---+-------+",
        "| 1970-01-01T00:00:01Z | 1970-01-01T00:00:23Z | a    | 2 | 500   |",
        "| 1970-01-01T00:01:00Z | 1970-01-01T00:01:11Z | a    | 1 | 500   |",
        "+----------------------+----------------------+------+---+-------+",
    ];
    assert_batches_sorted_eq!(expected, &batch);
    assert_batches_sorted_eq!(expected, &streamed);
}

#[tokio::test]
async fn over_a_table_a_session_may_be_the_only_key() {
    let session = Session::new();
    session
        .register_batch("finished", rows(&log()))
        .expect("a table");
    let sql = "SELECT session_window.start AS start, session_window.end AS end, count(*) AS n, \
               count(DISTINCT host) AS hosts FROM finished \
               GROUP BY session_window(time, '5 seconds') HAVING count(*) > 1";
    let found = session.sql(sql).await.expect("a query").collect().await;
    assert_batches_sorted_eq!(
        [
            "+----------------------+----------------------+---+-------+",
            "| start                | end                  | n | hosts |",
            "+----------------------+----------------------+---+-------+",
            "| 1970-01-01T00:00:07Z | 1970-01-01T00:00:17Z | 3 | 2     |",
            "+----------------------+----------------------+---+-------+",
        ],
        &found.expect("rows")
    );
}

#[tokio::test]
async fn sessions_that_cannot_be_are_refused_with_what_to_do() {
    let (session, _stream) = streaming("logs");
    let timed = "(SELECT * FROM logs WATERMARK time DELAY OF INTERVAL 10 SECONDS)";
    let cases = [
        (
            format!("SELECT count(*) FROM {timed} GROUP BY session_window(time, '5 seconds')"),
            OutputMode::Append,
            "group by a key beside it",
        ),
        (
            format!(
                "SELECT host, count(*) FROM {timed} GROUP BY session_window(time, '5 seconds'), host"
            ),
            OutputMode::Update,
            "use append mode",
        ),
        (
            "SELECT host, count(*) FROM logs GROUP BY session_window(time, '5 seconds'), host"
                .to_owned(),
            OutputMode::Append,
            "a column with a watermark",
        ),
        (
            format!(
                "SELECT host, count(*) FROM {timed} \
                 GROUP BY session_window(time, '5 seconds'), window(time, '5 seconds'), host"
            ),
            OutputMode::Append,
            "in a subquery",
        ),
        (
            format!(
                "SELECT host, count(*) FROM {timed} \
                 GROUP BY session_window(time, '5 seconds'), session_window(time, '6 seconds'), host"
            ),
            OutputMode::Append,
            "in a subquery",
        ),
        (
            format!(
                "SELECT host, count(*) FROM {timed} \
                 GROUP BY ROLLUP(session_window(time, '5 seconds'), host)"
            ),
            OutputMode::Append,
            "a key of its own",
        ),
        (
            format!("SELECT session_window(time, '5 seconds') AS s, host FROM {timed}"),
            OutputMode::Append,
            "GROUP BY session_window",
        ),
        (
            format!("SELECT host, count(*) FROM {timed} GROUP BY session_window(time, 5), host"),
            OutputMode::Append,
            "like '5 minutes'",
        ),
        (
            format!(
                "SELECT host, count(*) FROM {timed} GROUP BY session_window(time, '1 month'), host"
            ),
            OutputMode::Append,
            "30 days",
        ),
        (
            format!(
                "SELECT host, count(*) FROM {timed} GROUP BY session_window(time, '-1 second'), host"
            ),
            OutputMode::Append,
            "above zero",
        ),
    ];
    for (sql, mode, remedy) in cases {
        let started = match session.sql(&sql).await {
            Ok(frame) => {
                let writer = frame.write_stream().format("noop").output_mode(mode);
                writer.start(None).await.map(|_| ())
            }
            Err(error) => Err(error),
        };
        let error = started.expect_err(&sql);
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(
            error.to_string().contains(remedy),
            "{sql}: '{error}' lacks '{remedy}'"
        );
    }
}

#[tokio::test]
async fn what_a_gap_says_row_by_row_can_fail_the_query_and_not_the_process() {
    let session = Session::new();
    session
        .register_batch("finished", rows(&log()))
        .expect("a table");
    let sql = "SELECT host, count(*) FROM finished GROUP BY session_window(time, host), host";
    let found = session.sql(sql).await.expect("a query").collect().await;
    let error = found.expect_err("'a' is no interval");
    assert_eq!(error.kind(), ErrorKind::Data, "{error}");
    assert!(error.to_string().contains("5 minutes"), "{error}");
}
