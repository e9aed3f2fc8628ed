//! Numbers as texts, the way Java and Spark write and read them.

/// A double as `Double.toString` writes it: `1.0`, `1.0E10`, `1.5E-5`, `NaN`.
pub fn java_double(value: f64) -> String {
    java(value, &format!("{value:e}"))
}

/// A float as `Float.toString` writes it.
pub fn java_float(value: f32) -> String {
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

/// A number as `Double.parseDouble` reads it: with blanks around and a `d` or an `f` behind.
pub(crate) fn java_parsed<T: std::str::FromStr>(text: &str) -> Option<T> {
    let text = text.trim();
    let digits = text.strip_suffix(['d', 'D', 'f', 'F']).unwrap_or(text);
    let last = digits.as_bytes().last()?;
    let word = digits.strip_prefix(['+', '-']).unwrap_or(digits);
    let is_number = last.is_ascii_digit() || *last == b'.';
    // Rust reads the words in any case; "Infinity" loses no letter above.
    if is_number || matches!(word, "NaN" | "Infinity") {
        return digits.parse().ok();
    }
    None
}

/// A decimal as a text has it: commas do not count, blanks are not allowed.
pub(crate) fn decimal_with_commas(text: &str, precision: u8, scale: i8) -> Option<i128> {
    if text.contains(char::is_whitespace) {
        return None;
    }
    if text.contains(',') {
        return decimal(&text.replace(',', ""), precision, scale);
    }
    decimal(text, precision, scale)
}

/// A decimal as `BigDecimal.toString` writes it: plain, unless it is small and `1.00E-8`.
pub fn java_decimal(value: i128, scale: i8, out: &mut Vec<u8>) {
    if value < 0 {
        out.push(b'-');
    }
    let digits = value.unsigned_abs().to_string();
    let count = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    let exponent = count - 1 - i32::from(scale);
    if scale >= 0 && exponent >= -6 {
        let fraction = usize::from(scale.unsigned_abs());
        let padded = format!("{digits:0>width$}", width = fraction + 1);
        let (whole, fraction) = padded.split_at(padded.len() - fraction);
        out.extend_from_slice(whole.as_bytes());
        if !fraction.is_empty() {
            out.push(b'.');
            out.extend_from_slice(fraction.as_bytes());
        }
        return;
    }
    let (first, rest) = digits.split_at(1);
    out.extend_from_slice(first.as_bytes());
    if !rest.is_empty() {
        out.push(b'.');
        out.extend_from_slice(rest.as_bytes());
    }
    out.extend_from_slice(format!("E{exponent:+}").as_bytes());
}

/// A decimal with `scale` digits behind the point, half rounded away from zero; `None` if it is no number or has too
/// many digits.
pub fn decimal(text: &str, precision: u8, scale: i8) -> Option<i128> {
    let text = text.trim();
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (negative, digits) = match mantissa.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, mantissa.strip_prefix('+').unwrap_or(mantissa)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty()
        || !whole
            .bytes()
            .chain(fraction.bytes())
            .all(|b| b.is_ascii_digit())
    {
        return None;
    }
    // Digits left of the point after it moved by scale and exponent.
    let point = i32::try_from(whole.len())
        .ok()?
        .saturating_add(exponent)
        .saturating_add(i32::from(scale));
    let all = [whole.as_bytes(), fraction.as_bytes()].concat();
    let digit = |i: i32| {
        usize::try_from(i)
            .ok()
            .and_then(|i| all.get(i))
            .map_or(0, |b| i128::from(b - b'0'))
    };
    if point > 78 {
        return all.iter().all(|b| *b == b'0').then_some(0);
    }
    let mut value: i128 = 0;
    for i in 0..point.max(0) {
        value = value.checked_mul(10)?.checked_add(digit(i))?;
    }
    if point >= 0 && digit(point) >= 5 {
        value = value.checked_add(1)?;
    }
    let limit = 10i128.checked_pow(u32::from(precision))?;
    (value < limit).then_some(if negative { -value } else { value })
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

    #[test]
    fn decimals_round_half_away_from_zero() {
        let cases = [
            ("1.005", Some(101)),
            ("-1.005", Some(-101)),
            ("1.004", Some(100)),
            ("1e2", Some(10000)),
            ("12e-3", Some(1)),
            (".5", Some(50)),
            ("999.99", Some(99999)),
            ("999.995", None),
            ("x", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(decimal(text, 5, 2), expected, "{text}");
        }
    }

    #[test]
    fn decimals_look_as_in_java() {
        for (value, scale, text) in [
            (150, 2, "1.50"),
            (-5, 2, "-0.05"),
            (-100, 10, "-1.00E-8"),
            (0, 10, "0E-10"),
            (0, 2, "0.00"),
            (12, 0, "12"),
            (1, 6, "0.000001"),
            (1, 7, "1E-7"),
            (12, -2, "1.2E+3"),
        ] {
            let mut out = vec![];
            java_decimal(value, scale, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }
}
