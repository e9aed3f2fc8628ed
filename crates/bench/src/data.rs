//! Writes Nexmark events as Parquet files: a folder a table, files `part-00000.parquet` and on.
//!
//! The same arguments give the same rows in the same files, on any number of cores: file `i` of `F` holds, in every
//! table, what the events from `i * N / F` up to `(i + 1) * N / F` hold, so that the tables' files cover the same
//! span of event time. The generator mixes the order of events within groups of 1,000 (100 ms of event time).

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use headwater_core::{Error, Result};
use nexmark::{EventGenerator, config::NexmarkConfig};
use parquet::{
    arrow::ArrowWriter,
    basic::Compression,
    file::properties::{WriterProperties, WriterPropertiesBuilder},
};

use crate::tables::{Rows, Table, table_of};

/// Rows of a row group.
const ROW_GROUP: usize = 131_072;
/// Rows handed to the Parquet writer at once: bounds the memory of the builders.
const BATCH: usize = 8_192;
/// 2025-01-01T00:00:00Z in milliseconds: the time of the first event.
const BASE_TIME_MILLIS: u64 = 1_735_689_600_000;

/// How much to write.
#[derive(Debug, Clone, Copy)]
pub struct DataSize {
    /// Events over all tables.
    pub events: u64,
    /// Files of each table.
    pub files: u64,
}

/// Rows written to each table, in the order of [`Table::ALL`].
pub type RowCounts = [u64; 3];

/// Writes the data set into `dir`, which is created.
///
/// # Errors
/// `Invalid` if `dir` already holds one of the tables or there are more files than events; `Unavailable` if a file
/// cannot be written. What was written before an error stays.
pub fn write(dir: &Path, size: DataSize) -> Result<RowCounts> {
    if size.files == 0 || size.files > size.events {
        return Err(Error::invalid(format!(
            "cannot spread {} events over {} files: give at least one file and one event a file",
            size.events, size.files
        )));
    }
    for table in Table::ALL {
        create_folder(&dir.join(table.name()))?;
    }
    let next = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let counts = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| scope.spawn(|| write_files(dir, size, &next)))
            .collect();
        workers
            .into_iter()
            .map(|worker| {
                worker
                    .join()
                    .unwrap_or_else(|_| Err(Error::internal("a thread that wrote files panicked")))
            })
            .collect::<Result<Vec<_>>>()
    })?;
    Ok(counts.into_iter().fold([0; 3], add))
}

fn add(a: RowCounts, b: RowCounts) -> RowCounts {
    std::array::from_fn(|i| a[i] + b[i])
}

/// Creates an empty folder: files of an older, larger data set among new ones would go unnoticed.
fn create_folder(folder: &Path) -> Result<()> {
    let exists = fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
    if exists {
        return Err(Error::invalid(format!(
            "{} is not empty: name a folder without a data set",
            folder.display()
        )));
    }
    fs::create_dir_all(folder).map_err(|e| cannot_write(folder, e))
}

/// Takes file numbers from `next` until none is left.
fn write_files(dir: &Path, size: DataSize, next: &AtomicU64) -> Result<RowCounts> {
    let mut counts = [0; 3];
    loop {
        let file = next.fetch_add(1, Ordering::Relaxed);
        if file >= size.files {
            return Ok(counts);
        }
        counts = add(counts, write_file(dir, size, file)?);
    }
}

fn write_file(dir: &Path, size: DataSize, file: u64) -> Result<RowCounts> {
    let mut parts = Vec::with_capacity(Table::ALL.len());
    for table in Table::ALL {
        parts.push(Part::create(dir, table, file)?);
    }
    let bound = |file: u64| u128::from(size.events) * u128::from(file) / u128::from(size.files);
    let (start, end) = (bound(file) as u64, bound(file + 1) as u64);
    let events = EventGenerator::new(config()).with_offset(start);
    for event in events.take((end - start) as usize) {
        parts[table_of(&event) as usize].push(&event)?;
    }
    let mut counts = [0; 3];
    for (count, part) in counts.iter_mut().zip(parts) {
        *count = part.finish()?;
    }
    Ok(counts)
}

