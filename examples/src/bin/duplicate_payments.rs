//! What some shops take in each hour, from the payments in `examples/data/payments`, of which many come twice or more
//! often; written as Parquet. Run it twice: the second run goes on from the checkpoint and finds nothing new.
//!
//!     cargo run -p headwater-examples --bin duplicate_payments [OUTPUT] [--input FOLDER]

use headwater::prelude::*;
use headwater_examples::{
    duplicate_payments,
    program::{Places, say, summary},
};

#[tokio::main]
async fn main() -> Result<()> {
    let places = Places::from_arguments("duplicate_payments", "payments")?;
    let takings = places.output("takings");
    let checkpoint = places.output("checkpoint");
    let query = duplicate_payments::run(places.input(), &takings, &checkpoint).await?;

    say(&summary(&query, "payments"))?;
    say(&format!(
        "what was taken, in {takings}, and what would have been without looking for copies:"
    ))?;
    let session = Session::new();
    session.register_view("takings", session.read().parquet(&takings).await?)?;
    let events = session
        .read()
        .schema(duplicate_payments::payments())
        .option("header", "true")
        .csv(places.input())
        .await?;
    session.register_view("events", events)?;
    session
        .sql(
            "SELECT t.hour, t.merchant, t.payments, t.amount, e.events, e.amount AS with_copies
             FROM takings t JOIN (
                 SELECT date_trunc('hour', sent_at) AS hour, merchant, count(*) AS events, sum(amount) AS amount
                 FROM events GROUP BY date_trunc('hour', sent_at), merchant
             ) e ON t.hour = e.hour AND t.merchant = e.merchant
             ORDER BY t.hour, t.merchant",
        )
        .await?
        .show()
        .await
}
