//! The limit: DataFusion itself answers a query over all files as one batch, with two partitions.
//!
//! As in the streaming runs, the clock starts when the tables' schemas are known, includes planning, and stops when
//! the last output file is closed. Nothing is synced.

use std::path::Path;

use datafusion::{
    arrow::{array::AsArray, datatypes::UInt64Type},
    config::TableParquetOptions,
    dataframe::{DataFrame, DataFrameWriteOptions},
    error::DataFusionError,
    prelude::{ParquetReadOptions, SessionConfig, SessionContext},
};
use futures::TryStreamExt;
use headwater_core::{Clock, Error, Result};
use tokio::task::JoinSet;

use crate::{
    machine,
    queries::{Query, Target},
    report::Measurement,
    side_input,
    tables::Table,
};

/// Partitions of every plan: the cores of the machine that the recorded figures are from.
const PARTITIONS: usize = 2;

/// Answers `query` over the data set in `dir`, writing files into a temporary folder.
///
/// # Errors
/// `Invalid` if the data set lacks a table of the query; `Data` if the query fails.
pub async fn run(dir: &Path, query: &Query, clock: &dyn Clock) -> Result<Measurement> {
    let session = session(dir, query).await?;
    let mut rows = 0;
    for table in query.inputs {
        let frame = session.table(table.name()).await.map_err(failed(query))?;
        rows += frame.count().await.map_err(failed(query))? as u64;
    }
    let out = tempfile::tempdir()
        .map_err(|e| Error::unavailable("cannot create a folder for the result").with_source(e))?;

    machine::reset_peak_rss();
    let start = clock.monotonic();
    let frame = session.sql(query.batch).await.map_err(failed(query))?;
    let folders = match query.target {
        Target::Parquet => Some(&[] as &[&str]),
        Target::PartitionedParquet(columns) => Some(columns),
        Target::Noop => None,
    };
    let rows_out = if let Some(columns) = folders {
        let written = write(frame, out.path(), columns).await;
        Some(written.map_err(failed(query))?)
    } else {
        drain(frame).await.map_err(failed(query))?;
        None
    };
    let seconds = (clock.monotonic() - start).as_secs_f64();

    let measured = Measurement {
        engine: format!("datafusion-{}-batch", datafusion::DATAFUSION_VERSION),
        query: query.name.to_owned(),
        rows,
        rows_out,
        peak_rss_bytes: machine::peak_rss(),
        ..Measurement::default()
    };
    Ok(measured.with_durations(seconds, vec![seconds * 1_000.0]))
}

/// A session with the tables of `query`.
pub(crate) async fn session(dir: &Path, query: &Query) -> Result<SessionContext> {
    let session =
        SessionContext::new_with_config(SessionConfig::new().with_target_partitions(PARTITIONS));
    for table in query.inputs {
        register(&session, dir, *table).await?;
    }
    if query.side_input {
        let registered = session.register_batch(side_input::NAME, side_input::rows()?);
        registered.map_err(failed(query))?;
    }
    Ok(session)
}

async fn register(session: &SessionContext, dir: &Path, table: Table) -> Result<()> {
    let folder = dir.join(table.name());
    let path = folder.to_str().filter(|_| folder.is_dir()).ok_or_else(|| {
        Error::invalid(format!(
            "{} is not a folder of Parquet files: write a data set with `headwater-bench data`",
            folder.display()
        ))
    })?;
    // With the slash DataFusion takes the path for a folder, whatever its name looks like.
    session
        .register_parquet(
            table.name(),
            format!("{path}/"),
            ParquetReadOptions::default(),
        )
        .await
        .map_err(|e| Error::data(format!("cannot read table {table}")).with_source(e))
}

/// Writes the result as Snappy-compressed files, as the streaming sinks do, and counts its rows.
async fn write(frame: DataFrame, out: &Path, folders: &[&str]) -> Result<u64, DataFusionError> {
    let mut options = TableParquetOptions::default();
    options.global.compression = Some("snappy".to_owned());
    let path = format!("{}/", out.display());
    let folders = folders.iter().map(|&column| column.to_owned());
    let writing = DataFrameWriteOptions::new().with_partition_by(folders.collect());
    let counts = frame.write_parquet(&path, writing, Some(options)).await?;
    Ok(counts
        .iter()
        .flat_map(|batch| batch.column(0).as_primitive::<UInt64Type>().values())
        .sum())
}

/// Makes all rows and drops them, each partition in a task of its own.
async fn drain(frame: DataFrame) -> Result<(), DataFusionError> {
    let mut tasks = JoinSet::new();
    for stream in frame.execute_stream_partitioned().await? {
        tasks.spawn(stream.try_for_each(|_| async { Ok(()) }));
    }
    while let Some(ended) = tasks.join_next().await {
        ended.map_err(|e| DataFusionError::External(Box::new(e)))??;
    }
    Ok(())
}

fn failed(query: &Query) -> impl Fn(DataFusionError) -> Error + use<> {
    let name = query.name;
    move |error| Error::data(format!("query {name} failed as a batch")).with_source(error)
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::Int64Type;
    use headwater_core::SystemClock;

    use super::*;
    use crate::{
        data::{self, DataSize},
        queries::QUERIES,
    };

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn every_query_answers_over_a_small_data_set() {
        let dir = tempfile::tempdir().unwrap();
        let size = DataSize {
            events: 20_000,
            files: 3,
        };
        data::write(dir.path(), size).unwrap();
        for query in QUERIES {
            let measured = run(dir.path(), &query, &SystemClock::default())
                .await
                .unwrap();
            let read = query.inputs.iter().map(|table| match table {
                Table::Bid => 18_400,
                Table::Auction => 1_200,
                Table::Person => 400,
            });
            assert_eq!(measured.rows, read.sum::<u64>(), "{}", query.name);
            match query.target {
                Target::Parquet | Target::PartitionedParquet(_) => {
                    assert!(measured.rows_out.unwrap() > 0, "{}", query.name)
                }
                Target::Noop => assert_eq!(measured.rows_out, None),
            }
        }
    }

    #[tokio::test]
    async fn a_bid_counts_in_each_of_its_five_windows() {
        let dir = tempfile::tempdir().unwrap();
        let size = DataSize {
            events: 5_000,
            files: 1,
        };
        data::write(dir.path(), size).unwrap();
        let session = SessionContext::new();
        register(&session, dir.path(), Table::Bid).await.unwrap();
        let count = async |name: &str| {
            let query = &crate::queries::select(&[name.to_owned()]).unwrap()[0];
            let sql = format!("SELECT sum(bids) FROM ({})", query.batch);
            let answer = session.sql(&sql).await.unwrap().collect().await.unwrap();
            answer[0].column(0).as_primitive::<Int64Type>().value(0)
        };
        assert_eq!(count("tumbling").await, 4_600);
        assert_eq!(count("sliding").await, 5 * 4_600);
        assert_eq!(count("session").await, 4_600);
    }

    #[tokio::test]
    async fn a_missing_table_is_named_with_its_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let query = crate::queries::select(&["tumbling".to_owned()]).unwrap()[0];
        let error = run(dir.path(), &query, &SystemClock::default())
            .await
            .unwrap_err();
        assert!(error.message().contains("headwater-bench data"), "{error}");
    }
}
