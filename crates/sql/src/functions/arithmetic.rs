//! Numbers: division that fails on zero, attempts that give NULL, remainders, and floats made comparable.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, PrimitiveArray,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::compute::kernels::numeric::neg;
use datafusion::arrow::datatypes::{
    ArrowPrimitiveType, DataType, Float32Type, Float64Type, Int32Type, Int64Type,
};
use datafusion::common::{Result, exec_datafusion_err, exec_err, plan_err};
use datafusion::logical_expr::{Expr, ScalarUDF};

use super::scalar::{Scalar, arity};

/// `x / y` of doubles.
pub(crate) const DIVIDE: &str = "divide_ansi";

pub(crate) fn functions() -> Vec<Arc<ScalarUDF>> {
    [
        Scalar::new(
            DIVIDE,
            |t| doubles(DIVIDE, t),
            |_| Ok(DataType::Float64),
            |args, _| divide(args, false),
        ),
        Scalar::new(
            "try_divide",
            |t| doubles("try_divide", t),
            |_| Ok(DataType::Float64),
            |args, _| divide(args, true),
        ),
        Scalar::new(
            "try_add",
            |t| same_numbers("try_add", t),
            first,
            |args, _| attempt(args, i64::checked_add, i32::checked_add, |a, b| a + b),
        ),
        Scalar::new(
            "try_subtract",
            |t| same_numbers("try_subtract", t),
            first,
            |args, _| attempt(args, i64::checked_sub, i32::checked_sub, |a, b| a - b),
        ),
        Scalar::new(
            "try_multiply",
            |t| same_numbers("try_multiply", t),
            first,
            |args, _| attempt(args, i64::checked_mul, i32::checked_mul, |a, b| a * b),
        ),
        Scalar::new(
            "try_mod",
            |t| same_numbers("try_mod", t),
            first,
            |args, _| attempt(args, i64::checked_rem, i32::checked_rem, |a, b| a % b),
        ),
        Scalar::new(
            "negative",
            |t| numbers_or_intervals("negative", t),
            first,
            |args, _| {
                neg(&args[0]).map_err(|e| {
                    exec_datafusion_err!(
                        "[ARITHMETIC_OVERFLOW] the negation leaves the range of its type: {e}"
                    )
                })
            },
        ),
        Scalar::new(
            "pmod",
            |t| same_numbers("pmod", t),
            first,
            |args, _| pmod(args),
        ),
        Scalar::new(
            "nanvl",
            |t| doubles("nanvl", t),
            |_| Ok(DataType::Float64),
            |args, _| {
                let (values, others) = (
                    args[0].as_primitive::<Float64Type>(),
                    args[1].as_primitive::<Float64Type>(),
                );
                let chosen: Float64Array = values
                    .iter()
                    .zip(others)
                    .map(|(v, o)| if v.is_some_and(f64::is_nan) { o } else { v })
                    .collect();
                Ok(Arc::new(chosen))
            },
        ),
        // Unlike most functions, isnan(NULL) is false.
        Scalar::new(
            "isnan",
            |t| one_double("isnan", t),
            |_| Ok(DataType::Boolean),
            |args, _| {
                let values = args[0].as_primitive::<Float64Type>();
                let flags: BooleanArray = values
                    .iter()
                    .map(|v| Some(v.is_some_and(f64::is_nan)))
                    .collect();
                Ok(Arc::new(flags))
            },
        ),
        Scalar::new(NORMALIZE, float, first, |args, _| normalize(&args[0])),
    ]
    .map(Scalar::udf)
    .into()
}

/// All NaN made one, -0.0 made 0.0: doubles that Spark holds equal become equal.
pub(crate) const NORMALIZE: &str = "normalize_float";

static NORMALIZE_UDF: std::sync::LazyLock<Arc<ScalarUDF>> = std::sync::LazyLock::new(|| {
    Scalar::new(NORMALIZE, float, first, |args, _| normalize(&args[0])).udf()
});

/// `normalize_float(expr)`.
pub(crate) fn normalized(expr: Expr) -> Expr {
    NORMALIZE_UDF.call(vec![expr])
}

fn first(types: &[DataType]) -> Result<DataType> {
    Ok(types[0].clone())
}

fn doubles(name: &str, types: &[DataType]) -> Result<Vec<DataType>> {
    arity(name, 2..=2, types)?;
    Ok(vec![DataType::Float64; 2])
}

fn numbers_or_intervals(name: &str, types: &[DataType]) -> Result<Vec<DataType>> {
    arity(name, 1..=1, types)?;
    match &types[0] {
        DataType::Null => Ok(vec![DataType::Int32]),
        DataType::Interval(_) | DataType::Duration(_) => Ok(types.to_vec()),
        number if number.is_numeric() => Ok(types.to_vec()),
        other => plan_err!("{name}() takes a number or an interval, found {other}"),
    }
}

fn one_double(name: &str, types: &[DataType]) -> Result<Vec<DataType>> {
    arity(name, 1..=1, types)?;
    Ok(vec![DataType::Float64])
}

fn float(types: &[DataType]) -> Result<Vec<DataType>> {
    arity(NORMALIZE, 1..=1, types)?;
    if types[0].is_floating() {
        Ok(types.to_vec())
    } else {
        plan_err!("{NORMALIZE}() takes floats, found {}", types[0])
    }
}

