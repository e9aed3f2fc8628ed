//! The visits of each visitor of a web site, from the page views in `examples/data/page_views`, written as Parquet. Run
//! it twice: the second run goes on from the checkpoint and finds nothing new.
//!
//!     cargo run -p headwater-examples --bin web_sessions [OUTPUT] [--input FOLDER]

use headwater::prelude::*;
use headwater_examples::{
    program::{Places, say, summary},
    web_sessions,
};

#[tokio::main]
async fn main() -> Result<()> {
    let places = Places::from_arguments("web_sessions", "page_views")?;
    let sessions = places.output("sessions");
    let query = web_sessions::run(places.input(), &sessions, &places.output("checkpoint")).await?;

    say(&summary(&query, "page views"))?;
    say(&format!("the longest visits in {sessions}:"))?;
    let session = Session::new();
    session.register_view("sessions", session.read().parquet(&sessions).await?)?;
    session
        .sql(
            "SELECT visitor, began, seconds / 60 AS minutes, pages, first_page, last_page FROM sessions
             ORDER BY pages DESC, visitor LIMIT 5",
        )
        .await?
        .show()
        .await
}
