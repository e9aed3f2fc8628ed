//! Values in other forms: numbers in another base or with commas, texts behind a mask, the name of a type.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringArray};
use datafusion::arrow::datatypes::{DataType, Float64Type, Int32Type, TimeUnit};
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::ScalarUDF;

use super::scalar::{Scalar, arity, is_text, texts};

pub(crate) fn functions() -> Vec<Arc<ScalarUDF>> {
    [
        Scalar::new(
            "conv",
            |t| with_numbers("conv", t, 2),
            |_| Ok(DataType::Utf8),
            |args, _| {
                let (from, to) = (
                    args[1].as_primitive::<Int32Type>(),
                    args[2].as_primitive::<Int32Type>(),
                );
                let texts = texts(&args[0])?;
                let converted = (0..texts.len()).map(|row| {
                    let known = texts.is_valid(row) && from.is_valid(row) && to.is_valid(row);
                    known
                        .then(|| convert(texts.value(row), from.value(row), to.value(row)))
                        .flatten()
                });
                Ok(Arc::new(converted.collect::<StringArray>()))
            },
        ),
        Scalar::new(
            "format_number",
            format_args,
            |_| Ok(DataType::Utf8),
            |args, _| format_number(args),
        ),
        Scalar::new(
            "mask",
            mask_args,
            |_| Ok(DataType::Utf8),
            |args, _| mask(args),
        ),
        Scalar::new(
            "typeof",
            |t| arity("typeof", 1..=1, t).map(|()| t.to_vec()),
            |_| Ok(DataType::Utf8),
            |args, _| {
                Ok(Arc::new(StringArray::from(vec![
                    type_name(
                        args[0].data_type()
                    );
                    args[0].len()
                ])))
            },
        ),
    ]
    .map(Scalar::udf)
    .into()
}

/// A text, and so many numbers.
fn with_numbers(name: &str, types: &[DataType], numbers: usize) -> Result<Vec<DataType>> {
    arity(name, numbers + 1..=numbers + 1, types)?;
    let mut wanted = vec![DataType::Int32; numbers + 1];
    wanted[0] = DataType::Utf8;
    Ok(wanted)
}

/// The number that the longest start of `text` is, in another base; a negative base shows a sign.
fn convert(text: &str, from: i32, to: i32) -> Option<String> {
    let base = |base: i32| {
        u32::try_from(base.abs())
            .ok()
            .filter(|base| (2..=36).contains(base))
    };
    let (from, target) = (base(from)?, base(to)?);
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let digits = digits.chars().map_while(|c| c.to_digit(from));
    let value = digits.fold(0_u64, |value, digit| {
        let next = value.checked_mul(from.into());
        next.and_then(|next| next.checked_add(digit.into()))
            .unwrap_or(u64::MAX)
    });
    let value = if negative {
        value.wrapping_neg()
    } else {
        value
    };
    let (sign, mut rest) = match to < 0 && value.cast_signed() < 0 {
        true => ("-", value.cast_signed().unsigned_abs()),
        false => ("", value),
    };
    let mut found = Vec::new();
    loop {
        let digit = u32::try_from(rest % u64::from(target)).ok()?;
        found.push(char::from_digit(digit, target)?.to_ascii_uppercase());
        rest /= u64::from(target);
        if rest == 0 {
            break;
        }
    }
    Some(format!(
        "{sign}{}",
        found.into_iter().rev().collect::<String>()
    ))
}

fn format_args(types: &[DataType]) -> Result<Vec<DataType>> {
    arity("format_number", 2..=2, types)?;
    if is_text(&types[1]) {
        return plan_err!(
            "format_number() takes a number of digits behind the point, not a pattern"
        );
    }
    Ok(vec![DataType::Float64, DataType::Int32])
}

/// Digits in groups of three, rounded half to even; null for a negative number of digits.
fn format_number(args: &[ArrayRef]) -> Result<ArrayRef> {
    let (values, digits) = (
        args[0].as_primitive::<Float64Type>(),
        args[1].as_primitive::<Int32Type>(),
    );
    let formatted = (0..values.len()).map(|row| {
        let known = values.is_valid(row) && digits.is_valid(row);
        let digits = usize::try_from(digits.value(row)).ok().filter(|_| known)?;
        Some(grouped(values.value(row), digits.min(340)))
    });
    Ok(Arc::new(formatted.collect::<StringArray>()))
}

