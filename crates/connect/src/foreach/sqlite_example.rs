//! How to write a stream into a database exactly once: a running count per host, upserted into SQLite.
//!
//! The rows and the mark (query, epoch) go into the database in one transaction, and an epoch whose mark is there is
//! skipped. A crash before the transaction's commit leaves neither; a crash after it leaves both, and the replay of
//! the epoch changes nothing.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow::{
    array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray},
    datatypes::{DataType, Field, Int64Type, Schema, SchemaRef},
};
use futures::{StreamExt, stream};
use headwater_core::{
    EpochWrite, Error, OutputMode, Result, RunId, Sink, SinkContext, SinkProvider,
};
use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

use super::{EpochRows, ForeachBatchSinkProvider};
use crate::test_support::{part, sink_context, write};

/// A sink that keeps the newest count of each host in the table `counts` of an SQLite file.
fn sqlite_sink(database: PathBuf) -> ForeachBatchSinkProvider {
    ForeachBatchSinkProvider::new(move |rows| {
        let database = database.clone();
        async move {
            // SQLite blocks its thread, so it gets one where that does no harm.
            tokio::task::spawn_blocking(move || upsert(&database, &rows))
                .await
                .map_err(|error| Error::internal("the upsert died").with_source(error))?
                .map_err(|error| Error::unavailable("sqlite refused the epoch").with_source(error))
        }
    })
}

fn upsert(database: &Path, rows: &EpochRows) -> rusqlite::Result<()> {
    let mut connection = open(database)?;
    let transaction = connection.transaction()?;
    let (query, epoch) = (rows.query.to_string(), rows.epoch.0 as i64);
    let done: Option<i64> = transaction
        .query_row("SELECT epoch FROM done WHERE query = ?1", [&query], |row| {
            row.get(0)
        })
        .optional()?;
    if done.is_some_and(|done| epoch <= done) {
        return Ok(());
    }
    {
        let mut statement = transaction.prepare(
            "INSERT INTO counts (host, hits, writes) VALUES (?1, ?2, 1)
             ON CONFLICT (host) DO UPDATE SET hits = excluded.hits, writes = writes + 1",
        )?;
        for batch in &rows.batches {
            let hosts = batch.column(0).as_string::<i32>();
            let hits = batch.column(1).as_primitive::<Int64Type>();
            for row in 0..batch.num_rows() {
                statement.execute(params![hosts.value(row), hits.value(row)])?;
            }
        }
    }
    transaction.execute(
        "INSERT INTO done (query, epoch) VALUES (?1, ?2)
         ON CONFLICT (query) DO UPDATE SET epoch = excluded.epoch",
        params![query, epoch],
    )?;
    transaction.commit()
}

fn open(database: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(database)?;
    connection.execute_batch(
        "CREATE TABLE IF NOT EXISTS counts (host TEXT PRIMARY KEY, hits INTEGER, writes INTEGER);
         CREATE TABLE IF NOT EXISTS done (query TEXT PRIMARY KEY, epoch INTEGER);",
    )?;
    Ok(connection)
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("host", DataType::Utf8, true),
        Field::new("hits", DataType::Int64, true),
    ]))
}

/// Runs an epoch up to the point where it would be committed.
async fn run(sink: &dyn Sink, epoch: &EpochWrite, rows: &[(&str, i64)]) -> Result<()> {
    let (hosts, hits): (Vec<&str>, Vec<i64>) = rows.iter().copied().unzip();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(hosts)),
        Arc::new(Int64Array::from(hits)),
    ];
    let batch = RecordBatch::try_new(schema(), columns)?;
    let prepared = sink
        .prepare(part(epoch, 0), stream::iter([Ok(batch)]).boxed())
        .await?;
    sink.before_commit(epoch, vec![prepared]).await?;
    Ok(())
}

#[tokio::test]
async fn an_epoch_that_comes_again_after_a_crash_is_upserted_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let database = folder.path().join("counts.db");
    let context = || SinkContext {
        schema: schema(),
        ..sink_context(OutputMode::Update)
    };
    let first_run = sqlite_sink(database.clone()).create(context()).await;
    let first_run = first_run.expect("created");
    let epoch = |n| write(n, OutputMode::Update);
    run(&*first_run, &epoch(0), &[("a", 1), ("b", 1)])
        .await
        .expect("upserted");
    run(&*first_run, &epoch(1), &[("a", 5)])
        .await
        .expect("upserted");

    // The process dies before epoch 1 is committed; the next run plays it again, then goes on.
    let second_run = sqlite_sink(database.clone()).create(context()).await;
    let second_run = second_run.expect("created");
    let again = |n| EpochWrite {
        run: RunId(Uuid::from_u128(3)),
        ..epoch(n)
    };
    run(&*second_run, &again(1), &[("a", 5)])
        .await
        .expect("skipped");
    run(&*second_run, &again(2), &[("b", 2)])
        .await
        .expect("upserted");

    let connection = open(&database).expect("the database");
    let mut statement = connection
        .prepare("SELECT host, hits, writes FROM counts ORDER BY host")
        .expect("valid");
    let found: Vec<(String, i64, i64)> = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .and_then(Iterator::collect)
        .expect("rows");
    assert_eq!(found, [("a".into(), 5, 2), ("b".into(), 2, 2)]);
}

#[tokio::test]
async fn a_database_that_refuses_fails_the_epoch() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let provider = sqlite_sink(folder.path().to_owned());
    let sink = provider.create(sink_context(OutputMode::Update)).await;
    let sink = sink.expect("created");
    let result = run(&*sink, &write(0, OutputMode::Update), &[("a", 1)]).await;
    let error = result.expect_err("a folder is no database");
    assert!(
        error
            .message()
            .starts_with("foreach_batch in epoch 0: sqlite refused"),
        "{error}"
    );
}
