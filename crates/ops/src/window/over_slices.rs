//! Lets a partial aggregation over sliding windows run over their slices.

use std::sync::Arc;

use datafusion::{
    error::Result,
    physical_expr::expressions::Column,
    physical_plan::{
        ExecutionPlan, aggregates::AggregateExec, filter::FilterExec, projection::ProjectionExec,
    },
};

use super::{
    Scaled, assign::AssignWindowsExec, combine_slices::Combination, expand_slices::ExpandSlicesExec,
};
use crate::{
    column_use::{others_look_at, over, passed_by_filter, passed_by_projection},
    late::LateFilterExec,
};

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
            let combination = Combination::of(aggregate, number, sliced.scaled)?;
            let aggregated = over(&partial, sliced.plan)?;
            return Ok(Arc::new(ExpandSlicesExec::new(
                aggregated,
                number,
                sliced.scaled,
                combination.map(Arc::new),
            )));
        }
    }
    Ok(partial)
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
        (passed_by_filter(filter, column), extra_micros)
    } else if let Some(projection) = node.downcast_ref::<ProjectionExec>() {
        (passed_by_projection(projection, column), extra_micros)
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
