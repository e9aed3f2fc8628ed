//! Files of rows, read epoch by epoch.
//!
//! JSON lines and CSV are read by the reader that streams them; a row that does not fit its columns is an error with file
//! and line, and not a null. Columns of Parquet files are found by name.

use std::{fs, path::Path, sync::Arc};

use datafusion::arrow::{
    array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array},
    compute::{CastOptions, cast_with_options},
    datatypes::SchemaRef,
};
use headwater::{Options, Session};

use super::{
    row_file::{RowFormat, VALUE, text},
    sections::{self, MARKER, Section, sections},
};
use crate::exit::Failure;

/// What a piece of a file is called while it is read.
const PIECE: &str = "piece";

/// Reads files of rows of one schema.
#[derive(Debug)]
pub(crate) struct RowReader {
    schema: SchemaRef,
    /// What the columns are of, for messages: `stream 'clicks'`.
    owner: String,
    /// Of CSV and JSON files.
    options: Options,
    session: Session,
}

/// What a file holds: rows by epoch.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) epochs: Vec<Vec<RecordBatch>>,
    /// Whether it has a line that divides epochs.
    pub(crate) is_divided: bool,
}

impl RowReader {
    /// Reads rows of `owner`. `options` are those of its own CSV or JSON files, where it has such.
    pub(crate) fn new(owner: String, schema: SchemaRef, options: Options) -> Self {
        Self {
            schema,
            owner,
            options,
            session: Session::new(),
        }
    }

    /// Reads a file; a Parquet file is one epoch.
    ///
    /// # Errors
    /// `Wrong` if it cannot be read, or a row does not fit; with the line.
    pub(crate) async fn read(&self, path: &Path) -> Result<Recorded, Failure> {
        let format = RowFormat::of(path)?;
        if format == RowFormat::Parquet {
            return Ok(Recorded {
                epochs: vec![self.parquet(path).await?],
                is_divided: false,
            });
        }
        if format == RowFormat::Text {
            self.check_lines(path)?;
        }
        let text = text(path)?;
        let sections = sections(&text);
        let has_header = format == RowFormat::Csv && self.has_header();
        let header = sections::header(&text).filter(|_| has_header);
        if self.options.get("header").is_none()
            && let Some(header) = header
        {
            self.check_header(path, header)?;
        }
        let folder = tempfile::tempdir()
            .map_err(|error| Failure::failed(format!("cannot make a temporary folder: {error}")))?;
        let mut epochs = Vec::new();
        for (number, section) in sections.iter().enumerate() {
            let header = header.filter(|_| number > 0);
            let piece = self.piece(path, format, section, header, folder.path());
            epochs.push(Box::pin(piece).await?);
        }
        Ok(Recorded {
            is_divided: epochs.len() > 1,
            epochs,
        })
    }

    fn has_header(&self) -> bool {
        let header = self.options.get("header");
        header.is_none_or(|header| header.eq_ignore_ascii_case("true"))
    }

    /// Lines are rows of one column of text.
    fn check_lines(&self, path: &Path) -> Result<(), Failure> {
        let fields = self.schema.fields().iter();
        let columns: Vec<_> = fields
            .map(|it| (it.name().as_str(), it.data_type()))
            .collect();
        match columns.as_slice() {
            [(VALUE, data_type)] if data_type.is_string() => Ok(()),
            _ => Err(Failure::wrong(format!(
                "{}: lines of text are rows of one column '{VALUE}', and {} has {}: write its rows as .json or .csv",
                path.display(),
                self.owner,
                columns
                    .iter()
                    .map(|(name, _)| *name)
                    .collect::<Vec<_>>()
                    .join(", ")
            ))),
        }
    }

    /// Columns stand in the order of the schema, and the header says so.
    fn check_header(&self, path: &Path, header: &str) -> Result<(), Failure> {
        let found = header.trim().split(',');
        let found: Vec<&str> = found.map(|name| name.trim().trim_matches('"')).collect();
        let names: Vec<&str> = self
            .schema
            .fields()
            .iter()
            .map(|it| it.name().as_str())
            .collect();
        match found == names {
            true => Ok(()),
            false if header.trim() == MARKER => Err(Failure::wrong(format!(
                "{} begins with {MARKER}: the header comes first, once for all epochs: {}",
                path.display(),
                names.join(",")
            ))),
            false => Err(Failure::wrong(format!(
                "{}: its header is {}, but the columns of {} are {}: write them in this order, under this header",
                path.display(),
                found.join(","),
                self.owner,
                names.join(",")
            ))),
        }
    }

