//! What cannot run over a stream in the wanted output mode, and what to write instead.
//!
//! Works on the analysed plan, before anything is optimised, so that an upgrade of the optimiser changes no answer.

mod aggregate;
mod chain;
mod dedup;
mod join;
mod limit;
mod processor;
mod session;
mod times;

use datafusion::{
    common::tree_node::{TreeNode, TreeNodeRecursion},
    logical_expr::{Distinct, LogicalPlan},
};
use headwater_core::{Error, OutputMode, Result};

use self::{
    aggregate::check_aggregate,
    chain::check_above_aggregation,
    dedup::check_dedup,
    join::{check_as_of, check_join},
    limit::check_limit,
    processor::check_processor,
    session::check_sessions,
};
pub(crate) use self::{join::check_joins, times::check_event_times};
use crate::{
    nodes::{
        as_of_join::AsOfJoinNode, dedup::DedupNode, processor::ProcessorNode,
        session_aggregate::SessionAggregateNode, watermark::WatermarkNode,
        windows::AssignWindowsNode,
    },
    stream_table::{is_streaming, reads_stream},
    streaming_plan::PlanSettings,
    time_column::{has_watermark, time_marks},
};

/// Refuses what cannot run.
pub(crate) fn check(plan: &LogicalPlan, settings: &PlanSettings) -> Result<()> {
    if !reads_stream(plan) {
        return Err(Error::invalid(
            "the query reads no stream, so it has a batch answer: collect it instead of starting a streaming query",
        ));
    }
    check_mode(plan, settings.mode)?;
    let mut refusal = Ok(());
    plan.apply(|node| {
        refusal = check_node(node, settings);
        Ok(if refusal.is_err() {
            TreeNodeRecursion::Stop
        } else {
            TreeNodeRecursion::Continue
        })
    })
    .map_err(|error| Error::internal("walking the plan failed").with_source(error))?;
    refusal
}

/// Whether an aggregation over a stream stands in `plan`.
pub(crate) fn aggregates_stream(plan: &LogicalPlan) -> bool {
    plan.exists(|node| {
        Ok(
            matches!(node, LogicalPlan::Aggregate(_) | LogicalPlan::Distinct(_))
                && reads_stream(node),
        )
    })
    .unwrap_or(false)
}

/// Whether arbitrary state over a stream stands in `plan`.
pub(crate) fn calls_processor(plan: &LogicalPlan) -> bool {
    plan.exists(|node| {
        Ok(matches!(node, LogicalPlan::Extension(extension)
            if extension.node.as_any().is::<ProcessorNode>()))
    })
    .unwrap_or(false)
}

fn check_mode(plan: &LogicalPlan, mode: OutputMode) -> Result<()> {
    if mode == OutputMode::Complete && !aggregates_stream(plan) && !calls_processor(plan) {
        return Err(Error::invalid(
            "complete mode gives out the whole result each time, which without an aggregation would be the whole \
             stream: use append mode",
        ));
    }
    Ok(())
}

fn check_node(node: &LogicalPlan, settings: &PlanSettings) -> Result<()> {
    check_subqueries(node)?;
    if !reads_stream(node) {
        return Ok(());
    }
    match node {
        LogicalPlan::Aggregate(aggregate) => check_aggregate(aggregate, settings),
        LogicalPlan::Distinct(Distinct::All(input)) => {
            check_above_aggregation("SELECT DISTINCT", input, settings.mode)?;
            if settings.mode == OutputMode::Append
                && time_marks(node)
                    .map_err(internal)?
                    .iter()
                    .all(Option::is_none)
            {
                return Err(Error::invalid(
                    "SELECT DISTINCT is an aggregation over all its columns and gives rows out in append mode only \
                     when the watermark has passed them: add the event-time column and a watermark, or use update mode",
                ));
            }
            Ok(())
        }
        LogicalPlan::Distinct(Distinct::On(_)) => Err(Error::invalid(
            "DISTINCT ON needs an order over the whole stream: use first_value(… ORDER BY …) with GROUP BY",
        )),
        LogicalPlan::Sort(_) => {
            if settings.mode == OutputMode::Complete && aggregates_stream(node) {
                Ok(())
            } else {
                Err(Error::invalid(format!(
                    "ORDER BY over a stream is possible only above an aggregation in complete mode, not in {} mode: \
                     sort where the result is read",
                    settings.mode
                )))
            }
        }
        LogicalPlan::Limit(limit) => check_limit(limit, settings),
        LogicalPlan::Window(_) => Err(Error::invalid(
            "window functions with OVER need the whole stream: group by window(time, '…') instead, or use \
             first_value(… ORDER BY …) with GROUP BY",
        )),
        LogicalPlan::Union(union) => {
            if union.inputs.iter().all(|input| reads_stream(input)) {
                Ok(())
            } else {
                Err(Error::invalid(
                    "UNION of a stream and a table would give out the table's rows in every epoch: write them to the \
                     sink once, beforehand",
                ))
            }
        }
        LogicalPlan::Join(join) => check_join(join, settings),
        LogicalPlan::Extension(extension) => {
            let node = extension.node.as_any();
            if let Some(dedup) = node.downcast_ref::<DedupNode>() {
                return check_dedup(dedup, settings);
            }
            if let Some(processor) = node.downcast_ref::<ProcessorNode>() {
                return check_processor(processor, settings);
            }
            if let Some(sessions) = node.downcast_ref::<SessionAggregateNode>() {
                return check_sessions(sessions, settings);
            }
            if let Some(join) = node.downcast_ref::<AsOfJoinNode>() {
                return check_as_of(join);
            }
            if let Some(windows) = node.downcast_ref::<AssignWindowsNode>() {
                return check_windows(windows, settings);
            }
            match node.downcast_ref::<WatermarkNode>() {
                Some(watermark) if has_watermark(&watermark.input) => Err(Error::invalid(format!(
                    "there is already a watermark below the one on '{}': keep one of them",
                    watermark.column.name
                ))),
                _ => Ok(()),
            }
        }
        LogicalPlan::RecursiveQuery(_) => Err(Error::invalid(
            "a recursive query over a stream never ends: it is not supported",
        )),
        LogicalPlan::Dml(_)
        | LogicalPlan::Ddl(_)
        | LogicalPlan::Copy(_)
        | LogicalPlan::Explain(_)
        | LogicalPlan::Analyze(_)
        | LogicalPlan::Statement(_) => Err(Error::invalid(format!(
            "{} is no query over a stream: start a SELECT",
            node.display()
        ))),
        _ => Ok(()),
    }
}

/// Strictly, one SELECT has one window.
fn check_windows(windows: &AssignWindowsNode, settings: &PlanSettings) -> Result<()> {
    let are_two = matches!(&windows.input, LogicalPlan::Extension(below)
        if below.node.as_any().is::<AssignWindowsNode>());
    if settings.strict_spark && are_two {
        return Err(Error::invalid(
            "two different windows in one SELECT are refused because Spark 4.3 refuses them: compute one of them in a \
             subquery, or turn strict Spark compatibility off",
        ));
    }
    Ok(())
}

fn internal(error: datafusion::error::DataFusionError) -> Error {
    Error::internal("the event-time columns of the plan could not be found").with_source(error)
}

fn check_subqueries(node: &LogicalPlan) -> Result<()> {
    let mut refusal = Ok(());
    node.apply_subqueries(|subquery| {
        if is_streaming(subquery) {
            refusal = Err(Error::invalid(
                "a subquery inside an expression (IN, EXISTS or a scalar) cannot read a stream: write it as a join",
            ));
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .map_err(internal)?;
    refusal
}
