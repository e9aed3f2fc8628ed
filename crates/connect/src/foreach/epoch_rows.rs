//! `foreach_batch`: a function of the user's that is called once with all rows of an epoch.

use std::{fmt, future::Future, sync::Arc};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use async_trait::async_trait;
use datafusion::prelude::{DataFrame, SessionContext};
use futures::future::BoxFuture;
use headwater_core::{
    BatchStream, Epoch, EpochWrite, Error, OutputMode, PartWrite, PreparedPart, QueryId, Result,
    Sink, SinkContext, SinkProvider,
};

use crate::{pending::Pending, user_code};

/// All rows of one epoch, held in memory.
#[derive(Debug, Clone)]
pub struct EpochRows {
    /// The query; the same after a restart.
    pub query: QueryId,
    /// The epoch; the same when it comes again after a crash.
    pub epoch: Epoch,
    /// Columns of the rows.
    pub schema: SchemaRef,
    /// The rows, partition after partition.
    pub batches: Vec<RecordBatch>,
}

impl EpochRows {
    /// How many rows there are.
    pub fn num_rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    /// The rows as a static table of `session`.
    ///
    /// # Errors
    /// [`headwater_core::ErrorKind::Internal`] if DataFusion refuses the rows.
    pub fn into_frame(self, session: &SessionContext) -> Result<DataFrame> {
        let frame = if self.batches.is_empty() {
            session.read_batch(RecordBatch::new_empty(self.schema))
        } else {
            session.read_batches(self.batches)
        };
        frame.map_err(|error| {
            Error::internal(format!("the rows of epoch {} make no table", self.epoch))
                .with_source(error)
        })
    }
}

type EpochFn = dyn Fn(EpochRows) -> BoxFuture<'static, Result<()>> + Send + Sync;

/// The `foreach_batch` sink.
///
/// ```
/// use headwater_connect::foreach::{EpochRows, ForeachBatchSinkProvider};
///
/// let sink = ForeachBatchSinkProvider::new(|rows: EpochRows| async move {
///     println!("epoch {} has {} rows", rows.epoch, rows.num_rows());
///     Ok(())
/// });
/// ```
#[derive(Clone)]
pub struct ForeachBatchSinkProvider {
    function: Arc<EpochFn>,
}

impl fmt::Debug for ForeachBatchSinkProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForeachBatchSinkProvider")
            .finish_non_exhaustive()
    }
}

impl ForeachBatchSinkProvider {
    /// A sink that awaits `function` once for each epoch, epochs without rows included. Only after it has returned
    /// `Ok` is the epoch committed.
    pub fn new<F, Done>(function: F) -> Self
    where
        F: Fn(EpochRows) -> Done + Send + Sync + 'static,
        Done: Future<Output = Result<()>> + Send + 'static,
    {
        Self {
            function: Arc::new(move |rows| Box::pin(function(rows))),
        }
    }
}

#[async_trait]
impl SinkProvider for ForeachBatchSinkProvider {
    fn identity(&self) -> String {
        "foreach_batch".to_owned()
    }

    fn check(&self, _mode: OutputMode, _schema: &SchemaRef) -> Result<()> {
        Ok(())
    }

    async fn create(&self, context: SinkContext) -> Result<Arc<dyn Sink>> {
        Ok(Arc::new(ForeachBatchSink {
            settings: self.clone(),
            schema: context.schema,
            pending: Pending::default(),
        }))
    }
}

#[derive(Debug)]
struct ForeachBatchSink {
    settings: ForeachBatchSinkProvider,
    schema: SchemaRef,
    pending: Pending,
}

#[async_trait]
impl Sink for ForeachBatchSink {
    fn description(&self) -> String {
        "ForeachBatchSink".to_owned()
    }

    async fn prepare(&self, part: PartWrite, rows: BatchStream) -> Result<PreparedPart> {
        self.pending.receive(part, rows).await
    }

    async fn before_commit(
        &self,
        write: &EpochWrite,
        parts: Vec<PreparedPart>,
    ) -> Result<Vec<PreparedPart>> {
        let rows = EpochRows {
            query: write.query,
            epoch: write.epoch,
            schema: Arc::clone(&self.schema),
            batches: self.pending.peek(write).unwrap_or_default(),
        };
        let what = format!("foreach_batch in epoch {}", write.epoch);
        user_code::run(&what, async { (self.settings.function)(rows).await }).await?;
        // Only now: were the call to fail and be tried again, the rows would still be needed.
        self.pending.discard(write);
        Ok(parts)
    }

    async fn publish(&self, _write: &EpochWrite, _parts: &[PreparedPart]) -> Result<()> {
        Ok(())
    }

    async fn discard(&self, write: &EpochWrite) -> Result<()> {
        self.pending.discard(write);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;
    use crate::test_support::{deliver, numbers_in, part, rows_of, sink_context, write};

    #[tokio::test]
    async fn the_function_gets_all_partitions_in_order_once_per_attempt() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        let provider = ForeachBatchSinkProvider::new(move |rows| {
            let log = Arc::clone(&log);
            async move {
                log.lock().push((rows.epoch.0, numbers_in(&rows.batches)));
                Ok(())
            }
        });
        let context = sink_context(OutputMode::Append);
        let sink = provider.create(context).await.expect("created");
        let epoch = write(0, OutputMode::Append);
        // Partitions may finish in any order.
        let last = sink.prepare(part(&epoch, 1), rows_of(&[3])).await;
        let first = sink.prepare(part(&epoch, 0), rows_of(&[1, 2])).await;
        let parts = vec![first.expect("received"), last.expect("received")];
        let parts = sink
            .before_commit(&epoch, parts)
            .await
            .expect("the function is content");
        sink.publish(&epoch, &parts).await.expect("nothing to do");
        deliver(&*sink, &write(1, OutputMode::Append), &[&[]]).await;
        assert_eq!(*seen.lock(), [(0, vec![1, 2, 3]), (1, vec![])]);
    }

    #[tokio::test]
    async fn a_failing_function_fails_the_epoch_before_its_commit() {
        let provider =
            ForeachBatchSinkProvider::new(|_| async { Err(Error::unavailable("no disk")) });
        let context = sink_context(OutputMode::Append);
        let sink = provider.create(context).await.expect("created");
        let result = sink
            .before_commit(&write(3, OutputMode::Append), vec![])
            .await;
        let error = result.expect_err("the function fails");
        assert_eq!(error.message(), "foreach_batch in epoch 3: no disk");
    }

    #[tokio::test]
    async fn rows_can_be_queried_as_a_frame_even_when_there_are_none() {
        let session = SessionContext::new();
        for values in [&[1, 2][..], &[]] {
            let batches = vec![crate::test_support::numbers(values)];
            let rows = EpochRows {
                query: write(0, OutputMode::Append).query,
                epoch: Epoch(0),
                schema: crate::test_support::numbers_schema(),
                batches: if values.is_empty() { vec![] } else { batches },
            };
            let frame = rows.into_frame(&session).expect("a table");
            assert_eq!(frame.count().await.expect("counted"), values.len());
        }
    }
}
