//! Slices of overlapping windows.
//!
//! Between two neighbouring bounds of windows, starts or ends, all times are in the same windows: they make a slice. A
//! row enters one slice instead of all its windows, and only what is left of the slice after aggregation enters those.
//! There are at most two slices for each slide. The method is that of paired windows in Krishnamurthy, Wu and Franklin,
//! "On-the-Fly Sharing for Streamed Aggregation" (SIGMOD 2006).
//!
//! A slice is named by its last instant, and a window by its start as everywhere: so both fit into one column and can
//! be told apart, unless a slice is so short that its last instant is a start too.

use std::ops::RangeInclusive;

use super::{Scaled, assign::starts_of, close_windows::Span};
use datafusion::{
    arrow::{
        array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch},
        compute::{cast, filter_record_batch, not},
        datatypes::{DataType, Int64Type, TimeUnit},
    },
    error::Result,
};

impl Scaled {
    /// Whether a row is in several windows and slices can be told from windows.
    pub(super) fn can_be_sliced(&self) -> bool {
        self.size > self.slide && self.slide > 1 && self.size % self.slide != 1
    }

    /// The last instant of the slice in which a time lies, for one time after the other.
    fn slices(self) -> impl Fn(i64) -> i64 {
        let last_start = self.last_starts();
        // Ends of windows lie this far behind the starts of others.
        let end = self.size % self.slide;
        move |time| {
            let start = last_start(time);
            let length = if time.wrapping_sub(start) < end {
                end
            } else {
                self.slide
            };
            start.saturating_add(length - 1)
        }
    }

    /// The last instant of the slice in which `time` lies.
    #[cfg(test)]
    pub(super) fn slice_of(self, time: i64) -> i64 {
        self.slices()(time)
    }

    /// The start of the earliest window that could hold `time`.
    pub(super) fn earliest_start(&self, time: i64) -> i64 {
        let back = (self.overlapping() - 1) * self.slide;
        self.last_start(time).saturating_sub(back)
    }

    /// The starts of the windows that end in a span of milliseconds, its first instant not included, and others between
    /// them that are no starts.
    pub(super) fn starts_of_ends(&self, span: Span, unit: TimeUnit) -> RangeInclusive<i64> {
        let last_unit = |millis: i64| match unit {
            TimeUnit::Nanosecond => millis.saturating_mul(1_000_000),
            TimeUnit::Microsecond => millis.saturating_mul(1_000),
            TimeUnit::Millisecond => millis,
            TimeUnit::Second => millis.div_euclid(1_000),
        };
        let first_end = last_unit(span.after).saturating_add(1);
        let last_end = last_unit(span.until);
        first_end.saturating_sub(self.size)..=last_end.saturating_sub(self.size)
    }

    /// The starts of the windows that an instant stands for, of those that are wanted, the latest first: of the one window
    /// that starts then, or of all that hold the slice of this name.
    pub(super) fn windows_named(
        self,
        instant: i64,
        wanted: &RangeInclusive<i64>,
    ) -> impl Iterator<Item = i64> {
        let (first, latest) = (*wanted.start(), *wanted.end());
        let last = self.last_start(instant);
        let (slide, size) = (i128::from(self.slide), i128::from(self.size));
        let too_late = (i128::from(last) - i128::from(latest)).max(0);
        let positions = match last == instant {
            true => 0..1,
            false => 0..i128::from(self.overlapping()),
        };
        let positions = positions.start.max((too_late + slide - 1) / slide)..positions.end;
        positions.map_while(move |position| {
            let start = i128::from(last) - position * slide;
            let holds = i128::from(instant) < start + size;
            i64::try_from(start)
                .ok()
                .filter(|start| holds && *start >= first)
        })
    }

    fn is_start(&self, instant: i64) -> bool {
        self.last_start(instant) == instant
    }
}

/// Times of any unit as plain numbers, without copying them.
pub(super) fn instants(times: &ArrayRef) -> Result<Int64Array> {
    Ok(cast(times, &DataType::Int64)?
        .as_primitive::<Int64Type>()
        .clone())
}

/// Plain numbers as times of type `like`.
pub(super) fn times(instants: Int64Array, like: &DataType) -> Result<ArrayRef> {
    Ok(cast(&instants, like)?)
}

/// Puts each row into all windows that its column `column` stands for: the windows of a slice, or the one window.
pub(super) fn expand(
    batch: &RecordBatch,
    column: usize,
    scaled: Scaled,
) -> Result<Vec<RecordBatch>> {
    let named = instants(batch.column(column))?;
    let windows = BooleanArray::from_unary(&named, |instant| scaled.is_start(instant));
    let count = windows.true_count();
    if count == batch.num_rows() {
        return Ok(vec![batch.clone()]);
    }
    let mut expanded = Vec::with_capacity(1 + usize::try_from(scaled.overlapping()).unwrap_or(0));
    let slices = if count == 0 {
        batch.clone()
    } else {
        expanded.push(filter_record_batch(batch, &windows)?);
        filter_record_batch(batch, &not(&windows)?)?
    };
    for position in 0..scaled.overlapping() {
        let (starts, inside) = starts_of(slices.column(column), scaled, position)?;
        let mut columns = slices.columns().to_vec();
        columns[column] = starts;
        let assigned = RecordBatch::try_new(slices.schema(), columns)?;
        expanded.push(match inside {
            Some(inside) => filter_record_batch(&assigned, &inside)?,
            None => assigned,
        });
    }
    Ok(expanded)
}

