//! Dates and times: parts, truncation, conversions. Timestamps with a zone are seen in the session's time zone.

use std::sync::Arc;

use chrono::{Datelike, Duration, Months, NaiveDate, NaiveDateTime, NaiveTime, Timelike};
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, Date32Array, Float64Array, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray,
};
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Float64Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType,
};
use datafusion::common::{Result, exec_datafusion_err, exec_err, plan_err};
use datafusion::logical_expr::ScalarUDF;

use super::cast::cast_array;
use super::pattern::Pattern;
use super::scalar::{Call, Scalar, arity, constant_text, is_text, texts, timestamp};
use super::zone::{Zone, date, days};

/// A function that is one number of a date and time.
type Part = fn(NaiveDateTime) -> i32;

macro_rules! part {
    ($name:literal, $part:expr) => {
        Scalar::new(
            $name,
            |types| {
                arity($name, 1..=1, types)?;
                Ok(vec![time_type($name, &types[0])?])
            },
            |_| Ok(DataType::Int32),
            |args, call| {
                let part: Part = $part;
                let parts: Int32Array =
                    locals(&args[0], call)?.into_iter().map(|local| local.map(part)).collect();
                Ok(Arc::new(parts))
            },
        )
    };
}

pub(crate) fn functions() -> Vec<Arc<ScalarUDF>> {
    [
        part!("year", |t| t.year()),
        part!("quarter", |t| signed(t.month0() / 3 + 1)),
        part!("month", |t| signed(t.month())),
        part!("day", |t| signed(t.day())).aliases(&["dayofmonth"]),
        part!("dayofweek", |t| signed(t.weekday().num_days_from_sunday() + 1)),
        part!("weekday", |t| signed(t.weekday().num_days_from_monday())),
        part!("dayofyear", |t| signed(t.ordinal())),
        part!("weekofyear", |t| signed(t.iso_week().week())),
        part!("hour", |t| signed(t.hour())),
        part!("minute", |t| signed(t.minute())),
        part!("second", |t| signed(t.second())),
        Scalar::new("date_part", coerce_date_part, |_| Ok(DataType::Float64), date_part).aliases(&["datepart"]),
        Scalar::new("date_trunc", coerce_date_trunc, |types| Ok(types[1].clone()), date_trunc),
        Scalar::new("date_format", coerce_date_format, |_| Ok(DataType::Utf8), date_format),
        Scalar::new("to_date", |t| coerce_parse("to_date", t), |_| Ok(DataType::Date32), to_date),
        Scalar::new("to_timestamp", |t| coerce_parse("to_timestamp", t), |_| Ok(timestamp()), |args, call| {
            to_timestamp(args, call, false)
        }),
        Scalar::new("try_to_timestamp", |t| coerce_parse("try_to_timestamp", t), |_| Ok(timestamp()), |args, call| {
            to_timestamp(args, call, true)
        }),
        Scalar::new("to_unix_timestamp", |t| coerce_parse("unix_timestamp", t), |_| Ok(DataType::Int64), |args, call| {
            // Towards zero, where CAST floors.
            let instants = to_timestamp(args, call, false)?;
            let seconds: Int64Array =
                instants.as_primitive::<TimestampMicrosecondType>().unary(|t| t / 1_000_000);
            Ok(Arc::new(seconds))
        })
        .aliases(&["unix_timestamp"]),
        Scalar::new("from_unixtime", coerce_from_unixtime, |_| Ok(DataType::Utf8), from_unixtime),
        Scalar::new("timestampadd", coerce_timestampadd, |types| Ok(types[2].clone()), timestampadd),
        Scalar::new("timestampdiff", coerce_timestampdiff, |_| Ok(DataType::Int64), timestampdiff),
        Scalar::new("months_between", coerce_months_between, |_| Ok(DataType::Float64), months_between),
        Scalar::new("date_add", |t| coerce_date_and_int("date_add", t), |_| Ok(DataType::Date32), |args, _| {
            shift_dates(args, |d, n| Some(d.checked_add(n)?))
        }),
        Scalar::new("date_sub", |t| coerce_date_and_int("date_sub", t), |_| Ok(DataType::Date32), |args, _| {
            shift_dates(args, |d, n| Some(d.checked_sub(n)?))
        }),
        Scalar::new("add_months", |t| coerce_date_and_int("add_months", t), |_| Ok(DataType::Date32), |args, _| {
            shift_dates(args, |d, n| Some(days(plus_months(date(d).ok()?, n.into())?)))
        }),
        Scalar::new("datediff", coerce_datediff, |_| Ok(DataType::Int32), |args, _| {
            let (end, start) = (args[0].as_primitive::<Date32Type>(), args[1].as_primitive::<Date32Type>());
            let difference: Int32Array =
                end.iter().zip(start).map(|(e, s)| Some(e?.wrapping_sub(s?))).collect();
            Ok(Arc::new(difference))
        })
        .aliases(&["date_diff"]),
        Scalar::new("last_day", coerce_last_day, |_| Ok(DataType::Date32), |args, _| {
            let dates = args[0].as_primitive::<Date32Type>();
            let last: Date32Array = dates.try_unary(|d| date(d).map(|d| days(last_day(d))))?;
            Ok(Arc::new(last))
        }),
        Scalar::new("timestamp_seconds", |t| coerce_number("timestamp_seconds", t), |_| Ok(timestamp()), |args, call| {
            cast_array(&args[0], call.return_type, false, Zone::UTC)
        }),
        Scalar::new("timestamp_millis", |t| coerce_long("timestamp_millis", t), |_| Ok(timestamp()), |args, _| {
            from_long(&args[0], 1_000)
        }),
        Scalar::new("timestamp_micros", |t| coerce_long("timestamp_micros", t), |_| Ok(timestamp()), |args, _| {
            from_long(&args[0], 1)
        }),
        Scalar::new("unix_seconds", |t| coerce_time("unix_seconds", t), |_| Ok(DataType::Int64), |args, _| {
            Ok(to_long(&args[0], 1_000_000))
        }),
        Scalar::new("unix_millis", |t| coerce_time("unix_millis", t), |_| Ok(DataType::Int64), |args, _| {
            Ok(to_long(&args[0], 1_000))
        }),
        Scalar::new("unix_micros", |t| coerce_time("unix_micros", t), |_| Ok(DataType::Int64), |args, _| {
            Ok(to_long(&args[0], 1))
        }),
        Scalar::new("dayname", |t| coerce_time("dayname", t), |_| Ok(DataType::Utf8), |args, call| {
            let names: StringArray =
                locals(&args[0], call)?.into_iter().map(|l| l.map(|l| l.format("%a").to_string())).collect();
            Ok(Arc::new(names))
        }),
        Scalar::new("make_timestamp", coerce_make_timestamp, |_| Ok(timestamp()), make_timestamp),
    ]
    .map(Scalar::udf)
    .into()
}

