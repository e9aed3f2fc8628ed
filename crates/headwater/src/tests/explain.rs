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

/// The physical plan of a query over `STREAMS`, with Spark's functions.
async fn physical(query: &str) -> Result<String> {
    let session = Session::builder().spark_functions(true).build()?;
    let text = format!("{STREAMS} CREATE SINK s USING noop; INSERT INTO s {query};");
    let pipeline = session.pipeline(&text).await?;
    Ok(pipeline.queries()[0].physical_plan())
}

#[tokio::test]
async fn rows_of_windows_that_overlap_are_aggregated_once_where_their_order_means_nothing() {
    #[track_caller]
    fn check(plan: &str, sliced: bool) {
        assert_eq!(plan.contains("AssignSlicesExec"), sliced, "{plan}");
        let kept = plan.contains("expires=last window over __slice_0");
        let expanded = plan.contains("ExpandSlicesExec");
        assert_eq!(kept || expanded, sliced, "{plan}");
        assert!(!(kept && expanded), "{plan}");
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
        "count_if(status > 3)",
        "skewness(status)",
        "kurtosis(status)",
        "percentile(status, 0.5)",
        "percentile_approx(status, 0.5)",
        "mode(status)",
        "bool_and(status > 3)",
    ] {
        check(&plan(aggregate, sliding).await, true);
        check(&plan(aggregate, tumbling).await, false);
    }
    for aggregate in [
        "array_agg(status)",
        "first_value(status)",
        "first(status)",
        "last(status)",
        "max_by(host, status)",
        "collect_list(status)",
        "listagg(host)",
    ] {
        check(&plan(aggregate, sliding).await, false);
    }
    // Something besides the grouping looks at the windows of rows.
    for aggregate in [
        "max(window.start)",
        "count(*) FILTER (WHERE window.start < time)",
        "sum(status), max(window.end)",
    ] {
        let query =
            format!("SELECT window, {aggregate} FROM clicks GROUP BY window(time, {sliding})");
        check(&physical(&query).await.unwrap(), false);
    }
    let windowed = format!("SELECT window(time, {sliding}) AS w, host FROM clicks");
    let query = format!("SELECT w, max(w.start) AS a FROM ({windowed}) GROUP BY w");
    check(&physical(&query).await.unwrap(), false);
}
