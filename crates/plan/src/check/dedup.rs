//! Dropping of duplicates over streams.

use headwater_core::Result;

use super::chain::check_above_aggregation;
use crate::{nodes::dedup::DedupNode, streaming_plan::PlanSettings};

pub(super) fn check_dedup(dedup: &DedupNode, settings: &PlanSettings) -> Result<()> {
    check_above_aggregation("dropping duplicates", &dedup.input, settings.mode)
}
