//! What changes from one epoch to the next in a plan that is made once.

use datafusion::{
    common::tree_node::{Transformed, TreeNode},
    error::Result,
    physical_plan::ExecutionPlan,
};
use headwater_core::{EpochWrite, Split, Watermark};
use std::sync::Arc;

/// Everything one epoch tells the operators. Plain data: a replay binds the same values.
#[derive(Debug, Clone)]
pub struct EpochBinding {
    /// The epoch, the run and the output mode.
    pub write: EpochWrite,
    /// The epoch's recorded processing time, milliseconds since 1970: what `now()` answers.
    pub time_millis: i64,
    /// The watermark in force: what it has passed is emitted and evicted.
    pub watermark: Watermark,
    /// The watermark of the epoch before: what it had passed is late.
    pub late_watermark: Watermark,
    /// By source number, the splits to read; empty where a source has nothing new.
    pub splits: Vec<Vec<Split>>,
    /// Partitions of the state, fixed in the checkpoint.
    pub partitions: usize,
}

/// A plan node that is given something of the epoch.
pub trait BindEpoch {
    /// The node for this epoch, with children as they are.
    fn bind_epoch(&self, binding: &EpochBinding) -> Result<Arc<dyn ExecutionPlan>>;
}

/// Gives every node of `plan` what it needs of this epoch; nodes that are not ours are reset, so that they can run
/// again.
pub fn bind_plan(
    plan: &Arc<dyn ExecutionPlan>,
    binding: &EpochBinding,
) -> Result<Arc<dyn ExecutionPlan>> {
    Arc::clone(plan)
        .transform_up(|node| {
            let bound = match crate::as_bindable(&node) {
                Some(bindable) => bindable.bind_epoch(binding)?,
                None => node.reset_state()?,
            };
            Ok(Transformed::yes(bound))
        })
        .map(|bound| bound.data)
}
