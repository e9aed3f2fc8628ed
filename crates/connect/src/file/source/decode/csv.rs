//! Separated values. Columns are taken by position; a header only says that the first record is none, unless
//! `enforceSchema` is false.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, StringArray},
    compute::{CastOptions, cast_with_options},
    csv::{ReaderBuilder, reader::Format},
    datatypes::{Fields, Schema, SchemaRef},
    error::ArrowError,
};
use futures::{StreamExt, TryStreamExt, stream};
use headwater_core::{Error, Result};
use regex::Regex;

use super::{
    DecodedStream,
    blocks::{Splitter, blocks},
    records::{RecordDecoder, Records, Selection},
};
use crate::file::source::{
    columns::Layout,
    folder::{FileEntry, Folder},
    options::{CsvDialect, SourceOptions},
};

pub(super) fn open(
    folder: &Folder,
    file: FileEntry,
    layout: &Layout,
    options: &SourceOptions,
) -> DecodedStream {
    let selection = Selection::of(layout, options.mode);
    let decoder = match CsvDecoder::new(layout, selection.decoded.clone(), &options.csv) {
        Ok(decoder) => decoder,
        Err(error) => return stream::iter([Err(error)]).boxed(),
    };
    let path = file.path.clone();
    let records = Records::new(decoder, selection, layout, options, path.clone());
    let dialect = options.csv.clone();
    let mut header_due = dialect.header;
    let splitter = splitter(&dialect);
    blocks(folder, file, splitter.clone())
        .map(move |block| {
            let block = block?;
            let mut lines = splitter.records(&block.text);
            lines.retain(|line| is_record(&block.text[line.clone()], &dialect));
            if header_due && !lines.is_empty() {
                header_due = false;
                let header = lines.remove(0);
                if dialect.check_header {
                    records.decoder.check_header(&block.text[header], &path)?;
                }
            }
            let decoded = records.decode(&block.text, block.first_line, &lines);
            Ok::<_, Error>(stream::iter(decoded))
        })
        .try_flatten()
        .boxed()
}

fn splitter(dialect: &CsvDialect) -> Splitter {
    match dialect.quote {
        Some(quote) if dialect.multi_line => Splitter::Quoted {
            quote,
            escape: dialect.escape,
        },
        _ => Splitter::Lines,
    }
}

/// Blank lines and comments are no records.
fn is_record(text: &[u8], dialect: &CsvDialect) -> bool {
    let blank = text.iter().all(u8::is_ascii_whitespace) && !text.contains(&dialect.separator);
    let comment = dialect.comment.is_some() && text.first().copied() == dialect.comment;
    !(blank || comment)
}

struct CsvDecoder {
    schema: SchemaRef,
    /// The columns to read, by position.
    columns: Vec<usize>,
    dialect: CsvDialect,
    null: Option<Regex>,
}

impl CsvDecoder {
    fn new(layout: &Layout, columns: Vec<usize>, dialect: &CsvDialect) -> Result<Self> {
        let null = dialect
            .null
            .as_ref()
            .map(|null| {
                Regex::new(&format!("^({})?$", regex::escape(null))).map_err(|error| {
                    Error::invalid(format!("option 'nullValue' cannot be '{null}'"))
                        .with_source(error)
                })
            })
            .transpose()?;
        Ok(Self {
            schema: Arc::new(Schema::new(Fields::from(layout.file_fields.clone()))),
            columns,
            dialect: dialect.clone(),
            null,
        })
    }

    fn format(&self) -> Format {
        format(&self.dialect, self.null.as_ref())
    }

    fn values(&self, text: &[u8]) -> csv::Result<csv::StringRecord> {
        let mut record = csv::ByteRecord::new();
        csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(self.dialect.separator)
            .quoting(self.dialect.quote.is_some())
            .quote(self.dialect.quote.unwrap_or(b'"'))
            .escape(self.dialect.escape)
            .from_reader(text)
            .read_byte_record(&mut record)?;
        Ok(csv::StringRecord::from_byte_record_lossy(record))
    }