pub(crate) fn config() -> NexmarkConfig {
    NexmarkConfig {
        out_of_order_group_size: 1_000,
        base_time: BASE_TIME_MILLIS,
        ..NexmarkConfig::default()
    }
}

fn properties() -> WriterPropertiesBuilder {
    WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_max_row_group_row_count(Some(ROW_GROUP))
}

/// One file of one table being written.
struct Part {
    path: PathBuf,
    rows: Rows,
    writer: ArrowWriter<File>,
    written: u64,
}

impl Part {
    fn create(dir: &Path, table: Table, file: u64) -> Result<Self> {
        let path = dir
            .join(table.name())
            .join(format!("part-{file:05}.parquet"));
        let sink = File::create_new(&path).map_err(|e| cannot_write(&path, e))?;
        let writer = ArrowWriter::try_new(sink, table.schema(), Some(properties().build()))
            .map_err(|e| cannot_write(&path, e))?;
        Ok(Self {
            path,
            rows: Rows::new(table),
            writer,
            written: 0,
        })
    }

    fn push(&mut self, event: &nexmark::event::Event) -> Result<()> {
        self.rows.push(event);
        if self.rows.len() == BATCH {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let batch = self.rows.finish()?;
        self.written += batch.num_rows() as u64;
        self.writer
            .write(&batch)
            .map_err(|e| cannot_write(&self.path, e))
    }

    fn finish(mut self) -> Result<u64> {
        self.flush()?;
        self.writer
            .close()
            .map_err(|e| cannot_write(&self.path, e))?;
        Ok(self.written)
    }
}

fn cannot_write(path: &Path, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::unavailable(format!("cannot write {}", path.display())).with_source(error)
}

#[cfg(test)]
mod tests {
    use parquet::file::reader::{FileReader, SerializedFileReader};

    use super::*;

    fn rows_by_file(dir: &Path, table: Table) -> Vec<i64> {
        let mut paths: Vec<_> = fs::read_dir(dir.join(table.name()))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        paths.sort();
        let rows = |path: &PathBuf| {
            let reader = SerializedFileReader::new(File::open(path).unwrap()).unwrap();
            reader.metadata().file_metadata().num_rows()
        };
        paths.iter().map(rows).collect()
    }

    #[test]
    fn of_50_events_46_are_bids_3_auctions_and_1_a_person() {
        let dir = tempfile::tempdir().unwrap();
        let size = DataSize {
            events: 10_000,
            files: 4,
        };
        assert_eq!(write(dir.path(), size).unwrap(), [9_200, 600, 200]);
        for (table, rows) in [
            (Table::Bid, 9_200),
            (Table::Auction, 600),
            (Table::Person, 200),
        ] {
            let files = rows_by_file(dir.path(), table);
            assert_eq!(files.len(), 4);
            assert_eq!(files.iter().sum::<i64>(), rows, "{table}");
        }
    }

    #[test]
    fn more_files_hold_the_same_events() {
        let (one, many) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let rows = |dir: &Path, files| {
            let size = DataSize {
                events: 2_500,
                files,
            };
            write(dir, size).unwrap()
        };
        assert_eq!(rows(one.path(), 1), rows(many.path(), 7));
        let text = |dir: &Path| {
            let mut paths: Vec<_> = fs::read_dir(dir.join("bid"))
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .collect();
            paths.sort();
            let batches = paths.iter().flat_map(|path| {
                let file = File::open(path).unwrap();
                parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file)
                    .unwrap()
                    .build()
                    .unwrap()
            });
            let batches: Vec<_> = batches.map(|batch| batch.unwrap()).collect();
            arrow::util::pretty::pretty_format_batches(&batches)
                .unwrap()
                .to_string()
        };
        assert_eq!(text(one.path()), text(many.path()));
    }

    #[test]
    fn a_folder_that_holds_data_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let size = DataSize {
            events: 50,
            files: 1,
        };
        write(dir.path(), size).unwrap();
        let error = write(dir.path(), size).unwrap_err();
        assert_eq!(error.kind(), headwater_core::ErrorKind::Invalid);
    }

    #[test]
    fn more_files_than_events_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let size = DataSize {
            events: 3,
            files: 4,
        };
        assert!(write(dir.path(), size).is_err());
    }
}