fn signed(part: u32) -> i32 {
    i32::try_from(part).unwrap_or(i32::MAX)
}

/// The type in which a time is taken: dates and timestamps with and without a zone.
fn time_type(name: &str, found: &DataType) -> Result<DataType> {
    match found {
        DataType::Date32 => Ok(DataType::Date32),
        DataType::Timestamp(_, None) => Ok(DataType::Timestamp(TimeUnit::Microsecond, None)),
        DataType::Timestamp(_, Some(_)) | DataType::Null => Ok(timestamp()),
        text if is_text(text) => Ok(timestamp()),
        other => plan_err!("{name}() takes a date or timestamp, found {other}"),
    }
}

fn coerce_time(name: &str, types: &[DataType]) -> Result<Vec<DataType>> {
    arity(name, 1..=1, types)?;
    Ok(vec![time_type(name, &types[0])?])
}

/// What clocks show at each of the times; dates are midnight.
fn locals(times: &ArrayRef, call: &Call<'_>) -> Result<Vec<Option<NaiveDateTime>>> {
    match times.data_type() {
        DataType::Date32 => times
            .as_primitive::<Date32Type>()
            .iter()
            .map(|d| d.map(|d| Ok(date(d)?.and_time(NaiveTime::MIN))).transpose())
            .collect(),
        DataType::Timestamp(TimeUnit::Microsecond, own) => {
            let zone = if own.is_some() { call.zone()? } else { Zone::UTC };
            times
                .as_primitive::<TimestampMicrosecondType>()
                .iter()
                .map(|t| t.map(|t| zone.local(t)).transpose())
                .collect()
        }
        other => exec_err!("expected dates or timestamps, found {other}"),
    }
}

/// Instants in microseconds; local midnight for dates.
fn instants(times: &ArrayRef, call: &Call<'_>) -> Result<TimestampMicrosecondArray> {
    let zone = call.zone()?;
    let cast = cast_array(times, &timestamp(), false, zone)?;
    Ok(cast.as_primitive::<TimestampMicrosecondType>().clone())
}

