//! Java's date and time patterns (`yyyy-MM-dd HH:mm`), for writing and for reading.
//!
//! The letters that Spark documents; others are refused by name. Reading is strict: the whole text must match.

use chrono::{Datelike, NaiveDate, NaiveDateTime, NaiveTime, Timelike};
use datafusion::common::{Result, exec_err};

use super::zone::Zone;

/// A pattern taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Field(char, usize),
    Optional(Vec<Part>),
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];

impl Pattern {
    /// Takes a pattern apart.
    ///
    /// # Errors
    /// When a letter is not one of those Spark documents, or a quote or bracket is not closed.
    pub fn new(text: &str) -> Result<Self> {
        let mut stack: Vec<Vec<Part>> = vec![vec![]];
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            let part = match c {
                '\'' => Part::Text(quoted(&mut chars, text)?),
                '[' => {
                    stack.push(vec![]);
                    continue;
                }
                ']' => match (stack.pop(), stack.is_empty()) {
                    (Some(inner), false) => Part::Optional(inner),
                    _ => return exec_err!("pattern `{text}`: `]` without `[`"),
                },
                c if c.is_ascii_alphabetic() => {
                    let mut count = 1;
                    while chars.next_if_eq(&c).is_some() {
                        count += 1;
                    }
                    if !"GyuQqMLdDEFaHhKkmsSVzOXxZ".contains(c) {
                        return exec_err!(
                            "pattern `{text}`: unknown letter `{c}`; quote text like 'T'"
                        );
                    }
                    Part::Field(c, count)
                }
                other => Part::Text(other.to_string()),
            };
            match stack.last_mut() {
                Some(parts) => parts.push(part),
                None => return exec_err!("pattern `{text}`: unbalanced brackets"),
            }
        }
        match (stack.pop(), stack.is_empty()) {
            (Some(parts), true) => Ok(Self(parts)),
            _ => exec_err!("pattern `{text}`: `[` without `]`"),
        }
    }

    /// Writes an instant as clocks in `zone` show it.
    pub fn format(&self, micros: i64, zone: Zone) -> Result<String> {
        let local = zone.local(micros)?;
        let mut out = String::new();
        write_parts(&self.0, local, zone.offset_seconds(micros), &mut out);
        Ok(out)
    }

    /// Reads an instant; a text without a zone is local to `zone`. `None` if the text does not match.
    pub fn parse(&self, text: &str, zone: Zone) -> Option<i64> {
        let mut fields = Fields::default();
        let rest = read_parts(&self.0, text, &mut fields)?;
        if !rest.is_empty() {
            return None;
        }
        let local = fields.local()?;
        Some(fields.zone.unwrap_or(zone).instant(local))
    }
}

fn quoted(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, pattern: &str) -> Result<String> {
    let mut text = String::new();
    if chars.next_if_eq(&'\'').is_some() {
        return Ok("'".to_owned());
    }
    loop {
        match chars.next() {
            Some('\'') if chars.next_if_eq(&'\'').is_some() => text.push('\''),
            Some('\'') => return Ok(text),
            Some(c) => text.push(c),
            None => return exec_err!("pattern `{pattern}`: a quote is not closed"),
        }
    }
}

fn write_parts(parts: &[Part], at: NaiveDateTime, offset: i32, out: &mut String) {
    for part in parts {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Optional(inner) => write_parts(inner, at, offset, out),
            Part::Field(letter, count) => out.push_str(&write_field(*letter, *count, at, offset)),
        }
    }
}

fn write_field(letter: char, count: usize, at: NaiveDateTime, offset: i32) -> String {
    let padded = |value: u32| format!("{value:0>count$}");
    let name = |names: &[&str], index: u32| -> String {
        let name = usize::try_from(index)
            .ok()
            .and_then(|i| names.get(i))
            .copied()
            .unwrap_or_default();
        if count >= 4 {
            name.to_owned()
        } else {
            name.chars().take(3).collect()
        }
    };
    let (half, hour12) = (at.hour() / 12, at.hour() % 12);
    match letter {
        'G' => if at.year() > 0 { "AD" } else { "BC" }.to_owned(),
        'y' | 'u' if count == 2 => format!("{:02}", at.year().rem_euclid(100)),
        'y' | 'u' => format!("{:0>count$}", at.year()),
        'Q' | 'q' => match count {
            1 | 2 => padded(at.month0() / 3 + 1),
            _ => format!("Q{}", at.month0() / 3 + 1),
        },
        'M' | 'L' if count >= 3 => name(&MONTHS, at.month0()),
        'M' | 'L' => padded(at.month()),
        'd' => padded(at.day()),
        'D' => padded(at.ordinal()),
        'E' => name(&DAYS, at.weekday().num_days_from_monday()),
        'F' => padded((at.day() - 1) / 7 + 1),
        'a' => if half == 0 { "AM" } else { "PM" }.to_owned(),
        'H' => padded(at.hour()),
        'k' => padded(if at.hour() == 0 { 24 } else { at.hour() }),
        'K' => padded(hour12),
        'h' => padded(if hour12 == 0 { 12 } else { hour12 }),
        'm' => padded(at.minute()),
        's' => padded(at.second()),
        'S' => format!("{:09}", at.nanosecond())
            .chars()
            .chain("000000000".chars())
            .take(count)
            .collect(),
        'X' if offset == 0 => "Z".to_owned(),
        'Z' if count < 4 => write_offset(offset, false),
        'X' | 'x' if count == 1 && offset % 3600 == 0 => format!("{:+03}", offset / 3600),
        'X' | 'x' => write_offset(offset, count >= 3),
        'O' | 'Z' if offset == 0 => "GMT".to_owned(),
        'O' | 'Z' => format!("GMT{}", write_offset(offset, true)),
        'V' | 'z' if offset == 0 => "UTC".to_owned(),
        _ => write_offset(offset, true),
    }
}

