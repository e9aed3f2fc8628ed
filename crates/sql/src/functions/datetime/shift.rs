//! Times moved, and what lies between two times, in days, months and other units.

use std::sync::Arc;

use super::signed;
use crate::functions::scalar::{Call, Scalar, arity, constant_text, timestamp};
use crate::functions::zone::{date, days};
use chrono::{Datelike, Duration, Months, NaiveDate, NaiveDateTime, Timelike};
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, Date32Array, Float64Array, Int32Array, Int64Array,
    TimestampMicrosecondArray,
};
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Int32Type, Int64Type, TimestampMicrosecondType,
};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::ScalarUDF;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    [
        Scalar::new(
            "timestampadd",
            coerce_timestampadd,
            |types| Ok(types[2].clone()),
            timestampadd,
        ),
        Scalar::new(
            "timestampdiff",
            coerce_timestampdiff,
            |_| Ok(DataType::Int64),
            timestampdiff,
        ),
        Scalar::new(
            "months_between",
            coerce_months_between,
            |_| Ok(DataType::Float64),
            months_between,
        ),
        Scalar::new(
            "date_add",
            |t| coerce_date_and_int("date_add", t),
            |_| Ok(DataType::Date32),
            |args, _| shift_dates(args, |d, n| d.checked_add(n)),
        ),
        Scalar::new(
            "date_sub",
            |t| coerce_date_and_int("date_sub", t),
            |_| Ok(DataType::Date32),
            |args, _| shift_dates(args, |d, n| d.checked_sub(n)),
        ),
        Scalar::new(
            "add_months",
            |t| coerce_date_and_int("add_months", t),
            |_| Ok(DataType::Date32),
            |args, _| {
                shift_dates(args, |d, n| {
                    Some(days(plus_months(date(d).ok()?, n.into())?))
                })
            },
        ),
        Scalar::new(
            "datediff",
            coerce_datediff,
            |_| Ok(DataType::Int32),
            |args, _| {
                let (end, start) = (
                    args[0].as_primitive::<Date32Type>(),
                    args[1].as_primitive::<Date32Type>(),
                );
                let difference: Int32Array = end
                    .iter()
                    .zip(start)
                    .map(|(e, s)| Some(e?.wrapping_sub(s?)))
                    .collect();
                Ok(Arc::new(difference))
            },
        )
        .aliases(&["date_diff"]),
        Scalar::new(
            "last_day",
            coerce_last_day,
            |_| Ok(DataType::Date32),
            |args, _| {
                let dates = args[0].as_primitive::<Date32Type>();
                let last: Date32Array = dates.try_unary(|d| date(d).map(|d| days(last_day(d))))?;
                Ok(Arc::new(last))
            },
        ),
    ]
    .map(Scalar::udf)
    .into()
}

fn coerce_date_and_int(name: &str, types: &[DataType]) -> Result<Vec<DataType>> {
    arity(name, 2..=2, types)?;
    Ok(vec![DataType::Date32, DataType::Int32])
}

fn shift_dates(args: &[ArrayRef], shift: fn(i32, i32) -> Option<i32>) -> Result<ArrayRef> {
    let (dates, counts) = (
        args[0].as_primitive::<Date32Type>(),
        args[1].as_primitive::<Int32Type>(),
    );
    let shifted: Date32Array = dates
        .iter()
        .zip(counts)
        .map(|pair| match pair {
            (Some(d), Some(n)) => match shift(d, n) {
                Some(shifted) => Ok(Some(shifted)),
                None => exec_err!("[DATETIME_OVERFLOW] date {d} moved by {n} is out of range"),
            },
            _ => Ok(None),
        })
        .collect::<Result<_>>()?;
    Ok(Arc::new(shifted))
}

/// A date some months later; the day is cut to the length of the month.
fn plus_months(date: NaiveDate, months: i64) -> Option<NaiveDate> {
    let count = Months::new(u32::try_from(months.unsigned_abs()).ok()?);
    if months < 0 {
        date.checked_sub_months(count)
    } else {
        date.checked_add_months(count)
    }
}

fn last_day(date: NaiveDate) -> NaiveDate {
    let next = date
        .with_day(1)
        .and_then(|first| first.checked_add_months(Months::new(1)));
    next.and_then(|first| first.pred_opt()).unwrap_or(date)
}

fn coerce_datediff(types: &[DataType]) -> Result<Vec<DataType>> {
    arity("datediff", 2..=2, types)?;
    Ok(vec![DataType::Date32, DataType::Date32])
}

fn coerce_last_day(types: &[DataType]) -> Result<Vec<DataType>> {
    arity("last_day", 1..=1, types)?;
    Ok(vec![DataType::Date32])
}

fn coerce_timestampadd(types: &[DataType]) -> Result<Vec<DataType>> {
    arity("timestampadd", 3..=3, types)?;
    Ok(vec![DataType::Utf8, DataType::Int64, timestamp()])
}

/// Months, or microseconds, in a unit of `timestampadd` and `timestampdiff`. Days and weeks are calendar days.
enum Step {
    Months(i64),
    Days(i64),
    Micros(i64),
}

fn step(unit: &ArrayRef) -> Result<Option<Step>> {
    let Some(unit) = constant_text("the unit of time", unit)? else {
        return Ok(None);
    };
    Ok(Some(match unit.to_ascii_uppercase().as_str() {
        "YEAR" => Step::Months(12),
        "QUARTER" => Step::Months(3),
        "MONTH" => Step::Months(1),
        "WEEK" => Step::Days(7),
        "DAY" | "DAYOFYEAR" => Step::Days(1),
        "HOUR" => Step::Micros(3_600_000_000),
        "MINUTE" => Step::Micros(60_000_000),
        "SECOND" => Step::Micros(1_000_000),
        "MILLISECOND" => Step::Micros(1_000),
        "MICROSECOND" => Step::Micros(1),
        other => {
            return exec_err!(
                "unknown unit of time `{other}`: use YEAR, QUARTER, MONTH, WEEK, DAY, HOUR, MINUTE, SECOND, MILLISECOND or MICROSECOND"
            );
        }
    }))
}

