//! Dropping of duplicates over streams.

use headwater_core::{Error, Result};

use super::{chain::check_above_aggregation, internal};
use crate::{nodes::dedup::DedupNode, streaming_plan::PlanSettings, time_column::time_marks};

pub(super) fn check_dedup(dedup: &DedupNode, settings: &PlanSettings) -> Result<()> {
    check_above_aggregation("dropping duplicates", &dedup.input, settings.mode)?;
    let marks = time_marks(&dedup.input).map_err(internal)?;
    if dedup.within_watermark && marks.iter().all(Option::is_none) {
        return Err(Error::invalid(
            "dropping duplicates within the watermark needs a column with a watermark: put with_watermark(time, delay) \
             before it, or drop duplicates without that limit",
        ));
    }
    Ok(())
}
