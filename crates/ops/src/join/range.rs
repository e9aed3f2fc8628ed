//! Which stored rows can match a row at all, by their expiry.
//!
//! A condition that bounds the distance of two times bounds the expiries of a row's matches too, and the store finds
//! rows by key and expiry. The bounds are in milliseconds and may let through more than the condition does.

use datafusion::{
    arrow::array::{Array, ArrayRef, Int64Array},
    error::Result,
};
use headwater_state::Within;

use crate::expiry::Expiry;

/// Where the expiry of a row's matches lies, relative to a time of the row itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Near {
    /// The column of the row's input that tells the time.
    pub other: usize,
    /// From here on, in microseconds after that time.
    pub from_micros: i64,
    /// Up to here; `None`: as late as may be.
    pub to_micros: Option<i64>,
}

/// Bounds of the expiry for each row of a batch.
#[derive(Debug)]
pub(super) struct NearRows {
    low: Int64Array,
    high: Int64Array,
}

impl NearRows {
    /// The bounds for rows with these columns. A row without a time has no matches.
    pub(super) fn of(near: Near, columns: &[ArrayRef]) -> Result<Self> {
        let at = |extra_micros| {
            let expiry = Expiry {
                column: near.other,
                extra_micros,
            };
            expiry.millis(columns)
        };
        let or = |bounds: Int64Array, nothing: i64| match bounds.null_count() {
            0 => bounds,
            _ => bounds.iter().map(|bound| bound.or(Some(nothing))).collect(),
        };
        let low = or(at(near.from_micros)?, i64::MAX);
        let high = match near.to_micros {
            Some(to) => or(at(to)?, i64::MIN),
            None => Int64Array::new_null(low.len()),
        };
        Ok(Self { low, high })
    }

    pub(super) fn within(&self) -> Within<'_> {
        Within::Range {
            low: &self.low,
            high: &self.high,
        }
    }
}
