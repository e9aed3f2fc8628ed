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