fn timestampadd(args: &[ArrayRef], call: &Call<'_>) -> Result<ArrayRef> {
    let zone = call.zone()?;
    let times = args[2].as_primitive::<TimestampMicrosecondType>();
    let Some(step) = step(&args[0])? else {
        return Ok(datafusion::arrow::array::new_null_array(
            call.return_type,
            times.len(),
        ));
    };
    let add = |t: i64, n: i64| -> Option<i64> {
        match &step {
            Step::Micros(unit) => t.checked_add(n.checked_mul(*unit)?),
            Step::Days(unit) => {
                let local = zone.local(t).ok()?;
                let days = Duration::try_days(n.checked_mul(*unit)?)?;
                Some(zone.instant(local.checked_add_signed(days)?))
            }
            Step::Months(unit) => {
                let local = zone.local(t).ok()?;
                let date = plus_months(local.date(), n.checked_mul(*unit)?)?;
                Some(zone.instant(date.and_time(local.time())))
            }
        }
    };
    let moved: TimestampMicrosecondArray = times
        .iter()
        .zip(args[1].as_primitive::<Int64Type>())
        .map(|pair| match pair {
            (Some(t), Some(n)) => match add(t, n) {
                Some(moved) => Ok(Some(moved)),
                None => exec_err!("[DATETIME_OVERFLOW] timestamp {t} moved by {n} is out of range"),
            },
            _ => Ok(None),
        })
        .collect::<Result<_>>()?;
    Ok(Arc::new(moved.with_timezone("UTC")))
}

fn coerce_timestampdiff(types: &[DataType]) -> Result<Vec<DataType>> {
    arity("timestampdiff", 3..=3, types)?;
    Ok(vec![DataType::Utf8, timestamp(), timestamp()])
}

/// Whole units from the first time to the second.
fn timestampdiff(args: &[ArrayRef], call: &Call<'_>) -> Result<ArrayRef> {
    let zone = call.zone()?;
    let (from, to) = (
        args[1].as_primitive::<TimestampMicrosecondType>(),
        args[2].as_primitive::<TimestampMicrosecondType>(),
    );
    let Some(step) = step(&args[0])? else {
        return Ok(Arc::new(Int64Array::new_null(from.len())));
    };
    let between = |a: i64, b: i64| -> Result<i64> {
        Ok(match &step {
            Step::Micros(unit) => (b - a) / unit,
            Step::Days(unit) => (zone.local(b)? - zone.local(a)?).num_days() / unit,
            Step::Months(unit) => whole_months(zone.local(a)?, zone.local(b)?) / unit,
        })
    };
    let differences: Int64Array = from
        .iter()
        .zip(to)
        .map(|pair| match pair {
            (Some(a), Some(b)) => between(a, b).map(Some),
            _ => Ok(None),
        })
        .collect::<Result<_>>()?;
    Ok(Arc::new(differences))
}

/// Whole months from `a` to `b`, towards zero.
fn whole_months(a: NaiveDateTime, b: NaiveDateTime) -> i64 {
    let months = |t: NaiveDateTime| i64::from(t.year()) * 12 + i64::from(t.month0());
    let within = |t: NaiveDateTime| (t.day(), t.time());
    let difference = months(b) - months(a);
    match difference {
        d if d > 0 && within(b) < within(a) => d - 1,
        d if d < 0 && within(b) > within(a) => d + 1,
        d => d,
    }
}

fn coerce_months_between(types: &[DataType]) -> Result<Vec<DataType>> {
    arity("months_between", 2..=3, types)?;
    Ok([timestamp(), timestamp(), DataType::Boolean][..types.len()].to_vec())
}

/// Months of 31 days between two times; whole where both are the same day of the month or both the last.
fn months_between(args: &[ArrayRef], call: &Call<'_>) -> Result<ArrayRef> {
    let zone = call.zone()?;
    let (first, second) = (
        args[0].as_primitive::<TimestampMicrosecondType>(),
        args[1].as_primitive::<TimestampMicrosecondType>(),
    );
    let between = |a: i64, b: i64| -> Result<f64> {
        let (a, b) = (zone.local(a)?, zone.local(b)?);
        let months = f64::from((a.year() - b.year()) * 12 + signed(a.month()) - signed(b.month()));
        let ends = a.date() == last_day(a.date()) && b.date() == last_day(b.date());
        if a.day() == b.day() || ends {
            return Ok(months);
        }
        let seconds = |t: NaiveDateTime| {
            f64::from(t.day()) * 86_400.0 + f64::from(t.num_seconds_from_midnight())
        };
        Ok(months + (seconds(a) - seconds(b)) / (31.0 * 86_400.0))
    };
    let rounding = match args.get(2) {
        Some(flag) => flag.is_empty() || flag.is_null(0) || flag.as_boolean().value(0),
        None => true,
    };
    let months: Float64Array = first
        .iter()
        .zip(second)
        .map(|pair| match pair {
            (Some(a), Some(b)) => {
                let exact = between(a, b)?;
                Ok(Some(if rounding {
                    (exact * 1e8).round() / 1e8
                } else {
                    exact
                }))
            }
            _ => Ok(None),
        })
        .collect::<Result<_>>()?;
    Ok(Arc::new(months))
}
