//! Options of a payload function: names in any case, values as texts. What a function does not know is refused by name,
//! so that nothing that was asked for is silently not done.

use datafusion::arrow::array::{Array, AsArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, plan_err};

use crate::time::formats::TimeFormats;
use crate::time::pattern::Pattern;
use crate::time::zone::Zone;

/// What happens to a row that is malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// What cannot be read is null.
    Permissive,
    /// The query fails.
    FailFast,
}

/// The options that were given and not yet taken.
#[derive(Debug)]
pub(crate) struct Options {
    function: &'static str,
    given: Vec<(String, String)>,
}

impl Options {
    /// The options in a map of texts; none if there is no map.
    pub(crate) fn of(function: &'static str, map: Option<&ScalarValue>) -> Result<Self> {
        let given = match map {
            None => vec![],
            Some(map) => pairs(function, map)?,
        };
        Ok(Self { function, given })
    }

    /// The value of an option.
    pub(crate) fn take(&mut self, name: &str) -> Option<String> {
        // The last one of a name counts.
        let mut found = None;
        self.given.retain_mut(|(key, value)| {
            let is_it = key.eq_ignore_ascii_case(name);
            if is_it {
                found = Some(std::mem::take(value));
            }
            !is_it
        });
        found
    }

    pub(crate) fn flag(&mut self, name: &str, default: bool) -> Result<bool> {
        match self.take(name) {
            None => Ok(default),
            Some(value) if value.eq_ignore_ascii_case("true") => Ok(true),
            Some(value) if value.eq_ignore_ascii_case("false") => Ok(false),
            Some(value) => plan_err!(
                "{}: option {name} is true or false, found '{value}'",
                self.function
            ),
        }
    }

    pub(crate) fn mode(&mut self, default: Mode) -> Result<Mode> {
        let Some(mode) = self.take("mode") else {
            return Ok(default);
        };
        match mode.to_ascii_uppercase().as_str() {
            "PERMISSIVE" => Ok(Mode::Permissive),
            "FAILFAST" => Ok(Mode::FailFast),
            "DROPMALFORMED" => plan_err!(
                "{}: mode DROPMALFORMED is not for functions, which give a value for each row: write PERMISSIVE and filter, or FAILFAST",
                self.function
            ),
            _ => plan_err!(
                "{}: option mode is PERMISSIVE or FAILFAST, found '{mode}'",
                self.function
            ),
        }
    }

    /// `timestampFormat`, `timestampNTZFormat`, `dateFormat` and `timeZone`.
    pub(crate) fn formats(&mut self, session: Zone) -> Result<TimeFormats> {
        let zone = match self.take("timeZone") {
            Some(name) => Zone::named(&name)?,
            None => session,
        };
        // Months and days have English names, which is what this says.
        if let Some(locale) = self.take("locale")
            && !matches!(locale.as_str(), "en" | "en-US" | "en_US")
        {
            return plan_err!(
                "{}: option locale is en-US, found '{locale}'",
                self.function
            );
        }
        let mut pattern = |name| self.take(name).map(|text| Pattern::new(&text)).transpose();
        Ok(TimeFormats {
            zone,
            timestamp: pattern("timestampFormat")?,
            local: pattern("timestampNTZFormat")?,
            date: pattern("dateFormat")?,
        })
    }

    /// Refuses what is left. `known` are the names that could have been taken.
    pub(crate) fn finish(self, known: &[&str]) -> Result<()> {
        match self.given.first() {
            None => Ok(()),
            Some((name, _)) => plan_err!(
                "{}: option '{name}' is not supported; there are {}",
                self.function,
                known.join(", ")
            ),
        }
    }
}

/// The names and values in a constant map.
///
/// # Errors
/// When it is no map, or something in it is null.
pub(crate) fn pairs(function: &str, map: &ScalarValue) -> Result<Vec<(String, String)>> {
    let ScalarValue::Map(map) = map else {
        return refused(function);
    };
    if map.len() != 1 || map.is_null(0) {
        return refused(function);
    }
    let entries = map.value(0);
    let [keys, values] = entries.columns() else {
        return refused(function);
    };
    let keys = cast(keys, &DataType::Utf8)?;
    let values = cast(values, &DataType::Utf8)?;
    let pairs = keys
        .as_string::<i32>()
        .iter()
        .zip(values.as_string::<i32>());
    pairs
        .map(|pair| match pair {
            (Some(key), Some(value)) => Ok((key.to_owned(), value.to_owned())),
            _ => plan_err!("{function}: an option must not be null"),
        })
        .collect()
}

fn refused<T>(function: &str) -> Result<T> {
    plan_err!(
        "{function}: options are a constant map of texts: write for example map('mode', 'FAILFAST')"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::options_literal;

    fn options(pairs: &[(&str, &str)]) -> Options {
        Options::of("f", Some(&options_literal(pairs.iter().copied()))).unwrap()
    }

    #[test]
    fn options_are_taken_in_any_case_and_the_rest_is_refused_by_name() {
        let mut given = options(&[("MODE", "failfast"), ("Wibble", "1"), ("flag", "TRUE")]);
        assert_eq!(given.mode(Mode::Permissive).unwrap(), Mode::FailFast);
        assert!(given.flag("Flag", false).unwrap());
        let refused = given.finish(&["mode", "flag"]).unwrap_err().to_string();
        assert!(
            refused.contains("'Wibble'") && refused.contains("mode, flag"),
            "{refused}"
        );
    }

    #[test]
    fn values_that_are_none_are_refused() {
        for (name, value) in [("mode", "DROPMALFORMED"), ("mode", "x")] {
            assert!(options(&[(name, value)]).mode(Mode::Permissive).is_err());
        }
        assert!(options(&[("flag", "1")]).flag("flag", true).is_err());
        for (name, value) in [
            ("timeZone", "Mars"),
            ("dateFormat", "bbb"),
            ("locale", "de"),
        ] {
            assert!(
                options(&[(name, value)]).formats(Zone::UTC).is_err(),
                "{name}"
            );
        }
    }
}
