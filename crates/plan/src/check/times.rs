//! Strict Spark compatibility: one event time for each input of a stateful operator.
//!
//! Spark 4.3 fails where two columns with an event time reach an operator, as it optimises the query. So this looks at
//! the optimised plan: columns that nobody asks for are gone.

use datafusion::{
    common::tree_node::{TreeNode, TreeNodeRecursion},
    logical_expr::LogicalPlan,
};
use headwater_core::{Error, OutputMode, Result};

use super::internal;
use crate::{
    nodes::{
        dedup::DedupNode, stateful_aggregate::StatefulAggregateNode, stream_join::StreamJoinNode,
    },
    streaming_plan::PlanSettings,
    time_column::time_marks,
};

pub(crate) fn check_event_times(plan: &LogicalPlan, settings: &PlanSettings) -> Result<()> {
    if !settings.strict_spark || settings.mode == OutputMode::Complete {
        return Ok(());
    }
    let mut refusal = Ok(());
    plan.apply(|node| {
        refusal = inputs(node).into_iter().try_for_each(check_input);
        Ok(if refusal.is_err() {
            TreeNodeRecursion::Stop
        } else {
            TreeNodeRecursion::Continue
        })
    })
    .map_err(internal)?;
    refusal
}

/// What Spark looks for event times in: the rows that come to an operator, the groups of an aggregation.
fn inputs(node: &LogicalPlan) -> Vec<&LogicalPlan> {
    let LogicalPlan::Extension(extension) = node else {
        return Vec::new();
    };
    let operator = extension.node.as_any();
    if let Some(join) = operator.downcast_ref::<StreamJoinNode>() {
        vec![&join.left, &join.right]
    } else if let Some(dedup) = operator.downcast_ref::<DedupNode>() {
        vec![&dedup.input]
    } else if let Some(aggregate) = operator.downcast_ref::<StatefulAggregateNode>() {
        vec![&aggregate.input]
    } else {
        Vec::new()
    }
}

fn check_input(input: &LogicalPlan) -> Result<()> {
    let marks = time_marks(input).map_err(internal)?;
    let fields = input.schema().fields().iter();
    let times: Vec<&str> = fields
        .zip(marks)
        .filter(|(_, mark)| mark.is_some())
        .map(|(field, _)| field.name().as_str())
        .collect();
    if times.len() < 2 {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "the event times {} come to one stateful operator, which Spark 4.3 refuses: leave all but one of them out, or \
         turn strict Spark compatibility off",
        times.join(", ")
    )))
}
