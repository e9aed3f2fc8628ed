//! The mood of the messages in `examples/data/messages` by topic and twenty minutes, rated by a function of this program;
//! written as Parquet. Run it twice: the second run goes on from the checkpoint and finds nothing new.
//!
//!     cargo run -p headwater-examples --bin sentiment [OUTPUT] [--input FOLDER]

use headwater::prelude::*;
use headwater_examples::{
    program::{Places, say, summary},
    sentiment,
};

#[tokio::main]
async fn main() -> Result<()> {
    let places = Places::from_arguments("sentiment", "messages")?;
    let moods = places.output("moods");
    let query = sentiment::run(places.input(), &moods, &places.output("checkpoint")).await?;

    say(&summary(&query, "messages"))?;
    say(&format!(
        "mood by topic, from -1 (bad) to 1 (good), in {moods}:"
    ))?;
    let session = Session::new();
    session.register_view("moods", session.read().parquet(&moods).await?)?;
    session
        .sql(
            "SELECT start, sum(messages) AS messages,
                 max(CASE WHEN topic = 'app' THEN mood END) AS app,
                 max(CASE WHEN topic = 'checkout' THEN mood END) AS checkout,
                 max(CASE WHEN topic = 'delivery' THEN mood END) AS delivery,
                 max(CASE WHEN topic = 'support' THEN mood END) AS support
             FROM moods GROUP BY start ORDER BY start",
        )
        .await?
        .show()
        .await
}
