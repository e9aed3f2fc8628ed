//! Rows into the bytes of one file. An encoder gives its bytes as they become ready, so that no file is held in memory
//! whole unless its format asks for it.

use std::{io::Write, mem, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, LargeStringArray, RecordBatch},
    compute::cast,
    csv::WriterBuilder as CsvWriterBuilder,
    datatypes::{DataType, SchemaRef},
    ipc::writer::FileWriter,
    json::{WriterBuilder as JsonWriterBuilder, writer::LineDelimited},
};
use headwater_core::{Epoch, Error, Result};
use parquet::{arrow::ArrowWriter, file::properties::WriterProperties};

use super::{dictionaries::Dictionaries, options::SinkOptions};
use crate::file::{FileFormat, compression::Gzip};

/// One file being encoded.
pub(super) trait Encoder: Send {
    /// Takes rows in.
    fn write(&mut self, batch: &RecordBatch) -> Result<()>;

    /// The bytes that are ready; they are not given again.
    fn take(&mut self) -> Vec<u8>;

    /// Bytes held in memory, ready or not.
    fn held(&self) -> usize;

    /// Makes bytes ready that need not be held; afterwards [`Self::held`] is what [`Self::take`] gives.
    fn flush(&mut self) -> Result<()>;

    /// The rest of the file.
    fn finish(self: Box<Self>) -> Result<Vec<u8>>;
}

/// An encoder for rows of `schema` of an epoch, of a sink whose files have told `dictionaries`.
pub(super) fn encoder(
    format: FileFormat,
    schema: &SchemaRef,
    options: &SinkOptions,
    dictionaries: &Arc<Dictionaries>,
    epoch: Epoch,
) -> Result<Box<dyn Encoder>> {
    Ok(match format {
        FileFormat::Parquet => Box::new(ParquetEncoder {
            writer: ArrowWriter::try_new(
                Vec::new(),
                Arc::clone(schema),
                Some(dictionaries.properties(&options.parquet, epoch)),
            )
            .map_err(parquet_failed)?,
            properties: options.parquet.clone(),
            dictionaries: Arc::clone(dictionaries),
            epoch,
        }),
        FileFormat::Arrow => Box::new(ArrowEncoder {
            writer: FileWriter::try_new(Vec::new(), schema)?,
        }),
        FileFormat::Json => text(
            options,
            JsonLines {
                options: options.clone(),
            },
        ),
        FileFormat::Csv => text(
            options,
            CsvLines {
                options: options.clone(),
                header_due: options.csv.header,
            },
        ),
        FileFormat::Text => text(
            options,
            PlainLines {
                options: options.clone(),
            },
        ),
    })
}

fn parquet_failed(error: parquet::errors::ParquetError) -> Error {
    Error::internal("rows could not be encoded as Parquet").with_source(error)
}

struct ParquetEncoder {
    writer: ArrowWriter<Vec<u8>>,
    /// Of all files of the sink.
    properties: WriterProperties,
    dictionaries: Arc<Dictionaries>,
    epoch: Epoch,
}

impl Encoder for ParquetEncoder {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.writer.write(batch).map_err(parquet_failed)
    }

    fn take(&mut self) -> Vec<u8> {
        // The writer counts what went through and does not look back.
        mem::take(self.writer.inner_mut())
    }

    fn held(&self) -> usize {
        self.writer.memory_size() + self.writer.inner().len()
    }

    fn flush(&mut self) -> Result<()> {
        self.writer.flush().map_err(parquet_failed)
    }

    fn finish(mut self: Box<Self>) -> Result<Vec<u8>> {
        let written = self.writer.finish().map_err(parquet_failed)?;
        self.dictionaries
            .learn(&written, &self.properties, self.epoch);
        Ok(self.take())
    }
}

struct ArrowEncoder {
    writer: FileWriter<Vec<u8>>,
}

impl Encoder for ArrowEncoder {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        Ok(self.writer.write(batch)?)
    }

    fn take(&mut self) -> Vec<u8> {
        mem::take(self.writer.get_mut())
    }

    fn held(&self) -> usize {
        self.writer.get_ref().len()
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Vec<u8>> {
        self.writer.finish()?;
        Ok(mem::take(self.writer.get_mut()))
    }
}

