//! Dropping of duplicates over streams.

use headwater_core::{Error, Result};

use super::{calls_processor, chain::check_above_aggregation, internal};
use crate::{nodes::dedup::DedupNode, streaming_plan::PlanSettings, time_column::time_marks};

pub(super) fn check_dedup(dedup: &DedupNode, settings: &PlanSettings) -> Result<()> {
    let marks = time_marks(&dedup.input).map_err(internal)?;
    let schema = dedup.input.schema();
    let has_time = |key| {
        schema
            .maybe_index_of_column(key)
            .is_some_and(|index| marks.get(index).is_some_and(Option::is_some))
    };
    // Groups that an aggregation gives out again are rows as others: those with a key that was there are dropped. Keys
    // with a time are forgotten, so that what was given out again late would pass again.
    let forgets = dedup.within_watermark || dedup.keys.iter().any(has_time);
    if forgets || calls_processor(&dedup.input) {
        check_above_aggregation("dropping duplicates", &dedup.input, settings.mode)?;
    }
    if dedup.within_watermark && marks.iter().all(Option::is_none) {
        return Err(Error::invalid(
            "dropping duplicates within the watermark needs a column with a watermark: put one there \
             (with_watermark, in SQL WATERMARK … DELAY OF …), or drop duplicates without that limit",
        ));
    }
    Ok(())
}
