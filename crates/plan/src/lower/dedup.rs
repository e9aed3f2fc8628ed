//! Dropping of duplicates.

use std::sync::Arc;

use datafusion::{common::DFSchema, error::Result, physical_plan::ExecutionPlan};
use headwater_ops::{
    dedup::{DedupExec, Remember},
    expiry::Expiry,
};

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
    let id = || node.id.clone();
    let Some(time) = &node.time else {
        let exec = DedupExec::new(input, id(), keys, Remember::Forever);
        return Ok(Arc::new(exec));
    };
    let late = Expiry {
        column: schema.index_of_column(&time.column)?,
        extra_micros: time.extra_micros,
    };
    let remember = if node.within_watermark {
        let delay_micros = time.delay.0.saturating_mul(1_000);
        Remember::SinceFirst(Expiry {
            extra_micros: late.extra_micros.saturating_add(delay_micros),
            ..late
        })
    } else if keys.contains(&late.column) {
        Remember::WhileInTime(late)
    } else {
        Remember::Forever
    };
    Ok(Arc::new(DedupExec::new(input, id(), keys, remember)))
}
