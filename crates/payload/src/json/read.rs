//! From JSON into columns: by the type that is wanted, in one walk over the text.
//!
//! A value that does not fit its type is null and marks its row as bad; so does a text that is no JSON, all of whose
//! columns are null. What a bad row means is the caller's to say.

use arrow::datatypes::ArrowPrimitiveType;

use super::quoted::Quoted;
use super::render::render;
use super::scan::{Malformed, Number, Scanner, Syntax, Token};
use crate::buffers::Values;
use crate::column::{Column, Structs};
use crate::number::{decimal, decimal_with_commas};
use crate::time::formats::TimeFormats;

/// What became of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// It fits its type.
    Good,
    /// It is there, but something in it does not fit and is null.
    Partial,
    /// It does not fit and is null.
    Bad,
}

/// What reading needs beside text and columns.
#[derive(Debug)]
pub(crate) struct Reader {
    syntax: Syntax,
    formats: TimeFormats,
    scratch: Vec<u8>,
    problem: Option<Malformed>,
}

type Result<T> = std::result::Result<T, Malformed>;

impl Reader {
    pub(crate) fn new(syntax: Syntax, formats: TimeFormats) -> Self {
        Self {
            syntax,
            formats,
            scratch: Vec::new(),
            problem: None,
        }
    }

    /// Adds the first value of a text to a column: what stands behind it does not count, as in Spark. A text of blanks
    /// is null and good.
    ///
    /// # Errors
    /// What is wrong with the text; its entry is there: null fields if the column is one of structs, else null.
    pub(crate) fn row(&mut self, text: &[u8], column: &mut Column) -> Result<()> {
        let length = column.len();
        self.problem = None;
        match self.root(text, column) {
            Ok(Found::Good) => Ok(()),
            Ok(Found::Partial) => Err(self.problem()),
            failed => {
                column.truncate(length);
                column.push_malformed();
                Err(failed.err().unwrap_or_else(|| self.problem()))
            }
        }
    }

    fn problem(&self) -> Malformed {
        self.problem.unwrap_or(Malformed {
            at: 0,
            expected: "another value",
        })
    }

    fn root(&mut self, text: &[u8], column: &mut Column) -> Result<Found> {
        let mut scanner = Scanner::new(text, self.syntax);
        if scanner.is_at_end()? {
            column.push_null();
            return Ok(Found::Good);
        }
        let start = scanner.at();
        let token = scanner.token()?;
        match (token, &mut *column) {
            (Token::Null, Column::Struct(_) | Column::List(_) | Column::Map(_)) => {
                column.push_null();
                Ok(self.bad(start, "a value that is not null"))
            }
            // An object is a list of one, if structs are wanted.
            (Token::Object, Column::List(lists)) if matches!(*lists.items, Column::Struct(_)) => {
                let found = self.value(&mut scanner, token, start, &mut lists.items)?;
                lists.end(true);
                Ok(found)
            }
            _ => self.value(&mut scanner, token, start, column),
        }
    }

    /// Remembers the first thing that did not fit.
    fn bad(&mut self, at: usize, expected: &'static str) -> Found {
        self.problem.get_or_insert(Malformed { at, expected });
        Found::Bad
    }

    fn next(&mut self, scanner: &mut Scanner<'_>, column: &mut Column) -> Result<Found> {
        scanner.space()?;
        let start = scanner.at();
        let token = scanner.token()?;
        self.value(scanner, token, start, column)
    }

