//! DataFusion's optimiser with the rules that are sound over streams.

use std::sync::Arc;

use datafusion::{
    error::Result,
    execution::SessionState,
    logical_expr::LogicalPlan,
    optimizer::{
        Optimizer, OptimizerRule, decorrelate_predicate_subquery::DecorrelatePredicateSubquery,
        push_down_filter::PushDownFilter, scalar_subquery_to_join::ScalarSubqueryToJoin,
    },
};

use crate::join::{drop_unmatchable, extract_keys};

/// Rules left out, with the reason.
///
/// * `single_distinct_aggregation_to_group_by` would turn `count(DISTINCT x)` into two chained aggregations.
/// * `eliminate_group_by_constant` would change the keys of a state when an expression becomes foldable.
/// * `extract_leaf_expressions` and `push_down_leaf_projections` move `w.start` below a projection that makes `w` twice
///   by one name, as a window that is grouped by again does, and fail there.
const LEFT_OUT: &[&str] = &[
    "single_distinct_aggregation_to_group_by",
    "eliminate_group_by_constant",
    "extract_leaf_expressions",
    "push_down_leaf_projections",
];

/// The session's own rules, but for those left out.
fn rules(state: &SessionState) -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    state
        .optimizers()
        .iter()
        .filter(|rule| !LEFT_OUT.contains(&rule.name()))
        .cloned()
        .collect()
}

/// Pushes filters as far down as they go, before aggregations become stateful: what a filter on a grouping column removes
/// need not be kept. Filters that do not use the event time go below the watermark, as recorded.
///
/// Equalities between two streams become keys before, so that a filter on a key of one side is one on the other side
/// too, and after, because a join without a condition gets one from WHERE. Then rows that can match nothing are left out.
/// Subqueries over tables become joins first, as in DataFusion's own order: a filter that is moved leaves the names in its
/// subquery as they were.
pub(crate) fn push_down_filters(state: &SessionState, plan: LogicalPlan) -> Result<LogicalPlan> {
    let push_down = |plan| {
        let rules: Vec<Arc<dyn OptimizerRule + Send + Sync>> = vec![
            Arc::new(DecorrelatePredicateSubquery::new()),
            Arc::new(ScalarSubqueryToJoin::new()),
            Arc::new(PushDownFilter::new()),
        ];
        Optimizer::with_rules(rules).optimize(plan, state, |_, _| {})
    };
    let pushed = push_down(extract_keys(plan)?)?;
    push_down(drop_unmatchable(extract_keys(pushed)?)?)
}

/// Optimises a plan whose stateful parts are nodes of ours already.
pub(crate) fn optimize(state: &SessionState, plan: LogicalPlan) -> Result<LogicalPlan> {
    Optimizer::with_rules(rules(state)).optimize(plan, state, |_, _| {})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_that_is_left_out_exists() {
        let names: Vec<String> = Optimizer::new()
            .rules
            .iter()
            .map(|rule| rule.name().to_owned())
            .collect();
        for left_out in LEFT_OUT {
            assert!(
                names.iter().any(|name| name == left_out),
                "{left_out} not in {names:?}"
            );
        }
    }
}
