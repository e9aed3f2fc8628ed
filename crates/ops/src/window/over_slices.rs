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
    Scaled, Windows, assign::AssignWindowsExec, close_windows::ClosingWindows,
    combine_slices::Combination, expand_slices::ExpandSlicesExec,
};
use crate::{
    column_use::{others_look_at, over, passed_by_filter, passed_by_projection},
    expiry::Expiry,
    late::LateFilterExec,
};

/// A plan that has slices where there were windows.
struct OverSlices {
    plan: Arc<dyn ExecutionPlan>,
    windows: Windows,
    scaled: Scaled,
    /// How long after its start a window is late for the filter below; none if there is no filter.
    late_after_micros: Option<i64>,
}

/// A partial aggregation over the slices of windows.
pub(crate) struct SlicedAggregate {
    plan: Arc<dyn ExecutionPlan>,
    /// The grouping column that names slices; or windows, for rows of which a window was late.
    number: usize,
    sliced: OverSlices,
    combination: Option<Combination>,
}

/// The aggregation `partial` over slices; `None` where that cannot be: where its rows are in one window each, or
/// something but the grouping and the late filter looks at the windows.
///
/// Only for aggregates to which the order of rows means nothing.
pub(crate) fn aggregate_slices(
    partial: &Arc<dyn ExecutionPlan>,
) -> Result<Option<SlicedAggregate>> {
    let Some(aggregate) = partial.downcast_ref::<AggregateExec>() else {
        return Ok(None);
    };
    let groups = aggregate.group_expr();
    if groups.has_grouping_set() {
        return Ok(None);
    }
    for (number, (expr, _)) in groups.expr().iter().enumerate() {
        let Some(column) = expr.downcast_ref::<Column>().map(Column::index) else {
            continue;
        };
        if others_look_at(aggregate, number, column) {
            continue;
        }
        if let Some(sliced) = over_slices(aggregate.input(), column, None)? {
            return Ok(Some(SlicedAggregate {
                plan: over(partial, Arc::clone(&sliced.plan))?,
                combination: Combination::of(aggregate, number, sliced.scaled)?,
                number,
                sliced,
            }));
        }
    }
    Ok(None)
}

impl SlicedAggregate {
    /// The same with what it gives put into windows.
    pub(crate) fn in_windows(self) -> Arc<dyn ExecutionPlan> {
        Arc::new(ExpandSlicesExec::new(
            self.plan,
            self.number,
            self.sliced.scaled,
            self.combination.map(Arc::new),
        ))
    }

    /// The plan as it is.
    pub(crate) fn plan(&self) -> &Arc<dyn ExecutionPlan> {
        &self.plan
    }

    /// How its slices are merged into windows that end; `None` where states cannot be merged, or where windows do not
    /// end as `expiry`, in terms of the grouping, says.
    pub(crate) fn closing_windows(&self, expiry: Expiry) -> Option<ClosingWindows> {
        let ends = expiry.column == self.number
            && self.sliced.late_after_micros == Some(expiry.extra_micros)
            && self.sliced.windows.size_micros == expiry.extra_micros;
        let combination = self.combination.as_ref().filter(|_| ends)?;
        Some(ClosingWindows::new(
            self.sliced.windows,
            self.number,
            combination.with_slice_last(),
        ))
    }
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
            windows: windows.windows(),
            scaled,
            late_after_micros: extra_micros,
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
