//! A folder of files as a sink: every committed epoch appears in it exactly once.
//!
//! Files are written hidden and durable (`part`), listed in the commit record, and get their names when the epoch is
//! published; the storage makes both steps repeatable. Names are those of one attempt (`naming`), so a replayed epoch
//! can never meet files of the attempt that died. Nothing visible is ever changed or removed.

mod complete;
mod dictionaries;
mod encode;
mod naming;
mod options;
mod part;
mod partition;
mod provider;

#[cfg(test)]
mod crash;
#[cfg(test)]
mod tests;

use async_trait::async_trait;
use futures::StreamExt;
use headwater_core::{
    BatchStream, Epoch, EpochWrite, Error, PartWrite, Prepared, PreparedPart, Result, Sink,
};
use serde::{Deserialize, Serialize};

pub use complete::{whole_epochs, whole_epochs_in};
pub use provider::FileSinkProvider;

use complete::CompleteMark;
use part::{FileKind, PartFiles};
use partition::Partitioning;

/// What stands in [`PreparedPart::detail`].
#[derive(Debug, Serialize, Deserialize)]
struct Detail {
    files: Vec<Prepared>,
}

/// A folder of files, for one run of one query; made by [`FileSinkProvider`].
#[derive(Debug)]
pub struct FileSink {
    place: String,
    kind: FileKind,
    partitioning: Partitioning,
    complete: CompleteMark,
    /// The newest epoch that was whole when the run started.
    published: Option<Epoch>,
}

impl FileSink {
    /// Refuses an epoch that is in the folder already.
    fn check_is_new(&self, epoch: Epoch) -> Result<()> {
        match self.published {
            Some(published) if epoch <= published => Err(Error::data(format!(
                "epoch {epoch} is to be written to {}, where all epochs up to {published} are already: the checkpoint has \
                 lost its newest records or is an old copy; put the newest one back, or write to another folder",
                self.place
            ))),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl Sink for FileSink {
    fn description(&self) -> String {
        format!("FileSink[{}]", self.place)
    }

    async fn prepare(&self, part: PartWrite, mut batches: BatchStream) -> Result<PreparedPart> {
        self.check_is_new(part.write.epoch)?;
        let mut files = PartFiles::new(&self.kind, part);
        let mut rows = 0;
        while let Some(batch) = batches.next().await {
            let batch = batch?;
            if batch.num_rows() == 0 {
                continue;
            }
            rows += batch.num_rows() as u64;
            for (folder, batch) in self.partitioning.split(&batch)? {
                files.write(folder, &batch).await?;
            }
        }
        let files = files.finish().await?;
        Ok(PreparedPart {
            partition: part.partition,
            rows,
            detail: serde_json::to_value(Detail { files })?,
        })
    }

    async fn publish(&self, write: &EpochWrite, parts: &[PreparedPart]) -> Result<()> {
        let mut files = Vec::new();
        for part in parts {
            let detail = Detail::deserialize(&part.detail).map_err(|error| {
                Error::data(format!(
                    "the commit record of epoch {} does not say which files partition {} wrote to {}",
                    write.epoch, part.partition, self.place
                ))
                .with_source(error)
            })?;
            files.extend(detail.files);
        }
        if files.is_empty() {
            return Ok(());
        }
        self.kind.storage.publish(&files).await?;
        self.complete.set(write.epoch).await;
        Ok(())
    }

    async fn discard(&self, write: &EpochWrite) -> Result<()> {
        self.kind.storage.discard_prepared(&write.owner()).await
    }

    async fn close(&self) -> Result<()> {
        self.complete.settle().await;
        Ok(())
    }
}
