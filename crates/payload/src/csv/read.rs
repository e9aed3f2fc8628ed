//! The values of a line as values of columns.

use super::line::{Punctuation, Value};
use crate::column::{Column, Structs};
use crate::number::{decimal_with_commas, java_parsed};
use crate::time::formats::TimeFormats;

/// What stands for null, for the empty text and for numbers that are none.
#[derive(Debug, Clone)]
pub(super) struct Words {
    pub(super) null: String,
    pub(super) empty: String,
    pub(super) nan: String,
    pub(super) infinity: String,
    pub(super) minus_infinity: String,
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem(String);

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads lines.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) punctuation: Punctuation,
    pub(super) words: Words,
    pub(super) formats: TimeFormats,
    /// The places of the fields that stand in a line, from left to right.
    pub(super) places: Vec<usize>,
}

impl Reader {
    /// Adds a line; a value that does not fit is null.
    ///
    /// # Errors
    /// The first thing that did not fit.
    pub(super) fn row(&self, line: &[u8], structs: &mut Structs) -> Result<(), Problem> {
        if line.is_empty()
            || (self.punctuation.comment.is_some()
                && line.first() == self.punctuation.comment.as_ref())
        {
            structs.end(true);
            return Err(Problem("expected values, found none".to_owned()));
        }
        let mut problem = None;
        let mut count = 0;
        self.punctuation.take_apart(line, |value| {
            let column = self
                .places
                .get(count)
                .and_then(|place| structs.columns.get_mut(*place));
            count += 1;
            if let Some(column) = column
                && !self.value(value, column)
            {
                column.push_null();
                problem.get_or_insert_with(|| {
                    Problem(format!("expected {} as value {count}", wanted(column)))
                });
            }
        });
        structs.end(true);
        let expected = self.places.len();
        if count != expected && problem.is_none() {
            problem = Some(Problem(format!(
                "expected {expected} values, found {count}"
            )));
        }
        problem.map_or(Ok(()), Err)
    }

    /// Adds a value; nothing if it does not fit.
    fn value(&self, value: Value<'_>, column: &mut Column) -> bool {
        let bytes = match value {
            Value::Nothing => {
                column.push_null();
                return true;
            }
            Value::Empty => self.words.empty.as_bytes(),
            Value::Text(bytes) => bytes,
        };
        if bytes == self.words.null.as_bytes() {
            column.push_null();
            return true;
        }
        let Ok(text) = std::str::from_utf8(bytes) else {
            return false;
        };
        macro_rules! push {
            ($values:expr, $value:expr) => {
                match $value {
                    Some(value) => {
                        $values.push(Some(value));
                        true
                    }
                    None => false,
                }
            };
        }
        match column {
            Column::Text(texts) | Column::Binary(texts) => push!(texts, Some(bytes)),
            Column::Bool(flags) => push!(flags, boolean(text)),
            Column::Int8(values) => push!(values, text.parse().ok()),
            Column::Int16(values) => push!(values, text.parse().ok()),
            Column::Int32(values) => push!(values, text.parse().ok()),
            Column::Int64(values) => push!(values, text.parse().ok()),
            Column::UInt8(values) => push!(values, text.parse().ok()),
            Column::UInt16(values) => push!(values, text.parse().ok()),
            Column::UInt32(values) => push!(values, text.parse().ok()),
            Column::UInt64(values) => push!(values, text.parse().ok()),
            #[expect(clippy::cast_possible_truncation, reason = "no number, or infinite")]
            Column::Float32(values) => push!(
                values,
                self.non_number(text)
                    .map(|v| v as f32)
                    .or_else(|| java_parsed(text))
            ),
            Column::Float64(values) => {
                push!(values, self.non_number(text).or_else(|| java_parsed(text)))
            }
            Column::Decimal(precision, scale, values) => {
                push!(values, decimal_with_commas(text, *precision, *scale))
            }
            Column::Date(values) => push!(values, self.formats.date(text)),
            Column::Timestamp(Some(_), values) => push!(values, self.formats.timestamp(text)),
            Column::Timestamp(None, values) => push!(values, self.formats.local_timestamp(text)),
            Column::Null(_) | Column::List(_) | Column::Map(_) | Column::Struct(_) => false,
        }
    }

    fn non_number(&self, text: &str) -> Option<f64> {
        match text {
            _ if text == self.words.nan => Some(f64::NAN),
            _ if text == self.words.infinity => Some(f64::INFINITY),
            _ if text == self.words.minus_infinity => Some(f64::NEG_INFINITY),
            _ => None,
        }
    }
}

fn boolean(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") {
        return Some(true);
    }
    text.eq_ignore_ascii_case("false").then_some(false)
}

/// What a column takes, for messages.
fn wanted(column: &Column) -> &'static str {
    match column {
        Column::Bool(_) => "true or false (BOOLEAN)",
        Column::Int8(_) => "a whole number of 8 bits (TINYINT)",
        Column::Int16(_) => "a whole number of 16 bits (SMALLINT)",
        Column::Int32(_) => "a whole number of 32 bits (INT)",
        Column::Int64(_) => "a whole number of 64 bits (BIGINT)",
        Column::Float32(_) | Column::Float64(_) => "a number (FLOAT or DOUBLE)",
        Column::Decimal(..) => "a number with no more digits than its DECIMAL has",
        Column::Date(_) => "a date (DATE)",
        Column::Timestamp(Some(_), _) => "a timestamp (TIMESTAMP)",
        Column::Timestamp(None, _) => "a timestamp without a zone (TIMESTAMP_NTZ)",
        _ => "a value of another type",
    }
}
