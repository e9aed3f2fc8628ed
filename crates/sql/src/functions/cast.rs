//! CAST and TRY_CAST where Spark's answer differs from Arrow's.
//!
//! Texts are trimmed and read in Spark's forms, timestamps are seconds where they meet numbers and local to the
//! session's zone where they meet dates and texts, doubles are written as Java writes them. Everything else is Arrow's
//! cast with errors on. What cannot be cast fails the query (ANSI) or is NULL (`try_cast`).
//!
//! The analyzer (`crate::analyzer`) puts `cast_ansi(value, NULL-of-the-type)` where a plan has such a CAST; the type
//! travels as a typed NULL so that the function can be found by its name alone.

use std::hash::Hash;
use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, Decimal128Array, PrimitiveArray,
    StringArray, TimestampMicrosecondArray,
};
use datafusion::arrow::compute::{CastOptions, cast, cast_with_options};
use datafusion::arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Field, FieldRef, Float32Type,
    Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType,
};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::util::display::FormatOptions;
use datafusion::common::{DataFusionError, Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use super::java_text::show;
use super::scalar::is_text;
use super::time_text::{format_timestamp, parse_date, parse_timestamp};
use super::zone::{Zone, days};
use headwater_payload::number::{decimal, java_double, java_float};

static CAST: LazyLock<Arc<ScalarUDF>> =
    LazyLock::new(|| Arc::new(ScalarUDF::from(SparkCast::new(false))));
static TRY_CAST: LazyLock<Arc<ScalarUDF>> =
    LazyLock::new(|| Arc::new(ScalarUDF::from(SparkCast::new(true))));

pub(crate) fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![Arc::clone(&CAST), Arc::clone(&TRY_CAST)]
}

/// `expr` cast to `target` by Spark's rules; NULL instead of an error where `attempt` says so.
pub(crate) fn spark_cast(expr: Expr, target: &DataType, attempt: bool) -> Result<Expr> {
    let function = if attempt { &TRY_CAST } else { &CAST };
    let typed_null = Expr::Literal(ScalarValue::try_from(target)?, None);
    Ok(function.call(vec![expr, typed_null]))
}

