//! Hourly means of the weather readings in `examples/data/weather`, in a table that SQL can query.
//!
//!     cargo run -p headwater-examples --bin weather

use headwater::prelude::*;
use headwater_examples::{data, weather};

#[tokio::main]
async fn main() -> Result<()> {
    let session = weather::run(&data("weather")).await?;
    session
        .sql("SELECT station, min(temperature) AS coldest, max(wind) AS windiest FROM hours GROUP BY station ORDER BY station")
        .await?
        .show()
        .await
}
