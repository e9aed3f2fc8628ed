//! `to_csv(struct [, options])`: structs as lines of CSV.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringBuilder};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, exec_datafusion_err, plan_err};

use super::line::Punctuation;
use crate::function::{Constants, Payload};
use crate::json::write::{Writer, writable};
use crate::options::Options;
use crate::place::Place;
use crate::time::formats::TimeFormats;
use crate::time::zone::Zone;

const NAME: &str = "to_csv";

const OPTIONS: &[&str] = &[
    "sep",
    "delimiter",
    "quote",
    "escape",
    "comment",
    "nullValue",
    "emptyValue",
    "quoteAll",
    "escapeQuotes",
    "ignoreLeadingWhiteSpace",
    "ignoreTrailingWhiteSpace",
    "timestampFormat",
    "timestampNTZFormat",
    "dateFormat",
    "timeZone",
];

/// Options, read.
#[derive(Debug)]
pub(super) struct ToCsv {
    punctuation: Punctuation,
    formats: TimeFormats,
    null: String,
    /// What stands for the empty text, quotes included.
    empty: String,
    quote_all: bool,
    escape_quotes: bool,
}

impl Payload for ToCsv {
    const NAME: &'static str = NAME;

    fn arguments(types: &[DataType]) -> Result<Vec<DataType>> {
        let (Some(DataType::Struct(fields)), true) = (types.first(), types.len() <= 2) else {
            return plan_err!("to_csv() takes a struct and options, found {types:?}");
        };
        for field in fields {
            let data_type = field.data_type();
            let remedy = match data_type {
                nested if nested.is_nested() => "to_json",
                DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "hex",
                _ => continue,
            };
            return plan_err!(
                "to_csv: a line has plain values, and {} is of type {data_type}: write {remedy}({})",
                field.name(),
                field.name()
            );
        }
        writable(NAME, &DataType::Struct(fields.clone()), "")?;
        Ok(types.to_vec())
    }

    fn new([options, _]: Constants<'_>, zone: Zone) -> Result<Self> {
        let mut options = Options::of(NAME, options)?;
        let mut punctuation = Punctuation::of(NAME, &mut options, true)?;
        // A first value that looks like a comment is put in quotes.
        punctuation.comment.get_or_insert(b'#');
        let call = Self {
            punctuation,
            formats: options.formats(zone)?,
            null: options.take("nullValue").unwrap_or_default(),
            empty: options.take("emptyValue").unwrap_or("\"\"".to_owned()),
            quote_all: options.flag("quoteAll", false)?,
            escape_quotes: options.flag("escapeQuotes", true)?,
        };
        options.finish(OPTIONS)?;
        Ok(call)
    }

    fn result(&self, nullable: bool) -> (DataType, bool) {
        (DataType::Utf8, nullable)
    }

    fn call(&self, values: &ArrayRef, _place: &Place) -> Result<ArrayRef> {
        let structs = values.as_struct();
        let writers = structs
            .columns()
            .iter()
            .map(|column| Writer::new(column, true))
            .collect::<Result<Vec<_>>>()?;
        let mut lines = StringBuilder::with_capacity(values.len(), values.len() * 64);
        let (mut line, mut value) = (Vec::new(), Vec::new());
        for row in 0..values.len() {
            if values.is_null(row) {
                lines.append_null();
                continue;
            }
            line.clear();
            for (place, writer) in writers.iter().enumerate() {
                if place > 0 {
                    line.extend_from_slice(&self.punctuation.separator);
                }
                if writer.is_null(row) {
                    match self.quote_all && self.null.is_empty() {
                        true => line.extend_from_slice(b"\"\""),
                        false => self.write(self.null.as_bytes(), place, &mut line),
                    }
                    continue;
                }
                value.clear();
                writer.write_bare(row, &self.formats, &mut value)?;
                match value.is_empty() {
                    true => line.extend_from_slice(self.empty.as_bytes()),
                    false => self.write(&value, place, &mut line),
                }
            }
            let text = std::str::from_utf8(&line)
                .map_err(|error| exec_datafusion_err!("to_csv wrote what is no text: {error}"))?;
            lines.append_value(text);
        }
        Ok(Arc::new(lines.finish()))
    }
}

impl ToCsv {
    /// Adds a value, in quotes if it needs them.
    fn write(&self, value: &[u8], place: usize, line: &mut Vec<u8>) {
        let mut value = value;
        if self.punctuation.trim_start {
            value = value.trim_ascii_start();
        }
        if self.punctuation.trim_end {
            value = value.trim_ascii_end();
        }
        let Some(quote) = self.punctuation.quote else {
            line.extend_from_slice(value);
            return;
        };
        let separator = self.punctuation.separator.as_slice();
        let has_quote = self.escape_quotes && value.contains(&quote);
        let needs_quotes = self.quote_all
            || has_quote
            || value.iter().any(|b| matches!(b, b'\n' | b'\r'))
            || value.windows(separator.len()).any(|part| part == separator)
            || place == 0 && value.first() == self.punctuation.comment.as_ref();
        if !needs_quotes {
            line.extend_from_slice(value);
            return;
        }
        line.push(quote);
        for byte in value {
            if let Some(escape) = self.punctuation.escape
                && (*byte == quote || *byte == escape)
            {
                line.push(escape);
            }
            line.push(*byte);
        }
        line.push(quote);
    }
}
