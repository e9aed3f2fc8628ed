//! Examples, one idea per file. Each is a function that a program in `bin` calls and that a test runs, so that an example
//! that no longer works is noticed.

pub mod bank_alerts;
pub mod generate;
pub mod hashtags;
pub mod http_errors;
pub mod live_scores;
pub mod weather;
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
