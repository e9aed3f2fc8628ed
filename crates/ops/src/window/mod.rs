//! Time windows: their shape, the rows in them, and slices of those that overlap.

mod assign;
mod assign_slices;
mod close_windows;
mod combine_slices;
mod expand_slices;
mod over_slices;
mod slice;

use std::cell::Cell;

use datafusion::{
    arrow::datatypes::TimeUnit,
    error::{DataFusionError, Result},
};

pub use self::assign::{AssignWindowsExec, windowed_schema};
pub(crate) use self::{
    assign_slices::AssignSlicesExec,
    close_windows::{ClosingWindows, Span},
    expand_slices::ExpandSlicesExec,
    over_slices::{SlicedAggregate, aggregate_slices},
};

/// Shape of time windows, in microseconds. Windows are `[start, start + size)` with starts at
/// `offset + n * slide`, aligned to 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Windows {
    /// Length of a window.
    pub size_micros: i64,
    /// Distance between the starts of two windows; equal to the size for tumbling ones.
    pub slide_micros: i64,
    /// Shift of the starts.
    pub offset_micros: i64,
}

impl Windows {
    /// How many windows a time can belong to at most.
    pub fn overlapping(&self) -> i64 {
        overlapping(self.size_micros, self.slide_micros)
    }

    /// Whether every time belongs to exactly one window.
    pub fn is_tumbling(&self) -> bool {
        self.size_micros == self.slide_micros
    }

    /// The end of the first window that ends after `micros`.
    fn next_end(&self, micros: i64) -> i64 {
        let slide = i128::from(self.slide_micros);
        let ends = i128::from(self.offset_micros) + i128::from(self.size_micros);
        let behind = (i128::from(micros) - ends).rem_euclid(slide);
        let next = i128::from(micros) - behind + slide;
        i64::try_from(next).unwrap_or(i64::MAX)
    }

    /// The same windows in units of a timestamp type; an error if they do not fall on whole units.
    fn in_unit(&self, unit: TimeUnit) -> Result<Scaled> {
        let scale = |micros: i64| match unit {
            TimeUnit::Nanosecond => micros.checked_mul(1_000),
            TimeUnit::Microsecond => Some(micros),
            TimeUnit::Millisecond => (micros % 1_000 == 0).then_some(micros / 1_000),
            TimeUnit::Second => (micros % 1_000_000 == 0).then_some(micros / 1_000_000),
        };
        let scaled = |micros| {
            scale(micros).ok_or_else(|| {
                DataFusionError::Plan(format!(
                    "a window of {micros} microseconds does not fall on whole units of a timestamp in {unit:?}s: \
                     cast the time column to a finer timestamp"
                ))
            })
        };
        Ok(Scaled {
            size: scaled(self.size_micros)?,
            slide: scaled(self.slide_micros)?,
            offset: scaled(self.offset_micros)?,
        })
    }
}

/// How many windows of a size a time can belong to at most.
fn overlapping(size: i64, slide: i64) -> i64 {
    (size + slide - 1) / slide
}

/// Windows in the units of one timestamp column.
#[derive(Debug, Clone, Copy)]
struct Scaled {
    size: i64,
    slide: i64,
    offset: i64,
}

impl Scaled {
    fn overlapping(&self) -> i64 {
        overlapping(self.size, self.slide)
    }

    /// Start of the last window that contains `time`, or that would if it were longer than its slide.
    fn last_start(&self, time: i64) -> i64 {
        let into = time.wrapping_sub(self.offset).rem_euclid(self.slide);
        time.saturating_sub(into)
    }

    /// [`Self::last_start`] for one time after the other: one that starts where the last one did, as most do in data that is
    /// roughly in order, costs no division.
    fn last_starts(self) -> impl Fn(i64) -> i64 {
        let last = Cell::new(self.last_start(0));
        move |time| {
            let start = last.get();
            let is_same = time >= start && time.abs_diff(start) < self.slide.unsigned_abs();
            // Where time begins and ends numbers wrap.
            let is_usual = time.checked_sub(self.offset).is_some();
            if is_same && is_usual {
                return start;
            }
            let start = self.last_start(time);
            if is_usual && start > i64::MIN {
                last.set(start);
            }
            start
        }
    }
}

/// All window starts of one time, the earliest first; for tests and for the batch form of `window`.
pub fn window_starts(time_micros: i64, windows: &Windows) -> Vec<i64> {
    let scaled = Scaled {
        size: windows.size_micros,
        slide: windows.slide_micros,
        offset: windows.offset_micros,
    };
    let last = scaled.last_start(time_micros);
    (0..windows.overlapping())
        .rev()
        .map(|position| last - position * scaled.slide)
        .filter(|start| time_micros < start + scaled.size)
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: i64 = 1_000_000;

    fn windows(size: i64, slide: i64, offset: i64) -> Windows {
        Windows {
            size_micros: size * SECOND,
            slide_micros: slide * SECOND,
            offset_micros: offset * SECOND,
        }
    }

    proptest! {
        #[test]
        fn one_after_the_other_times_start_where_each_does(
            slide in 1_i64..50,
            offset in -10_i64..10,
            times in prop::collection::vec(
                prop_oneof![-100_i64..100, i64::MIN..i64::MIN + 100, i64::MAX - 100..i64::MAX],
                0..100,
            ),
        ) {
            let scaled = Scaled { size: 2 * slide, slide, offset };
            let starts = scaled.last_starts();
            for time in times {
                prop_assert_eq!(starts(time), scaled.last_start(time), "{}", time);
            }
        }
    }

    #[test]
    fn times_before_1970_fall_into_the_window_below() {
        assert_eq!(window_starts(-1, &windows(10, 10, 0)), [-10 * SECOND]);
        assert_eq!(window_starts(0, &windows(10, 10, 3)), [-7 * SECOND]);
    }

    #[test]
    fn a_slide_that_does_not_divide_the_size_gives_unequal_numbers_of_windows() {
        let shape = windows(10, 3, 0);
        assert_eq!(
            window_starts(9 * SECOND, &shape),
            [0, 3, 6, 9].map(|s| s * SECOND)
        );
        assert_eq!(
            window_starts(11 * SECOND, &shape),
            [3, 6, 9].map(|s| s * SECOND)
        );
    }
}
