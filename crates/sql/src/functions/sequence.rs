//! `sequence(start, stop[, step])`: all numbers, dates or times from one to another, both included.

use std::sync::Arc;

use chrono::{Days, Months, NaiveDateTime};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, ListArray, PrimitiveArray};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer};
use datafusion::arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Field, Int32Type, Int64Type, IntervalMonthDayNano,
    IntervalMonthDayNanoType, IntervalUnit, TimestampMicrosecondType,
};
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::ScalarUDF;

use super::scalar::{Scalar, arity, timestamp};
use super::zone::Zone;

/// A sequence that is longer is refused, as in Spark, whose arrays end somewhere too.
const MOST: usize = 1 << 24;

pub(crate) fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![
        Scalar::new("sequence", coerce, list_of_first, |args, call| {
            sequence(args, call.zone()?)
        })
        .udf(),
    ]
}

fn coerce(types: &[DataType]) -> Result<Vec<DataType>> {
    arity("sequence", 2..=3, types)?;
    let values = &types[..2];
    let value = if values
        .iter()
        .any(|t| matches!(t, DataType::Timestamp(_, _)))
    {
        timestamp()
    } else if values.contains(&DataType::Date32) {
        DataType::Date32
    } else if types.iter().all(|t| {
        matches!(
            t,
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Null
        )
    }) {
        DataType::Int32
    } else if types.iter().all(|t| t.is_integer() || *t == DataType::Null) {
        DataType::Int64
    } else {
        return plan_err!(
            "sequence() takes integers, dates or timestamps, found {} and {}",
            types[0],
            types[1]
        );
    };
    let step = if value.is_integer() {
        value.clone()
    } else {
        DataType::Interval(IntervalUnit::MonthDayNano)
    };
    let mut coerced = vec![value.clone(), value];
    coerced.extend(types.get(2).map(|_| step));
    Ok(coerced)
}

fn list_of_first(types: &[DataType]) -> Result<DataType> {
    Ok(DataType::List(Arc::new(Field::new_list_field(
        types[0].clone(),
        true,
    ))))
}

fn sequence(args: &[ArrayRef], zone: Zone) -> Result<ArrayRef> {
    match args[0].data_type() {
        DataType::Int32 => numbers::<Int32Type>(args),
        DataType::Int64 => numbers::<Int64Type>(args),
        DataType::Date32 => {
            let (from, to) = (
                args[0].as_primitive::<Date32Type>(),
                args[1].as_primitive::<Date32Type>(),
            );
            let micros = |days: i32| i64::from(days) * crate::interval::MICROS_PER_DAY;
            let day = |micros: i64| {
                i32::try_from(micros.div_euclid(crate::interval::MICROS_PER_DAY)).ok()
            };
            lists::<Date32Type>(args, |row, found| {
                let step = step(args, row, from.value(row) <= to.value(row));
                let times = times(
                    micros(from.value(row)),
                    micros(to.value(row)),
                    step,
                    Zone::UTC,
                )?;
                found.extend(times.into_iter().filter_map(day));
                Ok(())
            })
        }
        DataType::Timestamp(_, _) => {
            let (from, to) = (
                args[0].as_primitive::<TimestampMicrosecondType>(),
                args[1].as_primitive::<TimestampMicrosecondType>(),
            );
            lists::<TimestampMicrosecondType>(args, |row, found| {
                let step = step(args, row, from.value(row) <= to.value(row));
                found.extend(times(from.value(row), to.value(row), step, zone)?);
                Ok(())
            })
        }
        other => exec_err!("sequence() takes no {other}"),
    }
}

/// The step given, or a day towards the end.
fn step(args: &[ArrayRef], row: usize, is_up: bool) -> IntervalMonthDayNano {
    match args.get(2) {
        Some(steps) => steps.as_primitive::<IntervalMonthDayNanoType>().value(row),
        None => IntervalMonthDayNano::new(0, if is_up { 1 } else { -1 }, 0),
    }
}

fn numbers<T: ArrowPrimitiveType>(args: &[ArrayRef]) -> Result<ArrayRef>
where
    T::Native: Into<i64> + TryFrom<i64>,
{
    let (from, to) = (args[0].as_primitive::<T>(), args[1].as_primitive::<T>());
    lists::<T>(args, |row, found| {
        let (from, to): (i64, i64) = (from.value(row).into(), to.value(row).into());
        let step: i64 = match args.get(2) {
            Some(steps) => steps.as_primitive::<T>().value(row).into(),
            None if from <= to => 1,
            None => -1,
        };
        check_direction(step.signum(), from, to)?;
        let mut next = Some(from);
        while let Some(value) = next.filter(|value| {
            if step >= 0 {
                *value <= to
            } else {
                *value >= to
            }
        }) {
            check_length(found.len())?;
            found.extend(T::Native::try_from(value).ok());
            next = value.checked_add(step).filter(|_| step != 0);
        }
        Ok(())
    })
}

