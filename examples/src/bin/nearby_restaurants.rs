//! Hints for customers who come near a restaurant: the positions in `examples/data/positions` joined with the restaurants in
//! `examples/data/restaurants`, written as Parquet. Run it twice: the second run goes on from the checkpoint and finds
//! nothing new.
//!
//!     cargo run -p headwater-examples --bin nearby_restaurants [OUTPUT] [--input FOLDER]

use headwater::prelude::*;
use headwater_examples::{
    data, nearby_restaurants,
    program::{Places, say, summary},
};

#[tokio::main]
async fn main() -> Result<()> {
    let places = Places::from_arguments("nearby_restaurants", "positions")?;
    let hints = places.output("hints");
    let query = nearby_restaurants::run(
        places.input(),
        &data("restaurants"),
        &hints,
        &places.output("checkpoint"),
    )
    .await?;

    say(&summary(&query, "positions"))?;
    say(&format!("the last hints in {hints}:"))?;
    let session = Session::new();
    session.register_view("hints", session.read().parquet(&hints).await?)?;
    session
        .sql(
            "SELECT time, customer, restaurant, kitchen, CAST(round(metres) AS INT) AS metres FROM hints
             ORDER BY time DESC, customer, metres LIMIT 8",
        )
        .await?
        .show()
        .await
}
