//! EXPLAIN STREAMING says what a query keeps, for how long, and in which modes it can run.
//!
//! `explain.txt` holds the queries and the exact answers. With `HEADWATER_UPDATE=1` in the environment the answers are
//! written anew, to be read in the difference.

use std::fmt::Write as _;

use super::*;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/tests/explain.txt");

const STREAMS: &str = "
    CREATE STREAM clicks (time TIMESTAMP, host STRING, status BIGINT, WATERMARK FOR time AS time - INTERVAL 10 SECONDS)
        USING json LOCATION '/data/clicks';
    CREATE STREAM views (at TIMESTAMP, host STRING, page STRING) USING json LOCATION '/data/views';
";

async fn explained(text: &str) -> Result<String> {
    let session = Session::new();
    session.pipeline(STREAMS).await?;
    let rows = session.sql(text).await?.collect().await?;
    let mut lines = String::new();
    for batch in &rows {
        let column = batch.column(0).as_any().downcast_ref::<StringArray>();
        for line in column.expect("texts") {
            lines.push_str(line.unwrap_or_default());
            lines.push('\n');
        }
    }
    Ok(lines)
}

#[tokio::test]
async fn what_a_query_keeps_is_explained() {
    let file = std::fs::read_to_string(FILE).expect("the queries");
    let mut written = String::new();
    for case in file.split("=== ").skip(1) {
        let (query, expected) = case.split_once('\n').expect("a query on one line");
        let found = match explained(query).await {
            Ok(text) => text,
            Err(error) => format!("{error}\n"),
        };
        let _ = write!(written, "=== {query}\n{found}\n");
        if std::env::var_os("HEADWATER_UPDATE").is_none() {
            assert_eq!(found.trim_end(), expected.trim_end(), "{query}");
        }
    }
    if std::env::var_os("HEADWATER_UPDATE").is_some() {
        std::fs::write(FILE, written).expect("written");
    }
}

/// The physical plan of a query over `STREAMS`.
async fn physical(query: &str) -> Result<String> {
    let session = Session::new();
    let text = format!("{STREAMS} CREATE SINK s USING noop; INSERT INTO s {query};");
    let pipeline = session.pipeline(&text).await?;
    Ok(pipeline.queries()[0].physical_plan())
}

#[tokio::test]
async fn rows_of_windows_that_overlap_are_aggregated_once_where_their_order_means_nothing() {
    #[track_caller]
    fn check(plan: &str, sliced: bool) {
        for node in ["AssignSlicesExec", "ExpandSlicesExec"] {
            assert_eq!(plan.contains(node), sliced, "{plan}");
        }
    }
    let plan = async |aggregate: &str, windows: &str| {
        let group = format!("window(time, {windows}), host");
        let query = format!("SELECT window, host, {aggregate} AS a FROM clicks GROUP BY {group}");
        physical(&query).await.unwrap()
    };
    let (sliding, tumbling) = ("'10 seconds', '3 seconds'", "'10 seconds'");
    for aggregate in [
        "count(*)",
        "sum(status)",
        "avg(status)",
        "count(DISTINCT host)",
    ] {
        check(&plan(aggregate, sliding).await, true);
        check(&plan(aggregate, tumbling).await, false);
    }
    for aggregate in ["array_agg(status)", "first_value(status)"] {
        check(&plan(aggregate, sliding).await, false);
    }
    // Something besides the grouping looks at the windows of rows.
    let windowed = format!("SELECT window(time, {sliding}) AS w, host FROM clicks");
    let query = format!("SELECT w, max(w.start) AS a FROM ({windowed}) GROUP BY w");
    check(&physical(&query).await.unwrap(), false);
}
