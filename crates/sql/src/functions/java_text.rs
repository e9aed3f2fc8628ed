//! Values as the texts that Spark shows: doubles in Java's form, arrays, maps and structs in brackets.

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;

use super::cast::to_text;
use super::zone::Zone;

/// A double as `Double.toString` writes it: `1.0`, `1.0E10`, `1.5E-5`, `NaN`.
pub(crate) fn java_double(value: f64) -> String {
    java(value, &format!("{value:e}"))
}

/// A float as `Float.toString` writes it.
pub(crate) fn java_float(value: f32) -> String {
    java(f64::from(value), &format!("{value:e}"))
}

/// `shortest` is the value with as few digits as tell it from its neighbours, as `d.ddde±n`.
fn java(value: f64, shortest: &str) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    let sign = if value.is_sign_negative() { "-" } else { "" };
    if value.is_infinite() {
        return format!("{sign}Infinity");
    }
    let (mantissa, exponent) = shortest
        .trim_start_matches('-')
        .split_once('e')
        .unwrap_or((shortest, "0"));
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let text = match exponent {
        0..=6 => {
            let point = usize::try_from(exponent).unwrap_or(0) + 1;
            let padded = format!("{digits:0<width$}", width = point + 1);
            format!("{}.{}", &padded[..point], &padded[point..])
        }
        -3..=-1 => {
            let zeros = "0".repeat(usize::try_from(-exponent - 1).unwrap_or(0));
            format!("0.{zeros}{digits}")
        }
        _ => {
            let padded = format!("{digits:0<2}");
            format!("{}.{}E{exponent}", &padded[..1], &padded[1..])
        }
    };
    if value == 0.0 {
        format!("{sign}0.0")
    } else {
        format!("{sign}{text}")
    }
}

/// The value in `row`, which is not null: `[1, null]`, `{a -> 1}`, `{1, x}` or the text of a plain value.
pub(crate) fn show(array: &ArrayRef, row: usize, zone: Zone) -> Result<String> {
    let all = |items: &ArrayRef| -> Result<Vec<String>> {
        (0..items.len())
            .map(|i| show_or_null(items, i, zone))
            .collect()
    };
    Ok(match array.data_type() {
        DataType::List(_) => format!("[{}]", all(&array.as_list::<i32>().value(row))?.join(", ")),
        DataType::LargeList(_) => {
            format!("[{}]", all(&array.as_list::<i64>().value(row))?.join(", "))
        }
        DataType::FixedSizeList(_, _) => format!(
            "[{}]",
            all(&array.as_fixed_size_list().value(row))?.join(", ")
        ),
        DataType::Struct(_) => {
            let fields = array
                .as_struct()
                .columns()
                .iter()
                .map(|column| show_or_null(column, row, zone))
                .collect::<Result<Vec<_>>>()?;
            format!("{{{}}}", fields.join(", "))
        }
        DataType::Map(_, _) => {
            let entries = array.as_map().value(row);
            let (keys, values) = (all(entries.column(0))?, all(entries.column(1))?);
            let pairs: Vec<String> = keys
                .iter()
                .zip(&values)
                .map(|(k, v)| format!("{k} -> {v}"))
                .collect();
            format!("{{{}}}", pairs.join(", "))
        }
        _ => {
            let text = to_text(&array.slice(row, 1), zone)?;
            text.as_string::<i32>().value(0).to_owned()
        }
    })
}

fn show_or_null(array: &ArrayRef, row: usize, zone: Zone) -> Result<String> {
    if array.is_null(row) {
        Ok("null".to_owned())
    } else {
        show(array, row, zone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_look_as_in_java() {
        let cases = [
            (1.0, "1.0"),
            (-0.0, "-0.0"),
            (100.25, "100.25"),
            (1234567.0, "1234567.0"),
            (1e7, "1.0E7"),
            (1.5e300, "1.5E300"),
            (0.001, "0.001"),
            (0.000_123, "1.23E-4"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ];
        for (value, expected) in cases {
            assert_eq!(java_double(value), expected);
        }
        assert_eq!(java_float(0.1), "0.1");
    }
}
