//! Arbitrary state over streams.

use std::sync::Arc;

use datafusion::{
    arrow::datatypes::Fields,
    common::Result,
    logical_expr::{Expr, Extension, LogicalPlan},
};
use headwater_ops::processor::{Call, StateKind, StateVariable, TimeMode};
use serde_json::{Map, Value, json};

use super::{Place, Rewriter, late::Lateness};
use crate::{
    nodes::processor::{ProcessorNode, ProcessorTime},
    streaming_plan::{OperatorInfo, Withheld},
    time_column::time_marks,
};

impl Rewriter {
    pub(super) fn processor(&mut self, node: &ProcessorNode, place: &Place) -> Result<LogicalPlan> {
        let position = self.found.operators.len();
        let input = self.rewrite(node.input.clone(), &place.below_stateful())?;
        let id = place.id("processor");
        let time = time_of(&input)?;
        let input = match &time {
            Some(time) if node.call.time_mode == TimeMode::EventTime => self.without_late_rows(
                input,
                Lateness {
                    operator: &id,
                    side: None,
                    time: Expr::Column(time.column.clone()),
                    extra_micros: time.extra_micros,
                    window: None,
                },
            )?,
            _ => input,
        };
        let node = ProcessorNode {
            time,
            input,
            id,
            ..node.clone()
        };
        let progress_name = match node.call.call {
            Call::Transform => "transformWithStateInPySparkExec",
            Call::FlatMapGroups | Call::MapGroups => "applyInPandasWithState",
        };
        let info = OperatorInfo {
            id: node.id.clone(),
            kind: node.call.call.name().to_owned(),
            progress_name: progress_name.to_owned(),
            fingerprint: fingerprint(&node, self.mode),
            wants_no_data_epoch: node.call.time_mode == TimeMode::EventTime,
            follows_clock: node.call.time_mode == TimeMode::ProcessingTime,
            stores: Vec::new(),
            withholds: match node.call.time_mode {
                TimeMode::EventTime => Withheld::Timers,
                _ => Withheld::Nothing,
            },
            grows: Vec::new(),
        };
        // Nearest the sink first: before what was found below.
        self.found.operators.insert(position, info);
        Ok(LogicalPlan::Extension(Extension {
            node: Arc::new(node),
        }))
    }
}

/// The event time of the rows: that of the first column that has one.
fn time_of(input: &LogicalPlan) -> Result<Option<ProcessorTime>> {
    let columns = input.schema().columns().into_iter();
    let mut marked = columns.zip(time_marks(input)?);
    Ok(marked.find_map(|(column, mark)| {
        mark.map(|mark| ProcessorTime {
            column,
            extra_micros: mark.extra_micros(),
        })
    }))
}

/// What must not change between two starts: who is called, for which keys, with which state, what it gives out, and
/// which time it follows. How long rows live may change, whether they do may not.
fn fingerprint(node: &ProcessorNode, mode: headwater_core::OutputMode) -> Value {
    let state = node.spec.variables.iter();
    let state: Map<String, Value> = state
        .map(|variable| (variable.name.clone(), variable_fingerprint(variable)))
        .collect();
    json!({
        "processor": node.call.name,
        "keys": columns(node.visible.keys.fields()),
        "state": state,
        "output": columns(node.spec.output.fields()),
        "timeMode": node.call.time_mode.name(),
        "outputMode": mode.to_string(),
    })
}

fn variable_fingerprint(variable: &StateVariable) -> Value {
    let (kind, keys) = match &variable.kind {
        StateKind::Value => ("value", None),
        StateKind::List => ("list", None),
        StateKind::Map(keys) => ("map", Some(columns(keys))),
    };
    json!({
        "kind": kind,
        "keys": keys,
        "columns": columns(&variable.columns),
        "expires": variable.ttl_millis.is_some(),
    })
}

fn columns(fields: &Fields) -> String {
    let columns = fields.iter();
    let columns: Vec<String> = columns
        .map(|field| format!("{}: {}", field.name(), field.data_type()))
        .collect();
    columns.join(", ")
}
