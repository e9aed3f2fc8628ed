//! Times as milliseconds since 1970, and how they are written.

use chrono::{DateTime, SecondsFormat};

pub(super) const SECOND: i64 = 1_000;
pub(super) const MINUTE: i64 = 60 * SECOND;
pub(super) const HOUR: i64 = 60 * MINUTE;

/// As in RFC 3339, with milliseconds, in UTC.
pub(super) fn iso(millis: i64) -> String {
    let time = DateTime::from_timestamp_millis(millis).expect("a year of four digits");
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// 0 at the start and the end of a day, 1000 at noon, smooth in between.
pub(super) fn daylight(millis: i64) -> i64 {
    let of_day = millis.rem_euclid(24 * HOUR);
    let x = (of_day.min(24 * HOUR - of_day)) * 1000 / (12 * HOUR);
    x * x * (3_000 - 2 * x) / 1_000_000
}
