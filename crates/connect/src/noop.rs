//! A sink that takes every row and keeps none: for measuring a query, or for running one for its state alone.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use futures::TryStreamExt;
use headwater_core::{
    BatchStream, EpochWrite, OutputMode, PartWrite, PreparedPart, Result, Sink, SinkContext,
    SinkProvider,
};

use crate::pending::prepared;

/// Makes the sink that keeps nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoopSinkProvider;

#[async_trait]
impl SinkProvider for NoopSinkProvider {
    fn identity(&self) -> String {
        "noop".to_owned()
    }

    fn check(&self, _mode: OutputMode, _schema: &SchemaRef) -> Result<()> {
        Ok(())
    }

    async fn create(&self, _context: SinkContext) -> Result<Arc<dyn Sink>> {
        Ok(Arc::new(NoopSink))
    }
}

#[derive(Debug)]
struct NoopSink;

#[async_trait]
impl Sink for NoopSink {
    fn description(&self) -> String {
        "NoopSink".to_owned()
    }

    async fn prepare(&self, part: PartWrite, rows: BatchStream) -> Result<PreparedPart> {
        let count = |sum, batch: arrow::array::RecordBatch| async move {
            Ok(sum + batch.num_rows() as u64)
        };
        Ok(prepared(part, rows.try_fold(0, count).await?))
    }

    async fn publish(&self, _write: &EpochWrite, _parts: &[PreparedPart]) -> Result<()> {
        Ok(())
    }

    async fn discard(&self, _write: &EpochWrite) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{deliver, sink_context, write};

    #[tokio::test]
    async fn rows_are_counted_and_dropped() {
        let context = sink_context(OutputMode::Append);
        let sink = NoopSinkProvider.create(context).await.expect("created");
        let parts = deliver(&*sink, &write(0, OutputMode::Append), &[&[1, 2], &[3]]).await;
        let rows: Vec<u64> = parts.iter().map(|part| part.rows).collect();
        assert_eq!(rows, [2, 1]);
    }
}
