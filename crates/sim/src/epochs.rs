//! What an epoch leaves behind: its rows in a sink in memory, its report and its commit record.

use headwater::connect::memory::MemorySink;
use headwater_core::{
    Epoch, Error, Result, Storage, StreamingQueryProgress, progress::SourceProgress,
};
use headwater_log::layout;

use crate::{
    cell::{self, Row},
    compare::{FoundBatch, FoundState},
    values::parse_instant,
};

/// The rows that an epoch sent to a sink.
///
/// # Errors
/// `Internal` if the sink has not got the epoch.
pub(crate) fn published(sink: &MemorySink, epoch: Epoch) -> Result<Vec<Row>> {
    let batches = sink
        .rows_of(epoch)
        .ok_or_else(|| Error::internal(format!("epoch {epoch} ran but is not published")))?;
    cell::rows_of(&batches)
}

/// An epoch by its report and by what the sink got.
///
/// # Errors
/// `Internal` if the sink has not got the epoch, or for a watermark that is no time.
pub(crate) fn found_batch(
    progress: &StreamingQueryProgress,
    sink: &MemorySink,
) -> Result<FoundBatch> {
    let watermark = progress
        .event_time
        .get("watermark")
        .map(|text| {
            parse_instant(&text.as_str().into())
                .map(|micros| micros.div_euclid(1_000))
                .ok_or_else(|| Error::internal(format!("'{text}' is reported as a watermark")))
        })
        .transpose()?;
    let moved = |source: &SourceProgress| source.start_offset != source.end_offset;
    Ok(FoundBatch {
        batch_id: progress.batch_id,
        new_data: progress.sources.iter().any(moved),
        num_input_rows: progress.num_input_rows,
        watermark,
        rows: published(sink, Epoch(progress.batch_id))?,
        state: progress
            .state_operators
            .iter()
            .map(|operator| FoundState {
                op: operator.operator_name.clone(),
                total: operator.num_rows_total,
                updated: operator.num_rows_updated,
                removed: operator.num_rows_removed,
                dropped_by_watermark: operator.num_rows_dropped_by_watermark,
                dropped_duplicates: operator
                    .custom_metrics
                    .get("numDroppedDuplicateRows")
                    .copied(),
            })
            .collect(),
    })
}

/// Deletes the newest commit record, as a crash between the plan record and the commit leaves a checkpoint; whether there
/// was one.
///
/// # Errors
/// Whatever the storage answers.
pub(crate) async fn lose_last_commit(checkpoint: &dyn Storage) -> Result<bool> {
    let commits = checkpoint.list(layout::COMMITS).await?;
    // Names are of one length, so the newest is the last.
    let Some(last) = commits.last() else {
        return Ok(false);
    };
    checkpoint.delete(std::slice::from_ref(&last.path)).await?;
    Ok(true)
}
