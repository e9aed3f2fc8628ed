//! The form that nearly all timestamps in messages have, `2024-01-02T03:04:05.678Z`, read and written without detours.

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// The microseconds in `yyyy-MM-dd{T| }HH:mm:ss[.fraction][Z]`, and whether there was a `Z`. `None` for every other form,
/// and for what is no time.
pub(crate) fn parse(text: &[u8]) -> Option<(i64, bool)> {
    let (text, zoned) = match text.strip_suffix(b"Z") {
        Some(text) => (text, true),
        None => (text, false),
    };
    let (whole, fraction) = text.split_at_checked(19)?;
    let &[
        y1,
        y2,
        y3,
        y4,
        b'-',
        m1,
        m2,
        b'-',
        d1,
        d2,
        b'T' | b' ',
        h1,
        h2,
        b':',
        n1,
        n2,
        b':',
        s1,
        s2,
    ] = whole
    else {
        return None;
    };
    let year = number(&[y1, y2, y3, y4])?;
    let (month, day) = (number(&[m1, m2])?, number(&[d1, d2])?);
    let (hour, minute, second) = (number(&[h1, h2])?, number(&[n1, n2])?, number(&[s1, s2])?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return None,
    };
    if day == 0 || day > length || hour > 23 || minute > 59 || second > 59 || year == 0 {
        return None;
    }
    let micros = match fraction {
        [] => 0,
        [b'.', digits @ ..] if !digits.is_empty() && digits.len() <= 6 => {
            let scale = 10_i64.pow(6 - u32::try_from(digits.len()).ok()?);
            number(digits)? * scale
        }
        _ => return None,
    };
    let seconds = days_of(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    Some((seconds * 1_000_000 + micros, zoned))
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |value, digit| {
        let digit = digit.wrapping_sub(b'0');
        (digit < 10).then(|| value * 10 + i64::from(digit))
    })
}

/// Days from 1970-01-01, by eras of 400 years that begin in March.
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Year, month and day; the way back.
fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

/// Writes `yyyy-MM-ddTHH:mm:ss.SSS`; digits behind milliseconds are cut off.
pub(crate) fn write(micros: i64, out: &mut Vec<u8>) {
    write_date(micros.div_euclid(MICROS_PER_DAY), out);
    let millis = micros.rem_euclid(MICROS_PER_DAY) / 1000;
    let seconds = millis / 1000;
    out.push(b'T');
    digits(seconds / 3600, 2, out);
    out.push(b':');
    digits(seconds / 60 % 60, 2, out);
    out.push(b':');
    digits(seconds % 60, 2, out);
    out.push(b'.');
    digits(millis % 1000, 3, out);
}

/// Writes `yyyy-MM-dd`.
pub(crate) fn write_date(days: i64, out: &mut Vec<u8>) {
    let (year, month, day) = date_of(days);
    if year < 0 {
        out.push(b'-');
    } else if year > 9999 {
        out.push(b'+');
    }
    digits(year.abs(), 4, out);
    out.push(b'-');
    digits(month, 2, out);
    out.push(b'-');
    digits(day, 2, out);
}

/// Writes `Z` or `+01:00`.
pub(crate) fn write_offset(seconds: i32, out: &mut Vec<u8>) {
    if seconds == 0 {
        out.push(b'Z');
        return;
    }
    out.push(if seconds < 0 { b'-' } else { b'+' });
    let minutes = i64::from(seconds.unsigned_abs() / 60);
    digits(minutes / 60, 2, out);
    out.push(b':');
    digits(minutes % 60, 2, out);
}

/// At least `width` digits of a number that is not negative.
fn digits(value: i64, width: usize, out: &mut Vec<u8>) {
    let mut reversed = [b'0'; 20];
    let mut rest = value;
    let mut count = 0;
    for digit in &mut reversed {
        if rest == 0 && count >= width {
            break;
        }
        *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
        count += 1;
    }
    out.extend(reversed[..count].iter().rev());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::text::parse_timestamp;
    use super::super::zone::Zone;
    use super::*;

    #[test]
    fn other_forms_are_left_to_others() {
        for text in [
            "2024-01-02",
            "2024-01-02T03:04:05+01:00",
            "2024-1-2T03:04:05",
            "2024-02-30T00:00:00",
            "2024-01-02T24:00:00",
            "2024-01-02T03:04:05.",
            "2024-01-02T03:04:05.1234567",
            "2024-01-02X03:04:05",
            "",
            "é024-01-02T03:04:05",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_cast_reads_it(millis in -62_135_596_800_000_i64..253_402_300_800_000) {
            let micros = millis * 1000;
            let mut text = vec![];
            write(micros, &mut text);
            write_offset(0, &mut text);
            prop_assert_eq!(parse(&text), Some((micros, true)));
            let text = String::from_utf8(text).unwrap();
            prop_assert_eq!(parse_timestamp(&text, Zone::UTC), Some(micros));
        }
    }
}
