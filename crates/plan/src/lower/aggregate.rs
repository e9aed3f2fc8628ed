//! Aggregations: DataFusion plans them, the final step is ours.

use std::sync::Arc;

use datafusion::{
    common::tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    error::{DataFusionError, Result},
    physical_expr::expressions::Column,
    physical_plan::{
        ExecutionPlan,
        aggregates::{AggregateExec, AggregateMode, PhysicalGroupBy},
    },
};
use headwater_ops::{
    aggregate::{StatefulAggregateExec, count_of_rows},
    late::LateFilterExec,
};

use crate::nodes::stateful_aggregate::StatefulAggregateNode;

/// Replaces the final step of the aggregation in `planned` by the stateful one. Over grouping sets late groups are
/// dropped here, since a late row counts in the groups without the time.
pub(super) fn stateful_aggregate(
    node: &StatefulAggregateNode,
    planned: Arc<dyn ExecutionPlan>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let mut replaced = false;
    let plan = planned.transform_down(|plan| {
        let Some(last) = plan.downcast_ref::<AggregateExec>() else {
            return Ok(Transformed::no(plan));
        };
        let partial = partial_step(last)?;
        let partial = counted(partial)?;
        let mut input: Arc<dyn ExecutionPlan> = Arc::new(partial.clone());
        if let Some(expiry) = node.expiry
            && partial.group_expr().has_grouping_set()
        {
            input = Arc::new(LateFilterExec::new(input, node.id.clone(), expiry, None));
        }
        let stateful = StatefulAggregateExec::try_new(
            &partial,
            input,
            node.id.clone(),
            node.mode,
            node.expiry,
            last.schema(),
        )?;
        replaced = true;
        Ok(Transformed::new(
            Arc::new(stateful) as _,
            true,
            TreeNodeRecursion::Stop,
        ))
    })?;
    if replaced {
        Ok(plan.data)
    } else {
        Err(DataFusionError::Internal(format!(
            "the aggregation {} was optimised away",
            node.id
        )))
    }
}

/// The partial step of an aggregation that was planned in two steps or in one.
pub(super) fn partial_step(last: &AggregateExec) -> Result<AggregateExec> {
    if let Some(partial) = last.input().downcast_ref::<AggregateExec>()
        && *partial.mode() == AggregateMode::Partial
    {
        return Ok(partial.clone());
    }
    AggregateExec::try_new(
        AggregateMode::Partial,
        last.group_expr().clone(),
        last.aggr_expr().to_vec(),
        last.filter_expr().to_vec(),
        Arc::clone(last.input()),
        last.input_schema(),
    )
}

/// Over grouping sets, the same step with a count of the rows of each group.
fn counted(partial: AggregateExec) -> Result<AggregateExec> {
    if !partial.group_expr().has_grouping_set() {
        return Ok(partial);
    }
    let mut aggregates = partial.aggr_expr().to_vec();
    aggregates.push(Arc::new(count_of_rows(&partial.input_schema())?));
    let mut filters = partial.filter_expr().to_vec();
    filters.push(None);
    AggregateExec::try_new(
        AggregateMode::Partial,
        partial.group_expr().clone(),
        aggregates,
        filters,
        Arc::clone(partial.input()),
        partial.input_schema(),
    )
}

/// The input column that grouping expression number `group` is.
pub(super) fn grouped_column(groups: &PhysicalGroupBy, group: usize) -> Option<usize> {
    let (expr, _) = groups.expr().get(group)?;
    expr.downcast_ref::<Column>().map(Column::index)
}
