//! Stateful operators above one another, and the dropping of duplicates.

use super::*;
use crate::GroupedFrame;

/// Runs a query over everything that is there, into the table `out`.
async fn run(frame: DataFrame, mode: OutputMode) -> Result<()> {
    let query = frame
        .write_stream()
        .format("memory")
        .query_name("out")
        .output_mode(mode)
        .trigger(Trigger::available_now())
        .start(None)
        .await?;
    query.await_termination().await
}

#[tokio::test]
async fn the_first_row_of_each_key_comes_out_and_a_table_gives_as_many() {
    let (session, stream) = streaming("logs");
    stream.add_batch(rows(&log())).expect("rows of the stream");
    let frame = session.table("logs").await.expect("registered");
    let first = frame.drop_duplicates(&["host"]).expect("a column");
    run(first, OutputMode::Append).await.expect("it works");
    assert_batches_sorted_eq!(
        [
            "+----------------------+------+--------+",
            "| time                 | host | status |",
            "+----------------------+------+--------+",
            "| 1970-01-01T00:00:01Z | a    | 500    |",
            "| 1970-01-01T00:00:07Z | b    | 503    |",
            "+----------------------+------+--------+",
        ],
        &table(&session, "out").await
    );
    session
        .register_batch("finished", rows(&log()))
        .expect("a table");
    let finished = session.table("finished").await.expect("registered");
    for (columns, expected) in [(&["host"][..], 2), (&["host", "status"], 3), (&[], 5)] {
        let batch = finished.clone().drop_duplicates(columns).expect("columns");
        let batch = batch.collect().await.expect("rows");
        let count: usize = batch.iter().map(RecordBatch::num_rows).sum();
        assert_eq!(count, expected, "{columns:?}");
    }
}

#[tokio::test]
async fn duplicates_within_the_watermark_need_one_unless_the_table_ends() {
    let (session, _stream) = streaming("logs");
    let logs = session.table("logs").await.expect("registered");
    let endless = logs.drop_duplicates_within_watermark(&["host"]);
    let error = run(endless.expect("a column"), OutputMode::Append).await;
    let error = error.expect_err("refused");
    assert!(error.to_string().contains("with_watermark"), "{error}");
    session
        .register_batch("finished", rows(&log()))
        .expect("a table");
    let finished = session.table("finished").await.expect("registered");
    let hosts = finished.drop_duplicates_within_watermark(&["host"]);
    let hosts = hosts.expect("a column").collect().await.expect("rows");
    assert_eq!(hosts.iter().map(RecordBatch::num_rows).sum::<usize>(), 2);
}

#[tokio::test]
async fn a_limit_above_windows_counts_groups_that_are_final() {
    let (session, stream) = streaming("logs");
    stream.add_batch(rows(&log())).expect("rows of the stream");
    let windows = errors_per_window(session.table("logs").await.expect("registered"));
    let limited = windows.expect("a query").limit(3).expect("a limit");
    run(limited, OutputMode::Append).await.expect("it works");
    let count: usize = table(&session, "out")
        .await
        .iter()
        .map(RecordBatch::num_rows)
        .sum();
    assert_eq!(count, 3);
}

#[tokio::test]
async fn what_stands_above_an_aggregation_says_that_it_needs_append_mode() {
    let (session, _stream) = streaming("logs");
    let logs = session.table("logs").await.expect("registered");
    let windows = logs
        .clone()
        .with_watermark("time", "10 seconds")
        .and_then(|logs| logs.group_by([window(col("time"), "10 seconds").slide("5 seconds")]))
        .and_then(GroupedFrame::count)
        .expect("a query");
    let counts = logs.group_by(["host"]).and_then(GroupedFrame::count);
    let again = counts.expect("a query").agg([max(col("count"))]);
    let again = again.expect("a query");
    let distinct = windows.distinct().expect("a query");
    for (frame, what) in [(again, "an aggregation"), (distinct, "dropping duplicates")] {
        for mode in [OutputMode::Update, OutputMode::Complete] {
            let error = run(frame.clone(), mode).await.expect_err("refused");
            assert_eq!(error.kind(), ErrorKind::Invalid);
            let expected = format!("{what} above an aggregation needs append mode");
            assert!(error.to_string().contains(&expected), "{error}");
        }
    }
}

#[tokio::test]
async fn of_groups_that_are_given_out_again_those_with_a_new_key_pass() {
    let (session, stream) = streaming("logs");
    stream.add_batch(rows(&log())).expect("rows of the stream");
    let logs = session.table("logs").await.expect("registered");
    let counts = logs.group_by(["host"]).and_then(GroupedFrame::count);
    let hosts = counts.and_then(|counts| counts.drop_duplicates(&["host"]));
    run(hosts.expect("a query"), OutputMode::Update)
        .await
        .expect("keys without a time are never forgotten");
    let passed = table(&session, "out").await;
    let passed: usize = passed.iter().map(RecordBatch::num_rows).sum();
    let hosts: std::collections::BTreeSet<&str> = log().iter().map(|(_, host, _)| *host).collect();
    assert_eq!(passed, hosts.len());
}

#[tokio::test]
async fn a_limit_takes_the_first_rows_of_the_order_below_it() {
    let (session, stream) = streaming("logs");
    // As many rows for each host as its number says, in two epochs.
    let hosts: Vec<String> = (1..=20).map(|number| format!("h{number:02}")).collect();
    let all: Vec<(i64, &str, i64)> = (1..)
        .zip(&hosts)
        .flat_map(|(number, host)| (0..number).map(move |_| (number, host.as_str(), number)))
        .collect();
    let (first, second) = all.split_at(50);
    let counts = "SELECT host, count(*) AS n FROM logs GROUP BY host";
    let sorted = format!("{counts} ORDER BY n DESC LIMIT 3");
    let mut queries = Vec::new();
    for (name, text) in [
        ("sorted", sorted.clone()),
        (
            "projected",
            format!("SELECT host || '!' AS host, n FROM ({sorted})"),
        ),
        (
            "filtered",
            format!("SELECT host, n FROM ({sorted}) WHERE n < 20"),
        ),
    ] {
        let frame = session.sql(&text).await.expect("a query");
        let query = frame
            .write_stream()
            .output_mode(OutputMode::Complete)
            .to_table(name);
        queries.push(query.await.expect("started"));
    }
    for added in [first, second] {
        stream.add_batch(rows(added)).expect("rows of the stream");
        for query in &queries {
            query.process_all_available().await.expect("it works");
        }
    }
    for (name, expected) in [
        ("sorted", &["h20 20", "h19 19", "h18 18"][..]),
        ("projected", &["h20! 20", "h19! 19", "h18! 18"]),
        ("filtered", &["h19 19", "h18 18"]),
    ] {
        let mut found = Vec::new();
        for batch in table(&session, name).await {
            for row in 0..batch.num_rows() {
                let cell = |column: usize| {
                    datafusion::arrow::util::display::array_value_to_string(
                        batch.column(column),
                        row,
                    )
                    .expect("it can be shown")
                };
                found.push(format!("{} {}", cell(0), cell(1)));
            }
        }
        assert_eq!(found, expected, "{name}");
    }
}