/// Rows as lines of text.
trait Lines: Send {
    fn append(&mut self, batch: &RecordBatch, text: &mut Vec<u8>) -> Result<()>;
}

/// Lines, compressed or not.
struct TextEncoder<L> {
    lines: L,
    text: Vec<u8>,
    gzip: Option<Gzip>,
    ready: Vec<u8>,
}

fn text(options: &SinkOptions, lines: impl Lines + 'static) -> Box<dyn Encoder> {
    Box::new(TextEncoder {
        lines,
        text: Vec::new(),
        gzip: options.gzip.then(Gzip::new),
        ready: Vec::new(),
    })
}

impl<L: Lines> Encoder for TextEncoder<L> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let Some(gzip) = &mut self.gzip else {
            return self.lines.append(batch, &mut self.ready);
        };
        self.text.clear();
        self.lines.append(batch, &mut self.text)?;
        let compressed = gzip.push(&self.text)?;
        self.ready.extend_from_slice(&compressed);
        Ok(())
    }

    fn take(&mut self) -> Vec<u8> {
        mem::take(&mut self.ready)
    }

    fn held(&self) -> usize {
        self.ready.len()
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Vec<u8>> {
        if let Some(gzip) = self.gzip.take() {
            let rest = gzip.finish()?;
            self.ready.extend_from_slice(&rest);
        }
        Ok(self.ready)
    }
}

struct JsonLines {
    options: SinkOptions,
}

impl Lines for JsonLines {
    fn append(&mut self, batch: &RecordBatch, text: &mut Vec<u8>) -> Result<()> {
        let mut writer = JsonWriterBuilder::new()
            .with_explicit_nulls(!self.options.ignore_null_fields)
            .build::<_, LineDelimited>(text);
        writer.write(batch)?;
        Ok(writer.finish()?)
    }
}

struct CsvLines {
    options: SinkOptions,
    header_due: bool,
}

impl Lines for CsvLines {
    fn append(&mut self, batch: &RecordBatch, text: &mut Vec<u8>) -> Result<()> {
        let style = &self.options.csv;
        let mut builder = CsvWriterBuilder::new()
            .with_header(mem::take(&mut self.header_due))
            .with_delimiter(style.separator)
            .with_quote(style.quote)
            .with_null(style.null.clone());
        let Some(escape) = style.escape.filter(|escape| *escape != style.quote) else {
            return Ok(builder.build(text).write(batch)?);
        };
        builder = builder.with_escape(escape).with_double_quote(false);
        Ok(builder.build(text).write(&escaped(batch, escape)?)?)
    }
}

/// The rows with each escape character in a text escaped itself: the writer puts such texts in quotes, but leaves their
/// characters as they are, and a reader would take one for the escape of what follows.
fn escaped(batch: &RecordBatch, escape: u8) -> Result<RecordBatch> {
    let escape = char::from(escape);
    let twice = format!("{escape}{escape}");
    let column = |column: &ArrayRef| -> Result<ArrayRef> {
        let data_type = column.data_type();
        if !data_type.is_string() {
            return Ok(Arc::clone(column));
        }
        let texts = cast(column, &DataType::LargeUtf8)?;
        let texts: LargeStringArray = texts
            .as_string::<i64>()
            .iter()
            .map(|text| text.map(|text| text.replace(escape, &twice)))
            .collect();
        Ok(cast(&texts, data_type)?)
    };
    let columns: Result<Vec<ArrayRef>> = batch.columns().iter().map(column).collect();
    Ok(RecordBatch::try_new(batch.schema(), columns?)?)
}

struct PlainLines {
    options: SinkOptions,
}

impl Lines for PlainLines {
    fn append(&mut self, batch: &RecordBatch, text: &mut Vec<u8>) -> Result<()> {
        let column = cast(batch.column(0), &DataType::Utf8)?;
        let column = column.as_string::<i32>();
        for row in 0..column.len() {
            if column.is_valid(row) {
                text.extend_from_slice(column.value(row).as_bytes());
            }
            text.write_all(self.options.line_separator.as_bytes())
                .map_err(|error| {
                    Error::internal("memory could not be written").with_source(error)
                })?;
        }
        Ok(())
    }
}