/// Both arguments as doubles where one has a fraction, else as the wider integer.
fn same_numbers(name: &str, types: &[DataType]) -> Result<Vec<DataType>> {
    arity(name, 2..=2, types)?;
    let number = |t: &DataType| t.is_numeric() || *t == DataType::Null;
    if !types.iter().all(number) {
        return plan_err!(
            "{name}() takes numbers, found {} and {}",
            types[0],
            types[1]
        );
    }
    let small = |t: &DataType| {
        matches!(
            t,
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Null
        )
    };
    let common = if types.iter().any(|t| t.is_floating() || t.is_decimal()) {
        DataType::Float64
    } else if types.iter().all(small) {
        DataType::Int32
    } else {
        DataType::Int64
    };
    Ok(vec![common; 2])
}

fn divide(args: &[ArrayRef], attempt: bool) -> Result<ArrayRef> {
    let (left, right) = (
        args[0].as_primitive::<Float64Type>(),
        args[1].as_primitive::<Float64Type>(),
    );
    let mut quotients = Float64Array::builder(left.len());
    for pair in left.iter().zip(right) {
        match pair {
            (Some(_), Some(0.0)) if attempt => quotients.append_null(),
            (Some(_), Some(0.0)) => {
                return exec_err!(
                    "[DIVIDE_BY_ZERO] division by zero: use try_divide to get NULL instead"
                );
            }
            (Some(l), Some(r)) => quotients.append_value(l / r),
            _ => quotients.append_null(),
        }
    }
    Ok(Arc::new(quotients.finish()))
}

fn attempt(
    args: &[ArrayRef],
    long: fn(i64, i64) -> Option<i64>,
    int: fn(i32, i32) -> Option<i32>,
    double: fn(f64, f64) -> f64,
) -> Result<ArrayRef> {
    match args[0].data_type() {
        DataType::Int64 => Ok(Arc::new(pairwise::<Int64Type>(args, long))),
        DataType::Int32 => Ok(Arc::new(pairwise::<Int32Type>(args, int))),
        _ => Ok(Arc::new(pairwise::<Float64Type>(args, |a, b| {
            Some(double(a, b))
        }))),
    }
}

fn pairwise<T: ArrowPrimitiveType>(
    args: &[ArrayRef],
    op: impl Fn(T::Native, T::Native) -> Option<T::Native>,
) -> PrimitiveArray<T> {
    let (left, right) = (args[0].as_primitive::<T>(), args[1].as_primitive::<T>());
    left.iter().zip(right).map(|(l, r)| op(l?, r?)).collect()
}

/// The remainder that is never negative for a positive divisor.
fn pmod(args: &[ArrayRef]) -> Result<ArrayRef> {
    if args[0].data_type() == &DataType::Float64 {
        return Ok(Arc::new(pairwise::<Float64Type>(args, |a, n| {
            let r = a % n;
            Some(if r < 0.0 { (r + n) % n } else { r })
        })));
    }
    let wide = args
        .iter()
        .map(|a| cast(a, &DataType::Int64))
        .collect::<Result<Vec<_>, _>>()?;
    let (left, right) = (
        wide[0].as_primitive::<Int64Type>(),
        wide[1].as_primitive::<Int64Type>(),
    );
    if left
        .iter()
        .zip(right)
        .any(|(l, r)| l.is_some() && r == Some(0))
    {
        return exec_err!("[DIVIDE_BY_ZERO] pmod() by zero");
    }
    let remainders: Int64Array = left
        .iter()
        .zip(right)
        .map(|(l, r)| {
            let (a, n) = (l?, r?);
            let r = a.wrapping_rem(n);
            Some(if r < 0 {
                r.wrapping_add(n).wrapping_rem(n)
            } else {
                r
            })
        })
        .collect();
    let remainders: ArrayRef = Arc::new(remainders);
    Ok(cast(&remainders, args[0].data_type())?)
}

fn normalize(array: &ArrayRef) -> Result<ArrayRef> {
    Ok(match array.data_type() {
        DataType::Float64 => {
            let values: Float64Array = array
                .as_primitive::<Float64Type>()
                .unary(|v| if v.is_nan() { f64::NAN } else { v + 0.0 });
            Arc::new(values)
        }
        DataType::Float32 => {
            let values: PrimitiveArray<Float32Type> = array
                .as_primitive::<Float32Type>()
                .unary(|v| if v.is_nan() { f32::NAN } else { v + 0.0 });
            Arc::new(values)
        }
        other => return exec_err!("expected floats, found {other}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn longs(values: &[i64]) -> ArrayRef {
        Arc::new(Int64Array::from(values.to_vec()))
    }

    #[test]
    fn remainders_take_the_sign_of_the_divisor() {
        let result = pmod(&[longs(&[-7, 7, -7, i64::MIN]), longs(&[3, 3, -3, -1])]).expect("pmod");
        assert_eq!(result.as_primitive::<Int64Type>().values(), &[2, 1, -1, 0]);
        assert!(pmod(&[longs(&[1]), longs(&[0])]).is_err());
    }

    #[test]
    fn normal_floats_have_one_nan_and_one_zero() {
        let odd = f64::from_bits(0xfff8_0000_0000_0001);
        let array: ArrayRef = Arc::new(Float64Array::from(vec![odd, -0.0, -1.5]));
        let normal = normalize(&array).expect("floats");
        let bits: Vec<u64> = normal
            .as_primitive::<Float64Type>()
            .values()
            .iter()
            .map(|v| v.to_bits())
            .collect();
        assert_eq!(
            bits,
            [f64::NAN.to_bits(), 0f64.to_bits(), (-1.5f64).to_bits()]
        );
    }
}
