//! Reading one file as a stream of batches of the table.
//!
//! A format gives the wanted columns of the file ([`Decoded`]); the rest of the table's columns are filled in here.
//! Whatever a file holds, reading it ends with rows or with an error that names the file, never with a panic.

mod arrow_ipc;
mod blocks;
mod csv;
mod json;
mod json_time;
pub(super) mod parquet;
mod records;
mod text;

use std::{any::Any, ops::Range, panic::AssertUnwindSafe, sync::Arc};

use arrow::{array::ArrayRef, compute::concat};
use futures::{FutureExt, StreamExt, TryStreamExt, stream, stream::BoxStream};
use headwater_core::{BatchStream, Error, Result};

use super::{
    columns::{Columns, Decoded, Layout},
    folder::{FileEntry, Folder},
    options::SourceOptions,
};
use crate::file::FileFormat;

pub(super) use arrow_ipc::infer as infer_arrow;
pub(super) use csv::infer as infer_csv;
pub(super) use json::infer as infer_json;
pub(super) use text::VALUE;

/// Rows of a batch, where the format leaves the choice.
const BATCH_ROWS: usize = 16_384;

/// Rows of one file as its format gives them.
type DecodedStream = BoxStream<'static, Result<Decoded>>;

/// A piece of the input: a file, or some row groups of one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Piece {
    pub(crate) file: FileEntry,
    pub(crate) row_groups: Option<Range<usize>>,
}

/// Reads the files of one source.
#[derive(Debug)]
pub(crate) struct FileReader {
    pub(crate) folder: Folder,
    pub(crate) format: FileFormat,
    pub(crate) columns: Columns,
    pub(crate) options: SourceOptions,
}

impl FileReader {
    /// The wanted columns of one piece, as batches; of Parquet, the texts at the places `views` among them as views.
    /// Nothing is read before the stream is polled.
    pub(crate) fn open(
        self: &Arc<Self>,
        piece: Piece,
        projection: Option<&[usize]>,
        views: &[usize],
    ) -> Result<BatchStream> {
        let mut layout = self.columns.of_file(&piece.file, projection)?;
        if self.format == FileFormat::Parquet {
            layout.view(views);
        }
        let layout = Arc::new(layout);
        let reader = Arc::clone(self);
        let path = piece.file.path.clone();
        let decoded = async move {
            let decoded = reader.decode(piece, &layout).await?;
            Ok(decoded.map(move |rows| layout.assemble(rows?)))
        };
        let batches = AssertUnwindSafe(decoded).catch_unwind();
        let opened = {
            let path = path.clone();
            async move {
                batches
                    .await
                    .unwrap_or_else(|panic| Err(broken(&path, &*panic)))
            }
        };
        let guarded = AssertUnwindSafe(stream::once(opened).try_flatten()).catch_unwind();
        Ok(guarded
            .map(move |batch| batch.unwrap_or_else(|panic| Err(broken(&path, &*panic))))
            .boxed())
    }

    async fn decode(&self, piece: Piece, layout: &Arc<Layout>) -> Result<DecodedStream> {
        let Self {
            folder, options, ..
        } = self;
        let file = piece.file;
        match self.format {
            FileFormat::Parquet => {
                parquet::open(folder, file, piece.row_groups, layout.wanted_fields()).await
            }
            FileFormat::Arrow => arrow_ipc::open(folder, file, layout.wanted_fields()).await,
            FileFormat::Json => Ok(json::open(folder, file, layout, options)),
            FileFormat::Csv => Ok(csv::open(folder, file, layout, options)),
            FileFormat::Text => Ok(text::open(folder, file, layout, options)),
        }
    }
}

/// A decoder of the format gave up on bytes it did not expect.
fn broken(path: &str, panic: &(dyn Any + Send)) -> Error {
    let why = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no reason given");
    Error::data(format!(
        "file {path} is damaged, its decoder gave up: {why}"
    ))
}

/// One batch from several, in order.
fn join(mut parts: Vec<Decoded>) -> Result<Option<Decoded>> {
    if parts.len() < 2 {
        return Ok(parts.pop());
    }
    let width = parts[0].columns.len();
    let column = |pick: &dyn Fn(&Decoded) -> Option<ArrayRef>| -> Result<Option<ArrayRef>> {
        let arrays: Vec<ArrayRef> = parts.iter().filter_map(pick).collect();
        if arrays.is_empty() {
            return Ok(None);
        }
        let arrays: Vec<_> = arrays.iter().map(AsRef::as_ref).collect();
        Ok(Some(concat(&arrays)?))
    };
    let columns = (0..width)
        .map(|index| {
            column(&|part| part.columns.get(index).cloned())?
                .ok_or_else(|| Error::internal("a decoded column has no parts"))
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(Some(Decoded {
        columns,
        corrupt: column(&|part| part.corrupt.clone())?,
        rows: parts.iter().map(|part| part.rows).sum(),
    }))
}
