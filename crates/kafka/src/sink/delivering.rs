//! At least once: an epoch's messages are delivered and acknowledged before its commit record is written.
//!
//! A replay after a crash delivers them again. The producer is idempotent, so that retries within a run do not.

use std::sync::Arc;

use async_trait::async_trait;
use futures::TryStreamExt;
use headwater_core::{BatchStream, EpochWrite, PartWrite, PreparedPart, Result, Sink};
use serde_json::json;

use super::{columns::Columns, producer::Producer};

/// A sink without transactions.
#[derive(Debug)]
pub(super) struct DeliveringSink {
    name: String,
    columns: Columns,
    producer: Arc<Producer>,
}

impl DeliveringSink {
    pub(super) fn new(name: String, columns: Columns, producer: Arc<Producer>) -> Self {
        Self {
            name,
            columns,
            producer,
        }
    }
}

#[async_trait]
impl Sink for DeliveringSink {
    fn description(&self) -> String {
        self.name.clone()
    }

    async fn prepare(&self, part: PartWrite, mut rows: BatchStream) -> Result<PreparedPart> {
        let mut count = 0;
        while let Some(batch) = rows.try_next().await? {
            self.producer
                .send(part, count, &batch, &self.columns)
                .await?;
            count += batch.num_rows() as u64;
        }
        Ok(PreparedPart {
            partition: part.partition,
            rows: count,
            detail: json!(null),
        })
    }

    async fn before_commit(
        &self,
        _write: &EpochWrite,
        parts: Vec<PreparedPart>,
    ) -> Result<Vec<PreparedPart>> {
        self.producer.all_delivered().await?;
        Ok(parts)
    }

    async fn publish(&self, _write: &EpochWrite, _parts: &[PreparedPart]) -> Result<()> {
        Ok(())
    }

    /// What is delivered stays; what is queued is not sent any more.
    async fn discard(&self, _write: &EpochWrite) -> Result<()> {
        self.producer.drop_queue().await;
        Ok(())
    }
}