/// Whether Spark casts `from` to `to` in another way than Arrow.
pub(crate) fn differs(from: &DataType, to: &DataType) -> bool {
    if from == to || (is_text(from) && is_text(to)) {
        return false;
    }
    match (from, to) {
        (DataType::Null, _) => false,
        (text, to) if is_text(text) => {
            to.is_integer()
                || to.is_floating()
                || matches!(
                    to,
                    DataType::Boolean
                        | DataType::Decimal128(_, _)
                        | DataType::Date32
                        | DataType::Timestamp(_, _)
                )
        }
        (DataType::Timestamp(_, _), to) => {
            is_text(to) || to.is_numeric() || *to == DataType::Date32
        }
        (DataType::Date32, DataType::Timestamp(_, _)) => true,
        (from, DataType::Timestamp(_, _)) => from.is_numeric(),
        (DataType::Float32 | DataType::Float64, to) => {
            is_text(to) || matches!(to, DataType::Decimal128(_, _))
        }
        (from, to) => from.is_nested() && is_text(to),
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct SparkCast {
    attempt: bool,
    signature: Signature,
}

impl SparkCast {
    fn new(attempt: bool) -> Self {
        Self {
            attempt,
            signature: Signature::any(2, Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for SparkCast {
    fn name(&self) -> &str {
        if self.attempt {
            "try_cast_ansi"
        } else {
            "cast_ansi"
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        plan_err!("{}: return_field_from_args decides", self.name())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let [value, target] = args.arg_fields else {
            return plan_err!("{}() takes a value and a typed NULL", self.name());
        };
        let nullable = self.attempt || value.is_nullable();
        Ok(Arc::new(Field::new(
            self.name(),
            target.data_type().clone(),
            nullable,
        )))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let constant = matches!(args.args[0], ColumnarValue::Scalar(_));
        let array = args.args[0].to_array(if constant { 1 } else { args.number_rows })?;
        let zone = Zone::of(&args.config_options)?;
        let result = cast_array(&array, args.return_field.data_type(), self.attempt, zone)?;
        if constant {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(
                &result, 0,
            )?));
        }
        Ok(ColumnarValue::Array(result))
    }
}

/// Casts a whole array by Spark's rules.
pub(crate) fn cast_array(
    array: &ArrayRef,
    to: &DataType,
    attempt: bool,
    zone: Zone,
) -> Result<ArrayRef> {
    let from = array.data_type();
    if !differs(from, to) {
        return arrow_cast(array, to, attempt);
    }
    if is_text(from) {
        let texts = cast(array, &DataType::Utf8)?;
        return cast_text(texts.as_string::<i32>(), to, attempt, zone);
    }
    if is_text(to) {
        return Ok(cast(&to_text(array, zone)?, to)?);
    }
    match (from, to) {
        (DataType::Float32 | DataType::Float64, DataType::Decimal128(_, _)) => {
            // By way of the text, as in Java: 1.005 is 1.005 and not the double below it.
            let texts = to_text(array, zone)?;
            cast_text(texts.as_string::<i32>(), to, attempt, zone)
        }
        (DataType::Timestamp(_, own), to) => {
            cast_timestamp(&micros(array)?, to, attempt, local(own, zone))
        }
        (DataType::Date32, DataType::Timestamp(_, own)) => {
            let zone = local(own, zone);
            let dates = array.as_primitive::<Date32Type>();
            let instants: TimestampMicrosecondArray = dates.try_unary(|d| zone.midnight(d))?;
            timestamps(instants, to, attempt)
        }
        (_, DataType::Timestamp(_, _)) => number_to_timestamp(array, to, attempt),
        _ => arrow_cast(array, to, attempt),
    }
}

/// Timestamps without a zone are local times already.
fn local(own: &Option<Arc<str>>, session: Zone) -> Zone {
    if own.is_some() { session } else { Zone::UTC }
}

fn arrow_cast(array: &ArrayRef, to: &DataType, attempt: bool) -> Result<ArrayRef> {
    let options = CastOptions {
        safe: attempt,
        format_options: FormatOptions::default(),
    };
    cast_with_options(array, to, &options).map_err(|e| overflow_in_cast(e, array.data_type(), to))
}

fn overflow_in_cast(error: ArrowError, from: &DataType, to: &DataType) -> DataFusionError {
    DataFusionError::Execution(format!(
        "[CAST_OVERFLOW] a value of type {from} cannot be cast to {to}: {error}; use try_cast to get NULL instead"
    ))
}

fn micros(array: &ArrayRef) -> Result<TimestampMicrosecondArray> {
    let plain = cast(array, &DataType::Timestamp(TimeUnit::Microsecond, None))?;
    Ok(plain.as_primitive::<TimestampMicrosecondType>().clone())
}

fn timestamps(
    instants: TimestampMicrosecondArray,
    to: &DataType,
    attempt: bool,
) -> Result<ArrayRef> {
    let DataType::Timestamp(_, zone) = to else {
        return exec_err!("expected a timestamp type, found {to}");
    };
    let instants: ArrayRef = Arc::new(instants.with_timezone_opt(zone.clone()));
    arrow_cast(&instants, to, attempt)
}

fn cast_text(texts: &StringArray, to: &DataType, attempt: bool, zone: Zone) -> Result<ArrayRef> {
    macro_rules! parsed {
        ($type:ty, $read:expr) => {
            Arc::new(read::<$type>(texts, to, attempt, $read)?) as ArrayRef
        };
    }
    Ok(match to {
        DataType::Int8 => parsed!(Int8Type, whole),
        DataType::Int16 => parsed!(Int16Type, whole),
        DataType::Int32 => parsed!(Int32Type, whole),
        DataType::Int64 => parsed!(Int64Type, whole),
        DataType::Float32 => parsed!(Float32Type, |t| java_number(t)?.parse().ok()),
        DataType::Float64 => parsed!(Float64Type, |t| java_number(t)?.parse().ok()),
        DataType::Date32 => parsed!(Date32Type, parse_date),
        DataType::Timestamp(_, own) => {
            let zone = local(own, zone);
            let instants =
                read::<TimestampMicrosecondType>(texts, to, attempt, |t| parse_timestamp(t, zone))?;
            timestamps(instants, to, attempt)?
        }
        DataType::Decimal128(precision, scale) => {
            let values: Decimal128Array =
                read::<Decimal128Type>(texts, to, attempt, |t| decimal(t, *precision, *scale))?;
            Arc::new(values.with_precision_and_scale(*precision, *scale)?)
        }
        DataType::Boolean => {
            let mut values = Vec::with_capacity(texts.len());
            for text in texts {
                let value = text.and_then(|t| boolean(t.trim()));
                if let (Some(text), None, false) = (text, value, attempt) {
                    return Err(invalid(text, to));
                }
                values.push(value);
            }
            Arc::new(BooleanArray::from(values))
        }
        _ => {
            let array: ArrayRef = Arc::new(texts.clone());
            arrow_cast(&array, to, attempt)?
        }
    })
}

fn read<T: ArrowPrimitiveType>(
    texts: &StringArray,
    to: &DataType,
    attempt: bool,
    parse: impl Fn(&str) -> Option<T::Native>,
) -> Result<PrimitiveArray<T>> {
    let mut builder = PrimitiveArray::<T>::builder(texts.len());
    for text in texts {
        match (text, text.and_then(&parse)) {
            (_, Some(value)) => builder.append_value(value),
            (Some(text), None) if !attempt => return Err(invalid(text, to)),
            _ => builder.append_null(),
        }
    }
    Ok(builder.finish())
}

fn invalid(text: &str, to: &DataType) -> DataFusionError {
    DataFusionError::Execution(format!(
        "[CAST_INVALID_INPUT] the text '{text}' cannot be cast to {to}: use try_cast to get NULL instead"
    ))
}

fn whole<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.trim().parse().ok()
}

/// A number in Java's form, in the form Rust reads.
fn java_number(text: &str) -> Option<&str> {
    let text = text.trim();
    let digits = text
        .strip_suffix(['d', 'D', 'f', 'F'])
        .filter(|rest| rest.ends_with(|c: char| c.is_ascii_digit() || c == '.'));
    Some(digits.unwrap_or(text)).filter(|t| !t.is_empty())
}

fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "t" | "true" | "y" | "yes" | "1" => Some(true),
        "f" | "false" | "n" | "no" | "0" => Some(false),
        _ => None,
    }
}

fn cast_timestamp(
    instants: &TimestampMicrosecondArray,
    to: &DataType,
    attempt: bool,
    zone: Zone,
) -> Result<ArrayRef> {
    match to {
        DataType::Date32 => {
            let dates: Date32Array =
                instants.try_unary(|t| zone.local(t).map(|l| days(l.date())))?;
            Ok(Arc::new(dates))
        }
        DataType::Float32 | DataType::Float64 => {
            #[expect(
                clippy::cast_precision_loss,
                reason = "a double holds what it can, as in Spark"
            )]
            let seconds: PrimitiveArray<Float64Type> = instants.unary(|t| t as f64 / 1e6);
            let seconds: ArrayRef = Arc::new(seconds);
            arrow_cast(&seconds, to, attempt)
        }
        DataType::Decimal128(_, _) => {
            let exact: Decimal128Array = instants.unary(i128::from);
            let exact: ArrayRef = Arc::new(exact.with_precision_and_scale(20, 6)?);
            arrow_cast(&exact, to, attempt)
        }
        _ => {
            let seconds: PrimitiveArray<Int64Type> = instants.unary(|t| t.div_euclid(1_000_000));
            let seconds: ArrayRef = Arc::new(seconds);
            arrow_cast(&seconds, to, attempt)
        }
    }
}

