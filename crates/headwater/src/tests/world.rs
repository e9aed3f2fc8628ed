//! Two streams and a checkpoint that outlive the programs that run queries over them.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use datafusion::arrow::util::display::array_value_to_string;
use headwater_core::{Epoch, Storage};
use headwater_log::MemoryStorage;

use super::{rows, schema};
use crate::{connect::memory::MemoryStream, engine::Settings, prelude::*};

/// A query as text, or over the stream `logs`.
#[derive(Clone, Copy)]
pub(super) enum Query {
    Sql(&'static str),
    Frame(fn(DataFrame) -> Result<DataFrame>),
}

/// A row of a stream: seconds, host, status.
pub(super) type Row = (i64, &'static str, i64);

/// What outlives a program.
pub(super) struct World {
    pub(super) logs: MemoryStream,
    pub(super) other: MemoryStream,
    pub(super) checkpoint: Arc<MemoryStorage>,
    pub(super) settings: Settings,
}

/// Rows that came out, as text, by epoch.
pub(super) type Output = BTreeMap<u64, Vec<String>>;

impl World {
    pub(super) fn new() -> Self {
        Self {
            logs: MemoryStream::new("logs", schema()),
            other: MemoryStream::new("other", schema()),
            checkpoint: Arc::new(MemoryStorage::new()),
            settings: Settings {
                state_partitions: Some(2),
                ..Settings::default()
            },
        }
    }

    /// A new program: `logs` and `other` are the streams, `l` and `r` the same with watermarks.
    pub(super) async fn session(&self) -> Result<Session> {
        let session = Session::builder().settings(self.settings.clone()).build()?;
        for (stream, view) in [(&self.logs, "l"), (&self.other, "r")] {
            session.register_memory_stream(stream)?;
            let marked = session
                .table(stream.name())
                .await?
                .with_watermark("time", "10 seconds");
            session.register_view(view, marked?)?;
        }
        Ok(session)
    }

    pub(super) fn storage(&self) -> Arc<dyn Storage> {
        Arc::clone(&self.checkpoint) as _
    }

    /// Starts a query in a new program.
    pub(super) async fn start(
        &self,
        query: Query,
        mode: OutputMode,
    ) -> Result<(StreamingQuery, Arc<Mutex<Output>>)> {
        let session = self.session().await?;
        let frame = match query {
            Query::Sql(text) => session.sql(text).await?,
            Query::Frame(change) => change(session.table("logs").await?)?,
        };
        let output = Arc::new(Mutex::new(Output::new()));
        let seen = Arc::clone(&output);
        let query = frame
            .write_stream()
            .output_mode(mode)
            .checkpoint(self.storage())
            .foreach_batch(move |frame, epoch: Epoch| {
                let seen = Arc::clone(&seen);
                async move {
                    let shown = shown(&frame.collect().await?);
                    seen.lock().expect("not poisoned").insert(epoch.0, shown);
                    Ok(())
                }
            })
            .start(None)
            .await?;
        Ok((query, output))
    }

    /// Runs a query in a new program until nothing is left to do.
    pub(super) async fn run(&self, query: Query, mode: OutputMode) -> Result<Output> {
        let (query, output) = self.start(query, mode).await?;
        query.process_all_available().await?;
        query.stop().await?;
        let output = output.lock().expect("not poisoned").clone();
        Ok(output)
    }
}

/// The answer of a query over finished tables.
pub(super) async fn answer(tables: &[(&str, &[Row])], text: &str) -> Result<Vec<String>> {
    let session = Session::new();
    for (name, content) in tables {
        session.register_batch(name, rows(content))?;
    }
    Ok(shown(&session.sql(text).await?.collect().await?))
}

/// Rows as text, sorted.
pub(super) fn shown(batches: &[RecordBatch]) -> Vec<String> {
    let mut shown = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let cells = batch.columns().iter();
            let cells = cells.map(|column| array_value_to_string(column, row).expect("a value"));
            shown.push(cells.collect::<Vec<_>>().join(" "));
        }
    }
    shown.sort();
    shown
}
