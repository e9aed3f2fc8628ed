//! Sessions over streams.

use std::sync::Arc;

use datafusion::{
    arrow::datatypes::Field,
    common::Result,
    logical_expr::{Aggregate, Extension, LogicalPlan},
};
use headwater_core::OutputMode;
use serde_json::json;

use super::{
    Place, Rewriter,
    aggregate::{described, named_as},
};
use crate::{nodes::session_aggregate::SessionAggregateNode, streaming_plan::OperatorInfo};

impl Rewriter {
    pub(super) fn sessions(
        &mut self,
        node: SessionAggregateNode,
        place: &Place,
    ) -> Result<LogicalPlan> {
        let id = place.id("session");
        let position = self.found.operators.len();
        let aggregate = node.aggregate()?.clone();
        let before = Arc::clone(&aggregate.schema);
        let aggregate = self.over_stateful_input(aggregate, place)?;
        let info = OperatorInfo {
            fingerprint: fingerprint(&aggregate, node.gap_micros, self.mode),
            id: id.clone(),
            kind: "session".to_owned(),
            progress_name: "sessionWindowStateStoreSaveExec".to_owned(),
            wants_no_data_epoch: self.mode != OutputMode::Complete,
            follows_clock: false,
            grows: Vec::new(),
        };
        // Nearest the sink first: before what was found below.
        self.found.operators.insert(position, info);
        let prepared = node.prepared(aggregate, id, self.mode);
        named_as(
            &before,
            LogicalPlan::Extension(Extension {
                node: Arc::new(prepared),
            }),
        )
    }
}

/// What must not change between two starts: keys and aggregates with their types, the type of the times and a gap that
/// is the same for all rows. The names of the session's own two columns are ours and say nothing.
fn fingerprint(
    aggregate: &Aggregate,
    gap_micros: Option<i64>,
    mode: OutputMode,
) -> serde_json::Value {
    let fields: Vec<Arc<Field>> = aggregate.schema.fields().iter().cloned().collect();
    let (keys, aggregates) = fields.split_at(fields.len() - aggregate.aggr_expr.len());
    let (keys, session) = keys.split_at(keys.len().saturating_sub(2));
    json!({
        "keys": described(keys),
        "session": session.first().map(|start| start.data_type().to_string()),
        "gap_micros": gap_micros,
        "aggregates": described(aggregates),
        "mode": mode,
    })
}
