//! Word count over a socket: start `nc -lk 9999` in one terminal and this in another, and type.
//!
//!     cargo run -p headwater-examples --bin word_count [PORT]

use headwater::prelude::*;
use headwater_examples::word_count;

#[tokio::main]
async fn main() -> Result<()> {
    let port = std::env::args()
        .nth(1)
        .and_then(|port| port.parse().ok())
        .unwrap_or(9999);
    let session = word_count::session()?;
    let query = word_count::socket(&session, port, "console").await?;
    query.await_termination().await
}
