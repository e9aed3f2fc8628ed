//! Parquet: only the wanted columns are read, and row groups can be read apart from each other.
//!
//! A small file is fetched in one read; of a larger one, a row group's wanted columns at a time. Bytes are fetched
//! aside, decoding happens where the stream is polled: one task per partition keeps every processor busy without
//! handing batches between threads.

use std::{ops::Range, sync::Arc};

use arrow::{
    array::{RecordBatch, new_null_array},
    datatypes::{DataType, FieldRef, Fields, Schema, SchemaRef},
};
use bytes::Bytes;
use futures::{FutureExt, StreamExt, future::BoxFuture, stream};
use headwater_core::{Error, Result};
use parquet::{
    arrow::{
        ProjectionMask,
        arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder},
        async_reader::{AsyncFileReader, ParquetRecordBatchStreamBuilder},
    },
    basic::Type,
    errors::ParquetError,
    file::metadata::{ParquetMetaData, ParquetMetaDataReader},
};

use super::{BATCH_ROWS, DecodedStream};
use crate::file::source::{
    adapt,
    columns::Decoded,
    folder::{FileEntry, Folder},
};

/// Files up to this size are fetched whole.
const SMALL_BYTES: u64 = 1 << 20;

/// What is fetched from the end of a larger file, hoping that the footer fits.
const FOOTER_BYTES: usize = 64 << 10;

pub(super) async fn open(
    folder: &Folder,
    file: FileEntry,
    row_groups: Option<Range<usize>>,
    fields: Vec<FieldRef>,
) -> Result<DecodedStream> {
    let path = file.path.clone();
    let failed = |error| unreadable(&path, error);
    let mut bytes = FileBytes::open(folder, file).await?;
    let metadata = bytes.metadata().await.map_err(failed)?;
    let row_groups = row_groups.unwrap_or(0..metadata.num_row_groups());
    if row_groups.end > metadata.num_row_groups() {
        return Err(Error::data(format!(
            "file {path} has {} row groups, fewer than when the epoch was planned: it was overwritten",
            metadata.num_row_groups()
        )));
    }
    let binding = Binding::new(&path, metadata, fields).map_err(failed)??;
    if binding.columns.is_empty() {
        return Ok(binding.rows_only(row_groups));
    }
    let mask = ProjectionMask::roots(
        binding.metadata.parquet_schema(),
        binding.columns.iter().copied(),
    );
    let row_groups = row_groups.collect();
    if let Some(whole) = bytes.whole.clone() {
        let reader =
            ParquetRecordBatchReaderBuilder::new_with_metadata(whole, binding.metadata.clone())
                .with_batch_size(BATCH_ROWS)
                .with_projection(mask)
                .with_row_groups(row_groups)
                .build()
                .map_err(failed)?;
        let decoded = reader.map(move |batch| {
            let batch = batch.map_err(|error| unreadable(&binding.path, error.into()))?;
            binding.decode(&batch)
        });
        return Ok(stream::iter(decoded).boxed());
    }
    let batches =
        ParquetRecordBatchStreamBuilder::new_with_metadata(bytes, binding.metadata.clone())
            .with_batch_size(BATCH_ROWS)
            .with_projection(mask)
            .with_row_groups(row_groups)
            .build()
            .map_err(failed)?;
    let decoded = batches.map(move |batch| {
        let batch = batch.map_err(|error| unreadable(&binding.path, error))?;
        binding.decode(&batch)
    });
    Ok(decoded.boxed())
}

/// Rows and bytes of each row group of a file.
pub(in crate::file::source) async fn row_groups(
    folder: &Folder,
    file: &FileEntry,
) -> Result<Vec<(u64, u64)>> {
    let metadata = metadata(folder, file).await?;
    let count = |n: i64| u64::try_from(n).unwrap_or(0);
    Ok(metadata
        .row_groups()
        .iter()
        .map(|group| (count(group.num_rows()), count(group.compressed_size())))
        .collect())
}

