//! The streaming side: headwater answers a query in epochs of a few files, with a checkpoint on the local disk.
//!
//! Figures come from where users find them, the progress reports and the files, not from counters inside the engine;
//! syncs are counted where they are made, in the storages of checkpoint and sink.

use std::{
    fs::{self, File},
    path::Path,
    sync::Arc,
};

use headwater::{
    Clock, DataFrame, Error, Options, Result, Session, Settings, StreamingQuery,
    StreamingQueryProgress, Trigger,
    connect::file::{FileFormat, FileSinkProvider},
    core::progress::StateOperatorProgress,
};
use headwater_log::store::{CountedStorage, counted_storage_for_url};
use parquet::file::reader::{FileReader, SerializedFileReader};

use crate::{
    machine,
    queries::{Query, Target},
    report::{Measurement, round},
    side_input,
    tables::Table,
};

/// The phase of [`StreamingQueryProgress::duration_ms`] that is a whole epoch.
const EPOCH: &str = "triggerExecution";

/// Runs `query` over the data set in `dir` until everything in it is answered, `files_per_trigger` files of each table
/// an epoch. Checkpoint and result are in temporary folders.
///
/// # Errors
/// `Invalid` if the data set lacks a table of the query or the query cannot run as a stream; otherwise the query's own.
pub async fn run(
    dir: &Path,
    query: &Query,
    files_per_trigger: u32,
    clock: &dyn Clock,
) -> Result<Measurement> {
    let folder = tempfile::tempdir()
        .map_err(|e| Error::unavailable("cannot create a folder for the query").with_source(e))?;
    let (checkpoint, out) = (folder.path().join("checkpoint"), folder.path().join("out"));
    let stores = Stores {
        checkpoint: storage(&checkpoint)?,
        out: storage(&out)?,
    };
    let session = session_over(dir, query, files_per_trigger)?;
    let device = machine::median_sync(folder.path(), clock)?;

    machine::reset_peak_rss();
    let start = clock.monotonic();
    let frame = frame(&session, query).await?;
    let running = write(frame, query, &stores, &out).await?;
    running.await_termination().await?;
    let seconds = (clock.monotonic() - start).as_secs_f64();

    let epochs = running.recent_progress();
    let measured = measure(Run {
        query,
        seconds,
        epochs: &epochs,
        checkpoint: &checkpoint,
        out: &out,
    })?;
    Ok(Measurement {
        peak_rss_bytes: machine::peak_rss(),
        syncs_per_epoch: Some(round(stores.syncs() as f64 / epochs.len().max(1) as f64)),
        device_file_ms: Some(round(device.as_secs_f64() * 1_000.0)),
        ..measured
    })
}

/// Where the query writes.
pub(crate) struct Stores {
    pub(crate) checkpoint: Arc<CountedStorage>,
    pub(crate) out: Arc<CountedStorage>,
}

impl Stores {
    fn syncs(&self) -> u64 {
        self.checkpoint.counts().syncs() + self.out.counts().syncs()
    }
}

fn storage(folder: &Path) -> Result<Arc<CountedStorage>> {
    let storage = counted_storage_for_url(text(folder)?, &Options::new())?;
    Ok(Arc::new(storage))
}

/// A session with the tables of `query` as streams.
pub(crate) fn session_over(dir: &Path, query: &Query, files_per_trigger: u32) -> Result<Session> {
    let session = session(None)?;
    for table in query.inputs {
        register(&session, dir, *table, files_per_trigger)?;
    }
    if query.side_input {
        session.register_batch(side_input::NAME, side_input::rows()?)?;
    }
    Ok(session)
}

pub(crate) fn session(state_partitions: Option<usize>) -> Result<Session> {
    let settings = Settings {
        state_partitions,
        // Every epoch's report counts.
        progress_history: usize::MAX,
        ..Settings::default()
    };
    Session::builder().settings(settings).build()
}

pub(crate) fn register(
    session: &Session,
    dir: &Path,
    table: Table,
    files_per_trigger: u32,
) -> Result<()> {
    let folder = dir.join(table.name());
    if !folder.is_dir() {
        return Err(Error::invalid(format!(
            "{} is not a folder of Parquet files: write a data set with `headwater-bench data`",
            folder.display()
        )));
    }
    let stream = session
        .read_stream()
        .schema(table.schema())
        .option("maxFilesPerTrigger", files_per_trigger)
        .parquet(text(&folder)?)?;
    session.register_view(table.name(), stream)
}

