//! What lies between a stateful operator and the next one below it, or the sources, as far as a restart must know it.

use std::collections::BTreeMap;

use datafusion::{
    common::{
        Result,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    logical_expr::{Distinct, Expr, LogicalPlan, utils::split_conjunction},
};

use super::{Found, aggregate::name_of, make_stateful};
use crate::{
    join::is_stream_join,
    nodes::{
        dedup::DedupNode, limit::StreamLimitNode, processor::ProcessorNode,
        session_aggregate::SessionAggregateNode, stateful_aggregate::StatefulAggregateNode,
        stream_join::StreamJoinNode, windows::AssignWindowsNode,
    },
    stream_table::reads_stream,
    streaming_plan::PlanSettings,
};

/// Texts of what an operator's input is made by.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Below {
    /// Windows that rows are assigned to.
    pub(super) windows: Vec<String>,
    /// Conditions that rows must meet.
    pub(super) filters: Vec<String>,
}

/// What lies below, down to the next stateful operators and the sources. `input` is rewritten.
pub(super) fn below(input: &LogicalPlan) -> Result<Below> {
    let mut found = Below::default();
    input.apply(|node| {
        match node {
            LogicalPlan::Filter(filter) => {
                let conjuncts = split_conjunction(&filter.predicate).into_iter();
                found.filters.extend(conjuncts.map(ToString::to_string));
            }
            LogicalPlan::Extension(extension) => {
                let node = extension.node.as_any();
                if let Some(windows) = node.downcast_ref::<AssignWindowsNode>() {
                    let spec = windows.windows;
                    found.windows.push(format!(
                        "{} us every {} us from {} us of {}",
                        spec.size_micros,
                        spec.slide_micros,
                        spec.offset_micros,
                        name_of(&Expr::Column(windows.time.clone()), windows.input.schema())?
                    ));
                }
                let is_stateful = node.is::<StatefulAggregateNode>()
                    || node.is::<SessionAggregateNode>()
                    || node.is::<DedupNode>()
                    || node.is::<StreamJoinNode>()
                    || node.is::<StreamLimitNode>()
                    || node.is::<ProcessorNode>();
                if is_stateful {
                    return Ok(TreeNodeRecursion::Jump);
                }
            }
            _ => {}
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    found.filters.sort();
    found.filters.dedup();
    Ok(found)
}

/// The conditions below each aggregation that were written above it and pushed down: rows that they remove are not in
/// state, so they cannot be taken away later. `plan` is the one that `found` was made of, before filters were pushed.
///
/// Found by planning once more without the filters above aggregations. Where that cannot be done, every condition counts.
pub(crate) fn pushed_filters(
    plan: LogicalPlan,
    push_down: impl Fn(LogicalPlan) -> Result<LogicalPlan>,
    settings: &PlanSettings,
    found: &Found,
) -> BTreeMap<String, Vec<String>> {
    let settings = PlanSettings {
        late_rows: false,
        ..settings.clone()
    };
    let bare = without_filters_above_aggregations(plan)
        .and_then(push_down)
        .and_then(|bare| make_stateful(bare, &settings));
    let written_below = bare.map_or_else(|_| BTreeMap::new(), |(_, bare)| bare.filters);
    let pushed = found.filters.iter().map(|(operator, filters)| {
        let written = written_below.get(operator);
        let is_pushed = |filter: &&String| !written.is_some_and(|it| it.contains(*filter));
        let pushed = filters.iter().filter(is_pushed).cloned().collect();
        (operator.clone(), pushed)
    });
    pushed.collect()
}

fn without_filters_above_aggregations(plan: LogicalPlan) -> Result<LogicalPlan> {
    let stripped = plan.transform_down(|node| {
        let mut node = node;
        let mut changed = false;
        while let LogicalPlan::Filter(filter) = &node
            && is_above_aggregation(&filter.input)
        {
            node = filter.input.as_ref().clone();
            changed = true;
        }
        Ok(match changed {
            true => Transformed::yes(node),
            false => Transformed::no(node),
        })
    });
    stripped?.data.recompute_schema()
}

/// Whether the first stateful operators on the way to the sources include an aggregation.
fn is_above_aggregation(plan: &LogicalPlan) -> bool {
    if !reads_stream(plan) {
        return false;
    }
    match plan {
        LogicalPlan::Aggregate(_) | LogicalPlan::Distinct(Distinct::All(_)) => true,
        LogicalPlan::Join(join) if is_stream_join(join) => false,
        LogicalPlan::Extension(extension)
            if extension.node.as_any().is::<SessionAggregateNode>() =>
        {
            true
        }
        LogicalPlan::Extension(extension)
            if extension.node.as_any().is::<DedupNode>()
                || extension.node.as_any().is::<ProcessorNode>() =>
        {
            false
        }
        other => other.inputs().into_iter().any(is_above_aggregation),
    }
}
