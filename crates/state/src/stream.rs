//! The rows of an entry as an Arrow IPC stream.
//!
//! A stream holds one batch, each column as narrow as its values let it be ([`crate::narrow`]). Its pieces share memory
//! with the rows, so that they are copied once: by the storage.

use std::{io::Cursor, sync::Arc};

use arrow::{
    array::RecordBatch,
    buffer::Buffer,
    compute::concat_batches,
    datatypes::{DataType, Field, Schema, SchemaRef},
    ipc::{
        MetadataVersion,
        reader::StreamReader,
        writer::{IpcWriteOptions, StreamEncoder},
    },
};
use headwater_core::{Error, Payload, Result};

use crate::{
    columns::compact_batch,
    narrow::{bare_batch, narrow_batch, wide_type, widen},
    spec::batch_of,
};

/// Smaller batches are united: a stream of its own costs more than a copy.
const STREAM_ROWS: usize = 8_192;

/// How the columns of a stream are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Columns {
    /// As they are; the metadata of fields is that of the query.
    Wide,
    /// Narrowed where the metadata of a field says so.
    Narrow,
}

/// A buffer as the bytes it holds.
struct Shared(Buffer);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        self.0.as_slice()
    }
}

/// Batches of one schema as streams: as many as it takes for each to hold about [`STREAM_ROWS`] rows or more.
pub(crate) fn write_streams<'a>(
    batches: impl Iterator<Item = &'a RecordBatch>,
) -> Result<Vec<Payload>> {
    let batches = batches.map(compact_batch).collect::<Result<Vec<_>>>()?;
    let fields = batches.first().map(|batch| batch.schema());
    let fields = fields.iter().flat_map(|schema| schema.flattened_fields());
    let mut types = fields.map(Field::data_type);
    // Each stream brings its dictionaries with it, so that batches which share one belong into one stream.
    if types.any(|it| matches!(it, DataType::Dictionary(_, _))) {
        return Ok(vec![write_stream(&batches)?]);
    }
    let mut streams = Vec::new();
    let mut rest = batches.as_slice();
    while !rest.is_empty() {
        let mut rows = 0;
        let is_short = |batch: &&RecordBatch| {
            let is_short = rows < STREAM_ROWS;
            rows += batch.num_rows();
            is_short
        };
        let (stream, after) = rest.split_at(rest.iter().take_while(is_short).count());
        streams.push(match stream {
            [single] => write_stream(std::slice::from_ref(single))?,
            several => write_stream(&[concat_batches(several[0].schema_ref(), several)?])?,
        });
        rest = after;
    }
    Ok(streams)
}

/// Batches as one stream. A stream has one schema, so only a batch of its own can be narrowed.
fn write_stream(batches: &[RecordBatch]) -> Result<Payload> {
    let stored: Vec<RecordBatch> = match batches {
        [single] => vec![narrow_batch(single)?],
        several => several.iter().map(bare_batch).collect::<Result<_>>()?,
    };
    let mut payload = Payload::new();
    let Some(first) = stored.first() else {
        return Ok(payload);
    };
    let options = IpcWriteOptions::try_new(8, false, MetadataVersion::V5)?;
    let mut encoder = StreamEncoder::try_new_with_options(first.schema_ref(), options)?;
    for batch in &stored {
        for buffer in encoder.encode(batch)? {
            payload.push_buffer(Shared(buffer));
        }
    }
    for buffer in encoder.finish()? {
        payload.push_buffer(Shared(buffer));
    }
    Ok(payload)
}

/// The batches of a stream, with the columns of `schema`. `picks` says where the key and value columns lie in the
/// stream, if otherwise than there.
pub(crate) fn read_batches(
    schema: &SchemaRef,
    columns: Columns,
    picks: Option<&[usize]>,
    bytes: &[u8],
) -> Result<Vec<RecordBatch>> {
    let reader = StreamReader::try_new(Cursor::new(bytes), None)?;
    let found = wide_schema(&reader.schema(), columns)?;
    let picks = match picks {
        None => (0..found.fields().len()).collect(),
        Some(picks) => with_trailing(picks, schema.fields().len(), &found),
    };
    check_columns(schema, &found.project(&picks)?)?;
    let mut batches = Vec::new();
    for batch in reader {
        let batch = batch?;
        // Names and metadata may differ, types do not.
        let picked = picks.iter().map(|at| match columns {
            Columns::Wide => Ok(Arc::clone(batch.column(*at))),
            Columns::Narrow => widen(batch.schema_ref().field(*at), batch.column(*at)),
        });
        let picked = picked.collect::<Result<_>>()?;
        batches.push(batch_of(schema, picked, batch.num_rows())?);
    }
    Ok(batches)
}

/// The columns of a stream.
///
/// # Errors
/// `Data` if the bytes are no stream.
pub(crate) fn read_columns(columns: Columns, bytes: &[u8]) -> Result<SchemaRef> {
    let reader = StreamReader::try_new(Cursor::new(bytes), None)?;
    wide_schema(&reader.schema(), columns).map(SchemaRef::new)
}

/// The columns of a stream as they are once they are widened.
fn wide_schema(found: &Schema, columns: Columns) -> Result<Schema> {
    let wide = |field: &Field| -> Result<Field> {
        let data_type: DataType = match columns {
            Columns::Wide => field.data_type().clone(),
            Columns::Narrow => wide_type(field)?,
        };
        Ok(Field::new(field.name(), data_type, field.is_nullable()))
    };
    let fields = found.fields().iter().map(|field| wide(field));
    Ok(Schema::new(fields.collect::<Result<Vec<_>>>()?))
}

/// These columns, and those that follow keys and values: number, expiry and mark, as many as there are.
fn with_trailing(picks: &[usize], columns: usize, found: &Schema) -> Vec<usize> {
    let all = found.fields().len();
    let trailing = all.saturating_sub(columns.saturating_sub(picks.len()))..all;
    picks.iter().copied().chain(trailing).collect()
}

fn check_columns(expected: &Schema, found: &Schema) -> Result<()> {
    let types = |schema: &Schema| {
        let fields = schema.fields().iter();
        let columns: Vec<_> = fields
            .map(|f| format!("{} {}", f.name(), f.data_type()))
            .collect();
        columns.join(", ")
    };
    let same = expected.fields().len() == found.fields().len()
        && std::iter::zip(expected.fields(), found.fields())
            .all(|(expected, found)| expected.data_type() == found.data_type());
    if same {
        return Ok(());
    }
    Err(Error::data(format!(
        "the stored rows have columns ({}), the store has ({})",
        types(found),
        types(expected)
    )))
}
