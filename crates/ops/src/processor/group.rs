//! The state of a group function: one row and one timeout per key.

use std::time::Duration;

use headwater_core::{Error, Result};

use super::{
    declare::TimeMode,
    row::{FromRow, IntoRow, Row},
    state::Times,
};

/// What a call does to the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Kept,
    Updated,
    Removed,
}

/// State and timeout of one key, for one call of a group function. Times are in milliseconds since
/// 1970-01-01T00:00:00Z.
///
/// The timeout is that of the last call: a call that sets none leaves the key without.
#[derive(Debug)]
pub struct GroupState {
    row: Option<Row>,
    pub(super) change: Change,
    has_timed_out: bool,
    pub(super) timeout: Option<i64>,
    times: Times,
}

impl GroupState {
    pub(super) fn new(row: Option<Row>, has_timed_out: bool, times: Times) -> Self {
        Self {
            row,
            change: Change::Kept,
            has_timed_out,
            timeout: None,
            times,
        }
    }

    pub(super) fn into_row(self) -> Option<Row> {
        self.row
    }

    /// Whether the key has state.
    pub fn exists(&self) -> bool {
        self.row.is_some()
    }

    /// The state, as a [`Row`] or as a tuple.
    ///
    /// # Errors
    /// `Invalid` if it cannot be read as that.
    pub fn get<R: FromRow>(&self) -> Result<Option<R>> {
        self.row.as_ref().map(|row| R::from_row(row)).transpose()
    }

    /// Writes the state.
    pub fn update(&mut self, row: impl IntoRow) {
        self.row = Some(row.into_row());
        self.change = Change::Updated;
    }

    /// Removes the state.
    pub fn remove(&mut self) {
        self.row = None;
        self.change = Change::Removed;
    }

    /// Whether this call is made because the timeout is over. There are no rows then.
    pub fn has_timed_out(&self) -> bool {
        self.has_timed_out
    }

    /// Sets the timeout to a point in event time: the function is called when the watermark is behind it and no rows of
    /// the key have come.
    ///
    /// # Errors
    /// `Invalid` without event-time timeouts, and for a time before the current watermark.
    pub fn set_timeout_timestamp(&mut self, at_millis: i64) -> Result<()> {
        if self.times.mode != TimeMode::EventTime {
            return Err(Error::invalid(format!(
                "a timeout timestamp needs TimeMode::EventTime, the function runs with {}: set a duration with \
                 TimeMode::ProcessingTime, or start it with event time",
                self.times.mode.name()
            )));
        }
        let watermark = self.current_watermark()?;
        if at_millis < watermark {
            return Err(Error::invalid(format!(
                "the timeout timestamp {at_millis} ms is before the current watermark of {watermark} ms: set one at or \
                 after state.current_watermark()"
            )));
        }
        self.timeout = Some(at_millis);
        Ok(())
    }

    /// Sets the timeout to this much processing time from now: the function is called when more has passed and no rows
    /// of the key have come.
    ///
    /// # Errors
    /// `Invalid` without processing-time timeouts, and for no time at all.
    pub fn set_timeout_duration(&mut self, duration: Duration) -> Result<()> {
        if self.times.mode != TimeMode::ProcessingTime {
            return Err(Error::invalid(format!(
                "a timeout duration needs TimeMode::ProcessingTime, the function runs with {}: set a timestamp with \
                 TimeMode::EventTime, or start it with processing time",
                self.times.mode.name()
            )));
        }
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        if millis < 1 {
            return Err(Error::invalid(
                "a timeout duration below one millisecond would never wait: set a longer one",
            ));
        }
        self.timeout = Some(self.times.processing.saturating_add(millis));
        Ok(())
    }

    /// The watermark in force, in milliseconds.
    ///
    /// # Errors
    /// `Invalid` if the query has none here.
    pub fn current_watermark(&self) -> Result<i64> {
        self.times.watermark.ok_or_else(|| {
            Error::invalid(
                "the query has no watermark here: put with_watermark(time, delay) before group_by_key",
            )
        })
    }

    /// The processing time of the epoch, in milliseconds. A replay of the epoch sees the same.
    pub fn current_processing_time(&self) -> i64 {
        self.times.processing
    }
}
