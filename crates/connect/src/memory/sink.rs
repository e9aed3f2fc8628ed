//! A sink that keeps what it receives, epoch by epoch, for a program to look at or a session to query.
//!
//! An epoch appears as a whole or not at all, and once, however often it is published. Append and update mode add
//! rows; complete mode replaces them. Nothing outlives the process: rows prepared by a process that died are gone.

use std::{collections::BTreeMap, fmt, sync::Arc};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use async_trait::async_trait;
use headwater_core::{
    BatchStream, Epoch, EpochWrite, Error, OutputMode, PartWrite, PreparedPart, QueryId, Result,
    Sink, SinkContext, SinkProvider,
};
use parking_lot::Mutex;

use super::MemorySinkTable;
use crate::pending::Pending;

/// Handle of a table in memory that a query writes; clones share the rows.
///
/// It shows one query at a time: when another query (not another run of the same) starts to write into it, the rows
/// of the one before go.
#[derive(Clone)]
pub struct MemorySink {
    shared: Arc<Shared>,
}

struct Shared {
    name: String,
    keeps_history: bool,
    pending: Pending,
    // Locked to copy pointers to batches only. One lock for all, so that an epoch appears at once.
    published: Mutex<Published>,
}

#[derive(Default)]
struct Published {
    writer: Option<(QueryId, SchemaRef, OutputMode)>,
    last: Option<Epoch>,
    epochs: BTreeMap<Epoch, Vec<RecordBatch>>,
}

impl fmt::Debug for MemorySink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemorySink")
            .field("name", &self.shared.name)
            .finish_non_exhaustive()
    }
}

impl MemorySink {
    /// An empty table that remembers the rows of every epoch, also those that complete mode has replaced.
    pub fn new(name: impl Into<String>) -> Self {
        Self::with_history(name.into(), true)
    }

    /// An empty table that keeps only what it shows: in complete mode, the last epoch.
    pub fn without_history(name: impl Into<String>) -> Self {
        Self::with_history(name.into(), false)
    }

