//! Asks all sources at once how far they have grown.

use std::sync::Arc;

use futures::future::{BoxFuture, select_all, try_join_all};
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
    ranges: &[Option<&OffsetRange>],
    parallelism: usize,
) -> Result<Vec<Vec<Split>>> {
    of_ranges(sources, ranges, |source, range| {
        source.splits(range, parallelism)
    })
    .await
}

/// The ranges that an epoch takes, by source number.
pub(crate) fn ranges(steps: &[SourceStep]) -> Vec<Option<&OffsetRange>> {
    steps.iter().map(SourceStep::range).collect()
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
    of_ranges(sources, &ranges(steps), |source, range| {
        source.acknowledge(range)
    })
    .await?;
    Ok(())
}

/// Shows the sources the ranges of an epoch that the log still holds.
pub(crate) async fn resume(sources: &[RunningSource], steps: &[SourceStep]) -> Result<()> {
    of_ranges(sources, &ranges(steps), |source, range| {
        source.resume(range)
    })
    .await?;
    Ok(())
}

/// What all sources at once answer about their ranges of an epoch, by source number; the default for a source that the
/// epoch takes nothing of.
async fn of_ranges<T: Default>(
    sources: &[RunningSource],
    ranges: &[Option<&OffsetRange>],
    ask: impl for<'a> Fn(&'a dyn Source, &'a OffsetRange) -> BoxFuture<'a, Result<T>>,
) -> Result<Vec<T>> {
    let answers = sources.iter().zip(ranges).map(|(running, range)| {
        let answer = range.map(|range| ask(running.source.as_ref(), range));
        async move {
            let Some(answer) = answer else {
                return Ok(T::default());
            };
            answer
                .await
                .map_err(|error| error.context(running.source.description()))
        }
    });
    try_join_all(answers).await
}
