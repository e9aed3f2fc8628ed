//! Arrow IPC, in file or stream form. A file is read whole before its first batch is given.

use std::io::Cursor;

use arrow::{
    array::{RecordBatch, new_null_array},
    datatypes::{FieldRef, Schema, SchemaRef},
    error::ArrowError,
    ipc::reader::{FileReader, StreamReader},
};
use futures::{StreamExt, stream};
use headwater_core::{Error, Result};

use super::DecodedStream;
use crate::file::source::{
    adapt,
    columns::Decoded,
    folder::{FileEntry, Folder},
};

/// Larger batches are given in slices: operators downstream size their work by the batch.
const SLICE_ROWS: usize = 65_536;

type Batches = Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>> + Send>;

pub(super) async fn open(
    folder: &Folder,
    file: FileEntry,
    fields: Vec<FieldRef>,
) -> Result<DecodedStream> {
    let (_, schema) = batches(folder, &file, None).await?;
    let mut columns: Vec<usize> = Vec::new();
    for field in &fields {
        if let Some(index) = adapt::position(schema.fields(), field.name()) {
            adapt::check(&file.path, schema.field(index).data_type(), field)?;
            columns.push(index);
        }
    }
    columns.sort_unstable();
    columns.dedup();
    let (batches, _) = batches(folder, &file, Some(columns)).await?;
    let path = file.path;
    let decoded = batches.flat_map(move |batch| {
        let slices = match batch {
            Ok(batch) => (0..batch.num_rows())
                .step_by(SLICE_ROWS)
                .map(|start| Ok(batch.slice(start, SLICE_ROWS.min(batch.num_rows() - start))))
                .collect(),
            Err(error) => vec![Err(unreadable(&path, error))],
        };
        let (path, fields) = (path.clone(), fields.clone());
        slices
            .into_iter()
            .map(move |batch: Result<RecordBatch>| decode(&path, &fields, &batch?))
    });
    Ok(stream::iter(decoded).boxed())
}

fn decode(path: &str, fields: &[FieldRef], batch: &RecordBatch) -> Result<Decoded> {
    let rows = batch.num_rows();
    // Only the batch knows what the projection left.
    let schema = batch.schema();
    let columns = fields
        .iter()
        .map(
            |field| match adapt::position(schema.fields(), field.name()) {
                Some(index) => adapt::adapt(path, batch.column(index), field),
                None => Ok(new_null_array(field.data_type(), rows)),
            },
        )
        .collect::<Result<Vec<_>>>()?;
    Ok(Decoded {
        columns,
        corrupt: None,
        rows,
    })
}

/// The batches of a file, with the wanted columns, and the schema of the file.
async fn batches(
    folder: &Folder,
    file: &FileEntry,
    projection: Option<Vec<usize>>,
) -> Result<(Batches, SchemaRef)> {
    let bytes = folder.read_one(file, 0..file.size).await?;
    let failed = |error| unreadable(&file.path, error);
    if !looks_like_arrow(&bytes) {
        return Err(failed(ArrowError::ParseError(
            "it begins with neither the mark of a file nor that of a stream".to_owned(),
        )));
    }
    if bytes.starts_with(b"ARROW1") {
        let reader = FileReader::try_new(Cursor::new(bytes), projection).map_err(failed)?;
        let schema = reader.schema();
        Ok((Box::new(reader), schema))
    } else {
        let reader = StreamReader::try_new(Cursor::new(bytes), projection).map_err(failed)?;
        let schema = reader.schema();
        Ok((Box::new(reader), schema))
    }
}

/// Whether the bytes begin as a file or as a stream does. The reader would take anything for the length of the first
/// message, and make room for it.
fn looks_like_arrow(bytes: &[u8]) -> bool {
    let length = |bytes: &[u8]| bytes.try_into().map(u32::from_le_bytes).ok();
    bytes.starts_with(b"ARROW1")
        || (bytes.starts_with(&[0xff; 4])
            && bytes
                .get(4..8)
                .and_then(length)
                .is_some_and(|length| (length as usize) < bytes.len()))
}

fn unreadable(path: &str, error: ArrowError) -> Error {
    Error::data(format!("file {path} is not a whole Arrow IPC file")).with_source(error)
}

/// The schema in a file.
pub(in crate::file::source) async fn infer(folder: &Folder, file: &FileEntry) -> Result<Schema> {
    let (_, schema) = batches(folder, file, None).await?;
    Ok(schema.as_ref().clone())
}
