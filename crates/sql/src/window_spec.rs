//! The shape of a time window: its size, how far apart windows start, and where the first one starts.
//!
//! Invariant: a [`WindowSpec`] has `0 < slide <= size` and `|start| < slide`, so every event time lies in
//! `ceil(size / slide)` windows at most, and in one exactly where `slide == size`.

use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::Expr;

use crate::interval::CalendarInterval;

/// Size, slide and start offset of time windows, in microseconds. Windows are aligned to 1970-01-01T00:00:00Z plus
/// the start offset, whatever the session's time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WindowSpec {
    /// Length of a window.
    pub size_micros: i64,
    /// Distance between the starts of two windows; equal to the size for tumbling windows.
    pub slide_micros: i64,
    /// Offset of the window starts from multiples of the slide; may be negative.
    pub start_micros: i64,
}

impl WindowSpec {
    /// Reads the arguments of a call `window(time, size[, slide[, start]])`; the first is not looked at.
    ///
    /// # Errors
    /// When a duration is not a constant, has months, is not positive, the slide is above the size or the offset
    /// not below the slide.
    pub fn from_args(args: &[Expr]) -> Result<Self> {
        let scalars = args
            .iter()
            .skip(1)
            .map(|arg| match unaliased(arg) {
                Expr::Literal(value, _) => Ok(value),
                other => plan_err!("window() needs a constant duration, found {other}: write for example '10 minutes'"),
            })
            .collect::<Result<Vec<_>>>()?;
        Self::from_scalars(&scalars)
    }

    /// Reads the constant durations behind the first argument: size, slide and start offset.
    pub(crate) fn from_scalars(durations: &[&ScalarValue]) -> Result<Self> {
        let micros = |i: usize, what: &str| -> Result<Option<i64>> {
            durations.get(i).map(|d| fixed_micros(d, what)).transpose()
        };
        let Some(size_micros) = micros(0, "window length")? else {
            return plan_err!(
                "window() needs a length: write for example window(ts, '10 minutes')"
            );
        };
        let spec = Self {
            size_micros,
            slide_micros: micros(1, "window slide")?.unwrap_or(size_micros),
            start_micros: micros(2, "window start offset")?.unwrap_or(0),
        };
        spec.check()?;
        Ok(spec)
    }

    fn check(&self) -> Result<()> {
        let Self {
            size_micros,
            slide_micros,
            start_micros,
        } = *self;
        if size_micros <= 0 {
            return plan_err!(
                "the window length must be above zero, found {size_micros} microseconds"
            );
        }
        if slide_micros <= 0 {
            return plan_err!(
                "the window slide must be above zero, found {slide_micros} microseconds"
            );
        }
        if slide_micros > size_micros {
            return plan_err!(
                "the window slide ({slide_micros} microseconds) must not be above its length ({size_micros} microseconds): rows between two windows would be lost, make the slide at most as long as the window"
            );
        }
        if start_micros.unsigned_abs() >= slide_micros.unsigned_abs() {
            return plan_err!(
                "the window start offset ({start_micros} microseconds) must be below the slide ({slide_micros} microseconds)"
            );
        }
        Ok(())
    }

    /// Whether windows do not overlap.
    pub fn is_tumbling(&self) -> bool {
        self.size_micros == self.slide_micros
    }

    /// How many windows hold an event time at most.
    pub fn windows_per_row(&self) -> usize {
        let count = self
            .size_micros
            .unsigned_abs()
            .div_ceil(self.slide_micros.unsigned_abs());
        usize::try_from(count).unwrap_or(usize::MAX)
    }

    /// Start of the latest window that holds `micros`; times before 1970 floor downwards too. `None` where it is out
    /// of range.
    pub fn last_start(&self, micros: i64) -> Option<i64> {
        let offset = micros.checked_sub(self.start_micros)?;
        micros.checked_sub(offset.rem_euclid(self.slide_micros))
    }
}

/// The expression under any aliases.
pub(crate) fn unaliased(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unaliased(&alias.expr),
        other => other,
    }
}

/// A constant duration in microseconds: a text like `10 minutes` or an interval literal without months.
fn fixed_micros(value: &ScalarValue, what: &str) -> Result<i64> {
    let (months, days, micros) = match value {
        ScalarValue::Utf8(Some(text))
        | ScalarValue::LargeUtf8(Some(text))
        | ScalarValue::Utf8View(Some(text)) => {
            let interval = CalendarInterval::parse(text)?;
            (interval.months, 0, interval.micros)
        }
        ScalarValue::IntervalMonthDayNano(Some(v)) if v.nanoseconds % 1_000 == 0 => {
            (v.months, i64::from(v.days), v.nanoseconds / 1_000)
        }
        ScalarValue::IntervalDayTime(Some(v)) => {
            (0, i64::from(v.days), i64::from(v.milliseconds) * 1_000)
        }
        ScalarValue::IntervalYearMonth(Some(months)) => (*months, 0, 0),
        other => {
            return plan_err!("the {what} must be a duration like '10 minutes', found {other}");
        }
    };
    if months != 0 {
        return plan_err!(
            "the {what} has months or years, which differ in length: use days, for example '30 days'"
        );
    }
    let total = days
        .checked_mul(crate::interval::MICROS_PER_DAY)
        .and_then(|d| d.checked_add(micros));
    match total {
        Some(total) => Ok(total),
        None => plan_err!("the {what} is out of range"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::logical_expr::{col, lit};

    fn spec(durations: &[&str]) -> Result<WindowSpec> {
        let mut args = vec![col("ts")];
        args.extend(durations.iter().map(|d| lit(*d)));
        WindowSpec::from_args(&args)
    }

    #[test]
    fn slide_is_the_size_and_start_is_zero_unless_given() {
        let tumbling = spec(&["10 seconds"]).expect("tumbling");
        assert_eq!(
            (tumbling.slide_micros, tumbling.start_micros),
            (10_000_000, 0)
        );
        assert!(tumbling.is_tumbling());
        let sliding = spec(&["10 seconds", "3 seconds", "-1 second"]).expect("sliding");
        assert_eq!(
            (sliding.slide_micros, sliding.start_micros),
            (3_000_000, -1_000_000)
        );
        assert_eq!(sliding.windows_per_row(), 4);
    }

    #[test]
    fn impossible_windows_are_refused() {
        let cases: [(&[&str], &str); 6] = [
            (&["0 seconds"], "above zero"),
            (&["-5 seconds"], "above zero"),
            (&["1 month"], "30 days"),
            (&["10 seconds", "20 seconds"], "slide"),
            (&["10 seconds", "5 seconds", "5 seconds"], "below the slide"),
            (&["soon"], "5 minutes"),
        ];
        for (durations, expected) in cases {
            let error = spec(durations).expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
        }
        let error = WindowSpec::from_args(&[col("ts"), col("size")])
            .expect_err("not constant")
            .to_string();
        assert!(error.contains("constant"), "{error}");
    }

    #[test]
    fn windows_floor_downwards_before_1970() {
        let spec = spec(&["10 seconds", "10 seconds", "3 seconds"]).expect("offset");
        assert_eq!(spec.last_start(3_000_000), Some(3_000_000));
        assert_eq!(spec.last_start(2_999_999), Some(-7_000_000));
        assert_eq!(spec.last_start(-7_000_001), Some(-17_000_000));
        assert_eq!(spec.last_start(i64::MIN), None);
    }
}
