//! Alerts on clients that send more than 40 requests within a minute, from the log in `examples/data/requests`, as JSON. Run
//! it twice: the second run goes on from the checkpoint and finds nothing new.
//!
//!     cargo run -p headwater-examples --bin request_floods [OUTPUT] [--input FOLDER]

use headwater::prelude::*;
use headwater_examples::{
    program::{Places, say, summary},
    request_floods,
};

#[tokio::main]
async fn main() -> Result<()> {
    let places = Places::from_arguments("request_floods", "requests")?;
    let alerts = places.output("alerts");
    let checkpoint = places.output("checkpoint");
    let query = request_floods::run(places.input(), 40, &alerts, &checkpoint).await?;

    say(&summary(&query, "lines of the log"))?;
    say(&format!("the alerts in {alerts}:"))?;
    let session = Session::new();
    session.register_view("alerts", session.read().json(&alerts).await?)?;
    session
        .sql("SELECT since, until, client, requests_a_minute, path FROM alerts ORDER BY until, client")
        .await?
        .show()
        .await
}
