//! Static tables in streaming plans: read once for each of their versions, not once for each epoch.
//!
//! A subplan that reads no stream and does not depend on the epoch is one leaf ([`TableExec`]) of the streaming
//! plan. It is planned again when the tables in it have changed; as long as they have not, a join keeps the hash table
//! that it has built over it ([`keeps_build_side`]), and whatever else reads it gets the rows from memory.

mod exec;
mod read_whole;

pub use exec::{TableExec, Use};
pub use read_whole::{ReadWholeExec, Unread, UnreadUntil};

use datafusion::{
    common::{
        JoinType,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    error::Result,
    physical_plan::{
        ExecutionPlan,
        joins::{HashJoinExec, PartitionMode},
    },
};
use std::sync::Arc;

use crate::{as_of::AsOfJoinExec, epoch_time::EpochTimeExec, scan::SourceScanExec};

/// Whether some leaf of `plan` is a stream.
pub fn reads_stream(plan: &Arc<dyn ExecutionPlan>) -> bool {
    any(plan, |node| node.is::<SourceScanExec>())
}

/// Whether `plan` gives the same rows in every epoch until a table of it is planned again.
fn is_fixed(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let varies = any(plan, |node| {
        let is_fixed_leaf = node
            .downcast_ref::<TableExec>()
            .is_some_and(TableExec::is_versioned);
        node.is::<EpochTimeExec>() || (node.children().is_empty() && !is_fixed_leaf)
    });
    !varies
}

fn any(plan: &Arc<dyn ExecutionPlan>, holds: impl Fn(&Arc<dyn ExecutionPlan>) -> bool) -> bool {
    let mut found = false;
    // The closure never fails, so neither does the walk.
    let _ = plan.apply(|node| {
        found |= holds(node);
        Ok(if found {
            TreeNodeRecursion::Stop
        } else {
            TreeNodeRecursion::Continue
        })
    });
    found
}

/// Whether a join can keep what it has built over its left side from epoch to epoch: the left side is the same, and the
/// join only reads it (a join that gives out left rows without a match also writes into it which rows had one).
pub fn keeps_build_side(join: &HashJoinExec) -> bool {
    let only_reads = matches!(
        join.join_type(),
        JoinType::Inner
            | JoinType::Right
            | JoinType::RightSemi
            | JoinType::RightAnti
            | JoinType::RightMark
    );
    only_reads && *join.partition_mode() == PartitionMode::CollectLeft && is_fixed(join.left())
}

/// Whether an AS OF join can keep its table sorted from epoch to epoch: the table is the same.
pub fn keeps_sorted(join: &AsOfJoinExec) -> bool {
    is_fixed(join.table())
}

/// The node for the next epoch: with what it has built over static tables if it can be kept, and else as it was before
/// it ran.
pub(crate) fn reset(node: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    if node
        .downcast_ref::<AsOfJoinExec>()
        .is_some_and(keeps_sorted)
    {
        return Ok(node);
    }
    match node.downcast_ref::<HashJoinExec>() {
        Some(join) if keeps_build_side(join) => Ok(node),
        _ => node.reset_state(),
    }
}

/// The plan with joins that have built nothing yet. To be called now and then even if nothing has changed: a plan node of
/// DataFusion adds counters at each execution and never drops any.
pub fn forget_builds(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|node| {
        Ok(if node.is::<HashJoinExec>() {
            Transformed::yes(node.reset_state()?)
        } else {
            Transformed::no(node)
        })
    })
    .map(|plan| plan.data)
}

#[cfg(test)]
mod tests;
