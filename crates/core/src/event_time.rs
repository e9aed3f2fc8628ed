//! Event time: when something happened, as the rows themselves say.
//!
//! Watermark arithmetic is in whole milliseconds, as in the recorded behaviour of Spark 4.3: an event time is floored
//! to the millisecond before the delay is taken off.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A point in event time, in milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventTime(pub i64);

impl EventTime {
    /// Floors microseconds since the epoch to a millisecond; times before 1970 floor downwards too.
    pub fn from_micros(micros: i64) -> Self {
        Self(micros.div_euclid(1_000))
    }

    /// Microseconds since the epoch, saturating at the ends of the range.
    pub fn as_micros(self) -> i64 {
        self.0.saturating_mul(1_000)
    }
}

impl fmt::Display for EventTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match chrono::DateTime::from_timestamp_millis(self.0) {
            Some(time) => f.write_str(&time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)),
            None => write!(f, "{} ms", self.0),
        }
    }
}

/// How late a row may be and still count, in milliseconds; never negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Delay(pub i64);

/// No row at or before this event time is expected any more. It starts at 1970 and can only rise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Watermark(EventTime);

impl Watermark {
    /// Where every watermark starts: 1970-01-01T00:00:00Z. Windows that end at or before it are late from the start.
    pub const START: Self = Self(EventTime(0));

    /// The event time this watermark stands at.
    pub fn time(self) -> EventTime {
        self.0
    }

    /// Milliseconds since the epoch.
    pub fn millis(self) -> i64 {
        self.0.0
    }

    /// The watermark for rows that may be this much further behind, in milliseconds.
    pub fn behind(self, millis: i64) -> Self {
        Self(EventTime(self.millis().saturating_sub(millis)))
    }

    /// The watermark after rows up to `max` were seen: `max - delay`, unless that would be a step back.
    #[must_use]
    pub fn advanced(self, max: EventTime, delay: Delay) -> Self {
        Self(EventTime(max.0.saturating_sub(delay.0).max(self.0.0)))
    }

    /// The later of two watermarks.
    #[must_use]
    pub fn risen_to(self, other: Self) -> Self {
        self.max(other)
    }
}

impl fmt::Display for Watermark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watermark_never_falls() {
        let at_ten = Watermark::START.advanced(EventTime(15_000), Delay(5_000));
        assert_eq!(at_ten.millis(), 10_000);
        assert_eq!(at_ten.advanced(EventTime(1_000), Delay(0)), at_ten);
    }

    #[test]
    fn event_time_is_floored_to_the_millisecond() {
        assert_eq!(EventTime::from_micros(15_000_999), EventTime(15_000));
        assert_eq!(EventTime::from_micros(-1), EventTime(-1));
    }
}
