//! Times from numbers and to numbers: seconds since 1970, or year, month and so on.

use std::sync::Arc;

use super::coerce_time;
use crate::functions::cast::cast_array;
use crate::functions::scalar::{Call, Scalar, arity, texts, timestamp};
use crate::functions::zone::Zone;
use chrono::{Duration, NaiveDate};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int64Array, TimestampMicrosecondArray};
use datafusion::arrow::datatypes::{
    DataType, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType,
};
use datafusion::common::{Result, exec_datafusion_err, exec_err, plan_err};
use datafusion::logical_expr::ScalarUDF;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    [
        Scalar::new(
            "timestamp_seconds",
            |t| coerce_number("timestamp_seconds", t),
            |_| Ok(timestamp()),
            |args, call| cast_array(&args[0], call.return_type, false, Zone::UTC),
        ),
        Scalar::new(
            "timestamp_millis",
            |t| coerce_long("timestamp_millis", t),
            |_| Ok(timestamp()),
            |args, _| from_long(&args[0], 1_000),
        ),
        Scalar::new(
            "timestamp_micros",
            |t| coerce_long("timestamp_micros", t),
            |_| Ok(timestamp()),
            |args, _| from_long(&args[0], 1),
        ),
        Scalar::new(
            "unix_seconds",
            |t| coerce_time("unix_seconds", t),
            |_| Ok(DataType::Int64),
            |args, _| Ok(to_long(&args[0], 1_000_000)),
        ),
        Scalar::new(
            "unix_millis",
            |t| coerce_time("unix_millis", t),
            |_| Ok(DataType::Int64),
            |args, _| Ok(to_long(&args[0], 1_000)),
        ),
        Scalar::new(
            "unix_micros",
            |t| coerce_time("unix_micros", t),
            |_| Ok(DataType::Int64),
            |args, _| Ok(to_long(&args[0], 1)),
        ),
        Scalar::new(
            "make_timestamp",
            coerce_make_timestamp,
            |_| Ok(timestamp()),
            make_timestamp,
        ),
    ]
    .map(Scalar::udf)
    .into()
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
        v.checked_mul(micros_per).ok_or_else(|| {
            exec_datafusion_err!("[DATETIME_OVERFLOW] {v} is out of the range of timestamps")
        })
    })?;
    let instants: TimestampMicrosecondArray = instants.reinterpret_cast();
    Ok(Arc::new(instants.with_timezone("UTC")))
}

fn to_long(times: &ArrayRef, micros_per: i64) -> ArrayRef {
    let values: Int64Array = times
        .as_primitive::<TimestampMicrosecondType>()
        .unary(|t| t.div_euclid(micros_per));
    Arc::new(values)
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
        #[expect(
            clippy::cast_possible_truncation,
            reason = "seconds of a minute, checked by chrono below"
        )]
        let micros = (seconds.value(row) * 1e6).round() as i64;
        let unsigned = |v: i32| u32::try_from(v).unwrap_or(u32::MAX);
        let minute = NaiveDate::from_ymd_opt(f[0], unsigned(f[1]), unsigned(f[2]))
            .and_then(|d| d.and_hms_opt(unsigned(f[3]), unsigned(f[4]), 0))
            .filter(|_| (0..=60_000_000).contains(&micros));
        match minute {
            Some(minute) => made.push(Some(zone.instant(minute + Duration::microseconds(micros)))),
            None => {
                return exec_err!(
                    "[DATETIME_FIELD_OUT_OF_BOUNDS] make_timestamp({f:?}, {}) is no time",
                    seconds.value(row)
                );
            }
        }
    }
    Ok(Arc::new(
        TimestampMicrosecondArray::from(made).with_timezone("UTC"),
    ))
}
