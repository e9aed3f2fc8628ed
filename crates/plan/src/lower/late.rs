//! Late filters, and where the records of all of them go.

use std::sync::Arc;

use datafusion::{
    arrow::datatypes::SchemaRef,
    common::{
        DFSchema,
        tree_node::{Transformed, TreeNode},
    },
    error::Result,
    physical_plan::ExecutionPlan,
};
use headwater_ops::{
    expiry::Expiry,
    late::{LateFilterExec, LateRow},
};

use crate::nodes::late_filter::LateFilterNode;

pub(super) fn late_filter(
    node: &LateFilterNode,
    schema: &DFSchema,
    input: Arc<dyn ExecutionPlan>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let expiry = Expiry {
        column: schema.index_of_column(&node.time)?,
        extra_micros: node.extra_micros,
    };
    let row = node.row.as_ref().map(|row| {
        let columns = row
            .columns
            .iter()
            .map(|(column, name)| Ok((schema.index_of_column(column)?, name.clone())));
        Ok::<_, datafusion::error::DataFusionError>(LateRow {
            columns: columns.collect::<Result<_>>()?,
            window: row.window.map(|column| schema.index_of_column(column))?,
            input: row.side.map(str::to_owned),
        })
    });
    let filter = LateFilterExec::new(input, node.operator.clone(), expiry, row.transpose()?);
    Ok(Arc::new(filter))
}

/// Lets all late filters of a final plan record what they drop, with the columns of `schema`. Their partitions are
/// numbered throughout, since each is a part of one sink.
pub(super) fn record_late_rows(
    plan: Arc<dyn ExecutionPlan>,
    schema: &SchemaRef,
) -> Result<Arc<dyn ExecutionPlan>> {
    let mut parts = 0;
    let recording = plan.transform_up(|node| {
        let Some(filter) = node.downcast_ref::<LateFilterExec>() else {
            return Ok(Transformed::no(node));
        };
        let first = parts;
        parts += filter.properties().output_partitioning().partition_count();
        let filter = filter.with_records(Arc::clone(schema), first)?;
        Ok(Transformed::yes(Arc::new(filter) as _))
    })?;
    Ok(recording.data)
}
