//! Lengths of time as people write them: `5 minutes`, `1 hour 30 seconds`.
//!
//! Months and years have no fixed length, so they are kept apart from everything that is a number of microseconds.
//! Used by the `WATERMARK` clause, by `window` and by `session_window`; interval literals inside expressions are
//! DataFusion's.

use datafusion::common::{Result, plan_err};

/// Microseconds in a day.
pub const MICROS_PER_DAY: i64 = 86_400_000_000;

/// A length of time: months, which differ in length, and microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct CalendarInterval {
    /// Whole months; a year is twelve.
    pub months: i32,
    /// Microseconds; weeks and days count as 7 and 1 times 24 hours.
    pub micros: i64,
}

impl CalendarInterval {
    /// Adds `count` (a number with an optional fraction) of `unit` (singular or plural, in any case).
    ///
    /// # Errors
    /// When the unit is unknown, the count is no number, a fraction is given for anything but seconds, or the sum is
    /// out of range.
    pub fn plus(self, count: &str, unit: &str) -> Result<Self> {
        let per_unit = match unit_of(unit) {
            Some(Unit::Months(months)) => {
                let total = whole(count, unit)?
                    .checked_mul(months)
                    .and_then(|m| i32::try_from(m).ok())
                    .and_then(|m| self.months.checked_add(m));
                return match total {
                    Some(months) => Ok(Self { months, ..self }),
                    None => plan_err!("interval of {count} {unit} is out of range"),
                };
            }
            Some(Unit::Micros(micros)) => micros,
            None => {
                return plan_err!(
                    "unknown unit of time {unit}: use years, months, weeks, days, hours, minutes, seconds, milliseconds or microseconds"
                );
            }
        };
        let micros = if per_unit == 1_000_000 {
            seconds(count)
        } else {
            whole(count, unit)?.checked_mul(per_unit)
        };
        match micros.and_then(|m| self.micros.checked_add(m)) {
            Some(micros) => Ok(Self { micros, ..self }),
            None => plan_err!("interval of {count} {unit} is not a number or out of range"),
        }
    }

    /// Reads `5 minutes`, `1 day 12 hours`, `-3 seconds`, with or without a leading `interval`.
    ///
    /// # Errors
    /// When the text is no interval; the message shows one that is.
    pub fn parse(text: &str) -> Result<Self> {
        let mut words = text.split_whitespace().peekable();
        if words
            .peek()
            .is_some_and(|w| w.eq_ignore_ascii_case("interval"))
        {
            words.next();
        }
        let mut total = Self::default();
        let mut any = false;
        while let Some(count) = words.next() {
            let (count, unit) = match count.find(|c: char| c.is_ascii_alphabetic()) {
                // `10s` written together is not accepted by Spark either: it names no unit we know.
                Some(at) if at > 0 => (&count[..at], &count[at..]),
                _ => match words.next() {
                    Some(unit) => (count, unit),
                    None => {
                        return plan_err!(
                            "`{text}` is not an interval: write for example '5 minutes'"
                        );
                    }
                },
            };
            total = total.plus(count, unit)?;
            any = true;
        }
        if any {
            Ok(total)
        } else {
            plan_err!("`{text}` is not an interval: write for example '5 minutes'")
        }
    }

    /// Reads the text of `INTERVAL '<text>' <from> TO <to>`: `2-6` from YEAR to MONTH, `1 02:03:04.5` from DAY to SECOND
    /// and its parts, with a sign before it or none.
    ///
    /// # Errors
    /// When there is no such pair of units, the text has another form, or a field is out of its range.
    pub fn parse_range(text: &str, from: &str, to: &str) -> Result<Self> {
        let trimmed = text.trim();
        let (negative, fields) = match trimmed.strip_prefix(['-', '+']) {
            Some(rest) => (trimmed.starts_with('-'), rest),
            None => (false, trimmed),
        };
        let unsigned = match range_fields(from, to) {
            Some(fields_of) => fields_of.read(fields),
            None => {
                return plan_err!(
                    "there is no interval from {from} to {to}: use YEAR TO MONTH, or two of DAY, HOUR, MINUTE and SECOND in this order"
                );
            }
        };
        match unsigned {
            Some(total) if negative => Ok(Self {
                months: -total.months,
                micros: -total.micros,
            }),
            Some(total) => Ok(total),
            None => plan_err!(
                "'{text}' is not an interval from {from} to {to}: write for example INTERVAL '1-6' YEAR TO MONTH or INTERVAL '1 02:03:04.5' DAY TO SECOND"
            ),
        }
    }

