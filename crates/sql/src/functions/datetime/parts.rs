//! Parts of dates and times: `year`, `hour`, `date_part`, `dayname`.

use std::sync::Arc;

use super::{coerce_time, locals, signed, time_type};
use crate::functions::scalar::{Call, Scalar, arity, constant_text};
use chrono::{Datelike, NaiveDateTime, Timelike};
use datafusion::arrow::array::{Array, ArrayRef, Float64Array, Int32Array, StringArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::ScalarUDF;

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
                let parts: Int32Array = locals(&args[0], call)?
                    .into_iter()
                    .map(|local| local.map(part))
                    .collect();
                Ok(Arc::new(parts))
            },
        )
    };
}

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    [
        part!("year", |t| t.year()),
        part!("quarter", |t| signed(t.month0() / 3 + 1)),
        part!("month", |t| signed(t.month())),
        part!("day", |t| signed(t.day())).aliases(&["dayofmonth"]),
        part!("dayofweek", |t| signed(
            t.weekday().num_days_from_sunday() + 1
        )),
        part!("weekday", |t| signed(t.weekday().num_days_from_monday())),
        part!("dayofyear", |t| signed(t.ordinal())),
        part!("weekofyear", |t| signed(t.iso_week().week())),
        part!("hour", |t| signed(t.hour())),
        part!("minute", |t| signed(t.minute())),
        part!("second", |t| signed(t.second())),
        Scalar::new(
            "date_part",
            coerce_date_part,
            |_| Ok(DataType::Float64),
            date_part,
        )
        .aliases(&["datepart"]),
        Scalar::new(
            "dayname",
            |t| coerce_time("dayname", t),
            |_| Ok(DataType::Utf8),
            |args, call| {
                let names: StringArray = locals(&args[0], call)?
                    .into_iter()
                    .map(|l| l.map(|l| l.format("%a").to_string()))
                    .collect();
                Ok(Arc::new(names))
            },
        ),
    ]
    .map(Scalar::udf)
    .into()
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
        other => {
            return exec_err!(
                "unknown field `{other}` of a date: use for example YEAR, MONTH, DAY, HOUR, SECOND"
            );
        }
    };
    let parts: Float64Array = locals(&args[1], call)?
        .into_iter()
        .map(|l| l.map(part))
        .collect();
    Ok(Arc::new(parts))
}

/// Whether a field of `date_part` has a fraction.
pub(crate) fn is_fractional_field(field: &str) -> bool {
    matches!(
        field.to_ascii_uppercase().as_str(),
        "SECOND" | "S" | "SEC" | "SECONDS" | "SECS"
    )
}
