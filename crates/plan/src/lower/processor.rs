//! Arbitrary state.

use std::sync::Arc;

use datafusion::{
    common::{DFSchema, DataFusionError},
    error::Result,
    logical_expr::LogicalPlan,
    physical_plan::ExecutionPlan,
    prelude::Column,
};
use headwater_ops::processor::{Definition, ProcessorExec};

use crate::nodes::processor::ProcessorNode;

pub(super) fn processor(
    node: &ProcessorNode,
    logical: &[&LogicalPlan],
    physical: &[Arc<dyn ExecutionPlan>],
) -> Result<Arc<dyn ExecutionPlan>> {
    let (Some((first, others)), Some((input, initial))) =
        (logical.split_first(), physical.split_first())
    else {
        return Err(DataFusionError::Internal(
            "a processor has no input".to_owned(),
        ));
    };
    if node.id.is_empty() {
        return Err(DataFusionError::Plan(format!(
            "{}('{}') keeps state from epoch to epoch and runs over streams only: read the table with read_stream(), \
             and collect what it writes with Trigger::available_now()",
            node.call.call.name(),
            node.call.name
        )));
    }
    let columns = |keys: &[Column], schema: &DFSchema| {
        let keys = keys.iter().map(|key| schema.index_of_column(key));
        keys.collect::<Result<Vec<_>>>()
    };
    let initial_keys = match (&node.initial, others.first()) {
        (Some((_, keys)), Some(initial)) => columns(keys, initial.schema())?,
        _ => Vec::new(),
    };
    let definition = Definition {
        operator: node.id.clone(),
        processor: node.call.name.clone(),
        call: node.call.call,
        keys: columns(&node.keys, first.schema())?,
        initial_keys,
        input: node.visible.clone(),
        initial_visible: node.initial_visible,
        spec: node.spec.clone(),
        time_mode: node.call.time_mode,
        has_watermark: node.time.is_some(),
        event_time: node
            .call
            .event_time
            .as_ref()
            .map(|name| node.spec.output.index_of(name))
            .transpose()?,
    };
    Ok(Arc::new(ProcessorExec::new(
        Arc::clone(input),
        initial.first().map(Arc::clone),
        definition,
    )))
}
