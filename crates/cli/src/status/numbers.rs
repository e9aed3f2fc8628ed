//! Numbers as people read them.

/// A count with its thousands apart: `13,935`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Three digits and a letter: `999`, `12.3 k`, `4.56 M`.
pub(crate) fn short(number: f64) -> String {
    scaled(number, 1_000.0, &["", " k", " M", " G", " T"])
}

/// Bytes: `310 kB`.
pub(crate) fn bytes(number: u64) -> String {
    scaled(number as f64, 1_000.0, &[" B", " kB", " MB", " GB", " TB"])
}

/// Milliseconds: `3 ms`, `4.2 s`, `3 min 20 s`, `2 h 5 min`.
pub(crate) fn duration(millis: u64) -> String {
    let seconds = millis / 1_000;
    match seconds {
        0 => format!("{millis} ms"),
        1..60 => format!(
            "{} s",
            scaled(millis as f64 / 1_000.0, f64::INFINITY, &[""])
        ),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600..172_800 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} days", seconds / 86_400),
    }
}

fn scaled(mut number: f64, step: f64, units: &[&str]) -> String {
    let mut unit = 0;
    // What would be shown as a thousand is one of the next unit.
    while number >= 999.5 * step / 1_000.0 && step.is_finite() && unit + 1 < units.len() {
        number /= step;
        unit += 1;
    }
    let digits = match number {
        _ if unit == 0 && number.fract() == 0.0 => 0,
        n if n >= 99.95 => 0,
        n if n >= 9.995 => 1,
        _ => 2,
    };
    let text = format!("{number:.digits$}");
    let text = match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => &text,
    };
    format!("{text}{}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_their_thousands_apart() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(count(number), text);
        }
    }

    #[test]
    fn large_numbers_are_shortened() {
        for (number, text) in [
            (0.0, "0"),
            (12.0, "12"),
            (12.34, "12.3"),
            (999.4, "999"),
            (999.7, "1 k"),
            (12_345.0, "12.3 k"),
            (4_560_000.0, "4.56 M"),
        ] {
            assert_eq!(short(number), text);
        }
        assert_eq!(bytes(310_200), "310 kB");
        assert_eq!(bytes(12), "12 B");
    }

    #[test]
    fn durations_have_the_unit_that_fits() {
        for (millis, text) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (4_210, "4.21 s"),
            (59_999, "60 s"),
            (200_000, "3 min 20 s"),
            (7_500_000, "2 h 5 min"),
            (864_000_000, "10 days"),
        ] {
            assert_eq!(duration(millis), text);
        }
    }
}
