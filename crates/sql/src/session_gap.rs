//! The gap of a session window, one per row: texts like `5 minutes`, intervals or durations, in microseconds.

use std::collections::HashMap;

use datafusion::arrow::array::{
    Array, ArrayAccessor, ArrayRef, ArrowPrimitiveType, AsArray, Int64Array, PrimitiveArray,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType, Int64Type, IntervalDayTimeType, IntervalMonthDayNanoType, IntervalUnit,
    IntervalYearMonthType, TimeUnit,
};
use datafusion::common::{
    DataFusionError, Result, ScalarValue, exec_datafusion_err, exec_err, plan_err,
};

use crate::interval::{CalendarInterval, MICROS_PER_DAY};

/// Whether values of this type can be the gap of a session.
pub(crate) fn is_gap(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8
            | DataType::LargeUtf8
            | DataType::Utf8View
            | DataType::Interval(_)
            | DataType::Duration(_)
            | DataType::Null
    )
}

/// Gaps in microseconds, rounded down; null stays null, zero and less stay what they are.
///
/// # Errors
/// A text that is no interval, months or years (they differ in length), a value out of range, or another type.
pub fn gap_micros(gaps: &ArrayRef) -> Result<Int64Array> {
    match gaps.data_type() {
        DataType::Utf8 => texts(gaps.as_string::<i32>()),
        DataType::LargeUtf8 => texts(gaps.as_string::<i64>()),
        DataType::Utf8View => texts(gaps.as_string_view()),
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            intervals(gaps.as_primitive::<IntervalMonthDayNanoType>(), |gap| {
                (gap.months, gap.days, gap.nanoseconds.div_euclid(1_000))
            })
        }
        DataType::Interval(IntervalUnit::DayTime) => {
            intervals(gaps.as_primitive::<IntervalDayTimeType>(), |gap| {
                (0, gap.days, i64::from(gap.milliseconds) * 1_000)
            })
        }
        DataType::Interval(IntervalUnit::YearMonth) => {
            intervals(gaps.as_primitive::<IntervalYearMonthType>(), |months| {
                (months, 0, 0)
            })
        }
        DataType::Duration(unit) => {
            let counts = cast(gaps, &DataType::Int64)?;
            let counts = counts.as_primitive::<Int64Type>();
            let micros = |count: i64| match unit {
                TimeUnit::Second => count.checked_mul(1_000_000),
                TimeUnit::Millisecond => count.checked_mul(1_000),
                TimeUnit::Microsecond => Some(count),
                TimeUnit::Nanosecond => Some(count.div_euclid(1_000)),
            };
            counts.try_unary(|count| micros(count).ok_or_else(out_of_range))
        }
        DataType::Null => Ok(Int64Array::new_null(gaps.len())),
        other => exec_err!("a session gap must be a duration like '5 minutes', found {other}"),
    }
}

/// A gap that is the same for all rows, in microseconds; `None` if it is null.
///
/// # Errors
/// As [`gap_micros`], and as an error of the plan a gap that is not above zero.
pub fn constant_gap(gap: &ScalarValue) -> Result<Option<i64>> {
    match constant_micros(gap)? {
        Some(micros) if micros <= 0 => {
            plan_err!("the session gap must be above zero, found {gap}")
        }
        micros => Ok(micros),
    }
}

/// As [`constant_gap`], whatever its sign.
///
/// # Errors
/// As [`gap_micros`], as an error of the plan.
pub fn constant_micros(gap: &ScalarValue) -> Result<Option<i64>> {
    let micros = gap_micros(&gap.to_array()?).map_err(|error| match error {
        DataFusionError::Execution(message) => DataFusionError::Plan(message),
        other => other,
    })?;
    Ok(micros.iter().flatten().next())
}

fn out_of_range() -> DataFusionError {
    exec_datafusion_err!("a session gap is out of range: it must fit into 64 bits of microseconds")
}

fn total(months: i32, days: i32, micros: i64) -> Result<i64> {
    if months != 0 {
        return exec_err!(
            "a session gap has months or years, which differ in length: use days, for example '30 days'"
        );
    }
    i64::from(days)
        .checked_mul(MICROS_PER_DAY)
        .and_then(|days| days.checked_add(micros))
        .ok_or_else(out_of_range)
}

fn intervals<T: ArrowPrimitiveType>(
    gaps: &PrimitiveArray<T>,
    parts: impl Fn(T::Native) -> (i32, i32, i64),
) -> Result<Int64Array> {
    gaps.try_unary(|gap| {
        let (months, days, micros) = parts(gap);
        total(months, days, micros)
    })
}

/// There are few different gaps, as a rule, so each is read once.
fn texts<'a>(gaps: impl ArrayAccessor<Item = &'a str>) -> Result<Int64Array> {
    let mut known: HashMap<&str, i64> = HashMap::new();
    let mut micros = Vec::with_capacity(gaps.len());
    for row in 0..gaps.len() {
        if gaps.is_null(row) {
            micros.push(None);
            continue;
        }
        let text = gaps.value(row);
        micros.push(Some(match known.get(text) {
            Some(gap) => *gap,
            None => {
                let gap = CalendarInterval::parse(text).map_err(|error| match error {
                    DataFusionError::Plan(message) => exec_datafusion_err!("{message}"),
                    other => other,
                })?;
                let gap = total(gap.months, 0, gap.micros)?;
                known.insert(text, gap);
                gap
            }
        }));
    }
    Ok(micros.into())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{
        DurationMillisecondArray, IntervalMonthDayNanoArray, StringArray, StringViewArray,
    };
    use datafusion::arrow::datatypes::IntervalMonthDayNano;

    use super::*;

    #[test]
    fn gaps_of_every_kind_are_microseconds() {
        let texts = vec![Some("5 seconds"), None, Some("-1 day"), Some("5 seconds")];
        let expected = Int64Array::from(vec![
            Some(5_000_000),
            None,
            Some(-MICROS_PER_DAY),
            Some(5_000_000),
        ]);
        let utf8: ArrayRef = Arc::new(StringArray::from(texts.clone()));
        let views: ArrayRef = Arc::new(StringViewArray::from(texts));
        assert_eq!(gap_micros(&utf8).expect("texts"), expected);
        assert_eq!(gap_micros(&views).expect("views"), expected);
        let intervals: ArrayRef = Arc::new(IntervalMonthDayNanoArray::from(vec![
            IntervalMonthDayNano::new(0, 1, 2_500),
        ]));
        let day = Int64Array::from(vec![MICROS_PER_DAY + 2]);
        assert_eq!(gap_micros(&intervals).expect("intervals"), day);
        let durations: ArrayRef = Arc::new(DurationMillisecondArray::from(vec![Some(7), None]));
        let millis = Int64Array::from(vec![Some(7_000), None]);
        assert_eq!(gap_micros(&durations).expect("durations"), millis);
    }

    #[test]
    fn gaps_that_have_no_length_are_told() {
        for (text, expected) in [("soon", "5 minutes"), ("1 month", "30 days")] {
            let gaps: ArrayRef = Arc::new(StringArray::from(vec![text]));
            let error = gap_micros(&gaps).expect_err(text).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