/// Numbers are seconds since 1970.
fn number_to_timestamp(array: &ArrayRef, to: &DataType, attempt: bool) -> Result<ArrayRef> {
    let scaled: ArrayRef = if array.data_type().is_integer() {
        let seconds = arrow_cast(array, &DataType::Int64, attempt)?;
        let seconds = seconds.as_primitive::<Int64Type>();
        let scale = |s: i64| s.checked_mul(1_000_000);
        let micros: PrimitiveArray<Int64Type> = if attempt {
            seconds.unary_opt(scale)
        } else {
            seconds.try_unary(|s| match scale(s) {
                Some(micros) => Ok(micros),
                None => exec_err!("[CAST_OVERFLOW] {s} seconds are out of the range of timestamps"),
            })?
        };
        Arc::new(micros)
    } else {
        let seconds = arrow_cast(array, &DataType::Float64, attempt)?;
        let micros: PrimitiveArray<Float64Type> = seconds
            .as_primitive::<Float64Type>()
            .unary(|s| (s * 1e6).trunc());
        let micros: ArrayRef = Arc::new(micros);
        arrow_cast(&micros, &DataType::Int64, attempt)?
    };
    let instants: TimestampMicrosecondArray = scaled.as_primitive::<Int64Type>().reinterpret_cast();
    timestamps(instants, to, attempt)
}