/// Replaces the times of `batch` by the slices they lie in, as a further column.
pub(super) fn slices_of(batch: &RecordBatch, time: usize, scaled: Scaled) -> Result<ArrayRef> {
    let column = batch.column(time);
    let slices: Int64Array = instants(column)?.unary(scaled.slices());
    times(slices, column.data_type())
}

/// The starts of the earliest windows of the rows of `batch`.
pub(super) fn earliest_starts(
    batch: &RecordBatch,
    time: usize,
    scaled: Scaled,
) -> Result<ArrayRef> {
    let column = batch.column(time);
    let starts: Int64Array = instants(column)?.unary(|time| scaled.earliest_start(time));
    times(starts, column.data_type())
}

/// The start of the earliest window of all rows of `batch`, as the only row of a column.
pub(super) fn earliest_start(
    batch: &RecordBatch,
    time: usize,
    scaled: Scaled,
) -> Result<Option<ArrayRef>> {
    let column = batch.column(time);
    let Some(first) = datafusion::arrow::compute::min(&instants(column)?) else {
        return Ok(None);
    };
    let start = Int64Array::from(vec![scaled.earliest_start(first)]);
    times(start, column.data_type()).map(Some)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, sync::Arc};

    use datafusion::arrow::{
        array::TimestampMillisecondArray,
        datatypes::{Field, Schema},
    };
    use proptest::prelude::*;

    use super::*;
    use crate::window::{Windows, window_starts};

    fn shape() -> impl Strategy<Value = Windows> {
        (2_i64..20, 0_i64..40, 0_i64..20)
            .prop_map(|(slide, more, offset)| Windows {
                size_micros: slide + more,
                slide_micros: slide,
                offset_micros: offset,
            })
            .prop_filter("sliceable", |windows| scaled(windows).can_be_sliced())
    }

    fn scaled(windows: &Windows) -> Scaled {
        Scaled {
            size: windows.size_micros,
            slide: windows.slide_micros,
            offset: windows.offset_micros,
        }
    }

    proptest! {
        #[test]
        fn a_slice_lies_in_the_windows_of_each_of_its_times(windows in shape(), time in -1_000_i64..1_000) {
            let scaled = scaled(&windows);
            let slice = scaled.slice_of(time);
            prop_assert!(slice >= time && !scaled.is_start(slice));
            prop_assert_eq!(scaled.slice_of(slice), slice);
            prop_assert_eq!(window_starts(slice, &windows), window_starts(time, &windows));
            prop_assert!(scaled.earliest_start(time) <= window_starts(time, &windows)[0]);
        }

        #[test]
        fn what_is_wanted_of_the_windows_of_a_name_is_found(
            windows in shape(),
            time in -1_000_i64..1_000,
            first in -1_000_i64..1_000,
            length in 0_i64..60,
        ) {
            let scaled = scaled(&windows);
            let wanted = first..=first + length;
            let mut expected = window_starts(time, &windows);
            expected.retain(|start| wanted.contains(start));
            expected.reverse();
            let found: Vec<i64> = scaled.windows_named(scaled.slice_of(time), &wanted).collect();
            prop_assert_eq!(found, expected);
            let start = scaled.last_start(time);
            let found: Vec<i64> = scaled.windows_named(start, &wanted).collect();
            prop_assert_eq!(found, if wanted.contains(&start) { vec![start] } else { vec![] });
        }

        #[test]
        fn rows_expand_into_the_windows_that_they_stand_for(
            windows in shape(),
            rows in prop::collection::vec((-100_i64..100, any::<bool>()), 0..20),
        ) {
            let scaled = scaled(&windows);
            let named: Vec<i64> = rows
                .iter()
                .map(|(time, sliced)| match sliced {
                    true => scaled.slice_of(*time),
                    false => scaled.last_start(*time),
                })
                .collect();
            let times: ArrayRef = Arc::new(TimestampMillisecondArray::from(named));
            let number: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows.len() as i64));
            let schema = Schema::new(vec![
                Field::new("w", times.data_type().clone(), true),
                Field::new("n", DataType::Int64, false),
            ]);
            let batch = RecordBatch::try_new(Arc::new(schema), vec![times, number]).unwrap();
            let mut found = BTreeSet::new();
            let mut count = 0;
            for batch in expand(&batch, 0, scaled).unwrap() {
                let starts = instants(batch.column(0)).unwrap();
                let numbers = batch.column(1).as_primitive::<Int64Type>();
                count += batch.num_rows();
                found.extend(numbers.values().iter().copied().zip(starts.values().iter().copied()));
            }
            let mut expected = BTreeSet::new();
            for (number, (time, sliced)) in (0..).zip(&rows) {
                match sliced {
                    true => expected.extend(window_starts(*time, &windows).into_iter().map(|s| (number, s))),
                    false => {
                        expected.insert((number, scaled.last_start(*time)));
                    }
                }
            }
            prop_assert_eq!(count, expected.len());
            prop_assert_eq!(found, expected);
        }
    }
}