    async fn piece(
        &self,
        path: &Path,
        format: RowFormat,
        section: &Section<'_>,
        header: Option<&str>,
        folder: &Path,
    ) -> Result<Vec<RecordBatch>, Failure> {
        let is_text = format == RowFormat::Text;
        let content = match is_text {
            // Each line is a row, a blank one too; and none fails.
            true => section.text.to_owned(),
            false if section.is_blank() => String::new(),
            false => section.in_place(header),
        };
        if content.is_empty() {
            return Ok(Vec::new());
        }
        let piece = folder.join(format!("{PIECE}.{}", format.name()));
        fs::write(&piece, content).map_err(|error| {
            Failure::failed(format!("cannot write {}: {error}", piece.display()))
        })?;
        let mut reader = self
            .session
            .read()
            .format(format.name())
            .schema(Arc::clone(&self.schema));
        if format == RowFormat::Csv && self.options.get("header").is_none() {
            // It names the columns, or the file would have been refused.
            reader = reader.option("header", true);
        }
        if !is_text && self.options.get("mode").is_none() {
            reader = reader.option("mode", "FAILFAST");
        }
        let of_format = |name: &str| match format {
            RowFormat::Csv => true,
            RowFormat::Json => RECORDS.iter().any(|own| own.eq_ignore_ascii_case(name)),
            RowFormat::Parquet | RowFormat::Text => false,
        };
        let options = self.options.iter().filter(|(name, _)| of_format(name));
        let frame = reader.options(options).load(&piece).await;
        let rows = match frame {
            Ok(frame) => frame.collect().await,
            Err(error) => Err(error),
        };
        rows.map_err(|error| self.does_not_fit(path, &error))
    }

    async fn parquet(&self, path: &Path) -> Result<Vec<RecordBatch>, Failure> {
        let wrong = |error: &dyn std::fmt::Display| {
            Failure::wrong(format!("cannot read {}: {error}", path.display()))
        };
        // DataFusion takes a file that is not there for an empty folder.
        fs::File::open(path).map_err(|error| wrong(&error))?;
        let frame = self.session.read().parquet(&path.to_path_buf()).await;
        let batches = match frame {
            Ok(frame) => frame.collect().await,
            Err(error) => Err(error),
        };
        let batches = batches.map_err(|error| wrong(&error))?;
        let conformed = batches.iter().map(|batch| self.conformed(path, batch));
        conformed.collect()
    }

    /// The columns of the schema by name, cast to its types; what the file lacks is null.
    fn conformed(&self, path: &Path, batch: &RecordBatch) -> Result<RecordBatch, Failure> {
        let strict = CastOptions {
            safe: false,
            ..CastOptions::default()
        };
        let column = |field: &datafusion::arrow::datatypes::FieldRef| -> Result<ArrayRef, Failure> {
            match batch.column_by_name(field.name()) {
                None => Ok(new_null_array(field.data_type(), batch.num_rows())),
                Some(column) => {
                    cast_with_options(column, field.data_type(), &strict).map_err(|error| {
                        Failure::wrong(format!(
                            "{}: column '{}' does not fit {}, where it is {}: {error}",
                            path.display(),
                            field.name(),
                            self.owner,
                            field.data_type()
                        ))
                    })
                }
            }
        };
        let columns: Result<Vec<_>, _> = self.schema.fields().iter().map(column).collect();
        let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns?, &rows).map_err(
            |error| {
                Failure::wrong(format!(
                    "{} does not fit {}: {error}",
                    path.display(),
                    self.owner
                ))
            },
        )
    }

    /// An error of the reader about a piece, told of the file. Its lines are those of the file.
    fn does_not_fit(&self, path: &Path, error: &headwater::Error) -> Failure {
        let place = path.display();
        let mut causes = Vec::new();
        let mut cause: Option<&dyn std::error::Error> = Some(error);
        while let Some(error) = cause {
            causes.push(error.to_string());
            cause = error.source();
        }
        let line = causes.iter().find_map(|message| line_of(message));
        let why = causes.last().map(String::as_str).unwrap_or_default();
        let columns = self.schema.fields().iter();
        let columns: Vec<String> = columns
            .map(|field| format!("{} {}", field.name(), field.data_type()))
            .collect();
        Failure::wrong(match line {
            Some(line) => format!(
                "{place}, line {line}: the row does not fit {} ({}): {why}",
                self.owner,
                columns.join(", ")
            ),
            None => format!("{place} does not fit {}: {error}", self.owner),
        })
    }
}

/// Options of files of records, whatever their format.
pub(crate) const RECORDS: &[&str] = &["mode", "columnNameOfCorruptRecord", "encoding", "charset"];

/// Options that say how CSV is written.
pub(crate) const DIALECT: &[&str] = &[
    "sep",
    "delimiter",
    "header",
    "enforceSchema",
    "quote",
    "escape",
    "comment",
    "nullValue",
];

/// The line in `line 3 of file piece.json is malformed`.
fn line_of(message: &str) -> Option<u64> {
    let (before, _) = message.split_once(&format!(" of file {PIECE}."))?;
    before.rsplit(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_found_in_the_message() {
        assert_eq!(
            line_of("x: line 12 of file piece.json is malformed: mend it"),
            Some(12)
        );
        assert_eq!(line_of("the header of file piece.csv is x"), None);
    }
}
