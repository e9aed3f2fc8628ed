//! HTTP errors per host over the log lines in `examples/data/logs`, written as Parquet. Run it twice: the second run
//! goes on from the checkpoint and finds nothing new.
//!
//!     cargo run -p headwater-examples --bin http_errors [OUTPUT]

use std::path::PathBuf;

use headwater::prelude::*;
use headwater_examples::{data, http_errors};

#[tokio::main]
#[expect(clippy::print_stdout, reason = "a program that reports to people")]
async fn main() -> Result<()> {
    let output = std::env::args()
        .nth(1)
        .map_or_else(|| PathBuf::from("target/http_errors"), PathBuf::from);
    let errors = output.join("errors").display().to_string();
    let checkpoint = output.join("checkpoint").display().to_string();
    let query = http_errors::run(&data("logs"), &errors, &checkpoint).await?;

    let reports = query.recent_progress();
    let rows: u64 = reports.iter().map(|report| report.num_input_rows).sum();
    let millis: u64 = reports.iter().map(|report| report.batch_duration).sum();
    println!("{} epochs, {rows} log lines in {millis} ms", reports.len());
    println!("the busiest windows in {errors}:");
    let session = Session::new();
    session.register_view("errors", session.read().parquet(&errors).await?)?;
    session
        .sql("SELECT start, host, errors FROM errors ORDER BY errors DESC, start, host LIMIT 5")
        .await?
        .show()
        .await
}
