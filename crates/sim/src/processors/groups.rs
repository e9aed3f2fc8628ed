//! Group functions of the recorded scenarios.

use datafusion::{
    arrow::{
        array::{Array, AsArray, RecordBatch},
        compute::{max, sum},
        datatypes::{DataType, Int64Type, TimestampMicrosecondType},
    },
    scalar::ScalarValue,
};
use headwater::{
    Session,
    processor::{GroupState, Output},
};
use headwater_core::{Error, Result};
use std::time::Duration;

const N: (&str, DataType) = ("n", DataType::Int64);
const K: (&str, DataType) = ("k", DataType::Utf8);
const KIND: (&str, DataType) = ("kind", DataType::Utf8);

pub(super) fn register(session: &Session) -> Result<()> {
    session.register_group_function("running_count", [N], [K, N], running_count)?;
    session.register_group_function(
        "event_timeout",
        [N, ("last", DataType::Int64)],
        [K, N, KIND],
        event_timeout,
    )?;
    session.register_group_function("processing_timeout", [N], [K, N, KIND], processing_timeout)?;
    session.register_group_function(
        "three_then_remove",
        [N, ("s", DataType::Int64)],
        [K, N, ("s", DataType::Int64)],
        three_then_remove,
    )?;
    session.register_group_function(
        "timeout_before_watermark",
        [N],
        [K, N],
        timeout_before_watermark,
    )
}

/// Rows of a batch as a number of state.
pub(super) fn count(rows: &RecordBatch) -> i64 {
    i64::try_from(rows.num_rows()).unwrap_or(i64::MAX)
}

/// The latest event time of some rows, in milliseconds; null times do not count.
pub(super) fn latest_millis(rows: &RecordBatch) -> Result<Option<i64>> {
    let times = column(rows, "ts")?
        .as_primitive_opt::<TimestampMicrosecondType>()
        .ok_or_else(|| Error::invalid("column 'ts' is no timestamp in microseconds"))?;
    Ok(max(times).map(|micros| micros.div_euclid(1_000)))
}

pub(super) fn column<'a>(rows: &'a RecordBatch, name: &str) -> Result<&'a dyn Array> {
    rows.column_by_name(name)
        .map(AsRef::as_ref)
        .ok_or_else(|| Error::invalid(format!("there is no column '{name}'")))
}

/// Counts the rows of each key and gives the count out whenever rows come.
fn running_count(
    key: &[ScalarValue],
    rows: &RecordBatch,
    state: &mut GroupState,
    output: &mut Output,
) -> Result<()> {
    let (before,) = state.get()?.unwrap_or((0_i64,));
    let n = before + count(rows);
    state.update((n,));
    output.row((key[0].clone(), n))
}

/// Counts the rows of each key until the watermark is ten seconds behind the latest of them.
fn event_timeout(
    key: &[ScalarValue],
    rows: &RecordBatch,
    state: &mut GroupState,
    output: &mut Output,
) -> Result<()> {
    let (before, last) = state.get()?.unwrap_or((0_i64, 0_i64));
    if state.has_timed_out() {
        state.remove();
        return output.row((key[0].clone(), before, "timeout"));
    }
    let n = before + count(rows);
    let last = last.max(latest_millis(rows)?.unwrap_or(0));
    state.update((n, last));
    state.set_timeout_timestamp(last + 10_000)?;
    output.row((key[0].clone(), n, "data"))
}

/// Counts the rows of each key until none has come for five seconds of processing time.
fn processing_timeout(
    key: &[ScalarValue],
    rows: &RecordBatch,
    state: &mut GroupState,
    output: &mut Output,
) -> Result<()> {
    let (before,) = state.get()?.unwrap_or((0_i64,));
    if state.has_timed_out() {
        state.remove();
        return output.row((key[0].clone(), before, "timeout"));
    }
    let n = before + count(rows);
    state.update((n,));
    state.set_timeout_duration(Duration::from_secs(5))?;
    output.row((key[0].clone(), n, "data"))
}

/// Counts and adds up the rows of each key, gives both out at the third row and begins anew.
fn three_then_remove(
    key: &[ScalarValue],
    rows: &RecordBatch,
    state: &mut GroupState,
    output: &mut Output,
) -> Result<()> {
    let (n, s) = state.get()?.unwrap_or((0_i64, 0_i64));
    let values = column(rows, "v")?
        .as_primitive_opt::<Int64Type>()
        .ok_or_else(|| Error::invalid("column 'v' is no long"))?;
    let (n, s) = (n + count(rows), s + sum(values).unwrap_or(0));
    if n >= 3 {
        state.remove();
        output.row((key[0].clone(), n, s))
    } else {
        state.update((n, s));
        Ok(())
    }
}

/// Sets a timeout just before the watermark, which is an error as soon as there is a watermark.
fn timeout_before_watermark(
    key: &[ScalarValue],
    _rows: &RecordBatch,
    state: &mut GroupState,
    output: &mut Output,
) -> Result<()> {
    if state.has_timed_out() {
        state.remove();
        return output.row((key[0].clone(), -1_i64));
    }
    state.update((1_i64,));
    state.set_timeout_timestamp((state.current_watermark()? - 1).max(1))?;
    output.row((key[0].clone(), 1_i64))
}
