//! Sessions: DataFusion plans the aggregation, what merges intervals is ours.

use std::sync::Arc;

use datafusion::{
    common::tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    error::{DataFusionError, Result},
    physical_plan::{
        ExecutionPlan,
        aggregates::{AggregateExec, AggregateMode},
    },
};
use headwater_ops::session::{LocalSessionsExec, SessionAggregateExec, SessionDefinition};

use super::aggregate::{grouped_column, partial_step};
use crate::nodes::session_aggregate::SessionAggregateNode;

/// Replaces the final step of the aggregation in `planned` by the one that merges sessions. Below the partial step,
/// rows are grouped by the sessions that they make among themselves.
pub(super) fn session_aggregate(
    node: &SessionAggregateNode,
    planned: Arc<dyn ExecutionPlan>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let mut replaced = false;
    let plan = planned.transform_down(|plan| {
        let Some(last) = plan.downcast_ref::<AggregateExec>() else {
            return Ok(Transformed::no(plan));
        };
        let partial = partial_step(last)?;
        let definition = SessionDefinition::try_new(
            &partial,
            node.id.clone(),
            node.mode,
            node.gap_micros.filter(|gap| *gap > 0),
            last.schema(),
        )?;
        let partial = over_local_sessions(node, &definition, &partial)?;
        let sessions = SessionAggregateExec::new(Arc::new(partial), Arc::new(definition));
        replaced = true;
        Ok(Transformed::new(
            Arc::new(sessions) as _,
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

fn over_local_sessions(
    node: &SessionAggregateNode,
    definition: &SessionDefinition,
    partial: &AggregateExec,
) -> Result<AggregateExec> {
    let groups = partial.group_expr().expr();
    let keys = groups.len().saturating_sub(2);
    let column = |group| {
        grouped_column(partial.group_expr(), group).ok_or_else(|| {
            DataFusionError::Internal(format!("a bound of the sessions {} is no column", node.id))
        })
    };
    let (start, end) = (column(keys)?, column(keys + 1)?);
    let local = LocalSessionsExec::try_new(
        Arc::clone(partial.input()),
        groups[..keys].to_vec(),
        start,
        end,
        definition.order_sensitive(),
    )?;
    AggregateExec::try_new(
        AggregateMode::Partial,
        partial.group_expr().clone(),
        partial.aggr_expr().to_vec(),
        partial.filter_expr().to_vec(),
        Arc::new(local),
        partial.input_schema(),
    )
}