    fn is_null(&self, value: &str) -> bool {
        self.null
            .as_ref()
            .map_or(value.is_empty(), |null| null.is_match(value))
    }

    fn check_header(&self, text: &[u8], path: &str) -> Result<()> {
        let found: Vec<String> = self
            .values(text)
            .map(|record| record.iter().map(str::to_owned).collect())
            .unwrap_or_default();
        let expected: Vec<&str> = self
            .schema
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .collect();
        if found
            .iter()
            .map(String::as_str)
            .eq(expected.iter().copied())
        {
            return Ok(());
        }
        Err(Error::data(format!(
            "the header of file {path} is {}, but the schema says {}: give a schema that fits, or take columns by position with enforceSchema = true",
            found.join(","),
            expected.join(",")
        )))
    }
}

impl RecordDecoder for CsvDecoder {
    fn decode(&self, text: &[u8], rows: usize) -> Result<Vec<ArrayRef>, ArrowError> {
        let mut decoder = ReaderBuilder::new(Arc::clone(&self.schema))
            .with_format(self.format())
            // Room for one row too many, so that it is noticed.
            .with_batch_size(rows + 1)
            .with_projection(self.columns.clone())
            .build_decoder();
        let mut at = 0;
        loop {
            // Nothing left tells the decoder that the last record is whole.
            let read = decoder.decode(&text[at..])?;
            if read == 0 {
                break;
            }
            at += read;
        }
        match decoder.flush()? {
            Some(batch) if batch.num_rows() == rows && at == text.len() => {
                Ok(batch.columns().to_vec())
            }
            _ => Err(ArrowError::CsvError(
                "a line is not exactly one record".to_owned(),
            )),
        }
    }

    fn salvage(&self, text: &[u8]) -> Result<Vec<ArrayRef>> {
        let record = self.values(text).unwrap_or_default();
        self.columns
            .iter()
            .map(|column| {
                let value = record.get(*column).filter(|value| !self.is_null(value));
                let value = StringArray::from(vec![value]);
                let forgiving = CastOptions {
                    safe: true,
                    ..CastOptions::default()
                };
                let wanted = self.schema.field(*column).data_type();
                Ok(cast_with_options(&value, wanted, &forgiving)?)
            })
            .collect()
    }
}

fn format(dialect: &CsvDialect, null: Option<&Regex>) -> Format {
    let mut format = Format::default()
        .with_delimiter(dialect.separator)
        // A byte that no text contains: nothing is quoted.
        .with_quote(dialect.quote.unwrap_or(0xff));
    if let Some(escape) = dialect.escape {
        format = format.with_escape(escape);
    }
    if let Some(comment) = dialect.comment {
        format = format.with_comment(comment);
    }
    if let Some(null) = null {
        format = format.with_null_regex(null.clone());
    }
    format
}

/// Guesses the schema from the first rows of a file; without a header columns are called `_c0`, `_c1`, …
pub(in crate::file::source) async fn infer(
    folder: &Folder,
    file: &FileEntry,
    dialect: &CsvDialect,
) -> Result<Schema> {
    let splitter = splitter(dialect);
    let first = blocks(folder, file.clone(), splitter).try_next().await?;
    let text = first.map(|block| block.text).unwrap_or_default();
    let reader = std::io::Cursor::new(&text);
    let (schema, _) = format(dialect, None)
        .with_header(dialect.header)
        .infer_schema(reader, Some(1_000))
        .map_err(|error| {
            Error::data(format!(
                "cannot infer a schema from file {}: give one, or remove the file",
                file.path
            ))
            .with_source(error)
        })?;
    if dialect.header {
        return Ok(schema);
    }
    let fields: Vec<_> = schema
        .fields()
        .iter()
        .enumerate()
        .map(|(index, field)| field.as_ref().clone().with_name(format!("_c{index}")))
        .collect();
    Ok(Schema::new(fields))
}
