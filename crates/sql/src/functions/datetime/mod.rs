//! Dates and times. Timestamps with a zone are seen in the session's time zone.

mod epoch;
mod parts;
mod shift;
mod text;
mod trunc;

use std::sync::Arc;

use crate::functions::cast::cast_array;
use crate::functions::scalar::{Call, arity, is_text, timestamp};
use crate::functions::zone::{Zone, date};
use chrono::{NaiveDateTime, NaiveTime};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, TimestampMicrosecondArray};
use datafusion::arrow::datatypes::{DataType, Date32Type, TimeUnit, TimestampMicrosecondType};
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::ScalarUDF;
pub(crate) use parts::is_fractional_field;

pub(crate) fn functions() -> Vec<Arc<ScalarUDF>> {
    [
        epoch::functions(),
        parts::functions(),
        shift::functions(),
        text::functions(),
        trunc::functions(),
    ]
    .concat()
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
            let zone = if own.is_some() {
                call.zone()?
            } else {
                Zone::UTC
            };
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