fn coerce_date_part(types: &[DataType]) -> Result<Vec<DataType>> {
    arity("date_part", 2..=2, types)?;
    Ok(vec![DataType::Utf8, time_type("date_part", &types[1])?])
}

/// Every field as a double; the planner casts all but seconds to integers.
fn date_part(args: &[ArrayRef], call: &Call<'_>) -> Result<ArrayRef> {
    let Some(field) = constant_text("the field of date_part()", &args[0])? else {
        return Ok(Arc::new(Float64Array::new_null(args[0].len())));
    };
    let part: fn(NaiveDateTime) -> f64 = match field.to_ascii_uppercase().as_str() {
        "SECOND" | "S" | "SEC" | "SECONDS" | "SECS" => {
            |t| f64::from(t.second()) + f64::from(t.nanosecond() / 1_000) / 1e6
        }
        "YEAR" | "Y" | "YEARS" | "YR" | "YRS" => |t| f64::from(t.year()),
        "YEAROFWEEK" => |t| f64::from(t.iso_week().year()),
        "QUARTER" | "QTR" => |t| f64::from(t.month0() / 3 + 1),
        "MONTH" | "MON" | "MONS" | "MONTHS" => |t| f64::from(t.month()),
        "WEEK" | "W" | "WEEKS" => |t| f64::from(t.iso_week().week()),
        "DAY" | "D" | "DAYS" => |t| f64::from(t.day()),
        "DAYOFWEEK" | "DOW" => |t| f64::from(t.weekday().num_days_from_sunday() + 1),
        "DAYOFWEEK_ISO" | "DOW_ISO" => |t| f64::from(t.weekday().number_from_monday()),
        "DOY" => |t| f64::from(t.ordinal()),
        "HOUR" | "H" | "HOURS" | "HR" | "HRS" => |t| f64::from(t.hour()),
        "MINUTE" | "M" | "MIN" | "MINS" | "MINUTES" => |t| f64::from(t.minute()),
        other => return exec_err!("unknown field `{other}` of a date: use for example YEAR, MONTH, DAY, HOUR, SECOND"),
    };
    let parts: Float64Array = locals(&args[1], call)?.into_iter().map(|l| l.map(part)).collect();
    Ok(Arc::new(parts))
}

/// Whether a field of `date_part` has a fraction.
pub(crate) fn is_fractional_field(field: &str) -> bool {
    matches!(field.to_ascii_uppercase().as_str(), "SECOND" | "S" | "SEC" | "SECONDS" | "SECS")
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
        return Ok(datafusion::arrow::array::new_null_array(call.return_type, times.len()));
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
    let DataType::Timestamp(_, own) = call.return_type else { return exec_err!("date_trunc() gives timestamps") };
    Ok(Arc::new(truncated.with_timezone_opt(own.clone())))
}

fn trunc_local(local: NaiveDateTime, unit: &str) -> Result<NaiveDateTime> {
    let day = local.date();
    let first = |month: u32| {
        NaiveDate::from_ymd_opt(day.year(), month, 1)
            .ok_or_else(|| exec_datafusion_err!("no first day of month {month} in year {}", day.year()))
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
            return exec_err!("unknown unit `{other}` of date_trunc(): use YEAR, QUARTER, MONTH, WEEK, DAY, HOUR, MINUTE, SECOND, MILLISECOND or MICROSECOND");
        }
    };
    Ok(date.and_time(NaiveTime::MIN))
}

fn coerce_date_format(types: &[DataType]) -> Result<Vec<DataType>> {
    arity("date_format", 2..=2, types)?;
    Ok(vec![time_type("date_format", &types[0])?, DataType::Utf8])
}

fn date_format(args: &[ArrayRef], call: &Call<'_>) -> Result<ArrayRef> {
    let plain = matches!(args[0].data_type(), DataType::Timestamp(_, None));
    let zone = if plain { Zone::UTC } else { call.zone()? };
    let times = if plain {
        args[0].as_primitive::<TimestampMicrosecondType>().clone()
    } else {
        instants(&args[0], call)?
    };
    format_all(&times, &args[1], zone)
}

fn format_all(times: &TimestampMicrosecondArray, patterns: &ArrayRef, zone: Zone) -> Result<ArrayRef> {
    let mut cache = PatternCache::default();
    let formatted: StringArray = times
        .iter()
        .zip(texts(patterns)?)
        .map(|pair| match pair {
            (Some(t), Some(pattern)) => cache.get(pattern)?.format(t, zone).map(Some),
            _ => Ok(None),
        })
        .collect::<Result<_>>()?;
    Ok(Arc::new(formatted))
}

