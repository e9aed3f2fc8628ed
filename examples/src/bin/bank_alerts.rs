//! Alerts on unusual payments in `examples/data/bank`.
//!
//!     cargo run -p headwater-examples --bin bank_alerts

use headwater::prelude::*;
use headwater_examples::{bank_alerts, data};

#[tokio::main]
async fn main() -> Result<()> {
    let session = bank_alerts::run(&data("bank")).await?;
    session
        .sql("SELECT * FROM alerts ORDER BY account, alert")
        .await?
        .show()
        .await
}