/// The schema in a file's footer.
pub(in crate::file::source) async fn infer(folder: &Folder, file: &FileEntry) -> Result<Schema> {
    let metadata = metadata(folder, file).await?;
    let arrow = ArrowReaderMetadata::try_new(metadata, ArrowReaderOptions::new())
        .map_err(|error| unreadable(&file.path, error))?;
    // What a writer noted about itself is not part of the table.
    Ok(Schema::new(arrow.schema().fields().clone()))
}

async fn metadata(folder: &Folder, file: &FileEntry) -> Result<Arc<ParquetMetaData>> {
    let mut bytes = FileBytes::open(folder, file.clone()).await?;
    bytes
        .metadata()
        .await
        .map_err(|error| unreadable(&file.path, error))
}

fn unreadable(path: &str, error: ParquetError) -> Error {
    match error {
        ParquetError::External(cause) => match cause.downcast::<Error>() {
            Ok(own) => *own,
            Err(cause) => Error::data(format!("file {path} cannot be read as Parquet"))
                .with_source(ParquetError::External(cause)),
        },
        error => Error::data(format!("file {path} is not a whole Parquet file")).with_source(error),
    }
}

/// The columns of the table bound to those of one file.
struct Binding {
    path: String,
    metadata: ArrowReaderMetadata,
    fields: Vec<FieldRef>,
    /// Columns of the file that are read, ascending.
    columns: Vec<usize>,
    /// For each field the position among [`Self::columns`]; none if the file lacks it.
    places: Vec<Option<usize>>,
}

impl Binding {
    fn new(
        path: &str,
        metadata: Arc<ParquetMetaData>,
        fields: Vec<FieldRef>,
    ) -> std::result::Result<Result<Self>, ParquetError> {
        let plain = ArrowReaderMetadata::try_new(Arc::clone(&metadata), ArrowReaderOptions::new())?;
        let found = Arc::clone(plain.schema());
        let indices: Vec<Option<usize>> = fields
            .iter()
            .map(|field| adapt::position(found.fields(), field.name()))
            .collect();
        for (field, index) in fields.iter().zip(&indices) {
            if let Some(index) = index
                && let Err(error) = adapt::check(path, found.field(*index).data_type(), field)
            {
                return Ok(Err(error));
            }
        }
        let mut columns: Vec<usize> = indices.iter().flatten().copied().collect();
        columns.sort_unstable();
        columns.dedup();
        let places = indices
            .iter()
            .map(|index| index.and_then(|index| columns.binary_search(&index).ok()))
            .collect();
        let metadata = match decode_as(&plain, &found, &fields, &indices) {
            // The decoder may not know the way; then the column is cast afterwards.
            Some(hint) => {
                ArrowReaderMetadata::try_new(metadata, ArrowReaderOptions::new().with_schema(hint))
                    .unwrap_or(plain)
            }
            None => plain,
        };
        Ok(Ok(Self {
            path: path.to_owned(),
            metadata,
            fields,
            columns,
            places,
        }))
    }

