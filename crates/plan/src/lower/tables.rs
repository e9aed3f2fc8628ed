//! Joins of a stream with a static table: what is read once, and what is read to its end.

use std::sync::Arc;

use datafusion::{
    common::{
        JoinType,
        tree_node::{Transformed, TreeNode},
    },
    error::Result,
    physical_plan::{
        ExecutionPlan,
        execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions},
        joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec},
    },
};
use headwater_ops::{
    as_of::AsOfJoinExec,
    processor::ProcessorExec,
    table::{ReadWholeExec, TableExec, Use, keeps_build_side, keeps_sorted, reads_stream},
};

/// Tells each static table what becomes of its rows, and sees to it that streams beside tables are read to their end.
pub(super) fn beside_tables(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let remembered = with_use(plan, Use::Remember)?;
    let plan = remembered.transform_up(|node| {
        let children = node.children();
        let [left, right] = children.as_slice() else {
            return Ok(Transformed::no(node));
        };
        if node.is::<ProcessorExec>() {
            // An initial state is read in the first epoch and never again.
            let table = with_use(Arc::clone(right), Use::Read)?;
            let children = vec![Arc::clone(left), table];
            let recompute = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
            let read = Arc::clone(&node).replace_children(children, recompute)?;
            return Ok(Transformed::yes(read));
        }
        if !is_join(&node) || reads_stream(left) || !reads_stream(right) {
            return Ok(Transformed::no(node));
        }
        let recompute = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
        if let Some(join) = node.downcast_ref::<AsOfJoinExec>() {
            return Ok(match keeps_sorted(join) {
                true => {
                    let table = with_use(Arc::clone(left), Use::Read)?;
                    let children = vec![table, Arc::clone(right)];
                    Transformed::yes(Arc::clone(&node).replace_children(children, recompute)?)
                }
                false => Transformed::no(node),
            });
        }
        let hash_join = node.downcast_ref::<HashJoinExec>();
        let table = if hash_join.is_some_and(keeps_build_side) {
            with_use(Arc::clone(left), Use::Read)?
        } else {
            Arc::clone(left)
        };
        let may_skip = hash_join
            .is_none_or(|join| matches!(join.join_type(), JoinType::Inner | JoinType::RightSemi));
        let stream: Arc<dyn ExecutionPlan> = if may_skip {
            Arc::new(ReadWholeExec::new(Arc::clone(right)))
        } else {
            Arc::clone(right)
        };
        let joined = Arc::clone(&node).replace_children(vec![table, stream], recompute)?;
        Ok(Transformed::yes(joined))
    })?;
    Ok(plan.data)
}

fn is_join(node: &Arc<dyn ExecutionPlan>) -> bool {
    node.is::<AsOfJoinExec>()
        || node.is::<HashJoinExec>()
        || node.is::<NestedLoopJoinExec>()
        || node.is::<CrossJoinExec>()
}

/// Sets what becomes of the rows of all tables in `plan`; those that may change at any time are always read.
fn with_use(plan: Arc<dyn ExecutionPlan>, used: Use) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|node| {
        Ok(match node.downcast_ref::<TableExec>() {
            Some(table) if table.is_versioned() => Transformed::yes(Arc::new(table.used(used))),
            _ => Transformed::no(node),
        })
    })
    .map(|plan| plan.data)
}
