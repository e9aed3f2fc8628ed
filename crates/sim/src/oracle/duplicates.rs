//! Duplicates the slow way: the rows whose key is not remembered.

use std::fmt;

use headwater::DataFrame;
use headwater_core::Result;

use super::case::Event;

const SECOND: i64 = 1_000_000;

/// Which rows are dropped because another one came before them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Duplicates {
    /// Columns that are equal; none: all columns.
    pub columns: Vec<&'static str>,
    /// Whether a key is forgotten when the watermark has reached the time of its first row and the delay.
    pub within_watermark: bool,
}

impl Duplicates {
    /// The frame without them.
    pub(super) fn drop_from(&self, frame: DataFrame) -> Result<DataFrame> {
        match self.within_watermark {
            true => frame.drop_duplicates_within_watermark(&self.columns),
            false => frame.drop_duplicates(&self.columns),
        }
    }

    /// The columns that count, the others empty.
    fn key_of(&self, event: &Event) -> Event {
        let counts = |name| self.columns.is_empty() || self.columns.contains(&name);
        Event {
            time: event.time.filter(|_| counts("ts")),
            key: event.key.filter(|_| counts("k")),
            value: event.value.filter(|_| counts("v")),
            price: event.price.filter(|_| counts("x")),
            flag: event.flag.filter(|_| counts("b")),
        }
    }
}

impl fmt::Display for Duplicates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let within = if self.within_watermark {
            " within the watermark"
        } else {
            ""
        };
        write!(
            f,
            "without duplicates of [{}]{within}",
            self.columns.join(" ")
        )
    }
}

/// The keys that have come.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Each with the watermark in microseconds at which it is forgotten; none if it never is.
    keys: Vec<(Event, Option<i64>)>,
}

impl Seen {
    /// Whether the row is the first one of its key, which is remembered. `delay` is the watermark's, in seconds.
    pub(super) fn is_first(&mut self, event: &Event, by: &Duplicates, delay: Option<i64>) -> bool {
        let key = by.key_of(event);
        if self.keys.iter().any(|(other, _)| *other == key) {
            return false;
        }
        // As recorded, a row without a time is remembered like one of the year 1970.
        let forgotten_at = match delay {
            Some(delay) if by.within_watermark => Some(event.time.unwrap_or(0) + delay * SECOND),
            _ => None,
        };
        self.keys.push((key, forgotten_at));
        true
    }

    /// Forgets what the watermark, in milliseconds, has reached.
    pub(super) fn forget(&mut self, watermark: i64) {
        let reached = watermark.saturating_mul(1_000);
        self.keys.retain(|(_, at)| at.is_none_or(|at| at > reached));
    }
}