/// A step of nothing leads from a value to itself only.
fn check_direction(step: i64, from: i64, to: i64) -> Result<()> {
    if (step > 0 && from <= to) || (step < 0 && from >= to) || from == to {
        return Ok(());
    }
    exec_err!("sequence() from {from} to {to}: the step leads away from the end")
}

fn check_length(length: usize) -> Result<()> {
    match length < MOST {
        true => Ok(()),
        false => exec_err!("sequence() would be longer than {MOST} values"),
    }
}

/// Each time is the start and a multiple of the step, so that months keep the day of the start where they have it.
fn times(from: i64, to: i64, step: IntervalMonthDayNano, zone: Zone) -> Result<Vec<i64>> {
    let micros = step.nanoseconds / 1_000;
    let length = i64::from(step.months) * 28 * crate::interval::MICROS_PER_DAY
        + i64::from(step.days) * crate::interval::MICROS_PER_DAY
        + micros;
    check_direction(length.signum(), from, to)?;
    let start = zone.local(from)?;
    let mut found = Vec::new();
    for count in 0.. {
        check_length(found.len())?;
        let Some(time) = shifted(start, step.months, step.days, count)
            .and_then(|local| zone.instant(local).checked_add(micros.checked_mul(count)?))
        else {
            break;
        };
        if (length >= 0 && time > to) || (length < 0 && time < to) {
            break;
        }
        found.push(time);
        if length == 0 {
            break;
        }
    }
    Ok(found)
}

fn shifted(start: NaiveDateTime, months: i32, days: i32, count: i64) -> Option<NaiveDateTime> {
    let size = |n: i32| Some(i64::from(n).checked_mul(count)?.unsigned_abs());
    let months_by = Months::new(u32::try_from(size(months)?).ok()?);
    let moved = match months < 0 {
        true => start.checked_sub_months(months_by)?,
        false => start.checked_add_months(months_by)?,
    };
    match days < 0 {
        true => moved.checked_sub_days(Days::new(size(days)?)),
        false => moved.checked_add_days(Days::new(size(days)?)),
    }
}

fn lists<T: ArrowPrimitiveType>(
    args: &[ArrayRef],
    mut fill: impl FnMut(usize, &mut Vec<T::Native>) -> Result<()>,
) -> Result<ArrayRef> {
    let rows = args[0].len();
    let mut items: Vec<T::Native> = Vec::new();
    let mut lengths = Vec::with_capacity(rows);
    let valid: Vec<bool> = (0..rows)
        .map(|row| args.iter().all(|arg| arg.is_valid(row)))
        .collect();
    for (row, is_valid) in valid.iter().enumerate() {
        let mut found = Vec::new();
        if *is_valid {
            fill(row, &mut found)?;
        }
        check_length(items.len() + found.len())?;
        lengths.push(found.len());
        items.extend(found);
    }
    let data_type = args[0].data_type();
    let items = PrimitiveArray::<T>::from_iter_values(items).with_data_type(data_type.clone());
    Ok(Arc::new(ListArray::try_new(
        Arc::new(Field::new_list_field(data_type.clone(), true)),
        OffsetBuffer::from_lengths(lengths),
        Arc::new(items),
        Some(NullBuffer::from(valid)),
    )?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;
    use datafusion::arrow::array::Int64Array;

    fn ints(values: &[i64]) -> ArrayRef {
        Arc::new(Int64Array::from(values.to_vec()))
    }

    fn items(list: &ArrayRef) -> Vec<i64> {
        list.as_list::<i32>()
            .value(0)
            .as_primitive::<Int64Type>()
            .values()
            .to_vec()
    }

    #[test]
    fn numbers_go_up_or_down() {
        for (from, to, step, expected) in [
            (1, 4, None, vec![1, 2, 3, 4]),
            (3, 1, None, vec![3, 2, 1]),
            (10, 1, Some(-4), vec![10, 6, 2]),
            (2, 2, Some(0), vec![2]),
            (i64::MAX - 1, i64::MAX, None, vec![i64::MAX - 1, i64::MAX]),
        ] {
            let mut args = vec![ints(&[from]), ints(&[to])];
            args.extend(step.map(|step| ints(&[step])));
            assert_eq!(items(&sequence(&args, Zone::UTC).unwrap()), expected);
        }
        assert!(sequence(&[ints(&[1]), ints(&[2]), ints(&[-1])], Zone::UTC).is_err());
        assert!(sequence(&[ints(&[0]), ints(&[i64::MAX])], Zone::UTC).is_err());
    }

    #[test]
    fn months_keep_the_day_of_the_start() {
        let day = |text: &str| {
            let time: DateTime<chrono::Utc> = format!("{text}T00:00:00Z").parse().unwrap();
            time.timestamp_micros()
        };
        let month = IntervalMonthDayNano::new(1, 0, 0);
        let found = times(day("2024-01-31"), day("2024-04-30"), month, Zone::UTC).unwrap();
        assert_eq!(
            found,
            [
                day("2024-01-31"),
                day("2024-02-29"),
                day("2024-03-31"),
                day("2024-04-30")
            ]
        );
    }
}
