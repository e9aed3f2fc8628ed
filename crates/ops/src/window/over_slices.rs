//! Lets a partial aggregation over sliding windows run over their slices.

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

use super::{Scaled, assign::AssignWindowsExec, expand_slices::ExpandSlicesExec};
use crate::late::LateFilterExec;

/// A plan that has slices where there were windows.
struct OverSlices {
    plan: Arc<dyn ExecutionPlan>,
    scaled: Scaled,
}

/// The aggregation `partial` over slices, with what it gives put into windows; `partial` itself where that cannot be:
/// where its rows are in one window each, or something but the grouping and the late filter looks at the windows.
///
/// Only for aggregates to which the order of rows means nothing.
pub(crate) fn aggregate_slices(partial: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let Some(aggregate) = partial.downcast_ref::<AggregateExec>() else {
        return Ok(partial);
    };
    let groups = aggregate.group_expr();
    if groups.has_grouping_set() {
        return Ok(partial);
    }
    for (number, (expr, _)) in groups.expr().iter().enumerate() {
        let Some(column) = expr.downcast_ref::<Column>().map(Column::index) else {
            continue;
        };
        if others_look_at(aggregate, number, column) {
            continue;
        }
        if let Some(sliced) = over_slices(aggregate.input(), column, None)? {
            let aggregated = over(&partial, sliced.plan)?;
            return Ok(Arc::new(ExpandSlicesExec::new(
                aggregated,
                number,
                sliced.scaled,
            )));
        }
    }
    Ok(partial)
}

/// Whether anything in the aggregation but grouping expression number `number` looks at input column `column`.
fn others_look_at(aggregate: &AggregateExec, number: usize, column: usize) -> bool {
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

fn looks_at(expr: &Arc<dyn PhysicalExpr>, column: usize) -> bool {
    collect_columns(expr)
        .iter()
        .any(|found| found.index() == column)
}

/// The plan `node` over slices, where `column` of it is the start of sliding windows and nothing in between looks at it
/// but the late filter, which has windows expire `extra_micros` after their start.
fn over_slices(
    node: &Arc<dyn ExecutionPlan>,
    column: usize,
    extra_micros: Option<i64>,
) -> Result<Option<OverSlices>> {
    if let Some(windows) = node.downcast_ref::<AssignWindowsExec>() {
        let scaled = windows.scaled();
        if column != windows.start_column() || !scaled.can_be_sliced() {
            return Ok(None);
        }
        return Ok(Some(OverSlices {
            plan: Arc::new(windows.in_slices(extra_micros)),
            scaled,
        }));
    }
    let (below, extra_micros) = if let Some(late) = node.downcast_ref::<LateFilterExec>() {
        let expiry = late.expiry();
        if expiry.column != column || extra_micros.is_some() {
            return Ok(None);
        }
        (Some(column), Some(expiry.extra_micros))
    } else if let Some(filter) = node.downcast_ref::<FilterExec>() {
        let column = match filter.projection() {
            None => Some(column),
            Some(kept) => only_once(kept, column),
        };
        let below = column.filter(|column| !looks_at(filter.predicate(), *column));
        (below, extra_micros)
    } else if let Some(projection) = node.downcast_ref::<ProjectionExec>() {
        (passed_on(projection, column), extra_micros)
    } else {
        (None, extra_micros)
    };
    let children = node.children();
    let (Some(below), [input]) = (below, children.as_slice()) else {
        return Ok(None);
    };
    let Some(sliced) = over_slices(input, below, extra_micros)? else {
        return Ok(None);
    };
    Ok(Some(OverSlices {
        plan: over(node, sliced.plan)?,
        ..sliced
    }))
}

/// The same node over another input, which promises no order.
fn over(
    node: &Arc<dyn ExecutionPlan>,
    input: Arc<dyn ExecutionPlan>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
    Arc::clone(node).replace_children(vec![input], options)
}

/// Which input column is at place `place` of these, if it is at no other.
fn only_once(columns: &[usize], place: usize) -> Option<usize> {
    let column = *columns.get(place)?;
    let times = columns.iter().filter(|other| **other == column).count();
    (times == 1).then_some(column)
}

/// The input column that the projection gives out as `column`, if it does nothing else with it.
fn passed_on(projection: &ProjectionExec, column: usize) -> Option<usize> {
    let exprs = projection.expr();
    let below = exprs.get(column)?.expr.downcast_ref::<Column>()?.index();
    let mut others = exprs.iter().enumerate();
    let looked_at = others.any(|(number, other)| number != column && looks_at(&other.expr, below));
    (!looked_at).then_some(below)
}