    fn decode(&self, batch: &RecordBatch) -> Result<Decoded> {
        let rows = batch.num_rows();
        let columns = self
            .fields
            .iter()
            .zip(&self.places)
            .map(|(field, place)| match place {
                Some(place) => adapt::adapt(&self.path, batch.column(*place), field),
                None => Ok(new_null_array(field.data_type(), rows)),
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Decoded {
            columns,
            corrupt: None,
            rows,
        })
    }

    /// Batches of a file that has none of the wanted columns: only the number of rows matters.
    fn rows_only(self, row_groups: Range<usize>) -> DecodedStream {
        let groups = &self.metadata.metadata().row_groups()[row_groups];
        let mut left: usize = groups
            .iter()
            .map(|group| usize::try_from(group.num_rows()).unwrap_or(0))
            .sum();
        let batches = std::iter::from_fn(move || {
            let rows = left.min(BATCH_ROWS);
            left -= rows;
            (rows > 0).then(|| {
                Ok(Decoded {
                    columns: self
                        .fields
                        .iter()
                        .map(|field| new_null_array(field.data_type(), rows))
                        .collect(),
                    corrupt: None,
                    rows,
                })
            })
        });
        stream::iter(batches).boxed()
    }
}

/// The file's schema with types that the decoder can give directly instead of a cast: other layouts of text and
/// bytes, and the legacy 96-bit timestamps, whose range nanoseconds do not cover.
fn decode_as(
    metadata: &ArrowReaderMetadata,
    found: &SchemaRef,
    fields: &[FieldRef],
    indices: &[Option<usize>],
) -> Option<SchemaRef> {
    let mut hinted: Vec<FieldRef> = found.fields().to_vec();
    let roots = metadata.parquet_schema().root_schema().get_fields();
    let mut differs = false;
    for (field, index) in fields.iter().zip(indices) {
        let Some(index) = *index else { continue };
        let (from, to) = (found.field(index).data_type(), field.data_type());
        let legacy = roots
            .get(index)
            .is_some_and(|root| root.is_primitive() && root.get_physical_type() == Type::INT96);
        let direct = match (from, to) {
            _ if from == to => false,
            (
                DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View,
                DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View,
            )
            | (
                DataType::Binary | DataType::LargeBinary | DataType::BinaryView,
                DataType::Binary | DataType::LargeBinary | DataType::BinaryView,
            ) => true,
            (DataType::Timestamp(_, _), DataType::Timestamp(_, _)) => legacy,
            _ => false,
        };
        if direct {
            hinted[index] = Arc::new(found.field(index).clone().with_data_type(to.clone()));
            differs = true;
        }
    }
    differs.then(|| {
        Arc::new(Schema::new_with_metadata(
            Fields::from(hinted),
            found.metadata().clone(),
        ))
    })
}

/// The bytes of one file, as the decoder asks for them.
struct FileBytes {
    folder: Folder,
    file: FileEntry,
    /// All of a small file.
    whole: Option<Bytes>,
}

impl FileBytes {
    async fn open(folder: &Folder, file: FileEntry) -> Result<Self> {
        let whole = if file.size <= SMALL_BYTES {
            Some(folder.read_one(&file, 0..file.size).await?)
        } else {
            None
        };
        Ok(Self {
            folder: folder.clone(),
            file,
            whole,
        })
    }

    async fn metadata(&mut self) -> std::result::Result<Arc<ParquetMetaData>, ParquetError> {
        self.get_metadata(None).await
    }
}

impl AsyncFileReader for FileBytes {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, parquet::errors::Result<Bytes>> {
        async move {
            let mut bytes = self.get_byte_ranges(vec![range]).await?;
            Ok(bytes.pop().unwrap_or_default())
        }
        .boxed()
    }

    fn get_byte_ranges(
        &mut self,
        ranges: Vec<Range<u64>>,
    ) -> BoxFuture<'_, parquet::errors::Result<Vec<Bytes>>> {
        async move {
            if let Some(range) = ranges
                .iter()
                .find(|range| range.end > self.file.size || range.start > range.end)
            {
                return Err(ParquetError::EOF(format!(
                    "bytes {} to {} are wanted, the file has {}",
                    range.start, range.end, self.file.size
                )));
            }
            if let Some(whole) = &self.whole {
                let slice = |range: Range<u64>| {
                    let at = |n: u64| {
                        usize::try_from(n).map_err(|error| ParquetError::External(error.into()))
                    };
                    Ok(whole.slice(at(range.start)?..at(range.end)?))
                };
                return ranges.into_iter().map(slice).collect();
            }
            self.folder
                .read(&self.file, ranges)
                .await
                .map_err(|error| ParquetError::External(Box::new(error)))
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, parquet::errors::Result<Arc<ParquetMetaData>>> {
        async move {
            let size = self.file.size;
            let metadata = ParquetMetaDataReader::new()
                .with_prefetch_hint(Some(FOOTER_BYTES))
                .load_and_finish(self, size)
                .await?;
            Ok(Arc::new(metadata))
        }
        .boxed()
    }
}
