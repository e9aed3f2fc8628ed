//! When a row or a key falls behind the watermark.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, PrimitiveArray, StructArray},
        compute::{cast, min, nullif},
        datatypes::{
            ArrowPrimitiveType, DataType, Int64Type, TimeUnit, TimestampMicrosecondType,
            TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
        },
    },
    error::{DataFusionError, Result},
};
use headwater_core::Watermark;

use crate::event_time::ceil_millis;

/// A column of times and how far behind them a row expires: a window's start plus its length, the event time itself,
/// or a whole window `{start, end}`, of which the end counts. Expired means `time + extra <= watermark`; null never
/// expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Expiry {
    /// Number of the column.
    pub column: usize,
    /// Length of the window in microseconds; 0 for an event time.
    pub extra_micros: i64,
}

impl Expiry {
    /// Milliseconds at which each row expires.
    pub fn millis(&self, columns: &[ArrayRef]) -> Result<Int64Array> {
        self.of_column(&self.times(columns)?)
    }

    /// The times that decide.
    fn times(&self, columns: &[ArrayRef]) -> Result<ArrayRef> {
        let column = &columns[self.column];
        match column.as_struct_opt() {
            Some(window) => end_of(window),
            None => Ok(Arc::clone(column)),
        }
    }

    /// When the first of the rows with these times expires; `None` if none ever does. A later time never expires earlier,
    /// so that only one has to be looked at.
    fn first(&self, times: &ArrayRef) -> Result<Option<i64>> {
        // Of what is no time it is not known either.
        self.of_column(&times.slice(0, 0))?;
        let Some(first) = min(cast(times, &DataType::Int64)?.as_primitive::<Int64Type>()) else {
            return Ok(None);
        };
        let first = cast(&Int64Array::from(vec![first]), times.data_type())?;
        Ok(Some(self.of_column(&first)?.value(0)))
    }

    fn of_column(&self, column: &ArrayRef) -> Result<Int64Array> {
        match column.data_type() {
            DataType::Timestamp(TimeUnit::Second, _) => self.of(
                column.as_primitive::<TimestampSecondType>(),
                TimeUnit::Second,
            ),
            DataType::Timestamp(TimeUnit::Millisecond, _) => self.of(
                column.as_primitive::<TimestampMillisecondType>(),
                TimeUnit::Millisecond,
            ),
            DataType::Timestamp(TimeUnit::Microsecond, _) => self.of(
                column.as_primitive::<TimestampMicrosecondType>(),
                TimeUnit::Microsecond,
            ),
            DataType::Timestamp(TimeUnit::Nanosecond, _) => self.of(
                column.as_primitive::<TimestampNanosecondType>(),
                TimeUnit::Nanosecond,
            ),
            other => Err(DataFusionError::Internal(format!(
                "an event time has become {other}"
            ))),
        }
    }

    fn of<T: ArrowPrimitiveType<Native = i64>>(
        &self,
        column: &PrimitiveArray<T>,
        unit: TimeUnit,
    ) -> Result<Int64Array> {
        let extra_millis = self.extra_micros.div_euclid(1_000);
        let extra_micros = self.extra_micros.rem_euclid(1_000);
        Ok(column.unary(|value| {
            let (value, more_millis) = match unit {
                TimeUnit::Microsecond => (value.saturating_add(extra_micros), 0),
                TimeUnit::Nanosecond => (value.saturating_add(extra_micros * 1_000), 0),
                // A whole number of milliseconds, so that any more is a whole one more.
                TimeUnit::Second | TimeUnit::Millisecond => (value, i64::from(extra_micros > 0)),
            };
            ceil_millis(value, unit)
                .saturating_add(extra_millis)
                .saturating_add(more_millis)
        }))
    }

    /// Which rows the watermark has not passed; `None` when that is all of them.
    pub fn alive(
        &self,
        columns: &[ArrayRef],
        watermark: Watermark,
    ) -> Result<Option<BooleanArray>> {
        let times = self.times(columns)?;
        let limit = watermark.millis();
        if self.first(&times)?.is_none_or(|first| first > limit) {
            return Ok(None);
        }
        let expiry = self.of_column(&times)?;
        Ok(Some(BooleanArray::from_iter((0..expiry.len()).map(
            |row| Some(expiry.is_null(row) || expiry.value(row) > limit),
        ))))
    }
}

/// The ends of windows; null where the window is.
fn end_of(windows: &StructArray) -> Result<ArrayRef> {
    let end = windows.columns().last().ok_or_else(|| {
        DataFusionError::Internal("a window has become a struct without fields".to_owned())
    })?;
    match windows.logical_nulls() {
        None => Ok(Arc::clone(end)),
        Some(nulls) => {
            let absent = BooleanArray::new(!nulls.inner(), None);
            Ok(nullif(end, &absent)?)
        }
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::{
        array::{TimestampMicrosecondArray, TimestampMillisecondArray},
        buffer::NullBuffer,
        datatypes::{Field, Fields},
    };
    use headwater_core::{Delay, EventTime};

    use super::*;

    #[test]
    fn less_than_a_millisecond_is_not_lost_on_coarse_times() {
        let times: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![7]));
        let at = |extra_micros| {
            let expiry = Expiry {
                column: 0,
                extra_micros,
            };
            expiry.millis(&[Arc::clone(&times)]).unwrap().value(0)
        };
        assert_eq!([at(0), at(1), at(1_000), at(-1)], [7, 8, 8, 7]);
    }

    #[test]
    fn a_window_expires_exactly_at_its_end() {
        let starts: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![
            Some(0),
            Some(1),
            None,
            Some(10_000_000),
        ]));
        let expiry = Expiry {
            column: 0,
            extra_micros: 10_000_000,
        };
        let at_ten = Watermark::START.advanced(EventTime(10_000), Delay(0));
        let alive = expiry.alive(&[starts], at_ten).unwrap().unwrap();
        assert_eq!(
            alive,
            BooleanArray::from(vec![false, true, true, true]),
            "the window that ends at the watermark is gone, a microsecond later it is not"
        );
    }
    #[test]
    fn a_window_as_a_struct_expires_at_its_end_and_no_window_never() {
        let time = DataType::Timestamp(TimeUnit::Microsecond, None);
        let fields = ["start", "end"].map(|name| Field::new(name, time.clone(), true));
        let times = |values: [i64; 3]| -> ArrayRef {
            Arc::new(TimestampMicrosecondArray::from(values.to_vec()))
        };
        let windows: ArrayRef = Arc::new(StructArray::new(
            Fields::from(fields.to_vec()),
            vec![times([0, 1_000, 0]), times([5_000, 6_000, 0])],
            Some(NullBuffer::from(vec![true, true, false])),
        ));
        let expiry = Expiry {
            column: 0,
            extra_micros: 0,
        };
        assert_eq!(
            expiry.millis(&[windows]).unwrap(),
            Int64Array::from(vec![Some(5), Some(6), None])
        );
    }
}
