//! `round` (half away from zero) and `bround` (half to even), exact in the decimal digits that a value shows.
//!
//! Of decimals the result has as many digits behind the point as asked for; integers and doubles keep their type.

use std::hash::Hash;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Float64Array, Int64Array,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType, Decimal128Type, Field, FieldRef, Float64Type, Int64Type,
};
use datafusion::common::{Result, ScalarValue, exec_datafusion_err, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

pub(crate) fn functions() -> Vec<Arc<ScalarUDF>> {
    [false, true]
        .map(|to_even| Arc::new(ScalarUDF::from(Round::new(to_even))))
        .into()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Round {
    to_even: bool,
    signature: Signature,
}

impl Round {
    fn new(to_even: bool) -> Self {
        Self {
            to_even,
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for Round {
    fn name(&self) -> &str {
        if self.to_even { "bround" } else { "round" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        if !(1..=2).contains(&arg_types.len()) {
            return plan_err!("{}() takes a number and a number of digits", self.name());
        }
        let value = match &arg_types[0] {
            DataType::Decimal128(_, _) => arg_types[0].clone(),
            number if number.is_integer() => number.clone(),
            _ => DataType::Float64,
        };
        // Integers of any width stay as they are: a cast around the literal would hide that it is constant.
        let digits = arg_types.get(1).map(|t| {
            if t.is_integer() {
                t.clone()
            } else {
                DataType::Int32
            }
        });
        Ok(std::iter::once(value).chain(digits).collect())
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        plan_err!("{}: return_field_from_args decides", self.name())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let value = &args.arg_fields[0];
        let data_type = match value.data_type() {
            DataType::Decimal128(precision, scale) => {
                let digits = match args.scalar_arguments.get(1) {
                    None => 0,
                    Some(Some(digits)) => digits_of(digits)?,
                    Some(None) => {
                        return plan_err!("{}() needs a constant number of digits", self.name());
                    }
                };
                rounded_type(*precision, *scale, digits)
            }
            other => other.clone(),
        };
        Ok(Arc::new(Field::new(self.name(), data_type, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let constant = args
            .args
            .iter()
            .all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let values = args.args[0].to_array(if constant { 1 } else { args.number_rows })?;
        let digits = match args.args.get(1) {
            None => 0,
            Some(ColumnarValue::Scalar(digits)) => digits_of(digits)?,
            Some(ColumnarValue::Array(_)) => {
                return exec_err!("{}() needs a constant number of digits", self.name());
            }
        };
        let result = round_array(&values, digits, args.return_field.data_type(), self.to_even)?;
        if constant {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(
                &result, 0,
            )?));
        }
        Ok(ColumnarValue::Array(result))
    }
}

fn digits_of(value: &ScalarValue) -> Result<i32> {
    match value.cast_to(&DataType::Int32)? {
        ScalarValue::Int32(Some(digits)) => Ok(digits.clamp(-400, 400)),
        _ => plan_err!("the number of digits to round to is {value}: use a constant"),
    }
}

fn rounded_type(precision: u8, scale: i8, digits: i32) -> DataType {
    let (p, s) = (i32::from(precision), i32::from(scale));
    // One digit more left of the point, since rounding may carry.
    let (p, s) = match digits {
        d if d < 0 => ((p - s + 1).max(1 - d), 0),
        d if d < s => (p - s + 1 + d, d),
        _ => (p, s),
    };
    let narrow = |v: i32| u8::try_from(v.clamp(1, 38)).unwrap_or(38);
    DataType::Decimal128(narrow(p), i8::try_from(s.clamp(0, 38)).unwrap_or(scale))
}

fn round_array(values: &ArrayRef, digits: i32, to: &DataType, to_even: bool) -> Result<ArrayRef> {
    match (values.data_type(), to) {
        (DataType::Decimal128(_, scale), DataType::Decimal128(precision, to_scale)) => {
            let dropped =
                u32::try_from(i32::from(*scale) - digits.min(i32::from(*scale))).unwrap_or(0);
            // Digits left of the point that became zero are still there in the result.
            let kept = u32::try_from(-digits.min(0)).unwrap_or(0);
            let rounded: Decimal128Array =
                values.as_primitive::<Decimal128Type>().try_unary(|v| {
                    drop_digits(v, dropped, to_even)
                        .checked_mul(10i128.checked_pow(kept).unwrap_or(i128::MAX))
                        .ok_or_else(|| {
                            exec_datafusion_err!(
                                "[ARITHMETIC_OVERFLOW] round() of a decimal overflows"
                            )
                        })
                })?;
            Ok(Arc::new(
                rounded.with_precision_and_scale(*precision, *to_scale)?,
            ))
        }
        (DataType::Float64, _) => {
            let rounded: Float64Array = values
                .as_primitive::<Float64Type>()
                .unary(|v| round_double(v, digits, to_even));
            Ok(Arc::new(rounded))
        }
        _ if digits >= 0 => Ok(Arc::clone(values)),
        (own, _) => {
            let dropped = digits.unsigned_abs();
            let wide = cast(values, &DataType::Int64)?;
            let rounded: Int64Array = wide.as_primitive::<Int64Type>().try_unary(|v| {
                let units = drop_digits(i128::from(v), dropped, to_even);
                10i128
                    .checked_pow(dropped)
                    .map_or(Some(0), |ten| units.checked_mul(ten))
                    .and_then(|v| i64::try_from(v).ok())
                    .ok_or_else(|| {
                        exec_datafusion_err!("[ARITHMETIC_OVERFLOW] round({v}, {digits}) overflows")
                    })
            })?;
            let rounded: ArrayRef = Arc::new(rounded);
            let options = datafusion::arrow::compute::CastOptions {
                safe: false,
                ..Default::default()
            };
            Ok(datafusion::arrow::compute::cast_with_options(
                &rounded, own, &options,
            )?)
        }
    }
}

/// `value / 10^count`, rounded.
fn drop_digits(value: i128, count: u32, to_even: bool) -> i128 {
    let Some(ten) = 10i128.checked_pow(count) else {
        return 0;
    };
    let (quotient, rest) = (value / ten, (value % ten).abs());
    let up = match (rest * 2).cmp(&ten) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Equal => ten > 1 && (!to_even || quotient % 2 != 0),
        std::cmp::Ordering::Greater => true,
    };
    if up {
        quotient + value.signum()
    } else {
        quotient
    }
}

/// Rounds the shortest digits that stand for the double, so that 2.675 becomes 2.68 although it is stored below.
fn round_double(value: f64, digits: i32, to_even: bool) -> f64 {
    if !value.is_finite() || value == 0.0 {
        return value;
    }
    let shortest = format!("{value:e}");
    let Some((mantissa, exponent)) = shortest.split_once('e') else {
        return value;
    };
    let fraction = mantissa.split_once('.').map_or(0, |(_, f)| f.len());
    let (Ok(exponent), Ok(fraction)) = (exponent.parse::<i32>(), i32::try_from(fraction)) else {
        return value;
    };
    let Ok(units) = mantissa.replace('.', "").parse::<i128>() else {
        return value;
    };
    // The value is units * 10^-places.
    let places = fraction - exponent;
    let Ok(dropped) = u32::try_from(places - digits) else {
        return value;
    };
    let rounded = drop_digits(units, dropped, to_even);
    format!("{rounded}e{}", -digits).parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_round_by_the_digits_they_show() {
        let cases = [
            (2.5, 0, 3.0, 2.0),
            (2.675, 2, 2.68, 2.68),
            (-2.5, 0, -3.0, -2.0),
            (1234.5, -2, 1200.0, 1200.0),
            (0.5, 0, 1.0, 0.0),
            (1e300, 2, 1e300, 1e300),
            (0.001, 2, 0.0, 0.0),
        ];
        for (value, digits, up, even) in cases {
            assert_eq!(
                round_double(value, digits, false),
                up,
                "round({value}, {digits})"
            );
            assert_eq!(
                round_double(value, digits, true),
                even,
                "bround({value}, {digits})"
            );
        }
    }

    #[test]
    fn integers_round_to_tens() {
        let values: ArrayRef = Arc::new(Int64Array::from(vec![25, -25, 15]));
        let rounded = round_array(&values, -1, &DataType::Int64, false).expect("integers");
        assert_eq!(rounded.as_primitive::<Int64Type>().values(), &[30, -30, 20]);
        let even = round_array(&values, -1, &DataType::Int64, true).expect("integers");
        assert_eq!(even.as_primitive::<Int64Type>().values(), &[20, -20, 20]);
    }
}
