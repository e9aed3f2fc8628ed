//! Dropping of duplicates, with the late filter below it.

use std::sync::Arc;

use datafusion::{common::DFSchema, error::Result, physical_plan::ExecutionPlan};
use headwater_ops::{dedup::DedupExec, expiry::Expiry, late::LateFilterExec};

use crate::nodes::dedup::DedupNode;

pub(super) fn dedup(
    node: &DedupNode,
    schema: &DFSchema,
    input: Arc<dyn ExecutionPlan>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let keys = node
        .keys
        .iter()
        .map(|key| schema.index_of_column(key))
        .collect::<Result<Vec<_>>>()?;
    let Some(time) = &node.time else {
        return Ok(Arc::new(DedupExec::new(input, node.id.clone(), keys, None)));
    };
    let expiry = Expiry {
        column: schema.index_of_column(&time.column)?,
        extra_micros: time.extra_micros,
    };
    let in_time = Arc::new(LateFilterExec::new(input, node.id.clone(), expiry));
    let expires = node.expires().then_some(expiry);
    Ok(Arc::new(DedupExec::new(
        in_time,
        node.id.clone(),
        keys,
        expires,
    )))
}
