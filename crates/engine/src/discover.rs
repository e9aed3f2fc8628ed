//! Asks all sources at once how far they have grown.

use std::sync::Arc;

use futures::future::{select_all, try_join_all};
use headwater_core::{Admission, Discovery, Offset, OffsetRange, Result, Source, Split};
use headwater_log::SourceStep;

/// A source in a running query.
#[derive(Debug, Clone)]
pub(crate) struct RunningSource {
    /// The source.
    pub(crate) source: Arc<dyn Source>,
    /// Where the last planned epoch ended; `None` before the source's first row.
    pub(crate) position: Option<Offset>,
}

/// What each source offers to the next epoch, by source number.
pub(crate) async fn discover(
    sources: &[RunningSource],
    admission: Admission,
) -> Result<Vec<Option<OffsetRange>>> {
    try_join_all(sources.iter().map(|running| async move {
        let start = running.position.as_ref();
        match running.source.discover(start, admission).await {
            Ok(Discovery::Nothing) => Ok(None),
            Ok(Discovery::Increment(increment)) => Ok(Some(OffsetRange {
                start: start.cloned(),
                end: increment.end,
                detail: increment.detail,
            })),
            Err(error) => Err(error.context(running.source.description())),
        }
    }))
    .await
}

/// The splits of the ranges that an epoch takes, by source number.
pub(crate) async fn split(
    sources: &[RunningSource],
    steps: &[SourceStep],
    parallelism: usize,
) -> Result<Vec<Vec<Split>>> {
    try_join_all(sources.iter().zip(steps).map(|(running, step)| async move {
        match step.range() {
            None => Ok(Vec::new()),
            Some(range) => running
                .source
                .splits(range, parallelism)
                .await
                .map_err(|error| error.context(running.source.description())),
        }
    }))
    .await
}

/// Resolves when any source may have something new; never if there is no source.
pub(crate) async fn changed(sources: &[RunningSource]) {
    if sources.is_empty() {
        return std::future::pending().await;
    }
    select_all(sources.iter().map(|running| running.source.changed())).await;
}

/// Tells the sources that the ranges of an epoch are committed and published.
pub(crate) async fn acknowledge(sources: &[RunningSource], steps: &[SourceStep]) -> Result<()> {
    try_join_all(sources.iter().zip(steps).map(|(running, step)| async move {
        match step.range() {
            None => Ok(()),
            Some(range) => running
                .source
                .acknowledge(range)
                .await
                .map_err(|error| error.context(running.source.description())),
        }
    }))
    .await?;
    Ok(())
}

/// Shows the sources the ranges of an epoch that the log still holds.
pub(crate) async fn resume(sources: &[RunningSource], steps: &[SourceStep]) -> Result<()> {
    try_join_all(sources.iter().zip(steps).map(|(running, step)| async move {
        match step.range() {
            None => Ok(()),
            Some(range) => running
                .source
                .resume(range)
                .await
                .map_err(|error| error.context(running.source.description())),
        }
    }))
    .await?;
    Ok(())
}