pub(crate) async fn frame(session: &Session, query: &Query) -> Result<DataFrame> {
    let frame = session.sql(query.stream).await?;
    match query.distinct_within_watermark {
        [] => Ok(frame),
        columns => frame.drop_duplicates_within_watermark(columns),
    }
}

pub(crate) async fn write(
    frame: DataFrame,
    query: &Query,
    stores: &Stores,
    out: &Path,
) -> Result<StreamingQuery> {
    let writer = frame
        .write_stream()
        .query_name(query.name)
        .output_mode(query.output_mode)
        .checkpoint(Arc::clone(&stores.checkpoint) as _)
        .trigger(Trigger::available_now());
    let partition_by = match query.target {
        Target::Noop => return writer.format("noop").start(None).await,
        Target::Parquet => Vec::new(),
        Target::PartitionedParquet(columns) => columns.iter().map(|&c| c.to_owned()).collect(),
    };
    let sink = FileSinkProvider::try_new(
        FileFormat::Parquet,
        text(out)?,
        Options::new(),
        partition_by,
    )?;
    let sink = sink.with_storage(Arc::clone(&stores.out) as _);
    writer.sink(Arc::new(sink)).start(None).await
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| {
        Error::invalid(format!(
            "{} is not UTF-8: choose a folder whose name is",
            path.display()
        ))
    })
}

/// A run that has ended.
#[derive(Debug, Clone, Copy)]
pub struct Run<'a> {
    /// The query that ran.
    pub query: &'a Query,
    /// From its start until it ended.
    pub seconds: f64,
    /// The reports of all its epochs.
    pub epochs: &'a [Arc<StreamingQueryProgress>],
    /// The folder of its checkpoint.
    pub checkpoint: &'a Path,
    /// The folder of its result, if the query keeps it.
    pub out: &'a Path,
}

/// Sums up a run. The caller adds the memory, which it must have reset before the run.
///
/// # Errors
/// `Data` if a file of the result is not Parquet, `Unavailable` if one cannot be read.
pub fn measure(run: Run<'_>) -> Result<Measurement> {
    let durations = run.epochs.iter().map(|epoch| {
        let millis = epoch.duration_ms.get(EPOCH).copied();
        millis.unwrap_or(epoch.batch_duration) as f64
    });
    let state = |size: fn(&StateOperatorProgress) -> u64| {
        let epochs = run.epochs.iter();
        epochs
            .map(|epoch| epoch.state_operators.iter().map(size).sum::<u64>())
            .max()
    };
    let measured = Measurement {
        engine: format!("headwater-{}", env!("CARGO_PKG_VERSION")),
        query: run.query.name.to_owned(),
        rows: run.epochs.iter().map(|epoch| epoch.num_input_rows).sum(),
        state_rows_max: state(|operator| operator.num_rows_total),
        state_bytes_max: state(|operator| operator.memory_used_bytes),
        checkpoint_bytes: Some(folder_bytes(run.checkpoint)?),
        rows_out: match run.query.target {
            Target::Parquet | Target::PartitionedParquet(_) => Some(parquet_rows(run.out)?),
            Target::Noop => None,
        },
        ..Measurement::default()
    };
    Ok(measured.with_durations(run.seconds, durations.collect()))
}

/// Bytes of all files below a folder.
fn folder_bytes(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    each_file(folder, &mut |file| {
        bytes += file.metadata().map_err(|e| cannot_read(file, e))?.len();
        Ok(())
    })?;
    Ok(bytes)
}

/// Rows of all Parquet files below a folder, by their footers.
pub(crate) fn parquet_rows(folder: &Path) -> Result<u64> {
    let mut rows = 0;
    // A query that gave nothing out has made no folder.
    if !folder.exists() {
        return Ok(rows);
    }
    each_file(folder, &mut |path| {
        if path.extension().is_some_and(|name| name == "parquet") {
            let file = File::open(path).map_err(|e| cannot_read(path, e))?;
            let reader = SerializedFileReader::new(file).map_err(|e| {
                Error::data(format!("{} is not a Parquet file", path.display())).with_source(e)
            })?;
            rows += u64::try_from(reader.metadata().file_metadata().num_rows()).unwrap_or(0);
        }
        Ok(())
    })?;
    Ok(rows)
}

