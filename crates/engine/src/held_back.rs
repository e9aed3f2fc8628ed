//! A sink that is given nothing before the epoch's plan is durable.
//!
//! An epoch begins to read and compute while its plan is being recorded. What comes out waits here: a part that a crash
//! left behind always belongs to an epoch that a restart knows of.

use std::sync::Arc;

use async_trait::async_trait;
use futures::{StreamExt, join, stream};
use headwater_core::{BatchStream, EpochWrite, PartWrite, PreparedPart, Result, Sink};
use headwater_ops::runtime::PlanRecorded;

/// `sink`, whose parts begin when the plan is `recorded`.
pub(crate) fn held_back(sink: Arc<dyn Sink>, recorded: PlanRecorded) -> Arc<dyn Sink> {
    Arc::new(HeldBack {
        inner: sink,
        recorded,
    })
}

#[derive(Debug)]
struct HeldBack {
    inner: Arc<dyn Sink>,
    recorded: PlanRecorded,
}

#[async_trait]
impl Sink for HeldBack {
    fn description(&self) -> String {
        self.inner.description()
    }

    async fn prepare(&self, part: PartWrite, mut rows: BatchStream) -> Result<PreparedPart> {
        let mut recorded = self.recorded.clone();
        // To ask for the first rows is what makes the operators below work.
        let (recorded, first) = join!(recorded.wait(), rows.next());
        recorded?;
        let rows = stream::iter(first).chain(rows).boxed();
        self.inner.prepare(part, rows).await
    }

    async fn before_commit(
        &self,
        write: &EpochWrite,
        parts: Vec<PreparedPart>,
    ) -> Result<Vec<PreparedPart>> {
        self.inner.before_commit(write, parts).await
    }

    async fn publish(&self, write: &EpochWrite, parts: &[PreparedPart]) -> Result<()> {
        self.inner.publish(write, parts).await
    }

    async fn discard(&self, write: &EpochWrite) -> Result<()> {
        self.inner.discard(write).await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}

#[cfg(test)]
mod tests;
