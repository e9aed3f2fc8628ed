//! The scores of the matches in `examples/data/matches`, kept up to date while news comes in.
//!
//!     cargo run -p headwater-examples --bin live_scores

use headwater::prelude::*;
use headwater_examples::{data, live_scores};

#[tokio::main]
async fn main() -> Result<()> {
    let session = live_scores::run(&data("matches")).await?;
    session
        .sql("SELECT * FROM scores WHERE status <> 'playing' ORDER BY match")
        .await?
        .show()
        .await
}
