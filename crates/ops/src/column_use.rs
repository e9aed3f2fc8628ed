//! What the nodes of a plan do with a column: for changes of a plan that reach from an aggregation down to where one of
//! its columns comes from.

use std::sync::Arc;

use datafusion::{
    error::Result,
    physical_expr::{PhysicalExpr, expressions::Column, utils::collect_columns},
    physical_plan::{
        ExecutionPlan,
        aggregates::AggregateExec,
        execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions},
        filter::FilterExec,
        projection::ProjectionExec,
    },
};

/// Whether anything in the aggregation but grouping expression number `number` looks at input column `column`.
pub(crate) fn others_look_at(aggregate: &AggregateExec, number: usize, column: usize) -> bool {
    let groups = aggregate.group_expr().expr().iter().enumerate();
    let groups = groups.filter(|(other, _)| *other != number);
    let mut others: Vec<Arc<dyn PhysicalExpr>> =
        groups.map(|(_, (expr, _))| Arc::clone(expr)).collect();
    for function in aggregate.aggr_expr() {
        let of_function = function.all_expressions();
        others.extend(of_function.args);
        others.extend(of_function.order_by_exprs);
    }
    others.extend(aggregate.filter_expr().iter().flatten().cloned());
    others.iter().any(|expr| looks_at(expr, column))
}

/// The input column that the filter gives out as `column`, if it only passes it on.
pub(crate) fn passed_by_filter(filter: &FilterExec, column: usize) -> Option<usize> {
    let below = match filter.projection() {
        None => Some(column),
        Some(kept) => only_once(kept, column),
    };
    below.filter(|below| !looks_at(filter.predicate(), *below))
}

/// The input column that the projection gives out as `column`, if it does nothing else with it.
pub(crate) fn passed_by_projection(projection: &ProjectionExec, column: usize) -> Option<usize> {
    let exprs = projection.expr();
    let below = exprs.get(column)?.expr.downcast_ref::<Column>()?.index();
    let mut others = exprs.iter().enumerate();
    let looked_at = others.any(|(number, other)| number != column && looks_at(&other.expr, below));
    (!looked_at).then_some(below)
}

/// The same node over another input, whose columns may be of other types and which promises no order.
pub(crate) fn over(
    node: &Arc<dyn ExecutionPlan>,
    input: Arc<dyn ExecutionPlan>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
    Arc::clone(node).replace_children(vec![input], options)
}

fn looks_at(expr: &Arc<dyn PhysicalExpr>, column: usize) -> bool {
    collect_columns(expr)
        .iter()
        .any(|found| found.index() == column)
}

/// Which input column is at place `place` of these, if it is at no other.
fn only_once(columns: &[usize], place: usize) -> Option<usize> {
    let column = *columns.get(place)?;
    let times = columns.iter().filter(|other| **other == column).count();
    (times == 1).then_some(column)
}