/// The last pattern, since nearly always all rows have the same.
#[derive(Default)]
struct PatternCache(Option<(String, Pattern)>);

impl PatternCache {
    fn get(&mut self, text: &str) -> Result<&Pattern> {
        if self.0.as_ref().is_none_or(|(known, _)| known != text) {
            self.0 = Some((text.to_owned(), Pattern::new(text)?));
        }
        match &self.0 {
            Some((_, pattern)) => Ok(pattern),
            None => exec_err!("pattern `{text}` was not kept"),
        }
    }
}

fn coerce_parse(name: &str, types: &[DataType]) -> Result<Vec<DataType>> {
    arity(name, 1..=2, types)?;
    let value = match &types[0] {
        text if is_text(text) => DataType::Utf8,
        DataType::Null => DataType::Utf8,
        number if number.is_numeric() && name != "to_date" => number.clone(),
        other => time_type(name, other)?,
    };
    Ok(if types.len() == 1 { vec![value] } else { vec![value, DataType::Utf8] })
}

fn to_timestamp(args: &[ArrayRef], call: &Call<'_>, attempt: bool) -> Result<ArrayRef> {
    let zone = call.zone()?;
    let (Some(patterns), true) = (args.get(1), is_text(args[0].data_type())) else {
        return cast_array(&args[0], &timestamp(), attempt, zone);
    };
    let mut cache = PatternCache::default();
    let parsed: TimestampMicrosecondArray = texts(&args[0])?
        .iter()
        .zip(texts(patterns)?)
        .map(|pair| {
            let (Some(text), Some(pattern)) = pair else { return Ok(None) };
            match cache.get(pattern)?.parse(text, zone) {
                None if !attempt => exec_err!(
                    "[CANNOT_PARSE_TIMESTAMP] the text '{text}' does not match '{pattern}': use try_to_timestamp to get NULL instead"
                ),
                parsed => Ok(parsed),
            }
        })
        .collect::<Result<_>>()?;
    Ok(Arc::new(parsed.with_timezone("UTC")))
}

fn to_date(args: &[ArrayRef], call: &Call<'_>) -> Result<ArrayRef> {
    let zone = call.zone()?;
    if args.len() == 1 || !is_text(args[0].data_type()) {
        return cast_array(&args[0], &DataType::Date32, false, zone);
    }
    let instants = to_timestamp(args, call, false)?;
    cast_array(&instants, &DataType::Date32, false, zone)
}

fn coerce_from_unixtime(types: &[DataType]) -> Result<Vec<DataType>> {
    arity("from_unixtime", 1..=2, types)?;
    Ok([DataType::Int64, DataType::Utf8][..types.len()].to_vec())
}

fn from_unixtime(args: &[ArrayRef], call: &Call<'_>) -> Result<ArrayRef> {
    let zone = call.zone()?;
    let times = cast_array(&args[0], &timestamp(), false, zone)?;
    let default: ArrayRef = Arc::new(StringArray::from(vec!["yyyy-MM-dd HH:mm:ss"; times.len()]));
    format_all(times.as_primitive(), args.get(1).unwrap_or(&default), zone)
}

fn coerce_date_and_int(name: &str, types: &[DataType]) -> Result<Vec<DataType>> {
    arity(name, 2..=2, types)?;
    Ok(vec![DataType::Date32, DataType::Int32])
}

fn shift_dates(args: &[ArrayRef], shift: fn(i32, i32) -> Option<i32>) -> Result<ArrayRef> {
    let (dates, counts) = (args[0].as_primitive::<Date32Type>(), args[1].as_primitive::<Int32Type>());
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
    if months < 0 { date.checked_sub_months(count) } else { date.checked_add_months(count) }
}

