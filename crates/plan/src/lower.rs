//! From the optimised logical plan to the physical plan that epochs are bound to.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::{
    catalog::Session,
    common::tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    error::{DataFusionError, Result},
    execution::{SessionState, session_state::SessionStateBuilder},
    logical_expr::{
        LogicalPlan, UserDefinedLogicalNode, physical_planning_context::PhysicalPlanningContext,
    },
    physical_expr::expressions::Column,
    physical_plan::{
        ExecutionPlan,
        aggregates::{AggregateExec, AggregateMode, PhysicalGroupBy},
    },
    physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner},
};
use headwater_core::OutputMode;
use headwater_ops::{
    aggregate::{StatefulAggregateExec, count_of_rows},
    epoch_time::EpochTimeExec,
    event_time::EventTimeExec,
    expiry::Expiry,
    late::LateFilterExec,
    limit::StreamLimitExec,
    sink::SinkExec,
    window::AssignWindowsExec,
};

use crate::nodes::{
    epoch_time::{EPOCH_TIME, EpochTimeNode},
    limit::StreamLimitNode,
    stateful_aggregate::StatefulAggregateNode,
    watermark::WatermarkNode,
    windows::AssignWindowsNode,
};

/// The session with the settings that streaming plans need.
pub(crate) fn streaming_session(state: &SessionState) -> SessionState {
    let mut config = state.config().clone();
    let options = config.options_mut();
    // A plan with dynamic filters cannot be executed twice.
    options.optimizer.enable_dynamic_filter_pushdown = false;
    options.optimizer.enable_topk_dynamic_filter_pushdown = false;
    options.optimizer.enable_join_dynamic_filter_pushdown = false;
    options.optimizer.enable_aggregate_dynamic_filter_pushdown = false;
    // (partition, row) is the order of arrival: nothing may deal rows out anew below a stateful operator.
    options.optimizer.enable_round_robin_repartition = false;
    options.execution.enable_ansi_mode = true;
    SessionStateBuilder::new_from_existing(state.clone())
        .with_config(config)
        .build()
}

/// Plans the whole query, sink included.
pub(crate) async fn lower(
    state: &SessionState,
    plan: &LogicalPlan,
    partitions: usize,
) -> Result<Arc<dyn ExecutionPlan>> {
    let planner =
        DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(StreamingNodePlanner)]);
    let physical = planner.create_physical_plan(plan, state).await?;
    let physical = headwater_sql::checked_arithmetic(physical)?;
    let exchanged = physical.transform_up(|node| {
        Ok(match node.downcast_ref::<StatefulAggregateExec>() {
            Some(aggregate) => {
                Transformed::yes(Arc::new(aggregate.with_exchange(partitions)?) as _)
            }
            None => Transformed::no(node),
        })
    })?;
    Ok(Arc::new(SinkExec::new(exchanged.data)))
}

/// Plans the logical nodes of this crate; a session needs it for windows over static tables.
#[derive(Debug)]
pub struct StreamingNodePlanner;

#[async_trait]
impl ExtensionPlanner for StreamingNodePlanner {
    async fn plan_extension(
        &self,
        _planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        logical_inputs: &[&LogicalPlan],
        physical_inputs: &[Arc<dyn ExecutionPlan>],
        _session: &dyn Session,
        _planning_ctx: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let node = node.as_any();
        let ([logical], [input]) = (logical_inputs, physical_inputs) else {
            return Ok(None);
        };
        let input = Arc::clone(input);
        let planned: Arc<dyn ExecutionPlan> =
            if let Some(watermark) = node.downcast_ref::<WatermarkNode>() {
                let column = logical.schema().index_of_column(&watermark.column)?;
                Arc::new(EventTimeExec::try_new(input, watermark.id.clone(), column)?)
            } else if let Some(windows) = node.downcast_ref::<AssignWindowsNode>() {
                let time = logical.schema().index_of_column(&windows.time)?;
                Arc::new(AssignWindowsExec::try_new(
                    input,
                    time,
                    windows.windows,
                    windows.start.clone(),
                )?)
            } else if node.is::<EpochTimeNode>() {
                Arc::new(EpochTimeExec::new(input, EPOCH_TIME.to_owned()))
            } else if let Some(limit) = node.downcast_ref::<StreamLimitNode>() {
                Arc::new(StreamLimitExec::new(
                    input,
                    limit.fetch,
                    limit.counting.clone(),
                ))
            } else if let Some(aggregate) = node.downcast_ref::<StatefulAggregateNode>() {
                stateful_aggregate(aggregate, input)?
            } else {
                return Ok(None);
            };
        Ok(Some(planned))
    }
}

/// Replaces the final step of the aggregation in `planned` by the stateful one, with the late filter below the partial
/// step.
fn stateful_aggregate(
    node: &StatefulAggregateNode,
    planned: Arc<dyn ExecutionPlan>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let mut replaced = false;
    let plan = planned.transform_down(|plan| {
        let Some(last) = plan.downcast_ref::<AggregateExec>() else {
            return Ok(Transformed::no(plan));
        };
        let partial = partial_step(last)?;
        let partial = below_late_filter(node, counted(partial)?)?;
        let stateful = StatefulAggregateExec::try_new(
            &partial,
            Arc::new(partial.clone()),
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
fn partial_step(last: &AggregateExec) -> Result<AggregateExec> {
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

fn below_late_filter(
    node: &StatefulAggregateNode,
    partial: AggregateExec,
) -> Result<AggregateExec> {
    let Some(expiry) = node.expiry.filter(|_| node.mode != OutputMode::Complete) else {
        return Ok(partial);
    };
    let column = grouped_column(partial.group_expr(), expiry.column).ok_or_else(|| {
        DataFusionError::Internal(format!(
            "the event time of the aggregation {} is no column",
            node.id
        ))
    })?;
    let filtered = LateFilterExec::new(
        Arc::clone(partial.input()),
        node.id.clone(),
        Expiry { column, ..expiry },
    );
    AggregateExec::try_new(
        AggregateMode::Partial,
        partial.group_expr().clone(),
        partial.aggr_expr().to_vec(),
        partial.filter_expr().to_vec(),
        Arc::new(filtered),
        partial.input_schema(),
    )
}

/// The input column that grouping expression number `group` is.
fn grouped_column(groups: &PhysicalGroupBy, group: usize) -> Option<usize> {
    let (expr, _) = groups.expr().get(group)?;
    expr.downcast_ref::<Column>().map(Column::index)
}
