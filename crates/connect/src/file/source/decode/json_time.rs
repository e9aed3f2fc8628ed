//! Timestamps in JSON: text is a date and time, a whole number is seconds since 1970, as users of other engines have
//! them. (The JSON decoder by itself would take a number for the column's own unit, microseconds say.)
//!
//! Columns of timestamps are decoded as text, in which the decoder keeps numbers as they were written, and converted
//! here. Timestamps inside structs and lists stay with the decoder.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, Int64Array, StringArray},
    compute::{CastOptions, cast, cast_with_options, kernels::zip::zip},
    datatypes::{DataType, Field, FieldRef, TimeUnit},
    error::ArrowError,
};

/// The field to decode instead.
pub(super) fn as_decoded(field: &FieldRef) -> FieldRef {
    match field.data_type() {
        DataType::Timestamp(_, _) => Arc::new(Field::new(field.name(), DataType::Utf8, true)),
        _ => Arc::clone(field),
    }
}

/// The column as the table wants it. `forgiving`: what is no time is null.
pub(super) fn from_decoded(
    column: &ArrayRef,
    wanted: &DataType,
    forgiving: bool,
) -> Result<ArrayRef, ArrowError> {
    let DataType::Timestamp(unit, zone) = wanted else {
        return Ok(Arc::clone(column));
    };
    let options = CastOptions {
        safe: forgiving,
        ..CastOptions::default()
    };
    let text = column.as_string::<i32>();
    if !text.iter().flatten().any(is_number) {
        return cast_with_options(column, wanted, &options);
    }
    let per_second = match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    };
    let mut numbers = Vec::with_capacity(text.len());
    for value in text {
        let number = value.filter(|value| is_number(value)).map(|value| {
            let seconds = value.parse::<i64>().ok();
            seconds
                .and_then(|seconds| seconds.checked_mul(per_second))
                .ok_or_else(|| ArrowError::JsonError(format!("{value} seconds is no time")))
        });
        match number {
            Some(Err(_)) if forgiving => numbers.push(None),
            other => numbers.push(other.transpose()?),
        }
    }
    let rest: StringArray = text
        .iter()
        .map(|value| value.filter(|value| !is_number(value)))
        .collect();
    let texts = cast_with_options(&rest, wanted, &options)?;
    let numbers = Int64Array::from(numbers);
    let is_text = arrow::compute::is_null(&numbers)?;
    // A number counts from 1970 in UTC whatever the zone is.
    let numbers = cast(&numbers, &DataType::Timestamp(*unit, zone.clone()))?;
    zip(&is_text, &texts, &numbers)
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::TimestampMicrosecondType;

    use super::*;

    #[test]
    fn whole_numbers_are_seconds_and_text_is_a_time() {
        let column: ArrayRef = Arc::new(StringArray::from(vec![
            Some("5"),
            Some("1970-01-01T00:00:07.5Z"),
            None,
            Some("-1"),
        ]));
        let wanted = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let times = from_decoded(&column, &wanted, false).expect("times");
        assert_eq!(times.data_type(), &wanted);
        let times: Vec<_> = times
            .as_primitive::<TimestampMicrosecondType>()
            .iter()
            .collect();
        assert_eq!(
            times,
            [Some(5_000_000), Some(7_500_000), None, Some(-1_000_000)]
        );
    }

    #[test]
    fn what_is_no_time_is_an_error_or_null() {
        let wanted = DataType::Timestamp(TimeUnit::Microsecond, None);
        for text in ["soon", "9223372036854775807"] {
            let column: ArrayRef = Arc::new(StringArray::from(vec![text]));
            assert!(from_decoded(&column, &wanted, false).is_err(), "{text}");
            let forgiven = from_decoded(&column, &wanted, true).expect("null");
            assert_eq!(forgiven.null_count(), 1, "{text}");
        }
    }
}
