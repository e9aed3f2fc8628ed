//! Options of a source or a sink: names are matched without regard to case, and in `snake_case` too.

use std::{collections::BTreeMap, fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    Error, Result, nearest,
    secret::{HIDDEN, is_secret},
};

/// The options a user gave to one source or sink.
///
/// `maxFilesPerTrigger`, `MAXFILESPERTRIGGER` and `max_files_per_trigger` are the same option. Nothing a user asked
/// for is silently ignored: [`Options::deny_unknown`] refuses names the reader of the options does not know.
///
/// Values of secrets ([`is_secret`]) are in none of its errors, nor in its `Debug` form.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Options {
    // canonical name -> (name as written, value)
    entries: BTreeMap<String, (String, String)>,
}

/// The form in which names are compared: lower case without underscores.
fn canonical(name: &str) -> String {
    name.chars()
        .filter(|c| *c != '_')
        .map(|c| c.to_ascii_lowercase())
        .collect()
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.shown()).finish()
    }
}

/// A value as errors may show it.
fn shown<'a>(name: &str, value: &'a str) -> &'a str {
    if is_secret(name) { HIDDEN } else { value }
}

impl Options {
    /// No options.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets one option; a later value replaces an earlier one.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        let name = name.into();
        self.entries.insert(canonical(&name), (name, value.into()));
    }

    /// The value of an option as text.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.entries
            .get(&canonical(name))
            .map(|(_, value)| value.as_str())
    }

    /// The value of an option, parsed; an error names the option and the value.
    pub fn parse<T>(&self, name: &str) -> Result<Option<T>>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        self.get(name)
            .map(|value| {
                value.trim().parse().map_err(|error: T::Err| {
                    let why = match error.to_string() {
                        why if why.contains("invalid digit") => "write a whole number".to_owned(),
                        why if why.contains("`true` or `false`") => {
                            "write true or false".to_owned()
                        }
                        why => why,
                    };
                    let value = shown(name, value);
                    Error::invalid(format!("option '{name}' cannot be '{value}': {why}"))
                })
            })
            .transpose()
    }

    /// The value of an option as an interval such as `10 seconds` or `500ms`.
    pub fn duration(&self, name: &str) -> Result<Option<Duration>> {
        self.get(name)
            .map(|value| {
                parse_duration(value).map_err(|error| {
                    let value = shown(name, value);
                    Error::invalid(format!(
                        "option '{name}' cannot be '{value}': {}",
                        error.message()
                    ))
                })
            })
            .transpose()
    }

    /// Takes an option out, so that what is left can be checked or passed on.
    pub fn take(&mut self, name: &str) -> Option<String> {
        self.entries.remove(&canonical(name)).map(|(_, v)| v)
    }

    /// Refuses any option that is not among `known`, listing those that are.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`], naming `owner` (for instance `source 'rate'`) and the known options.
    pub fn deny_unknown(&self, owner: &str, known: &[&str]) -> Result<()> {
        let known_names: Vec<String> = known.iter().map(|name| canonical(name)).collect();
        for (key, (name, _)) in &self.entries {
            if !known_names.contains(key) {
                let list = match (known, nearest(name, known.iter().copied())) {
                    ([], _) => "it takes no options".to_owned(),
                    (_, Some(close)) => {
                        format!(
                            "did you mean '{close}'? (its options are {})",
                            known.join(", ")
                        )
                    }
                    (_, None) => format!("its options are {}", known.join(", ")),
                };
                return Err(Error::invalid(format!(
                    "{owner} does not know the option '{name}': {list}"
                )));
            }
        }
        Ok(())
    }

    /// Every option as the user wrote it.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries
            .values()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Every option as people may see it: secrets are [`HIDDEN`].
    pub fn shown(&self) -> impl Iterator<Item = (&str, &str)> {
        self.iter().map(|(name, value)| (name, shown(name, value)))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Options {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(iter: I) -> Self {
        let mut options = Self::new();
        for (name, value) in iter {
            options.set(name, value);
        }
        options
    }
}

/// Parses an interval of fixed length: a sum of `number unit` terms such as `1 minute 30 seconds`, optionally
/// introduced by `interval`. Units run from microseconds to weeks; months and years have no fixed length and are
/// refused.
///
/// # Errors
/// [`crate::ErrorKind::Invalid`] that says what is wrong; a negative interval is refused too.
pub fn parse_duration(text: &str) -> Result<Duration> {
    let micros = parse_micros(text)?;
    u64::try_from(micros)
        .map(Duration::from_micros)
        .map_err(|_| {
            Error::invalid(format!(
                "'{text}' is negative: write an interval of zero or more"
            ))
        })
}

/// Parses an interval of fixed length into microseconds; it may be negative.
///
/// # Errors
/// As [`parse_duration`], but for the sign.
pub fn parse_micros(text: &str) -> Result<i64> {
    let wrong = |why: &str| {
        Error::invalid(format!(
            "'{text}' is not an interval ({why}): write a number and a unit, such as '10 seconds' or '1 minute 30 seconds'"
        ))
    };
    let lower = text.trim().to_ascii_lowercase();
    let body = lower.strip_prefix("interval").unwrap_or(&lower).trim();
    let mut rest = body;
    let mut total = 0_i64;
    if rest.is_empty() {
        return Err(wrong("it is empty"));
    }
    while !rest.is_empty() {
        let number_end = rest
            .find(|c: char| !(c.is_ascii_digit() || matches!(c, '-' | '+' | '.')))
            .ok_or_else(|| wrong("a unit is missing"))?;
        let number = &rest[..number_end];
        rest = rest[number_end..].trim_start();
        let unit_end = rest
            .find(|c: char| !(c.is_alphabetic() || c == 'µ'))
            .unwrap_or(rest.len());
        let unit = &rest[..unit_end];
        rest = rest[unit_end..].trim_start_matches([' ', ',']);
        let micros_per_unit: i64 = match unit {
            "us" | "µs" | "microsecond" | "microseconds" => 1,
            "ms" | "millisecond" | "milliseconds" => 1_000,
            "s" | "sec" | "secs" | "second" | "seconds" => 1_000_000,
            "m" | "min" | "mins" | "minute" | "minutes" => 60_000_000,
            "h" | "hour" | "hours" => 3_600_000_000,
            "d" | "day" | "days" => 86_400_000_000,
            "w" | "week" | "weeks" => 604_800_000_000,
            "month" | "months" | "year" | "years" => {
                return Err(wrong("months and years have no fixed length"));
            }
            _ => return Err(wrong("its unit is not known")),
        };
        let term = if let Ok(whole) = number.parse::<i64>() {
            whole.checked_mul(micros_per_unit)
        } else {
            let fraction: f64 = number
                .parse()
                .map_err(|_| wrong("its number cannot be read"))?;
            #[expect(
                clippy::cast_precision_loss,
                clippy::cast_possible_truncation,
                reason = "bounded by the check"
            )]
            Some(fraction * micros_per_unit as f64)
                .filter(|micros| micros.abs() < 9e18)
                .map(|micros| micros.round() as i64)
        };
        total = term
            .and_then(|term| total.checked_add(term))
            .ok_or_else(|| wrong("it is too long"))?;
    }
    Ok(total)
}