fn write_offset(seconds: i32, colon: bool) -> String {
    let sign = if seconds < 0 { '-' } else { '+' };
    let minutes = seconds.abs() / 60;
    let colon = if colon { ":" } else { "" };
    format!("{sign}{:02}{colon}{:02}", minutes / 60, minutes % 60)
}

/// What a text said, field by field.
#[derive(Debug, Clone, Default)]
struct Fields {
    year: Option<i32>,
    month: Option<u32>,
    day: Option<u32>,
    day_of_year: Option<u32>,
    hour: Option<u32>,
    hour12: Option<u32>,
    afternoon: Option<bool>,
    minute: u32,
    second: u32,
    nanos: u32,
    zone: Option<Zone>,
}

impl Fields {
    fn local(&self) -> Option<NaiveDateTime> {
        let year = self.year.unwrap_or(1970);
        let date = match self.day_of_year {
            Some(day) => NaiveDate::from_yo_opt(year, day)?,
            None => NaiveDate::from_ymd_opt(year, self.month.unwrap_or(1), self.day.unwrap_or(1))?,
        };
        let hour = match (self.hour, self.hour12) {
            (Some(hour), _) => hour,
            (None, Some(hour)) => hour + if self.afternoon == Some(true) { 12 } else { 0 },
            (None, None) => 0,
        };
        let time = NaiveTime::from_hms_nano_opt(
            hour,
            self.minute,
            self.second,
            self.nanos / 1_000 * 1_000,
        )?;
        Some(date.and_time(time))
    }
}

fn read_parts<'a>(parts: &[Part], mut text: &'a str, fields: &mut Fields) -> Option<&'a str> {
    for (i, part) in parts.iter().enumerate() {
        text = match part {
            Part::Text(expected) => text.strip_prefix(expected.as_str())?,
            Part::Optional(inner) => {
                let mut attempt = fields.clone();
                match read_parts(inner, text, &mut attempt) {
                    Some(rest) => {
                        *fields = attempt;
                        rest
                    }
                    None => text,
                }
            }
            Part::Field(letter, count) => {
                // Digits of a field that touches the next one end where its letters do.
                let touches = matches!(parts.get(i + 1), Some(Part::Field(next, _)) if next.is_ascii_alphabetic());
                read_field(*letter, *count, touches, text, fields)?
            }
        };
    }
    Some(text)
}

fn read_field<'a>(
    letter: char,
    count: usize,
    touches: bool,
    text: &'a str,
    fields: &mut Fields,
) -> Option<&'a str> {
    let most = if touches {
        count
    } else {
        count.max(if letter == 'y' || letter == 'u' { 6 } else { 2 })
    };
    // Two letters or more ask for that many digits, one letter takes what it finds.
    let digits = |most: usize| -> Option<(u32, &'a str)> {
        let found = text
            .bytes()
            .take(most)
            .take_while(u8::is_ascii_digit)
            .count();
        if found < count.min(most) {
            return None;
        }
        Some((text[..found].parse().ok()?, &text[found..]))
    };
    match letter {
        'y' | 'u' => {
            let (year, rest) = digits(if count == 2 { 2 } else { most })?;
            let year = i32::try_from(year).ok()?;
            fields.year = Some(if count == 2 { 2000 + year } else { year });
            Some(rest)
        }
        'M' | 'L' if count >= 3 => {
            let (month, rest) = read_name(&MONTHS, count >= 4, text)?;
            fields.month = Some(month + 1);
            Some(rest)
        }
        'E' => read_name(&DAYS, count >= 4, text).map(|(_, rest)| rest),
        'a' => {
            let half = text.get(..2)?;
            fields.afternoon = Some(match half.to_ascii_uppercase().as_str() {
                "AM" => false,
                "PM" => true,
                _ => return None,
            });
            Some(&text[2..])
        }
        'S' => {
            let found = text
                .bytes()
                .take(if touches { count } else { count.max(9) })
                .take_while(u8::is_ascii_digit)
                .count();
            if found == 0 || found > count {
                return None;
            }
            let nine: String = text[..found]
                .chars()
                .chain("000000000".chars())
                .take(9)
                .collect();
            fields.nanos = nine.parse().ok()?;
            Some(&text[found..])
        }
        'V' | 'z' | 'O' | 'X' | 'x' | 'Z' => {
            let end = text
                .find(|c: char| !(c.is_ascii_alphanumeric() || "/_+-:".contains(c)))
                .unwrap_or(text.len());
            let name = &text[..end];
            let colon;
            let name = if name.len() == 5 && name.starts_with(['+', '-']) && !name.contains(':') {
                colon = format!("{}:{}", &name[..3], &name[3..]);
                &colon
            } else {
                name
            };
            fields.zone = Some(Zone::named(name).ok()?);
            Some(&text[end..])
        }
        'M' | 'L' | 'd' | 'D' | 'H' | 'k' | 'h' | 'K' | 'm' | 's' => {
            let (value, rest) = digits(if letter == 'D' { most.max(3) } else { most })?;
            match letter {
                'M' | 'L' => fields.month = Some(value),
                'd' => fields.day = Some(value),
                'D' => fields.day_of_year = Some(value),
                'H' => fields.hour = Some(value),
                'k' => fields.hour = Some(value % 24),
                'h' => fields.hour12 = Some(value % 12),
                'K' => fields.hour12 = Some(value),
                'm' => fields.minute = value,
                _ => fields.second = value,
            }
            Some(rest)
        }
        _ => None,
    }
}

