//! Square roots and logarithms where they have no value: a root of a negative number is NaN, a logarithm of what is not
//! above zero is null, as in Spark.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, Float64Array};
use datafusion::arrow::datatypes::{DataType, Float64Type};
use datafusion::common::Result;
use datafusion::logical_expr::ScalarUDF;

use super::scalar::{Scalar, arity};

pub(crate) fn functions() -> Vec<Arc<ScalarUDF>> {
    [
        Scalar::new(
            "sqrt",
            |t| doubles("sqrt", 1, t),
            |_| Ok(DataType::Float64),
            |args, _| Ok(each(&args[0], |x| Some(x.sqrt()))),
        ),
        Scalar::new(
            "ln",
            |t| doubles("ln", 1, t),
            |_| Ok(DataType::Float64),
            |args, _| Ok(each(&args[0], |x| logarithm(x, f64::ln))),
        ),
        Scalar::new(
            "log10",
            |t| doubles("log10", 1, t),
            |_| Ok(DataType::Float64),
            |args, _| Ok(each(&args[0], |x| logarithm(x, f64::log10))),
        ),
        Scalar::new(
            "log2",
            |t| doubles("log2", 1, t),
            |_| Ok(DataType::Float64),
            |args, _| Ok(each(&args[0], |x| logarithm(x, f64::log2))),
        ),
        Scalar::new(
            "log",
            |t| doubles("log", 2, t),
            |_| Ok(DataType::Float64),
            |args, _| {
                let (bases, values) = (
                    args[0].as_primitive::<Float64Type>(),
                    args[1].as_primitive::<Float64Type>(),
                );
                let found = bases
                    .iter()
                    .zip(values)
                    .map(|(base, x)| Some(logarithm(x?, f64::ln)? / logarithm(base?, f64::ln)?));
                Ok(Arc::new(found.collect::<Float64Array>()))
            },
        ),
    ]
    .map(Scalar::udf)
    .into()
}

fn doubles(name: &str, count: usize, types: &[DataType]) -> Result<Vec<DataType>> {
    arity(name, count..=count, types)?;
    Ok(vec![DataType::Float64; count])
}

fn each(values: &ArrayRef, f: impl Fn(f64) -> Option<f64>) -> ArrayRef {
    let values = values.as_primitive::<Float64Type>();
    Arc::new(
        values
            .iter()
            .map(|value| f(value?))
            .collect::<Float64Array>(),
    )
}

/// NaN has the logarithm NaN.
fn logarithm(x: f64, of: fn(f64) -> f64) -> Option<f64> {
    (x > 0.0 || x.is_nan()).then(|| of(x))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logarithm_is_of_what_is_above_zero() {
        assert_eq!(logarithm(0.0, f64::ln), None);
        assert_eq!(logarithm(-1.0, f64::log2), None);
        assert_eq!(logarithm(8.0, f64::log2), Some(3.0));
        assert!(logarithm(f64::NAN, f64::ln).is_some_and(f64::is_nan));
    }
}