/// A length of time as [`parse_micros`] reads it, in the largest unit that leaves a whole number: `90 seconds`.
pub fn micros_in_words(micros: i64) -> String {
    const UNITS: [(i64, &str); 6] = [
        (86_400_000_000, "day"),
        (3_600_000_000, "hour"),
        (60_000_000, "minute"),
        (1_000_000, "second"),
        (1_000, "millisecond"),
        (1, "microsecond"),
    ];
    let fits = |(unit, _): &&(i64, &str)| micros != 0 && micros % unit == 0;
    let (unit, name) = UNITS.iter().find(fits).copied().unwrap_or((1, "second"));
    match micros / unit {
        1 => format!("1 {name}"),
        count => format!("{count} {name}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_in_any_case_and_in_snake_case() {
        let options: Options = [("max_files_per_trigger", "4")].into_iter().collect();
        assert_eq!(options.get("maxFilesPerTrigger"), Some("4"));
        assert_eq!(
            options.parse::<u64>("MAXFILESPERTRIGGER").ok(),
            Some(Some(4))
        );
    }

    #[test]
    fn an_unknown_option_is_refused_with_the_known_ones() {
        let options: Options = [("rowPerSecond", "4")].into_iter().collect();
        let error = options
            .deny_unknown("source 'rate'", &["rowsPerSecond", "numPartitions"])
            .expect_err("the name is misspelt");
        assert_eq!(
            error.message(),
            "source 'rate' does not know the option 'rowPerSecond': did you mean 'rowsPerSecond'? (its options are \
             rowsPerSecond, numPartitions)"
        );
    }

    #[test]
    fn secrets_are_not_shown() {
        let options: Options = [("path", "in"), ("api_key", "hush")].into_iter().collect();
        assert_eq!(
            format!("{options:?}"),
            r#"{"api_key": "******", "path": "in"}"#
        );
        let error = options.parse::<u64>("apiKey").expect_err("no number");
        assert!(!error.to_string().contains("hush"), "{error}");
        let written: Vec<_> = options.iter().map(|(_, value)| value).collect();
        assert_eq!(written, ["hush", "in"]);
    }

    #[test]
    fn lengths_are_said_in_the_unit_that_fits() {
        for (micros, words) in [
            (0, "0 seconds"),
            (90_000_000, "90 seconds"),
            (60_000_000, "1 minute"),
            (172_800_000_000, "2 days"),
            (1_500, "1500 microseconds"),
        ] {
            assert_eq!(micros_in_words(micros), words);
            assert_eq!(parse_micros(words).ok(), Some(micros));
        }
    }

    #[test]
    fn intervals_are_sums_of_terms() {
        for (text, micros) in [
            ("10 seconds", 10_000_000),
            ("1 minute 30 seconds", 90_000_000),
            ("INTERVAL 250 milliseconds", 250_000),
            ("500ms", 500_000),
            ("-5 seconds", -5_000_000),
            ("1 week", 604_800_000_000),
            ("0.5 seconds", 500_000),
        ] {
            assert_eq!(parse_micros(text).ok(), Some(micros), "{text}");
        }
        for text in ["", "10", "1 month", "ten seconds", "5 lightyears"] {
            assert!(parse_micros(text).is_err(), "{text}");
        }
        assert!(parse_duration("-5 seconds").is_err());
    }
}
