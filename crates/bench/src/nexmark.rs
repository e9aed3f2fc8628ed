//! What a streaming run amounts to: the reports of its epochs and what it left on disk, as one [`Measurement`].
//!
//! Figures come from where users find them, the progress reports and the files, not from counters inside the engine.

use std::{
    fs::{self, File},
    path::Path,
};

use headwater_core::{Error, Result, StreamingQueryProgress, progress::StateOperatorProgress};
use parquet::file::reader::{FileReader, SerializedFileReader};

use crate::{
    queries::{Query, Target},
    report::Measurement,
};

/// The phase of [`StreamingQueryProgress::duration_ms`] that is a whole epoch.
const EPOCH: &str = "triggerExecution";

/// A run that has ended.
#[derive(Debug, Clone, Copy)]
pub struct Run<'a> {
    /// The query that ran.
    pub query: &'a Query,
    /// From its start until it ended.
    pub seconds: f64,
    /// The reports of all its epochs.
    pub epochs: &'a [StreamingQueryProgress],
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
            Target::Parquet => Some(parquet_rows(run.out)?),
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
fn parquet_rows(folder: &Path) -> Result<u64> {
    let mut rows = 0;
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
    use serde_json::json;

    use super::*;
    use crate::{
        data::{self, DataSize},
        queries::select,
    };

    fn epoch(rows: u64, millis: u64, state_rows: u64) -> StreamingQueryProgress {
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
        serde_json::from_value(report).unwrap()
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
    }
}
