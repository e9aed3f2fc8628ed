//! A line of CSV, taken apart into its values.
//!
//! A value in quotes may hold separators and, behind the escape character, quotes. A quote that is neither escaped nor
//! the last character of its value makes the value one without quotes, up to the next separator, as in Spark.

use datafusion::common::{Result, plan_err};

use crate::options::Options;

/// The characters that take a line apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Punctuation {
    pub(super) separator: Vec<u8>,
    pub(super) quote: Option<u8>,
    pub(super) escape: Option<u8>,
    pub(super) comment: Option<u8>,
    pub(super) trim_start: bool,
    pub(super) trim_end: bool,
}

/// A value as it stands in a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// Nothing between two separators.
    Nothing,
    /// `""`.
    Empty,
    Text(&'a [u8]),
}

impl Punctuation {
    /// From the options; `trim` says whether blanks around values are left out unless the options say otherwise.
    pub(super) fn of(function: &str, options: &mut Options, trim: bool) -> Result<Self> {
        let (sep, delimiter) = (options.take("sep"), options.take("delimiter"));
        let separator = match (sep, delimiter) {
            (Some(_), Some(_)) => {
                return plan_err!("{function}: options sep and delimiter are the same: give one");
            }
            (Some(text), None) | (None, Some(text)) => match text.as_str() {
                "\\t" => "\t".to_owned(),
                _ => text,
            },
            (None, None) => ",".to_owned(),
        };
        if separator.is_empty() {
            return plan_err!("{function}: option sep must not be empty");
        }
        let mut character = |name: &str, default: Option<u8>| match options.take(name).as_deref() {
            None => Ok(default),
            Some("") => Ok(None),
            Some(text) => match text.as_bytes() {
                [one] if one.is_ascii() => Ok(Some(*one)),
                _ => plan_err!(
                    "{function}: option {name} is one ASCII character or empty, found '{text}'"
                ),
            },
        };
        Ok(Self {
            quote: character("quote", Some(b'"'))?,
            escape: character("escape", Some(b'\\'))?,
            comment: character("comment", None)?,
            separator: separator.into_bytes(),
            trim_start: options.flag("ignoreLeadingWhiteSpace", trim)?,
            trim_end: options.flag("ignoreTrailingWhiteSpace", trim)?,
        })
    }

    /// Calls `each` with the values of a line, from left to right.
    pub(super) fn take_apart(&self, line: &[u8], mut each: impl FnMut(Value<'_>)) {
        let mut scratch = Vec::new();
        let mut rest = line;
        loop {
            let (value, behind) = self.value(rest, &mut scratch);
            each(value);
            match behind {
                Some(behind) => rest = behind,
                None => return,
            }
        }
    }

    /// The first value, and what stands behind its separator if there is one.
    fn value<'a, 'b>(
        &self,
        line: &'a [u8],
        scratch: &'b mut Vec<u8>,
    ) -> (Value<'b>, Option<&'a [u8]>)
    where
        'a: 'b,
    {
        let start = match self.trim_start {
            true => line.trim_ascii_start(),
            false => line,
        };
        if let (Some(quote), Some(first)) = (self.quote, start.first())
            && *first == quote
            && let Some(behind) = self.quoted(&start[1..], quote, scratch)
        {
            let value = if scratch.is_empty() {
                Value::Empty
            } else {
                Value::Text(scratch)
            };
            return (value, behind);
        }
        let (value, behind) = match self.find_separator(start) {
            Some(at) => (&start[..at], Some(&start[at + self.separator.len()..])),
            None => (start, None),
        };
        let value = match self.trim_end {
            true => value.trim_ascii_end(),
            false => value,
        };
        let value = if value.is_empty() {
            Value::Nothing
        } else {
            Value::Text(value)
        };
        (value, behind)
    }

    fn find_separator(&self, text: &[u8]) -> Option<usize> {
        match self.separator.as_slice() {
            [one] => text.iter().position(|b| b == one),
            several => text.windows(several.len()).position(|part| part == several),
        }
    }

    /// Reads a value in quotes into `out`; `None` if a quote in it is not escaped.
    #[expect(
        clippy::option_option,
        reason = "no value in quotes, or one that is or is not the last"
    )]
    fn quoted<'a>(&self, text: &'a [u8], quote: u8, out: &mut Vec<u8>) -> Option<Option<&'a [u8]>> {
        out.clear();
        let mut at = 0;
        loop {
            let Some(byte) = text.get(at) else {
                // Never closed: the value is all that is left.
                return Some(None);
            };
            let next = text.get(at + 1).copied();
            let escapes = Some(*byte) == self.escape
                && next.is_some_and(|next| next == quote || Some(next) == self.escape);
            if escapes {
                out.extend(next);
                at += 2;
                continue;
            }
            if *byte != quote {
                out.push(*byte);
                at += 1;
                continue;
            }
            let behind = text.get(at + 1..).unwrap_or_default();
            let behind = match self.trim_end {
                true if self.separator != b"\t" && self.separator != b" " => {
                    behind.trim_ascii_start()
                }
                _ => behind,
            };
            if behind.is_empty() {
                return Some(None);
            }
            return behind.strip_prefix(self.separator.as_slice()).map(Some);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(line: &str) -> Vec<String> {
        let punctuation =
            Punctuation::of("f", &mut Options::of("f", None).unwrap(), false).unwrap();
        let mut found = vec![];
        punctuation.take_apart(line.as_bytes(), |value| {
            found.push(match value {
                Value::Nothing => "-".to_owned(),
                Value::Empty => "e".to_owned(),
                Value::Text(text) => String::from_utf8(text.to_vec()).unwrap(),
            });
        });
        found
    }

    #[test]
    fn lines_are_taken_apart() {
        for (line, expected) in [
            ("1,x,2", vec!["1", "x", "2"]),
            ("", vec!["-"]),
            (",", vec!["-", "-"]),
            ("1,", vec!["1", "-"]),
            (r#""a,b","","c""#, vec!["a,b", "e", "c"]),
            (r#""a\"b","c\\","d\n""#, vec!["a\"b", "c\\", "d\\n"]),
            (r#""x"y,z"#, vec!["\"x\"y", "z"]),
            (r#""x""y",z"#, vec!["\"x\"\"y\"", "z"]),
            (r#"1,"open,2"#, vec!["1", "open,2"]),
            (r#" "a",b"#, vec![" \"a\"", "b"]),
        ] {
            assert_eq!(values(line), expected, "{line}");
        }
    }
}
