//! HTTP errors per host over the log lines in `examples/data/logs`, written as Parquet. Run it twice: the second run
//! goes on from the checkpoint and finds nothing new.
//!
//!     cargo run -p headwater-examples --bin http_errors [OUTPUT] [--input FOLDER]

use headwater::prelude::*;
use headwater_examples::{
    http_errors,
    program::{Places, say, summary},
};

#[tokio::main]
async fn main() -> Result<()> {
    let places = Places::from_arguments("http_errors", "logs")?;
    let errors = places.output("errors");
    let query = http_errors::run(places.input(), &errors, &places.output("checkpoint")).await?;

    say(&summary(&query, "log lines"))?;
    say(&format!("the busiest windows in {errors}:"))?;
    let session = Session::new();
    session.register_view("errors", session.read().parquet(&errors).await?)?;
    session
        .sql("SELECT start, host, errors FROM errors ORDER BY errors DESC, start, host LIMIT 5")
        .await?
        .show()
        .await
}
