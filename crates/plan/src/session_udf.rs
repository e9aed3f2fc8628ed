//! The two functions behind `session_window`: the end of the interval that a row opens, and the struct of a session.

use std::{
    any::Any,
    hash::{Hash, Hasher},
    sync::{Arc, LazyLock},
};

use datafusion::{
    arrow::{
        array::{
            Array, ArrayRef, AsArray, Int64Array, PrimitiveArray, StructArray, new_null_array,
        },
        compute::{kernels::arity::try_binary, nullif},
        datatypes::{
            ArrowPrimitiveType, DataType, TimeUnit, TimestampMicrosecondType,
            TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
        },
        error::ArrowError,
    },
    common::{DataFusionError, Result},
    logical_expr::{
        ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
    },
};
use headwater_sql::gap_micros;

static SESSION_END: LazyLock<Arc<ScalarUDF>> =
    LazyLock::new(|| Arc::new(ScalarUDF::new_from_impl(SessionEnd::new())));

/// Where the interval that a row opens ends: `time + gap`. Null if the time or the gap is null, or the gap is not above
/// zero: the row opens none.
pub(crate) fn session_end(time: Expr, gap: Expr) -> Expr {
    SESSION_END.call(vec![time, gap])
}

/// The struct `{start, end}` of type `window` that users see.
pub(crate) fn session_struct(start: Expr, end: Expr, window: DataType) -> Expr {
    ScalarUDF::new_from_impl(SessionStruct {
        output: window,
        signature: Signature::any(2, Volatility::Immutable),
    })
    .call(vec![start, end])
}

/// The time of a call of [`session_end`].
pub(crate) fn row_time(expr: &Expr) -> Option<&Expr> {
    match expr {
        Expr::ScalarFunction(call)
            if (call.func.inner().as_ref() as &dyn Any).is::<SessionEnd>() =>
        {
            call.args.first()
        }
        _ => None,
    }
}

/// The end of a call of [`session_struct`].
pub(crate) fn end_of_struct(expr: &Expr) -> Option<&Expr> {
    match expr {
        Expr::ScalarFunction(call)
            if (call.func.inner().as_ref() as &dyn Any).is::<SessionStruct>() =>
        {
            call.args.get(1)
        }
        _ => None,
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct SessionEnd {
    signature: Signature,
}

impl SessionEnd {
    fn new() -> Self {
        Self {
            signature: Signature::any(2, Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for SessionEnd {
    fn name(&self) -> &str {
        "session_end"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        Ok(arguments[0].clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let times = args.args[0].to_array(args.number_rows)?;
        let gaps = match &args.args[1] {
            ColumnarValue::Scalar(gap) => match positive(&gap_micros(&gap.to_array()?)?)? {
                gap if gap.is_valid(0) => Gaps::Same(gap.value(0)),
                _ => Gaps::None,
            },
            ColumnarValue::Array(gaps) => Gaps::Each(positive(&gap_micros(gaps)?)?),
        };
        let ends = match times.data_type() {
            DataType::Timestamp(unit, _) => match unit {
                TimeUnit::Second => ends::<TimestampSecondType>(&times, &gaps, *unit),
                TimeUnit::Millisecond => ends::<TimestampMillisecondType>(&times, &gaps, *unit),
                TimeUnit::Microsecond => ends::<TimestampMicrosecondType>(&times, &gaps, *unit),
                TimeUnit::Nanosecond => ends::<TimestampNanosecondType>(&times, &gaps, *unit),
            },
            other => {
                return Err(DataFusionError::Plan(format!(
                    "session_window() takes a timestamp, found {other}"
                )));
            }
        };
        Ok(ColumnarValue::Array(ends?))
    }
}

/// The gaps of some rows, in microseconds; null where a row opens no interval.
enum Gaps {
    None,
    Same(i64),
    Each(Int64Array),
}

/// Null in place of gaps that are not above zero.
fn positive(gaps: &Int64Array) -> Result<Int64Array> {
    let empty = gaps.iter().map(|gap| gap.map(|gap| gap <= 0)).collect();
    Ok(nullif(gaps, &empty)?.as_primitive().clone())
}

fn ends<T: ArrowPrimitiveType<Native = i64>>(
    times: &ArrayRef,
    gaps: &Gaps,
    unit: TimeUnit,
) -> Result<ArrayRef> {
    let typed = times.as_primitive::<T>();
    let end = |time: i64, gap: i64| -> Result<i64, ArrowError> {
        time.checked_add(in_unit(gap, unit)?).ok_or_else(|| {
            ArrowError::ComputeError(format!(
                "a session of {gap} microseconds from the event time {time} on is out of range"
            ))
        })
    };
    let ends: PrimitiveArray<T> = match gaps {
        Gaps::None => return Ok(new_null_array(times.data_type(), times.len())),
        Gaps::Same(gap) => typed.try_unary(|time| end(time, *gap))?,
        Gaps::Each(gaps) => try_binary(typed, gaps, end)?,
    };
    Ok(Arc::new(ends.with_data_type(times.data_type().clone())))
}

fn in_unit(micros: i64, unit: TimeUnit) -> Result<i64, ArrowError> {
    let scaled = match unit {
        TimeUnit::Nanosecond => micros.checked_mul(1_000),
        TimeUnit::Microsecond => Some(micros),
        TimeUnit::Millisecond => (micros % 1_000 == 0).then_some(micros / 1_000),
        TimeUnit::Second => (micros % 1_000_000 == 0).then_some(micros / 1_000_000),
    };
    scaled.ok_or_else(|| {
        ArrowError::ComputeError(format!(
            "a session gap of {micros} microseconds does not fall on whole units of a timestamp in {unit:?}s: cast the \
             time column to timestamps in microseconds"
        ))
    })
}

/// Builds `{start, end}`.
#[derive(Debug)]
struct SessionStruct {
    output: DataType,
    signature: Signature,
}

impl PartialEq for SessionStruct {
    fn eq(&self, other: &Self) -> bool {
        self.output == other.output
    }
}

impl Eq for SessionStruct {}

impl Hash for SessionStruct {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.output.hash(state);
    }
}

impl ScalarUDFImpl for SessionStruct {
    fn name(&self) -> &str {
        "session_struct"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(self.output.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let DataType::Struct(fields) = &self.output else {
            return Err(DataFusionError::Internal(
                "a session is no struct".to_owned(),
            ));
        };
        let bounds = ColumnarValue::values_to_arrays(&args.args)?;
        Ok(ColumnarValue::Array(Arc::new(StructArray::try_new(
            fields.clone(),
            bounds,
            None,
        )?)))
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::TimestampMicrosecondArray;

    use super::*;

    #[test]
    fn a_row_without_a_time_or_a_gap_above_zero_opens_nothing() {
        let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![
            Some(1),
            Some(2),
            Some(3),
            Some(4),
            None,
        ]));
        let gaps = Int64Array::from(vec![Some(10), Some(0), Some(-1), None, Some(5)]);
        let gaps = Gaps::Each(positive(&gaps).unwrap());
        let found = ends::<TimestampMicrosecondType>(&times, &gaps, TimeUnit::Microsecond).unwrap();
        let expected: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![
            Some(11),
            None,
            None,
            None,
            None,
        ]));
        assert_eq!(&found, &expected);
    }

    #[test]
    fn a_gap_finer_than_the_time_is_refused() {
        assert_eq!(in_unit(2_000_000, TimeUnit::Second).unwrap(), 2);
        let error = in_unit(1_500_000, TimeUnit::Second).unwrap_err();
        assert!(error.to_string().contains("microseconds"), "{error}");
    }
}