    /// The interval as a literal's text, in units that keep apart what differs in length.
    pub fn literal(self) -> String {
        format!("{} months {} microseconds", self.months, self.micros)
    }

    /// The interval the other way.
    ///
    /// # Errors
    /// When it is the least there is.
    pub fn negated(self) -> Result<Self> {
        match (self.months.checked_neg(), self.micros.checked_neg()) {
            (Some(months), Some(micros)) => Ok(Self { months, micros }),
            _ => plan_err!("the interval is out of range"),
        }
    }

    /// Whether the whole is below zero, a month counted as 31 days.
    pub fn is_negative(self) -> bool {
        i128::from(self.months) * 31 * i128::from(MICROS_PER_DAY) + i128::from(self.micros) < 0
    }
}

/// The fields of an interval from one unit to another, the first without a bound.
struct RangeFields {
    /// Their units, and how many of each there may be.
    units: &'static [(&'static str, i64)],
}

/// The units from a day to a second, in order. A month is the only field of its kind.
const DAY_TO_SECOND: &[(&str, i64)] = &[
    ("day", i64::MAX),
    ("hour", 23),
    ("minute", 59),
    ("second", 59),
];
const YEAR_TO_MONTH: &[(&str, i64)] = &[("year", i64::MAX), ("month", 11)];

fn range_fields(from: &str, to: &str) -> Option<RangeFields> {
    let find = |units: &[(&str, i64)], word: &str| {
        units
            .iter()
            .position(|(unit, _)| unit.eq_ignore_ascii_case(word))
    };
    [YEAR_TO_MONTH, DAY_TO_SECOND]
        .into_iter()
        .find_map(|units| {
            let (first, last) = (find(units, from)?, find(units, to)?);
            (first < last).then(|| RangeFields {
                units: &units[first..=last],
            })
        })
}

impl RangeFields {
    /// The sum of the fields; a space stands behind a day, `-` behind a year, `:` behind all others.
    fn read(&self, text: &str) -> Option<CalendarInterval> {
        let mut total = CalendarInterval::default();
        let mut rest = text;
        for (place, (unit, most)) in self.units.iter().enumerate() {
            let is_last = place + 1 == self.units.len();
            let (field, behind) = match *unit {
                _ if is_last => (rest, ""),
                "day" => rest.split_once(char::is_whitespace)?,
                "year" => rest.split_once('-')?,
                _ => rest.split_once(':')?,
            };
            let field = if place == 0 {
                field
            } else {
                field.trim_start()
            };
            let whole = field.split_once('.').map_or(field, |(whole, _)| whole);
            let digits = !whole.is_empty() && whole.bytes().all(|b| b.is_ascii_digit());
            if !digits || (place > 0 && whole.parse::<i64>().ok()? > *most) {
                return None;
            }
            total = total.plus(field, unit).ok()?;
            rest = behind;
        }
        Some(total)
    }
}

enum Unit {
    Months(i64),
    Micros(i64),
}

fn unit_of(word: &str) -> Option<Unit> {
    let word = word.to_ascii_lowercase();
    let unit = match word.strip_suffix('s').unwrap_or(&word) {
        "year" => Unit::Months(12),
        "month" => Unit::Months(1),
        "week" => Unit::Micros(7 * MICROS_PER_DAY),
        "day" => Unit::Micros(MICROS_PER_DAY),
        "hour" => Unit::Micros(3_600_000_000),
        "minute" => Unit::Micros(60_000_000),
        "second" => Unit::Micros(1_000_000),
        "millisecond" => Unit::Micros(1_000),
        "microsecond" => Unit::Micros(1),
        _ => return None,
    };
    Some(unit)
}

