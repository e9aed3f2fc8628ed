//! Queries over topics, as tests write them.

use std::sync::Arc;

use headwater::{
    Error, Result, Storage, StreamingQuery,
    connect::memory::MemorySink,
    core::{Clock, SystemClock},
    prelude::*,
};
use headwater_log::MemoryStorage;

use super::broker::Broker;

/// A query that collects what it reads, and can be started again on its checkpoint.
pub(crate) struct Collecting {
    session: Session,
    servers: String,
    options: Vec<(String, String)>,
    checkpoint: Arc<dyn Storage>,
    sink: MemorySink,
}

impl Collecting {
    /// A query over topics, from their beginnings on unless the options say otherwise.
    pub(crate) fn new(broker: &Broker, options: &[(&str, &str)]) -> Self {
        let always = [
            ("startingOffsets", "earliest"),
            ("kafka.default.api.timeout.ms", "20000"),
        ];
        let options = always.iter().chain(options);
        Self {
            session: Session::new(),
            servers: broker.servers().to_owned(),
            options: options
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            checkpoint: Arc::new(MemoryStorage::new()),
            sink: MemorySink::new("rows"),
        }
    }

    /// Sets one more option, or another value.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.options.push((name.to_owned(), value.to_owned()));
    }

    /// The stream of the topics.
    pub(crate) fn stream(&self) -> Result<DataFrame> {
        self.session
            .read_stream()
            .format("kafka")
            .option("kafka.bootstrap.servers", &self.servers)
            .options(self.options.clone())
            .load(None::<&str>)
    }

    /// Starts the query.
    pub(crate) async fn start(&self, trigger: Trigger) -> Result<StreamingQuery> {
        self.start_with(self.stream()?, trigger).await
    }

    /// Starts it over something else than the bare messages.
    pub(crate) async fn start_with(
        &self,
        frame: DataFrame,
        trigger: Trigger,
    ) -> Result<StreamingQuery> {
        frame
            .write_stream()
            .sink(Arc::new(self.sink.provider()))
            .checkpoint(Arc::clone(&self.checkpoint))
            .trigger(trigger)
            .start(None::<&str>)
            .await
    }

    /// Reads what there is now.
    pub(crate) async fn catch_up(&self) -> Result<()> {
        let query = self.start(Trigger::available_now()).await?;
        query.await_termination().await
    }

    /// The error of a query that cannot go on.
    pub(crate) async fn failure(&self) -> Error {
        self.catch_up().await.expect_err("the query cannot go on")
    }

    /// The values of all rows so far, sorted.
    pub(crate) fn values(&self) -> Vec<String> {
        let mut values = values(&self.sink.batches());
        values.sort();
        values
    }

    /// How many rows each epoch had.
    pub(crate) fn sizes(&self) -> Vec<usize> {
        let rows = |epoch| {
            let batches = self.sink.rows_of(epoch).unwrap_or_default();
            batches.iter().map(RecordBatch::num_rows).sum()
        };
        self.sink.epochs().into_iter().map(rows).collect()
    }

    /// Waits until there are so many rows.
    pub(crate) async fn until(&self, query: &StreamingQuery, rows: usize) {
        let deadline = SystemClock::default();
        while self
            .sink
            .batches()
            .iter()
            .map(RecordBatch::num_rows)
            .sum::<usize>()
            < rows
        {
            assert!(
                query.is_active(),
                "the query has ended: {:?}",
                query.exception()
            );
            assert!(
                deadline.monotonic().as_secs() < 90,
                "waited for {rows} rows, found {:?}",
                self.values()
            );
            // The query's own waiting; what it finds is looked at then.
            let _ = query
                .await_termination_timeout(std::time::Duration::from_millis(5))
                .await;
        }
    }
}

/// The column `value` of rows as text.
pub(crate) fn values(batches: &[RecordBatch]) -> Vec<String> {
    batches
        .iter()
        .flat_map(|batch| {
            let column = batch.column_by_name("value").expect("a column value");
            let column = column
                .as_any()
                .downcast_ref::<datafusion::arrow::array::BinaryArray>()
                .expect("bytes");
            let texts = column.iter().map(|value| {
                let value = value.unwrap_or_default();
                String::from_utf8_lossy(value).into_owned()
            });
            texts.collect::<Vec<_>>()
        })
        .collect()
}

/// `prefix0`, `prefix1`, …
pub(crate) fn numbered(prefix: &str, numbers: std::ops::Range<usize>) -> Vec<String> {
    let mut texts: Vec<String> = numbers.map(|n| format!("{prefix}{n}")).collect();
    texts.sort();
    texts
}

/// Sends `prefix0`, … to a partition.
pub(crate) async fn send_numbered(
    broker: &Broker,
    topic: &str,
    partition: i32,
    prefix: &str,
    numbers: std::ops::Range<usize>,
) {
    let texts: Vec<String> = numbers.map(|n| format!("{prefix}{n}")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    broker.send_to(topic, partition, &texts).await;
}