/// Every value as the text that Spark shows.
pub(crate) fn to_text(array: &ArrayRef, zone: Zone) -> Result<ArrayRef> {
    let texts: StringArray = match array.data_type() {
        DataType::Timestamp(_, own) => {
            let zone = local(own, zone);
            micros(array)?
                .iter()
                .map(|t| t.map(|t| zone.local(t).map(format_timestamp)).transpose())
                .collect::<Result<_>>()?
        }
        DataType::Float64 => array
            .as_primitive::<Float64Type>()
            .iter()
            .map(|v| v.map(java_double))
            .collect(),
        DataType::Float32 => array
            .as_primitive::<Float32Type>()
            .iter()
            .map(|v| v.map(java_float))
            .collect(),
        nested if nested.is_nested() => (0..array.len())
            .map(|row| {
                if array.is_null(row) {
                    Ok(None)
                } else {
                    show(array, row, zone).map(Some)
                }
            })
            .collect::<Result<_>>()?,
        _ => return Ok(cast(array, &DataType::Utf8)?),
    };
    Ok(Arc::new(texts))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cast_texts(texts: &[&str], to: &DataType, attempt: bool) -> Result<ArrayRef> {
        let array: ArrayRef = Arc::new(StringArray::from(texts.to_vec()));
        cast_array(&array, to, attempt, Zone::UTC)
    }

    #[test]
    fn texts_are_trimmed_and_read_as_spark_reads_them() {
        let ints = cast_texts(&[" 12 ", "-3", "+4"], &DataType::Int64, false).expect("integers");
        assert_eq!(ints.as_primitive::<Int64Type>().values(), &[12, -3, 4]);
        let doubles = cast_texts(
            &["1.5", "1e3", "2D", "-Infinity"],
            &DataType::Float64,
            false,
        )
        .expect("doubles");
        assert_eq!(
            doubles.as_primitive::<Float64Type>().values(),
            &[1.5, 1000.0, 2.0, f64::NEG_INFINITY]
        );
        let flags = cast_texts(&["T", "no", "1"], &DataType::Boolean, false).expect("booleans");
        assert_eq!(
            flags.as_boolean().iter().flatten().collect::<Vec<_>>(),
            [true, false, true]
        );
    }

    #[test]
    fn what_is_malformed_fails_or_is_null() {
        for (text, to) in [
            ("1.5", DataType::Int64),
            ("abc", DataType::Float64),
            ("maybe", DataType::Boolean),
            ("2024-02-30", DataType::Date32),
            ("1234.5", DataType::Decimal128(5, 2)),
            ("300", DataType::Int8),
        ] {
            let error = cast_texts(&[text], &to, false).expect_err(text).to_string();
            assert!(error.contains("CAST_INVALID_INPUT"), "{error}");
            assert!(
                cast_texts(&[text], &to, true).expect(text).is_null(0),
                "{text}"
            );
        }
    }

    #[test]
    fn timestamps_meet_numbers_as_seconds_and_dates_in_the_zone() {
        let zone = Zone::named("America/New_York").expect("a zone");
        let at: ArrayRef =
            Arc::new(TimestampMicrosecondArray::from(vec![-1, 1_500_000]).with_timezone("UTC"));
        let seconds = cast_array(&at, &DataType::Int64, false, zone).expect("seconds");
        assert_eq!(seconds.as_primitive::<Int64Type>().values(), &[-1, 1]);
        let dates = cast_array(&at, &DataType::Date32, false, zone).expect("dates");
        assert_eq!(dates.as_primitive::<Date32Type>().values(), &[-1, -1]);
        let texts = cast_array(&at, &DataType::Utf8, false, zone).expect("texts");
        assert_eq!(texts.as_string::<i32>().value(1), "1969-12-31 19:00:01.5");
        let ints: ArrayRef = Arc::new(PrimitiveArray::<Int64Type>::from(vec![2]));
        let back =
            cast_array(&ints, &super::super::scalar::timestamp(), false, zone).expect("timestamps");
        assert_eq!(
            back.as_primitive::<TimestampMicrosecondType>().values(),
            &[2_000_000]
        );
    }
}
