//! The sinks of a query: that of its result and, if it is wanted, that of late rows. What is done to an epoch is done
//! in both.

use std::sync::Arc;

use futures::join;
use headwater_core::{EpochWrite, OutputMode, Result, Sink};
use headwater_log::Committed;

use crate::tally::Tally;

/// Where late rows go.
#[derive(Debug, Clone)]
pub(crate) struct LateSink {
    pub(crate) identity: String,
    pub(crate) sink: Arc<dyn Sink>,
}

/// Where the rows of a query go.
#[derive(Debug, Clone)]
pub(crate) struct Sinks {
    pub(crate) result: Arc<dyn Sink>,
    pub(crate) late: Option<LateSink>,
}

/// An attempt at an epoch as the sink of late rows sees it: whatever the query does with its result, late rows are
/// added.
fn late_write(write: &EpochWrite) -> EpochWrite {
    EpochWrite {
        mode: OutputMode::Append,
        ..*write
    }
}

impl Sinks {
    /// Everything is prepared and nothing is committed: the last word of the sinks about their parts.
    pub(crate) async fn before_commit(&self, write: &EpochWrite, tally: &mut Tally) -> Result<()> {
        let parts = std::mem::take(&mut tally.parts);
        tally.parts = self.result.before_commit(write, parts).await?;
        if let Some(late) = &self.late {
            let parts = std::mem::take(&mut tally.late_parts);
            let write = late_write(write);
            tally.late_parts = late.sink.before_commit(&write, parts).await?;
        }
        Ok(())
    }

    /// Makes a committed epoch visible. Whoever fails in between does it again at the next start.
    pub(crate) async fn publish(&self, write: &EpochWrite, committed: &Committed) -> Result<()> {
        let late = async {
            match (&self.late, &committed.late) {
                (Some(late), Some(output)) => {
                    let published = late.sink.publish(&late_write(write), &output.parts).await;
                    published.map_err(|error| error.context("the sink of late rows"))
                }
                _ => Ok(()),
            }
        };
        let (result, late) = join!(self.result.publish(write, &committed.parts), late);
        result.and(late)
    }

    /// Forgets what was prepared by a run that will never commit the epoch. A failure costs hidden bytes only.
    pub(crate) async fn discard(&self, write: &EpochWrite) {
        let discarded = self.result.discard(write).await;
        let late = match &self.late {
            Some(late) => late.sink.discard(&late_write(write)).await,
            None => Ok(()),
        };
        for error in [discarded, late].into_iter().filter_map(Result::err) {
            tracing::warn!(
                epoch = write.epoch.0,
                run = %write.run,
                %error,
                "could not discard what was prepared"
            );
        }
    }
}
