//! What changes from one epoch to the next in a plan that is made once.

use datafusion::{
    common::tree_node::{Transformed, TreeNode},
    error::Result,
    physical_plan::ExecutionPlan,
};
use headwater_core::{Epoch, EpochWrite, Split, Watermark};
use headwater_state::StoreLayout;
use std::sync::Arc;

use crate::table::reset;

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

    /// How much further its rows may lie behind the watermark than those of its inputs, in milliseconds: whoever comes
    /// after it is bound with watermarks that are as much lower. Rows that it kept for longer make a join do so.
    fn lag_millis(&self) -> i64 {
        0
    }

    /// Its id and what it keeps from epoch to epoch, if it keeps anything.
    fn stores(&self) -> Option<(&str, Vec<StoreLayout>)> {
        None
    }
}

impl EpochBinding {
    /// What an operator is told whose input lags behind the watermark.
    fn behind(&self, lag_millis: i64) -> Self {
        Self {
            watermark: self.watermark.behind(lag_millis),
            late_watermark: self.late_watermark.behind(lag_millis),
            ..self.clone()
        }
    }
}

/// What an epoch tells an operator that keeps state.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bound {
    /// The version of the state to read; none in the first epoch.
    pub(crate) reads: Option<Epoch>,
    /// The version to write.
    pub(crate) writes: Epoch,
    /// The watermark in force.
    pub(crate) watermark: Watermark,
    /// The watermark of the epoch before.
    pub(crate) late_watermark: Watermark,
    /// The epoch's recorded processing time, milliseconds since 1970.
    pub(crate) time_millis: i64,
}

impl Bound {
    /// Before the plan is bound to an epoch.
    pub(crate) const NOT_YET: Self = Self {
        reads: None,
        writes: Epoch::FIRST,
        watermark: Watermark::START,
        late_watermark: Watermark::START,
        time_millis: 0,
    };

    pub(crate) fn to(binding: &EpochBinding) -> Self {
        Self {
            reads: binding.write.epoch.previous(),
            writes: binding.write.epoch,
            watermark: binding.watermark,
            late_watermark: binding.late_watermark,
            time_millis: binding.time_millis,
        }
    }
}

/// How far the rows of `plan` may lie behind the watermark, in milliseconds.
fn lag_millis(plan: &Arc<dyn ExecutionPlan>) -> i64 {
    let below = plan.children().into_iter().map(lag_millis).max();
    let own = crate::as_bindable(plan).map_or(0, BindEpoch::lag_millis);
    below.unwrap_or(0).saturating_add(own)
}

/// Gives every node of `plan` what it needs of this epoch; nodes that are not ours are reset, so that they can run
/// again, but for joins that keep what they have built over a table that has not changed.
pub fn bind_plan(
    plan: &Arc<dyn ExecutionPlan>,
    binding: &EpochBinding,
) -> Result<Arc<dyn ExecutionPlan>> {
    Arc::clone(plan)
        .transform_up(|node| {
            let bound = match crate::as_bindable(&node) {
                Some(bindable) => {
                    let inputs = node.children().into_iter().map(lag_millis).max();
                    match inputs.unwrap_or(0) {
                        0 => bindable.bind_epoch(binding)?,
                        lag => bindable.bind_epoch(&binding.behind(lag))?,
                    }
                }
                None => reset(node)?,
            };
            Ok(Transformed::yes(bound))
        })
        .map(|bound| bound.data)
}
