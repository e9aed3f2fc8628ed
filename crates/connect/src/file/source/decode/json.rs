//! JSON, one object a line.

use std::{ops::Range, sync::Arc};

use arrow::{
    array::{ArrayRef, new_null_array},
    datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef},
    error::ArrowError,
    json::ReaderBuilder,
};
use futures::{StreamExt, TryStreamExt, stream};
use headwater_core::{Error, Result};

use super::{
    DecodedStream,
    blocks::{Splitter, blocks},
    json_time,
    records::{RecordDecoder, Records, Selection},
};
use crate::file::source::{
    columns::Layout,
    folder::{FileEntry, Folder},
    options::SourceOptions,
};

pub(super) fn open(
    folder: &Folder,
    file: FileEntry,
    layout: &Layout,
    options: &SourceOptions,
) -> DecodedStream {
    let selection = Selection::of(layout, options.mode);
    let fields = selection.decoded.iter();
    let fields = fields.map(|index| Arc::clone(&layout.file_fields[*index]));
    let decoder = JsonDecoder::new(fields.collect());
    let records = Records::new(decoder, selection, layout, options, file.path.clone());
    blocks(folder, file, Splitter::Lines)
        .map_ok(move |block| {
            let lines = object_lines(&block.text);
            stream::iter(records.decode(&block.text, block.first_line, &lines))
        })
        .try_flatten()
        .boxed()
}

/// Lines that hold something.
fn object_lines(text: &[u8]) -> Vec<Range<usize>> {
    let mut lines = Splitter::Lines.records(text);
    lines.retain(|line| {
        text[line.clone()]
            .iter()
            .any(|byte| !byte.is_ascii_whitespace())
    });
    lines
}

struct JsonDecoder {
    fields: Vec<FieldRef>,
    /// What the decoder is asked for.
    schema: SchemaRef,
}

impl JsonDecoder {
    fn new(fields: Vec<FieldRef>) -> Self {
        let schema = if fields.is_empty() {
            // The decoder cannot count rows of nothing: this column is in no object, and dropped again.
            Schema::new(vec![Field::new("\u{0}", DataType::Boolean, true)])
        } else {
            Schema::new(fields.iter().map(json_time::as_decoded).collect::<Fields>())
        };
        Self {
            fields,
            schema: Arc::new(schema),
        }
    }

    fn read(&self, text: &[u8], rows: usize, forgiving: bool) -> Result<Vec<ArrayRef>, ArrowError> {
        let mut decoder = ReaderBuilder::new(Arc::clone(&self.schema))
            // Room for one row too many, so that it is noticed.
            .with_batch_size(rows + 1)
            .with_coerce_primitive(true)
            .with_ignore_type_conflicts(forgiving)
            .build_decoder()?;
        let read = decoder.decode(text)?;
        let batch = match decoder.flush()? {
            Some(batch) if batch.num_rows() == rows && read == text.len() => batch,
            _ => {
                return Err(ArrowError::JsonError(
                    "a line is not exactly one JSON object".to_owned(),
                ));
            }
        };
        self.fields
            .iter()
            .zip(batch.columns())
            .map(|(field, column)| json_time::from_decoded(column, field.data_type(), forgiving))
            .collect()
    }
}

impl RecordDecoder for JsonDecoder {
    fn decode(&self, text: &[u8], rows: usize) -> Result<Vec<ArrayRef>, ArrowError> {
        self.read(text, rows, false)
    }

    fn salvage(&self, text: &[u8]) -> Result<Vec<ArrayRef>> {
        Ok(self.read(text, 1, true).unwrap_or_else(|_| {
            self.fields
                .iter()
                .map(|field| new_null_array(field.data_type(), 1))
                .collect()
        }))
    }
}

/// Guesses the schema from the first rows of a file.
pub(in crate::file::source) async fn infer(folder: &Folder, file: &FileEntry) -> Result<Schema> {
    let first = blocks(folder, file.clone(), Splitter::Lines)
        .try_next()
        .await?;
    let text = first.map(|block| block.text).unwrap_or_default();
    let reader = std::io::Cursor::new(&text);
    let (schema, _) =
        arrow::json::reader::infer_json_schema(reader, Some(1_000)).map_err(|error| {
            Error::data(format!(
                "cannot infer a schema from file {}: give one, or remove the file",
                file.path
            ))
            .with_source(error)
        })?;
    Ok(schema)
}