fn each_file(folder: &Path, visit: &mut dyn FnMut(&Path) -> Result<()>) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(|e| cannot_read(folder, e))? {
        let path = entry.map_err(|e| cannot_read(folder, e))?.path();
        if path.is_dir() {
            each_file(&path, visit)?;
        } else {
            visit(&path)?;
        }
    }
    Ok(())
}

fn cannot_read(path: &Path, error: std::io::Error) -> Error {
    Error::unavailable(format!("cannot read {}", path.display())).with_source(error)
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering::{Equal, Less};

    use serde_json::json;

    use super::*;
    use crate::{
        batch,
        data::{self, DataSize},
        queries::select,
    };

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_stream_answers_as_the_batch_does_but_for_open_windows() {
        let dir = tempfile::tempdir().unwrap();
        // 20 seconds of event time: of the windows of 10 seconds, the first is closed at the end.
        let size = DataSize {
            events: 200_000,
            files: 4,
        };
        data::write(dir.path(), size).unwrap();
        let clock = headwater::core::SystemClock::default();
        // Sessions and windows that are open are held back; no bid of a key comes after the key was forgotten.
        let at_rest = [
            ("stateless", Equal),
            ("tumbling", Less),
            ("session", Less),
            ("running", Equal),
            ("join", Equal),
            ("dedup", Equal),
        ];
        for (name, stream_has) in at_rest {
            let query = select(&[name.to_owned()]).unwrap()[0];
            let stream = run(dir.path(), &query, 1, &clock).await.unwrap();
            let batch = batch::run(dir.path(), &query, &clock).await.unwrap();
            assert_eq!(stream.rows, batch.rows, "{name}");
            assert!(stream.triggers >= 4, "{name}");
            let rows_out = (stream.rows_out, batch.rows_out);
            assert_eq!(
                rows_out.0.cmp(&rows_out.1),
                stream_has,
                "{name}: {rows_out:?}"
            );
            assert!(stream.rows_out != Some(0), "{name}");
            assert!(stream.syncs_per_epoch > Some(1.0), "{name}");
        }
    }

    fn epoch(rows: u64, millis: u64, state_rows: u64) -> Arc<StreamingQueryProgress> {
        let nobody = "00000000-0000-0000-0000-000000000000";
        let operator = StateOperatorProgress {
            num_rows_total: state_rows,
            memory_used_bytes: state_rows * 100,
            ..StateOperatorProgress::default()
        };
        let report = json!({
            "id": nobody, "runId": nobody, "name": null, "timestamp": "", "batchId": 0, "batchDuration": millis,
            "numInputRows": rows, "inputRowsPerSecond": 0.0, "processedRowsPerSecond": 0.0,
            "durationMs": {EPOCH: millis}, "eventTime": {}, "stateOperators": [operator], "sources": [],
            "sink": {"description": "", "numOutputRows": 0},
        });
        Arc::new(serde_json::from_value(report).unwrap())
    }

    #[test]
    fn rows_state_and_output_are_summed_up() {
        let dir = tempfile::tempdir().unwrap();
        let size = DataSize {
            events: 1_000,
            files: 2,
        };
        data::write(dir.path(), size).unwrap();
        fs::write(dir.path().join("bid/.part-9"), "hidden").unwrap();
        let checkpoint = tempfile::tempdir().unwrap();
        fs::create_dir(checkpoint.path().join("state")).unwrap();
        fs::write(checkpoint.path().join("state/0"), [0; 123]).unwrap();
        fs::write(checkpoint.path().join("plan"), [0; 7]).unwrap();

        let query = select(&["tumbling".to_owned()]).unwrap()[0];
        let measured = measure(Run {
            query: &query,
            seconds: 2.0,
            epochs: &[epoch(600, 5, 40), epoch(400, 9, 70), epoch(0, 1, 30)],
            checkpoint: checkpoint.path(),
            out: &dir.path().join("bid"),
        })
        .unwrap();
        assert_eq!(measured.rows, 1_000);
        assert_eq!(measured.rows_per_s, 500);
        assert_eq!(measured.triggers, 3);
        assert_eq!(measured.trigger_ms_p50, Some(5.0));
        assert_eq!(measured.trigger_ms_max, Some(9.0));
        assert_eq!(measured.state_rows_max, Some(70));
        assert_eq!(measured.state_bytes_max, Some(7_000));
        assert_eq!(measured.checkpoint_bytes, Some(130));
        assert_eq!(measured.rows_out, Some(920));
        assert_eq!(parquet_rows(&dir.path().join("nothing")).unwrap(), 0);
    }
}
