//! How often advertisements are clicked on, by campaign and half hour: the impressions in `examples/data/ads/impressions`
//! joined with the clicks in `examples/data/ads/clicks`, written as Parquet. Run it twice: the second run goes on from the
//! checkpoint and finds nothing new.
//!
//!     cargo run -p headwater-examples --bin ad_clicks [OUTPUT] [--input FOLDER]

use headwater::prelude::*;
use headwater_examples::{
    ad_clicks,
    program::{Places, say, summary},
};

#[tokio::main]
async fn main() -> Result<()> {
    let places = Places::from_arguments("ad_clicks", "ads")?;
    let rates = places.output("rates");
    let query = ad_clicks::run(places.input(), &rates, &places.output("checkpoint")).await?;

    say(&summary(&query, "impressions and clicks"))?;
    say(&format!("the rates in {rates}:"))?;
    let session = Session::new();
    session.register_view("rates", session.read().parquet(&rates).await?)?;
    session
        .sql("SELECT * FROM rates ORDER BY start, campaign")
        .await?
        .show()
        .await
}
