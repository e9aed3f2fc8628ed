//! Text that is only grouped by is read as views.
//!
//! A view holds a short text itself and points into the decoder's buffers for a longer one. A source that can give views
//! copies nothing, and a partial aggregation hashes and compares them faster. What it gives out is turned back into plain
//! text, so nothing but the nodes between scan and aggregation ever sees them: an array of views keeps all the buffers
//! alive that it was made from, which must not get into state or into results.

use std::sync::Arc;

use datafusion::{
    arrow::datatypes::DataType,
    common::tree_node::{Transformed, TreeNode},
    error::Result,
    physical_expr::{
        PhysicalExpr,
        expressions::{CastExpr, Column},
    },
    physical_plan::{
        ExecutionPlan,
        aggregates::{AggregateExec, AggregateMode},
        filter::FilterExec,
        projection::{ProjectionExec, ProjectionExpr},
    },
};

use crate::{
    column_use::{others_look_at, over, passed_by_filter, passed_by_projection},
    epoch_time::EpochTimeExec,
    event_time::EventTimeExec,
    late::LateFilterExec,
    scan::SourceScanExec,
    window::{AssignSlicesExec, AssignWindowsExec},
    work_sharing::WorkSharingExec,
};

/// Has the scans of `plan` give those columns of text as views that only a partial aggregation looks at, to group by
/// them. To be called once the rest of the plan is final.
///
/// # Errors
/// None but defects of planning: a node that cannot be rebuilt.
pub fn group_text_as_views(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let plan = plan.transform_up(|node| {
        let Some(aggregate) = node.downcast_ref::<AggregateExec>() else {
            return Ok(Transformed::no(node));
        };
        Ok(match grouped_by_views(aggregate)? {
            Some(changed) => Transformed::yes(changed),
            None => Transformed::no(node),
        })
    })?;
    Ok(plan.data)
}

/// The same aggregation over views; `None` if there is no text that it alone looks at.
fn grouped_by_views(aggregate: &AggregateExec) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let groups = aggregate.group_expr();
    if *aggregate.mode() != AggregateMode::Partial || groups.has_grouping_set() {
        return Ok(None);
    }
    let mut input = Arc::clone(aggregate.input());
    let mut changed = false;
    for (number, (expr, _)) in groups.expr().iter().enumerate() {
        let Some(column) = expr.downcast_ref::<Column>().map(Column::index) else {
            continue;
        };
        let is_text = *input.schema().field(column).data_type() == DataType::Utf8;
        if !is_text || others_look_at(aggregate, number, column) {
            continue;
        }
        if let Some(with_views) = with_views(&input, column)? {
            (input, changed) = (with_views, true);
        }
    }
    if !changed {
        return Ok(None);
    }
    let input_schema = input.schema();
    let over_views = AggregateExec::try_new(
        AggregateMode::Partial,
        groups.clone(),
        aggregate.aggr_expr().to_vec(),
        aggregate.filter_expr().to_vec(),
        input,
        input_schema,
    )?;
    as_before(Arc::new(over_views), aggregate).map(Some)
}

/// `plan` with the columns of `before`, in their types.
fn as_before(
    plan: Arc<dyn ExecutionPlan>,
    before: &AggregateExec,
) -> Result<Arc<dyn ExecutionPlan>> {
    let (wanted, found) = (before.schema(), plan.schema());
    let columns = wanted.fields().iter().zip(found.fields()).enumerate();
    let columns = columns.map(|(number, (wanted, found))| {
        let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(found.name(), number));
        ProjectionExpr {
            expr: if wanted.data_type() == found.data_type() {
                column
            } else {
                Arc::new(CastExpr::new(column, wanted.data_type().clone(), None))
            },
            alias: wanted.name().clone(),
        }
    });
    Ok(Arc::new(ProjectionExec::try_new(
        columns.collect::<Vec<_>>(),
        plan,
    )?))
}

/// `node` with its column `column`, a text, as views; `None` if it does not come from a scan or something in between
/// looks at it.
fn with_views(
    node: &Arc<dyn ExecutionPlan>,
    column: usize,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    if let Some(scan) = node.downcast_ref::<SourceScanExec>() {
        return Ok(Some(Arc::new(scan.with_views(column)?)));
    }
    let children = node.children();
    let [input] = children.as_slice() else {
        return Ok(None);
    };
    let below = if let Some(filter) = node.downcast_ref::<FilterExec>() {
        passed_by_filter(filter, column)
    } else if let Some(projection) = node.downcast_ref::<ProjectionExec>() {
        passed_by_projection(projection, column)
    } else if let Some(late) = node.downcast_ref::<LateFilterExec>() {
        (!late.records_rows()).then_some(column)
    } else if node.is::<EventTimeExec>()
        || node.is::<EpochTimeExec>()
        || node.is::<WorkSharingExec>()
        || node.is::<AssignWindowsExec>()
        || node.is::<AssignSlicesExec>()
    {
        // These look at times only; what they add stands behind the columns of their input.
        (column < input.schema().fields().len()).then_some(column)
    } else {
        None
    };
    let Some(below) = below else {
        return Ok(None);
    };
    let Some(input) = with_views(input, below)? else {
        return Ok(None);
    };
    Ok(Some(match node.downcast_ref::<ProjectionExec>() {
        // Over another input it would keep the types that it was planned with.
        Some(projection) => Arc::new(ProjectionExec::try_new(projection.expr().to_vec(), input)?),
        None => over(node, input)?,
    }))
}

#[cfg(test)]
mod tests;
