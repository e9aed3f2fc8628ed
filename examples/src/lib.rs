//! Examples, one idea per file. Each is a function that a program in `bin` calls and that a test runs, so that an example
//! that no longer works is noticed.

pub mod ad_clicks;
pub mod bank_alerts;
pub mod duplicate_payments;
pub mod generate;
pub mod hashtags;
pub mod http_errors;
pub mod live_scores;
pub mod nearby_restaurants;
pub mod program;
pub mod request_floods;
pub mod sentiment;
#[cfg(test)]
mod testing;
pub mod top_sellers;
pub mod weather;
pub mod web_sessions;
pub mod word_count;

use headwater::prelude::*;

/// A folder of the data that is in the repository.
pub fn data(folder: &str) -> String {
    format!("{}/data/{folder}", env!("CARGO_MANIFEST_DIR"))
}

/// A nullable column; times are microseconds in UTC.
fn column(name: &str, kind: DataType) -> Field {
    Field::new(name, kind, true)
}

fn time() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}