fn grouped(value: f64, digits: usize) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    let sign = if value < 0.0 { "-" } else { "" };
    if value.is_infinite() {
        return format!("{sign}∞");
    }
    let plain = format!("{:.digits$}", value.abs());
    let (whole, fraction) = match plain.split_once('.') {
        Some((whole, fraction)) => (whole, format!(".{fraction}")),
        None => (plain.as_str(), String::new()),
    };
    let mut groups = String::with_capacity(whole.len() * 4 / 3);
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place) % 3 == 0 {
            groups.push(',');
        }
        groups.push(digit);
    }
    format!("{sign}{groups}{fraction}")
}

fn mask_args(types: &[DataType]) -> Result<Vec<DataType>> {
    arity("mask", 1..=5, types)?;
    Ok(vec![DataType::Utf8; types.len()])
}

/// Large and small letters, digits and, if asked for, all else are replaced by one character each.
fn mask(args: &[ArrayRef]) -> Result<ArrayRef> {
    let columns = args.iter().map(texts).collect::<Result<Vec<_>>>()?;
    let masked = (0..columns[0].len()).map(|row| {
        let text = columns[0].is_valid(row).then(|| columns[0].value(row))?;
        // A null keeps what is there.
        let by = |place: usize, default: Option<char>| match columns.get(place) {
            Some(column) => column
                .is_valid(row)
                .then(|| column.value(row).chars().next())
                .flatten(),
            None => default,
        };
        let (upper, lower) = (by(1, Some('X')), by(2, Some('x')));
        let (digit, other) = (by(3, Some('n')), by(4, None));
        let replaced = text.chars().map(|c| {
            let by = match c {
                c if c.is_uppercase() => upper,
                c if c.is_lowercase() => lower,
                c if c.is_numeric() => digit,
                _ => other,
            };
            by.unwrap_or(c)
        });
        Some(replaced.collect::<String>())
    });
    Ok(Arc::new(masked.collect::<StringArray>()))
}

/// What Spark calls a type.
fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Null => "void".to_owned(),
        DataType::Boolean => "boolean".to_owned(),
        DataType::Int8 => "tinyint".to_owned(),
        DataType::Int16 => "smallint".to_owned(),
        DataType::Int32 => "int".to_owned(),
        DataType::Int64 => "bigint".to_owned(),
        DataType::Float32 => "float".to_owned(),
        DataType::Float64 => "double".to_owned(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "string".to_owned(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "binary".to_owned(),
        DataType::Date32 => "date".to_owned(),
        DataType::Timestamp(_, Some(_)) => "timestamp".to_owned(),
        DataType::Timestamp(TimeUnit::Microsecond, None) => "timestamp_ntz".to_owned(),
        DataType::Decimal128(precision, scale) => format!("decimal({precision},{scale})"),
        DataType::Duration(_) => "interval day to second".to_owned(),
        DataType::List(item) => format!("array<{}>", type_name(item.data_type())),
        DataType::Struct(fields) => {
            let fields = fields
                .iter()
                .map(|f| format!("{}:{}", f.name(), type_name(f.data_type())));
            format!("struct<{}>", fields.collect::<Vec<_>>().join(","))
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) => {
                let types = fields.iter().map(|f| type_name(f.data_type()));
                format!("map<{}>", types.collect::<Vec<_>>().join(","))
            }
            other => other.to_string(),
        },
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_change_their_base() {
        for (text, from, to, expected) in [
            ("100", 2, 10, Some("4")),
            ("-10", 16, -10, Some("-16")),
            ("-1", 10, 16, Some("FFFFFFFFFFFFFFFF")),
            ("zz", 16, 10, Some("0")),
            ("12x", 10, 10, Some("12")),
            ("", 10, 16, None),
            ("1", 1, 10, None),
        ] {
            assert_eq!(convert(text, from, to).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn digits_stand_in_groups_of_three() {
        for (value, digits, expected) in [
            (12_345.678, 2, "12,345.68"),
            (-1_234_567.0, 0, "-1,234,567"),
            (0.5, 3, "0.500"),
            (999.0, 0, "999"),
        ] {
            assert_eq!(grouped(value, digits), expected);
        }
    }

    #[test]
    fn a_mask_keeps_the_kind_of_a_character() {
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("AbC1-"), None]));
        let masked = mask(&[texts]).unwrap();
        assert_eq!(
            masked.as_string::<i32>().iter().collect::<Vec<_>>(),
            [Some("XxXn-"), None]
        );
    }
}