    /// Adds the value that `token`, which stands at `start`, is or begins.
    fn value(
        &mut self,
        scanner: &mut Scanner<'_>,
        token: Token<'_>,
        start: usize,
        column: &mut Column,
    ) -> Result<Found> {
        if token == Token::Null {
            column.push_null();
            return Ok(Found::Good);
        }
        let fits = match (&mut *column, token) {
            (Column::Text(texts), Token::Text(text)) => {
                texts.push_with(|out| {
                    text.append_to(out);
                    true
                });
                return Ok(Found::Good);
            }
            (Column::Text(texts), token) => {
                let mut rendered = Ok(());
                texts.push_with(|out| {
                    rendered = render(scanner, token, out);
                    rendered.is_ok()
                });
                return rendered.map(|()| Found::Good);
            }
            (Column::Struct(structs), Token::Object) => return self.object(scanner, structs),
            (Column::List(lists), Token::List) => {
                let mut found = Found::Good;
                let mut first = true;
                while scanner.item(first)? {
                    first = false;
                    found = worse(found, self.next(scanner, &mut lists.items)?);
                }
                lists.end(found != Found::Bad);
                return Ok(found);
            }
            (Column::Map(maps), Token::Object) => {
                let mut found = Found::Good;
                let mut first = true;
                while let Some(name) = scanner.member(first)? {
                    first = false;
                    maps.keys.push_with(|out| {
                        name.append_to(out);
                        true
                    });
                    found = worse(found, self.next(scanner, &mut maps.values)?);
                }
                maps.end(found != Found::Bad);
                return Ok(found);
            }
            (Column::Bool(flags), Token::Bool(flag)) => {
                flags.push(Some(flag));
                true
            }
            (Column::Int8(values), Token::Number(number)) => whole(values, number),
            (Column::Int16(values), Token::Number(number)) => whole(values, number),
            (Column::Int32(values), Token::Number(number)) => whole(values, number),
            (Column::Int64(values), Token::Number(number)) => whole(values, number),
            (Column::UInt8(values), Token::Number(number)) => whole(values, number),
            (Column::UInt16(values), Token::Number(number)) => whole(values, number),
            (Column::UInt32(values), Token::Number(number)) => whole(values, number),
            (Column::UInt64(values), Token::Number(number)) => whole(values, number),
            (Column::Float64(values), Token::Number(number)) => parsed(values, number.digits),
            (Column::Float32(values), Token::Number(number)) => parsed(values, number.digits),
            (Column::Float64(values), Token::NonNumber(value)) => push(values, Some(value)),
            #[expect(clippy::cast_possible_truncation, reason = "no number, or infinite")]
            (Column::Float32(values), Token::NonNumber(value)) => push(values, Some(value as f32)),
            (Column::Float64(values), Token::Text(text)) if self.syntax.non_numeric => {
                push(values, non_number(text))
            }
            #[expect(clippy::cast_possible_truncation, reason = "no number, or infinite")]
            (Column::Float32(values), Token::Text(text)) if self.syntax.non_numeric => {
                push(values, non_number(text).map(|value| value as f32))
            }
            (Column::Decimal(precision, scale, values), Token::Number(number)) => {
                let value = utf8(number.digits).and_then(|t| decimal(t, *precision, *scale));
                push(values, value)
            }
            (Column::Decimal(precision, scale, values), Token::Text(text)) => {
                let text = utf8(text.bytes(&mut self.scratch));
                push(
                    values,
                    text.and_then(|t| decimal_with_commas(t, *precision, *scale)),
                )
            }
            (Column::Date(values), Token::Text(text)) => {
                let text = utf8(text.bytes(&mut self.scratch));
                push(values, text.and_then(|t| self.formats.date(t)))
            }
            (Column::Timestamp(zone, values), Token::Text(text)) => {
                let text = utf8(text.bytes(&mut self.scratch));
                let read = |text| match zone {
                    Some(_) => self.formats.timestamp(text),
                    None => self.formats.local_timestamp(text),
                };
                push(values, text.and_then(read))
            }
            // Seconds since 1970.
            (Column::Timestamp(Some(_), values), Token::Number(number)) if number.whole => {
                let seconds = utf8(number.digits).and_then(|t| t.parse::<i64>().ok());
                push(values, seconds.and_then(|s| s.checked_mul(1_000_000)))
            }
            (Column::Binary(values), Token::Text(text)) => {
                let text = text.bytes(&mut self.scratch);
                let mut fits = false;
                values.push_with(|out| {
                    fits = crate::base64::decode(text, out);
                    fits
                });
                fits
            }
            (Column::Null(_), token) => {
                scanner.skip_rest(token)?;
                column.push_null();
                true
            }
            (column, token) => {
                scanner.skip_rest(token)?;
                column.push_null();
                false
            }
        };
        if fits {
            return Ok(Found::Good);
        }
        Ok(self.bad(start, wanted(column)))
    }

