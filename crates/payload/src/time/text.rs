//! Dates and timestamps in the texts that Spark's CAST reads and writes.
//!
//! `2024`, `2024-1`, `2024-01-02`, `2024-01-02 03`, `2024-01-02T03:04:05.678901+01:00`, `2024-01-02 3:4 Europe/Paris`;
//! with blanks around. Digits behind microseconds are cut off.

use chrono::{NaiveDate, NaiveDateTime, NaiveTime, Timelike};

use super::zone::{Zone, days};

/// The date in `text`; what stands behind a `T` or a blank is not looked at.
pub fn parse_date(text: &str) -> Option<i32> {
    let (date, rest) = take_date(text.trim())?;
    (rest.is_empty() || rest.starts_with([' ', 'T'])).then(|| days(date))
}

/// The instant in `text`, which is local to `zone` if it names no zone itself.
pub fn parse_timestamp(text: &str, zone: Zone) -> Option<i64> {
    let (date, rest) = take_date(text.trim())?;
    if rest.is_empty() {
        return Some(zone.instant(date.and_time(NaiveTime::MIN)));
    }
    let rest = rest.strip_prefix(['T', ' '])?;
    let (time, rest) = take_time(rest)?;
    let zone = match rest.trim() {
        "" => zone,
        name => Zone::named(name).ok()?,
    };
    Some(zone.instant(date.and_time(time)))
}

/// The local time in `text`, in microseconds since 1970-01-01T00:00:00; a text that names a zone is none.
pub fn parse_local_timestamp(text: &str) -> Option<i64> {
    let (date, rest) = take_date(text.trim())?;
    let time = match rest.strip_prefix(['T', ' ']) {
        Some(rest) => {
            let (time, rest) = take_time(rest)?;
            rest.is_empty().then_some(time)?
        }
        None => rest.is_empty().then_some(NaiveTime::MIN)?,
    };
    Some(Zone::UTC.instant(date.and_time(time)))
}

/// An instant as CAST writes it: the fraction only as far as it is not zero.
pub fn format_timestamp(local: NaiveDateTime) -> String {
    let micros = local.nanosecond() / 1_000;
    let seconds = local.format("%Y-%m-%d %H:%M:%S");
    if micros == 0 {
        return seconds.to_string();
    }
    let fraction = format!("{micros:06}");
    format!("{seconds}.{}", fraction.trim_end_matches('0'))
}

fn take_date(text: &str) -> Option<(NaiveDate, &str)> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (year, text) = take_number(text, 4, 6)?;
    let (month, text) = match text.strip_prefix('-') {
        Some(rest) => take_number(rest, 1, 2)?,
        None => (1, text),
    };
    let (day, text) = match text.strip_prefix('-') {
        Some(rest) => take_number(rest, 1, 2)?,
        None => (1, text),
    };
    let year = i32::try_from(year).ok()?;
    let date = NaiveDate::from_ymd_opt(if negative { -year } else { year }, month, day)?;
    Some((date, text))
}

/// `h[h][:m[m][:s[s][.fraction]]]`.
fn take_time(text: &str) -> Option<(NaiveTime, &str)> {
    let (hour, text) = take_number(text, 1, 2)?;
    let (minute, text) = match text.strip_prefix(':') {
        Some(rest) => take_number(rest, 1, 2)?,
        None => (0, text),
    };
    let (second, text) = match text.strip_prefix(':') {
        Some(rest) => take_number(rest, 1, 2)?,
        None => (0, text),
    };
    let (micros, text) = match text.strip_prefix('.') {
        Some(rest) => {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let six: String = rest[..digits]
                .chars()
                .chain("000000".chars())
                .take(6)
                .collect();
            (six.parse().ok()?, &rest[digits..])
        }
        None => (0, text),
    };
    Some((
        NaiveTime::from_hms_micro_opt(hour, minute, second, micros)?,
        text,
    ))
}

/// A number of `least` to `most` digits.
fn take_number(text: &str, least: usize, most: usize) -> Option<(u32, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    if digits < least || digits > most {
        return None;
    }
    Some((text[..digits].parse().ok()?, &text[digits..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_may_be_short() {
        let cases = [
            ("2024", "2024-01-01 00:00:00"),
            (" 2024-3 ", "2024-03-01 00:00:00"),
            ("2024-01-02T3:4:5.5", "2024-01-02 03:04:05.5"),
            ("2024-01-02 03:04:05.1234567", "2024-01-02 03:04:05.123456"),
            ("2024-01-02 03:04:05+01:00", "2024-01-02 02:04:05"),
            ("2024-01-02 03:04:05 Europe/Paris", "2024-01-02 02:04:05"),
            ("2024-01-02T03:04:05Z", "2024-01-02 03:04:05"),
        ];
        for (text, expected) in cases {
            let micros = parse_timestamp(text, Zone::UTC).expect(text);
            assert_eq!(
                format_timestamp(Zone::UTC.local(micros).expect("in range")),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn texts_that_are_no_time_give_nothing() {
        for text in [
            "",
            "abc",
            "24-01-01",
            "2024-13-01",
            "2024-01-01x",
            "2024-01-01 25:00",
            "2024-01-01 10:00 Mars",
        ] {
            assert_eq!(parse_timestamp(text, Zone::UTC), None, "{text}");
        }
        assert_eq!(parse_date("2024-01-02 what ever"), parse_date("2024-01-02"));
        assert_eq!(parse_date("1970-01-02"), Some(1));
        assert_eq!(parse_date("2024-01-02x"), None);
    }
}