    fn with_history(name: String, keeps_history: bool) -> Self {
        Self {
            shared: Arc::new(Shared {
                name,
                keeps_history,
                pending: Pending::default(),
                published: Mutex::default(),
            }),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// The columns; none before a query has started to write.
    pub fn schema(&self) -> Option<SchemaRef> {
        let published = self.shared.published.lock();
        published
            .writer
            .as_ref()
            .map(|(_, schema, _)| Arc::clone(schema))
    }

    /// The rows of the table: those of all epochs in order, in complete mode those of the last one.
    pub fn batches(&self) -> Vec<RecordBatch> {
        let published = self.shared.published.lock();
        match &published.writer {
            Some((_, _, OutputMode::Complete)) => published
                .epochs
                .last_key_value()
                .map(|(_, rows)| rows.clone())
                .unwrap_or_default(),
            _ => published.epochs.values().flatten().cloned().collect(),
        }
    }

    /// The published epochs whose rows are kept, in order.
    pub fn epochs(&self) -> Vec<Epoch> {
        self.shared
            .published
            .lock()
            .epochs
            .keys()
            .copied()
            .collect()
    }

    /// The rows that one epoch sent, partition after partition; `None` if it is not published or not kept.
    pub fn rows_of(&self, epoch: Epoch) -> Option<Vec<RecordBatch>> {
        self.shared.published.lock().epochs.get(&epoch).cloned()
    }

    /// Forgets all rows. Epochs that are published already do not come back.
    pub fn clear(&self) {
        self.shared.published.lock().epochs.clear();
    }

    /// The sink as a table of DataFusion: each scan shows the epochs published by then.
    ///
    /// # Errors
    /// [`headwater_core::ErrorKind::Invalid`] before a query has started to write: its columns are not known.
    pub fn table(&self) -> Result<MemorySinkTable> {
        let schema = self.schema().ok_or_else(|| {
            Error::invalid(format!(
                "memory sink '{}' has no columns yet: start the query that writes it first",
                self.shared.name
            ))
        })?;
        Ok(MemorySinkTable::new(self.clone(), schema))
    }

    /// The sink as a query is given it.
    pub fn provider(&self) -> MemorySinkProvider {
        MemorySinkProvider { sink: self.clone() }
    }

    fn bind(&self, context: &SinkContext) {
        let mut published = self.shared.published.lock();
        let same_query =
            matches!(&published.writer, Some((query, _, _)) if *query == context.query);
        if !same_query {
            *published = Published::default();
        }
        published.writer = Some((context.query, Arc::clone(&context.schema), context.mode));
    }
}

/// Gives a [`MemorySink`] to a query.
#[derive(Debug, Clone)]
pub struct MemorySinkProvider {
    sink: MemorySink,
}

impl MemorySinkProvider {
    /// The table the query will write.
    pub fn handle(&self) -> MemorySink {
        self.sink.clone()
    }
}

#[async_trait]
impl SinkProvider for MemorySinkProvider {
    fn identity(&self) -> String {
        format!("memory {}", self.sink.name())
    }

    fn check(&self, _mode: OutputMode, _schema: &SchemaRef) -> Result<()> {
        Ok(())
    }

    async fn create(&self, context: SinkContext) -> Result<Arc<dyn Sink>> {
        self.sink.bind(&context);
        Ok(Arc::new(self.sink.clone()))
    }
}

#[async_trait]
impl Sink for MemorySink {
    fn description(&self) -> String {
        format!("MemorySink[{}]", self.shared.name)
    }

    async fn prepare(&self, part: PartWrite, rows: BatchStream) -> Result<PreparedPart> {
        self.shared.pending.receive(part, rows).await
    }

    async fn publish(&self, write: &EpochWrite, parts: &[PreparedPart]) -> Result<()> {
        let rows = self.shared.pending.take(write);
        let mut published = self.shared.published.lock();
        if let Some((query, _, _)) = &published.writer
            && *query != write.query
        {
            return Err(Error::invalid(format!(
                "memory sink '{}' is written by query {query}, not by {} any more: give each query a sink of its own",
                self.shared.name, write.query
            )));
        }
        if published.last.is_some_and(|last| write.epoch <= last) {
            return Ok(());
        }
        let rows = rows.unwrap_or_else(|| {
            let lost: u64 = parts.iter().map(|part| part.rows).sum();
            if lost > 0 {
                tracing::warn!(
                    sink = self.shared.name,
                    epoch = write.epoch.0,
                    rows = lost,
                    "rows of a committed epoch were lost with the process that held them in memory"
                );
            }
            Vec::new()
        });
        if write.mode == OutputMode::Complete && !self.shared.keeps_history {
            published.epochs.clear();
        }
        published.epochs.insert(write.epoch, rows);
        published.last = Some(write.epoch);
        Ok(())
    }

    async fn discard(&self, write: &EpochWrite) -> Result<()> {
        self.shared.pending.discard(write);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::SessionContext;

    use super::*;
    use crate::test_support::{
        deliver, numbers, numbers_in, numbers_schema, part, rows_of, sink_context, write,
    };

    #[tokio::test]
    async fn append_adds_and_complete_replaces() {
        for (mode, expected) in [
            (OutputMode::Append, vec![1, 2, 3]),
            (OutputMode::Update, vec![1, 2, 3]),
            (OutputMode::Complete, vec![3]),
        ] {
            let handle = MemorySink::new("t");
            let sink = handle
                .provider()
                .create(sink_context(mode))
                .await
                .expect("created");
            deliver(&*sink, &write(0, mode), &[&[1], &[2]]).await;
            deliver(&*sink, &write(1, mode), &[&[3]]).await;
            assert_eq!(numbers_in(&handle.batches()), expected, "{mode}");
            let first = handle.rows_of(Epoch(0)).expect("kept");
            assert_eq!(numbers_in(&first), [1, 2], "{mode}");
            assert_eq!(handle.epochs(), [Epoch(0), Epoch(1)]);
        }
    }

    #[tokio::test]
    async fn complete_without_history_keeps_the_last_epoch_only() {
        let handle = MemorySink::without_history("t");
        let context = sink_context(OutputMode::Complete);
        let sink = handle.provider().create(context).await.expect("created");
        for epoch in 0..3 {
            deliver(&*sink, &write(epoch, OutputMode::Complete), &[&[1]]).await;
        }
        assert_eq!(handle.epochs(), [Epoch(2)]);
    }

    #[tokio::test]
    async fn an_epoch_appears_when_published_and_once() {
        let handle = MemorySink::new("t");
        let sink = handle
            .provider()
            .create(sink_context(OutputMode::Append))
            .await
            .expect("created");
        let dead = write(0, OutputMode::Append);
        let first = sink.prepare(part(&dead, 0), rows_of(&[7])).await;
        assert_eq!(first.expect("received").rows, 1);
        assert!(handle.batches().is_empty(), "prepared is not visible");
        sink.discard(&dead).await.expect("forgotten");
        let alive = EpochWrite {
            run: headwater_core::RunId(uuid::Uuid::from_u128(9)),
            ..dead
        };
        let parts = deliver(&*sink, &alive, &[&[8]]).await;
        sink.publish(&alive, &parts).await.expect("again");
        assert_eq!(numbers_in(&handle.batches()), [8]);
    }

    #[tokio::test]
    async fn another_query_starts_with_an_empty_table() {
        let handle = MemorySink::new("t");
        let context = sink_context(OutputMode::Append);
        let sink = handle
            .provider()
            .create(context.clone())
            .await
            .expect("created");
        let mine = write(0, OutputMode::Append);
        deliver(&*sink, &mine, &[&[1]]).await;
        let restarted = handle.provider().create(context.clone()).await;
        assert!(restarted.is_ok());
        assert_eq!(
            numbers_in(&handle.batches()),
            [1],
            "a restart keeps the rows"
        );
        let other = SinkContext {
            query: QueryId(uuid::Uuid::from_u128(77)),
            ..context
        };
        handle.provider().create(other).await.expect("created");
        assert!(handle.batches().is_empty());
        let error = sink.publish(&mine, &[]).await.expect_err("replaced");
        assert!(error.message().contains("a sink of its own"), "{error}");
    }

    #[tokio::test]
    async fn sql_sees_what_is_published_at_the_time_of_the_query() {
        let handle = MemorySink::new("t");
        assert!(handle.table().is_err(), "no query, no columns");
        let sink = handle
            .provider()
            .create(sink_context(OutputMode::Append))
            .await
            .expect("created");
        let session = SessionContext::new();
        let table = handle.table().expect("columns are known");
        session
            .register_table("t", Arc::new(table))
            .expect("registered");
        for (epoch, expected) in [(0, vec![4]), (1, vec![4, 5])] {
            let added = [4 + epoch as i64];
            deliver(&*sink, &write(epoch, OutputMode::Append), &[&added]).await;
            let frame = session.sql("SELECT n FROM t WHERE n > 3 ORDER BY n").await;
            let found = frame.expect("valid").collect().await.expect("runs");
            assert_eq!(numbers_in(&found), expected);
        }
        assert_eq!(numbers(&[1]).schema(), numbers_schema());
    }
}
