//! The top sellers of the past hour, from the sales in `examples/data/sales`, and the best hours of the day. The result is
//! in tables in memory, which SQL queries; so nothing outlives the program, and each run reads all sales.
//!
//!     cargo run -p headwater-examples --bin top_sellers [--input FOLDER]

use headwater::prelude::*;
use headwater_examples::{
    program::{Places, say, summary},
    top_sellers,
};

#[tokio::main]
async fn main() -> Result<()> {
    let places = Places::from_arguments("top_sellers", "sales")?;
    let session = Session::new();
    let queries = top_sellers::start(&session, places.input()).await?;
    for query in &queries {
        query.process_all_available().await?;
    }

    say(&summary(&queries[0], "sales"))?;
    say("top sellers of the past hour:")?;
    session.sql(top_sellers::PAST_HOUR).await?.show().await?;
    say("the hours and products of the day that brought in most:")?;
    let best = session
        .sql("SELECT start, product, sold, amount FROM best ORDER BY amount DESC, start, product");
    best.await?.show().await?;
    for query in &queries {
        query.stop().await?;
    }
    Ok(())
}