fn read_name<'a>(names: &[&str], full: bool, text: &'a str) -> Option<(u32, &'a str)> {
    names.iter().enumerate().find_map(|(i, name)| {
        let name = if full { name } else { &name[..3] };
        let head = text.get(..name.len())?;
        head.eq_ignore_ascii_case(name)
            .then(|| Some((u32::try_from(i).ok()?, &text[name.len()..])))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(text: &str) -> i64 {
        Zone::UTC.instant(text.parse().expect(text))
    }

    #[test]
    fn patterns_write_what_java_writes() {
        let at = micros("2024-03-07T15:04:05.678901");
        let paris = Zone::named("Europe/Paris").expect("a zone");
        let cases = [
            ("yyyy-MM-dd HH:mm:ss", Zone::UTC, "2024-03-07 15:04:05"),
            ("d/M/yy h:mm a", Zone::UTC, "7/3/24 3:04 PM"),
            ("EEE, d MMM yyyy", Zone::UTC, "Thu, 7 Mar 2024"),
            (
                "EEEE MMMM D 'o''clock'",
                Zone::UTC,
                "Thursday March 67 o'clock",
            ),
            ("ss.SSS SSSSSS", Zone::UTC, "05.678 678901"),
            ("HH:mm XXX x Z", paris, "16:04 +01:00 +01 +0100"),
            ("yyyy'T'Q QQQ X", Zone::UTC, "2024T1 Q1 Z"),
        ];
        for (pattern, zone, expected) in cases {
            let written = Pattern::new(pattern)
                .and_then(|p| p.format(at, zone))
                .expect(pattern);
            assert_eq!(written, expected, "{pattern}");
        }
    }

    #[test]
    fn patterns_read_what_they_describe() {
        let cases = [
            (
                "yyyy-MM-dd HH:mm:ss",
                "2024-03-07 15:04:05",
                "2024-03-07T15:04:05",
            ),
            ("dd/MM/yyyy", "07/03/2024", "2024-03-07T00:00:00"),
            ("d/M/yyyy", "7/12/2024", "2024-12-07T00:00:00"),
            ("yyyyMMddHHmm", "202403071504", "2024-03-07T15:04:00"),
            (
                "d MMM yyyy hh:mm a",
                "7 Mar 2024 03:04 PM",
                "2024-03-07T15:04:00",
            ),
            (
                "yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
                "2024-03-07T15:04:05.250+01:00",
                "2024-03-07T14:04:05.250",
            ),
            (
                "dd/MMM/yyyy:HH:mm:ss Z",
                "07/Mar/2024:15:04:05 +0100",
                "2024-03-07T14:04:05",
            ),
            ("yyyy-MM-dd[ HH:mm]", "2024-03-07", "2024-03-07T00:00:00"),
        ];
        for (pattern, text, expected) in cases {
            let read = Pattern::new(pattern).expect(pattern).parse(text, Zone::UTC);
            assert_eq!(read, Some(micros(expected)), "{pattern}");
        }
        let pattern = Pattern::new("yyyy-MM-dd").expect("a pattern");
        for text in ["2024-3-07", "2024-03-07 ", "2024-13-07", ""] {
            assert_eq!(pattern.parse(text, Zone::UTC), None, "{text}");
        }
    }

    #[test]
    fn broken_patterns_are_refused() {
        for pattern in ["yyyy-'x", "[yyyy", "yyyy]", "bbb"] {
            assert!(Pattern::new(pattern).is_err(), "{pattern}");
        }
    }
}