fn last_day(date: NaiveDate) -> NaiveDate {
    let next = date.with_day(1).and_then(|first| first.checked_add_months(Months::new(1)));
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

fn coerce_long(name: &str, types: &[DataType]) -> Result<Vec<DataType>> {
    arity(name, 1..=1, types)?;
    Ok(vec![DataType::Int64])
}

fn coerce_number(name: &str, types: &[DataType]) -> Result<Vec<DataType>> {
    arity(name, 1..=1, types)?;
    if types[0].is_numeric() {
        return Ok(types.to_vec());
    }
    plan_err!("{name}() takes a number, found {}", types[0])
}

fn from_long(values: &ArrayRef, micros_per: i64) -> Result<ArrayRef> {
    let instants: Int64Array = values.as_primitive::<Int64Type>().try_unary(|v| {
        v.checked_mul(micros_per)
            .ok_or_else(|| exec_datafusion_err!("[DATETIME_OVERFLOW] {v} is out of the range of timestamps"))
    })?;
    let instants: TimestampMicrosecondArray = instants.reinterpret_cast();
    Ok(Arc::new(instants.with_timezone("UTC")))
}

fn to_long(times: &ArrayRef, micros_per: i64) -> ArrayRef {
    let values: Int64Array =
        times.as_primitive::<TimestampMicrosecondType>().unary(|t| t.div_euclid(micros_per));
    Arc::new(values)
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
    let Some(unit) = constant_text("the unit of time", unit)? else { return Ok(None) };
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
        other => return exec_err!("unknown unit of time `{other}`: use YEAR, QUARTER, MONTH, WEEK, DAY, HOUR, MINUTE, SECOND, MILLISECOND or MICROSECOND"),
    }))
}

fn timestampadd(args: &[ArrayRef], call: &Call<'_>) -> Result<ArrayRef> {
    let zone = call.zone()?;
    let times = args[2].as_primitive::<TimestampMicrosecondType>();
    let Some(step) = step(&args[0])? else {
        return Ok(datafusion::arrow::array::new_null_array(call.return_type, times.len()));
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
    let (from, to) = (args[1].as_primitive::<TimestampMicrosecondType>(), args[2].as_primitive::<TimestampMicrosecondType>());
    let Some(step) = step(&args[0])? else { return Ok(Arc::new(Int64Array::new_null(from.len()))) };
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
    let (first, second) = (args[0].as_primitive::<TimestampMicrosecondType>(), args[1].as_primitive::<TimestampMicrosecondType>());
    let between = |a: i64, b: i64| -> Result<f64> {
        let (a, b) = (zone.local(a)?, zone.local(b)?);
        let months = f64::from((a.year() - b.year()) * 12 + signed(a.month()) - signed(b.month()));
        let ends = a.date() == last_day(a.date()) && b.date() == last_day(b.date());
        if a.day() == b.day() || ends {
            return Ok(months);
        }
        let seconds = |t: NaiveDateTime| f64::from(t.day()) * 86_400.0 + f64::from(t.num_seconds_from_midnight());
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
                Ok(Some(if rounding { (exact * 1e8).round() / 1e8 } else { exact }))
            }
            _ => Ok(None),
        })
        .collect::<Result<_>>()?;
    Ok(Arc::new(months))
}

fn coerce_make_timestamp(types: &[DataType]) -> Result<Vec<DataType>> {
    arity("make_timestamp", 6..=7, types)?;
    let mut wanted = vec![DataType::Int32; 5];
    wanted.push(DataType::Float64);
    if types.len() == 7 {
        wanted.push(DataType::Utf8);
    }
    Ok(wanted)
}

fn make_timestamp(args: &[ArrayRef], call: &Call<'_>) -> Result<ArrayRef> {
    let session = call.zone()?;
    let part = |i: usize, row: usize| {
        let values = args[i].as_primitive::<Int32Type>();
        values.is_valid(row).then(|| values.value(row))
    };
    let seconds = args[5].as_primitive::<Float64Type>();
    let mut made = Vec::with_capacity(seconds.len());
    for row in 0..seconds.len() {
        let fields: Option<Vec<i32>> = (0..5).map(|i| part(i, row)).collect();
        let (Some(f), true) = (fields, seconds.is_valid(row)) else {
            made.push(None);
            continue;
        };
        let zone = match args.get(6) {
            Some(names) => Zone::named(texts(names)?.value(row))?,
            None => session,
        };
        #[expect(clippy::cast_possible_truncation, reason = "seconds of a minute, checked by chrono below")]
        let micros = (seconds.value(row) * 1e6).round() as i64;
        let unsigned = |v: i32| u32::try_from(v).unwrap_or(u32::MAX);
        let minute = NaiveDate::from_ymd_opt(f[0], unsigned(f[1]), unsigned(f[2]))
            .and_then(|d| d.and_hms_opt(unsigned(f[3]), unsigned(f[4]), 0))
            .filter(|_| (0..=60_000_000).contains(&micros));
        match minute {
            Some(minute) => made.push(Some(zone.instant(minute + Duration::microseconds(micros)))),
            None => return exec_err!("[DATETIME_FIELD_OUT_OF_BOUNDS] make_timestamp({f:?}, {}) is no time", seconds.value(row)),
        }
    }
    Ok(Arc::new(TimestampMicrosecondArray::from(made).with_timezone("UTC")))
}
