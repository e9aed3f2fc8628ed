//! `date_trunc`: the start of the unit that a time lies in, on the clocks of the session.

use std::sync::Arc;

use super::time_type;
use crate::functions::scalar::{Call, Scalar, arity, constant_text, timestamp};
use crate::functions::zone::Zone;
use chrono::{Datelike, Duration, NaiveDate, NaiveDateTime, NaiveTime, Timelike};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, TimestampMicrosecondArray};
use datafusion::arrow::datatypes::{DataType, TimestampMicrosecondType};
use datafusion::common::{Result, exec_datafusion_err, exec_err};
use datafusion::logical_expr::ScalarUDF;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    [Scalar::new(
        "date_trunc",
        coerce_date_trunc,
        |types| Ok(types[1].clone()),
        date_trunc,
    )]
    .map(Scalar::udf)
    .into()
}

fn coerce_date_trunc(types: &[DataType]) -> Result<Vec<DataType>> {
    arity("date_trunc", 2..=2, types)?;
    let time = match time_type("date_trunc", &types[1])? {
        DataType::Date32 => timestamp(),
        other => other,
    };
    Ok(vec![DataType::Utf8, time])
}

fn date_trunc(args: &[ArrayRef], call: &Call<'_>) -> Result<ArrayRef> {
    let times = args[1].as_primitive::<TimestampMicrosecondType>();
    let zone = match args[1].data_type() {
        DataType::Timestamp(_, Some(_)) => call.zone()?,
        _ => Zone::UTC,
    };
    let Some(unit) = constant_text("the unit of date_trunc()", &args[0])? else {
        return Ok(datafusion::arrow::array::new_null_array(
            call.return_type,
            times.len(),
        ));
    };
    let fixed = |micros: i64| -> Result<TimestampMicrosecondArray> {
        Ok(times.unary(|t| t - t.rem_euclid(micros)))
    };
    let unit = unit.to_ascii_uppercase();
    let truncated = match unit.as_str() {
        "MICROSECOND" => times.clone(),
        "MILLISECOND" => fixed(1_000)?,
        "SECOND" => fixed(1_000_000)?,
        // Offsets of zones are whole minutes today; before standard time they were not.
        "MINUTE" if matches!(zone, z if z.offset_seconds(0) % 60 == 0) => fixed(60_000_000)?,
        _ => times.try_unary(|t| trunc_local(zone.local(t)?, &unit).map(|l| zone.instant(l)))?,
    };
    let DataType::Timestamp(_, own) = call.return_type else {
        return exec_err!("date_trunc() gives timestamps");
    };
    Ok(Arc::new(truncated.with_timezone_opt(own.clone())))
}

fn trunc_local(local: NaiveDateTime, unit: &str) -> Result<NaiveDateTime> {
    let day = local.date();
    let first = |month: u32| {
        NaiveDate::from_ymd_opt(day.year(), month, 1).ok_or_else(|| {
            exec_datafusion_err!("no first day of month {month} in year {}", day.year())
        })
    };
    let date = match unit {
        "YEAR" | "YYYY" | "YY" => first(1)?,
        "QUARTER" => first(day.month0() / 3 * 3 + 1)?,
        "MONTH" | "MM" | "MON" => first(day.month())?,
        "WEEK" => day - Duration::days(i64::from(day.weekday().num_days_from_monday())),
        "DAY" | "DD" => day,
        "HOUR" | "MINUTE" => {
            let minute = if unit == "MINUTE" { local.minute() } else { 0 };
            let time = NaiveTime::from_hms_opt(local.hour(), minute, 0)
                .ok_or_else(|| exec_datafusion_err!("no hour {}", local.hour()))?;
            return Ok(day.and_time(time));
        }
        other => {
            return exec_err!(
                "unknown unit `{other}` of date_trunc(): use YEAR, QUARTER, MONTH, WEEK, DAY, HOUR, MINUTE, SECOND, MILLISECOND or MICROSECOND"
            );
        }
    };
    Ok(date.and_time(NaiveTime::MIN))
}