    fn object(&mut self, scanner: &mut Scanner<'_>, structs: &mut Structs) -> Result<Found> {
        let row = structs.len();
        let mut found = Found::Good;
        let mut expected = 0;
        let mut first = true;
        while let Some(name) = scanner.member(first)? {
            first = false;
            let place = match name.escaped {
                false => structs.names.find(name.written, &mut expected),
                true => structs
                    .names
                    .find(name.bytes(&mut self.scratch), &mut expected),
            };
            let Some(column) = place.and_then(|place| structs.columns.get_mut(place)) else {
                scanner.skip()?;
                continue;
            };
            let read = if column.len() == row {
                self.next(scanner, column)?
            } else {
                self.again(scanner, column, row)?
            };
            if read != Found::Good {
                found = Found::Partial;
            }
        }
        structs.end(true);
        Ok(found)
    }

    /// The last member of a name counts, unless it does not fit.
    #[cold]
    fn again(
        &mut self,
        scanner: &mut Scanner<'_>,
        column: &mut Column,
        row: usize,
    ) -> Result<Found> {
        let mut ahead = scanner.clone();
        let found = self.next(&mut ahead, column)?;
        column.truncate(row + 1);
        if found == Found::Bad {
            *scanner = ahead;
            return Ok(found);
        }
        column.truncate(row);
        self.next(scanner, column)
    }
}

/// A list or map with a value that is null for it does not fit is null as a whole; one with structs that are there in part
/// is there in part.
fn worse(a: Found, b: Found) -> Found {
    match (a, b) {
        (Found::Bad, _) | (_, Found::Bad) => Found::Bad,
        (Found::Partial, _) | (_, Found::Partial) => Found::Partial,
        _ => Found::Good,
    }
}

fn utf8(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

fn push<T: ArrowPrimitiveType>(values: &mut Values<T>, value: Option<T::Native>) -> bool {
    values.push(value);
    value.is_some()
}

fn parsed<T: ArrowPrimitiveType>(values: &mut Values<T>, digits: &[u8]) -> bool
where
    T::Native: std::str::FromStr,
{
    push(values, utf8(digits).and_then(|text| text.parse().ok()))
}

fn whole<T: ArrowPrimitiveType>(values: &mut Values<T>, number: Number<'_>) -> bool
where
    T::Native: std::str::FromStr,
{
    if !number.whole {
        return push(values, None);
    }
    parsed(values, number.digits)
}

fn non_number(text: Quoted<'_>) -> Option<f64> {
    Some(match text.written {
        b"NaN" => f64::NAN,
        b"Infinity" | b"+Infinity" | b"+INF" => f64::INFINITY,
        b"-Infinity" | b"-INF" => f64::NEG_INFINITY,
        _ => return None,
    })
}

/// What a column takes, for messages.
fn wanted(column: &Column) -> &'static str {
    match column {
        Column::Null(_) => "null",
        Column::Bool(_) => "true or false (BOOLEAN)",
        Column::Int8(_) => "a whole number of 8 bits (TINYINT)",
        Column::Int16(_) => "a whole number of 16 bits (SMALLINT)",
        Column::Int32(_) => "a whole number of 32 bits (INT)",
        Column::Int64(_) => "a whole number of 64 bits (BIGINT)",
        Column::UInt8(_) => "a whole number from 0 to 255",
        Column::UInt16(_) => "a whole number from 0 to 65535",
        Column::UInt32(_) => "a whole number of 32 bits without a sign",
        Column::UInt64(_) => "a whole number of 64 bits without a sign",
        Column::Float32(_) => "a number (FLOAT)",
        Column::Float64(_) => "a number (DOUBLE)",
        Column::Decimal(..) => "a number with no more digits than its DECIMAL has",
        Column::Date(_) => "a text that is a date (DATE)",
        Column::Timestamp(Some(_), _) => "a text that is a timestamp, or seconds (TIMESTAMP)",
        Column::Timestamp(None, _) => "a text that is a timestamp without a zone (TIMESTAMP_NTZ)",
        Column::Text(_) => "a text",
        Column::Binary(_) => "a text in base64 (BINARY)",
        Column::List(_) => "a list (ARRAY)",
        Column::Map(_) => "an object (MAP)",
        Column::Struct(_) => "an object (STRUCT)",
    }
}