/// Whether `word` names a unit of time in an interval.
pub(crate) fn is_unit(word: &str) -> bool {
    unit_of(word).is_some()
}

fn whole(count: &str, unit: &str) -> Result<i64> {
    match count.parse::<i64>() {
        Ok(n) => Ok(n),
        Err(_) => plan_err!("interval of {count} {unit}: expected a whole number"),
    }
}

/// Seconds with up to six digits behind the point, in microseconds.
fn seconds(count: &str) -> Option<i64> {
    let (negative, digits) = match count.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, count.strip_prefix('+').unwrap_or(count)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.len() > 6 {
        return None;
    }
    if !whole
        .bytes()
        .chain(fraction.bytes())
        .all(|b| b.is_ascii_digit())
    {
        return None;
    }
    let whole: i64 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let fraction: i64 = format!("{fraction:0<6}").parse().ok()?;
    let micros = whole.checked_mul(1_000_000)?.checked_add(fraction)?;
    Some(if negative { -micros } else { micros })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_add_up_over_units() {
        let cases = [
            ("10 seconds", 0, 10_000_000),
            ("1 minute 30 seconds", 0, 90_000_000),
            ("interval 2 WEEKS", 0, 14 * MICROS_PER_DAY),
            ("1.5 second", 0, 1_500_000),
            ("-5 seconds", 0, -5_000_000),
            ("1 year 2 months 250 milliseconds", 14, 250_000),
        ];
        for (text, months, micros) in cases {
            assert_eq!(
                CalendarInterval::parse(text).expect(text),
                CalendarInterval { months, micros },
                "{text}"
            );
        }
    }

    #[test]
    fn fields_from_one_unit_to_another_add_up() {
        let cases = [
            ("2-6", "YEAR", "MONTH", 30, 0),
            ("-1-1", "year", "month", -13, 0),
            ("1 02", "DAY", "HOUR", 0, 26 * 3_600_000_000),
            ("1 02:03", "DAY", "MINUTE", 0, 93_780_000_000),
            ("0 00:00:10", "DAY", "SECOND", 0, 10_000_000),
            ("+1 2:3:4.5", "DAY", "SECOND", 0, 93_784_500_000),
            ("30:01", "HOUR", "MINUTE", 0, 108_060_000_000),
            ("1:02:03", "HOUR", "SECOND", 0, 3_723_000_000),
            ("-90:00.25", "MINUTE", "SECOND", 0, -5_400_250_000),
        ];
        for (text, from, to, months, micros) in cases {
            assert_eq!(
                CalendarInterval::parse_range(text, from, to).expect(text),
                CalendarInterval { months, micros },
                "{text} {from} TO {to}"
            );
        }
    }

    #[test]
    fn fields_that_are_none_are_refused() {
        for (text, from, to) in [
            ("1-12", "YEAR", "MONTH"),
            ("1 24", "DAY", "HOUR"),
            ("1:60", "HOUR", "MINUTE"),
            ("1", "HOUR", "MINUTE"),
            ("1:2:3", "HOUR", "MINUTE"),
            ("1.5:2", "HOUR", "MINUTE"),
            ("--1:2", "HOUR", "MINUTE"),
            ("1 1:1:1", "SECOND", "DAY"),
            ("1-1", "YEAR", "DAY"),
            ("", "DAY", "SECOND"),
        ] {
            assert!(
                CalendarInterval::parse_range(text, from, to).is_err(),
                "{text} {from} TO {to}"
            );
        }
    }

    #[test]
    fn texts_that_are_no_interval_are_refused() {
        for text in [
            "",
            "10",
            "ten seconds",
            "10 parsecs",
            "1.5 days",
            "9223372036854775807 days",
        ] {
            assert!(CalendarInterval::parse(text).is_err(), "{text}");
        }
    }
}
