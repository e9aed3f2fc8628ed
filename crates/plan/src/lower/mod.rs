//! From the optimised logical plan to the physical plan that epochs are bound to.

mod aggregate;
mod as_of;
mod dedup;
mod join;
mod late;
mod processor;
mod session;
mod tables;

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::{
    arrow::datatypes::SchemaRef,
    catalog::Session,
    common::{
        DFSchema,
        tree_node::{Transformed, TreeNode},
    },
    error::Result,
    execution::{SessionState, session_state::SessionStateBuilder},
    logical_expr::{
        Expr, LogicalPlan, UserDefinedLogicalNode,
        physical_planning_context::PhysicalPlanningContext,
    },
    physical_plan::ExecutionPlan,
    physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner},
};
use headwater_ops::{
    aggregate::StatefulAggregateExec, dedup::DedupExec, epoch_time::EpochTimeExec,
    event_time::EventTimeExec, join::StreamJoinExec, limit::StreamLimitExec,
    processor::ProcessorExec, session::SessionAggregateExec, sink::SinkExec, table::TableExec,
    text_views::group_text_as_views, window::AssignWindowsExec,
};
use headwater_sql::guarded_rules;

use self::{
    aggregate::stateful_aggregate,
    as_of::as_of_join,
    dedup::dedup,
    join::stream_join,
    late::{late_filter, record_late_rows},
    processor::processor,
    session::session_aggregate,
    tables::beside_tables,
};
use crate::{
    nodes::{
        as_of_join::AsOfJoinNode,
        dedup::DedupNode,
        epoch_time::{EPOCH_TIME, EpochTimeNode},
        late_filter::LateFilterNode,
        limit::StreamLimitNode,
        processor::ProcessorNode,
        session_aggregate::SessionAggregateNode,
        stateful_aggregate::StatefulAggregateNode,
        stream_join::StreamJoinNode,
        table::TableNode,
        watermark::WatermarkNode,
        windows::AssignWindowsNode,
    },
    streaming_plan::PlanSettings,
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
    // A join builds over its static table as a whole, see `tables`.
    options.optimizer.repartition_joins = false;
    options.execution.enable_ansi_mode = true;
    SessionStateBuilder::new_from_existing(state.clone())
        .with_config(config)
        .with_physical_optimizer_rules(guarded_rules(state.physical_optimizers()))
        .build()
}

fn planner() -> DefaultPhysicalPlanner {
    DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(StreamingNodePlanner)])
}

/// Plans a subplan that reads static tables only.
pub(crate) async fn plan_table(
    session: &dyn Session,
    subplan: &LogicalPlan,
) -> Result<Arc<dyn ExecutionPlan>> {
    let physical = planner().create_physical_plan(subplan, session).await?;
    headwater_sql::checked_arithmetic(physical)
}

/// Plans the whole query, sink included. `late` is the schema of records of late rows, if they are wanted.
pub(crate) async fn lower(
    state: &SessionState,
    plan: &LogicalPlan,
    settings: &PlanSettings,
    late: Option<&SchemaRef>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let physical = planner().create_physical_plan(plan, state).await?;
    let physical = headwater_sql::checked_arithmetic(physical)?;
    let physical = beside_tables(physical)?;
    let partitions = settings.partitions;
    let exchanged = physical.transform_up(|node| {
        let exchanged: Arc<dyn ExecutionPlan> =
            if let Some(aggregate) = node.downcast_ref::<StatefulAggregateExec>() {
                let keeps_windows = settings.keep_windows.contains(aggregate.operator());
                Arc::new(aggregate.with_exchange(partitions, keeps_windows)?)
            } else if let Some(sessions) = node.downcast_ref::<SessionAggregateExec>() {
                Arc::new(sessions.with_exchange(partitions)?)
            } else if let Some(dedup) = node.downcast_ref::<DedupExec>() {
                Arc::new(dedup.with_exchange(partitions)?)
            } else if let Some(join) = node.downcast_ref::<StreamJoinExec>() {
                Arc::new(join.with_exchange(partitions)?)
            } else if let Some(processor) = node.downcast_ref::<ProcessorExec>() {
                Arc::new(processor.with_exchange(partitions)?)
            } else {
                return Ok(Transformed::no(node));
            };
        Ok(Transformed::yes(exchanged))
    })?;
    let plan = match late {
        None => exchanged.data,
        Some(schema) => record_late_rows(exchanged.data, schema)?,
    };
    Ok(Arc::new(SinkExec::new(group_text_as_views(plan)?)))
}

/// Plans the logical nodes of this crate; a session needs it for windows over static tables.
#[derive(Debug)]
pub struct StreamingNodePlanner;

#[async_trait]
impl ExtensionPlanner for StreamingNodePlanner {
    async fn plan_extension(
        &self,
        planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        logical_inputs: &[&LogicalPlan],
        physical_inputs: &[Arc<dyn ExecutionPlan>],
        session: &dyn Session,
        planning_ctx: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let node = node.as_any();
        if let Some(join) = node.downcast_ref::<StreamJoinNode>() {
            let ([left, right], [left_input, right_input]) = (logical_inputs, physical_inputs)
            else {
                return Ok(None);
            };
            let plan_expr = |expr: &Expr, schema: &DFSchema| {
                planner.create_physical_expr(expr, schema, session, planning_ctx)
            };
            let inputs = [(*left, left_input), (*right, right_input)];
            return stream_join(join, inputs, &plan_expr).map(Some);
        }
        if let Some(join) = node.downcast_ref::<AsOfJoinNode>() {
            let ([left, right], [left_input, right_input]) = (logical_inputs, physical_inputs)
            else {
                return Ok(None);
            };
            let plan_expr = |expr: &Expr, schema: &DFSchema| {
                planner.create_physical_expr(expr, schema, session, planning_ctx)
            };
            let inputs = [(*left, left_input), (*right, right_input)];
            return as_of_join(join, inputs, &plan_expr).map(Some);
        }
        if let Some(table) = node.downcast_ref::<TableNode>() {
            let subplan = plan_table(session, &table.subplan).await?;
            let exec = TableExec::new(table.number, subplan, table.is_versioned);
            return Ok(Some(Arc::new(exec)));
        }
        if let Some(node) = node.downcast_ref::<ProcessorNode>() {
            return processor(node, logical_inputs, physical_inputs).map(Some);
        }
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
            } else if let Some(filter) = node.downcast_ref::<LateFilterNode>() {
                late_filter(filter, logical.schema(), input)?
            } else if let Some(node) = node.downcast_ref::<DedupNode>() {
                dedup(node, logical.schema(), input)?
            } else if let Some(sessions) = node.downcast_ref::<SessionAggregateNode>() {
                session_aggregate(sessions, input)?
            } else {
                return Ok(None);
            };
        Ok(Some(planned))
    }
}
