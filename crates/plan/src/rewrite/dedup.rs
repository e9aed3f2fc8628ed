//! Dropping of duplicates over streams.

use std::sync::Arc;

use datafusion::{
    common::Result,
    logical_expr::{Extension, LogicalPlan},
    prelude::Column,
};
use serde_json::json;

use super::{Place, Rewriter};
use crate::{
    nodes::dedup::{DedupNode, DedupTime},
    streaming_plan::OperatorInfo,
    time_column::{has_watermark, time_marks},
};

impl Rewriter {
    pub(super) fn dedup(&mut self, dedup: &DedupNode, place: &Place) -> Result<LogicalPlan> {
        let id = place.id("dedup");
        let position = self.found.operators.len();
        let input = self.rewrite(dedup.input.clone(), &place.below_stateful())?;
        let node = DedupNode {
            time: time_of(&input, &dedup.keys)?,
            input,
            keys: dedup.keys.clone(),
            id: id.clone(),
        };
        let info = OperatorInfo {
            fingerprint: fingerprint(&node)?,
            id,
            kind: "dedup".to_owned(),
            progress_name: "dedupe".to_owned(),
            wants_no_data_epoch: has_watermark(&node.input),
        };
        // Nearest the sink first: before what was found below.
        self.found.operators.insert(position, info);
        Ok(LogicalPlan::Extension(Extension {
            node: Arc::new(node),
        }))
    }
}

/// The event time of the rows: the first key that has one, because it also bounds the state; else the first column.
fn time_of(input: &LogicalPlan, keys: &[Column]) -> Result<Option<DedupTime>> {
    let marks = time_marks(input)?;
    let columns = input.schema().columns();
    let is_key = |column: &Column| keys.contains(column);
    let marked = || {
        columns
            .iter()
            .zip(&marks)
            .filter_map(|(column, mark)| Some((column, (*mark)?)))
    };
    let found = keys
        .iter()
        .find_map(|key| marked().find(|(column, _)| *column == key))
        .or_else(|| marked().find(|(column, _)| !is_key(column)));
    Ok(found.map(|(column, mark)| DedupTime {
        column: column.clone(),
        extra_micros: mark.extra_micros(),
    }))
}

/// What must not change between two starts: the keys with their types, and which of them says when a key is forgotten.
fn fingerprint(node: &DedupNode) -> Result<serde_json::Value> {
    let schema = node.input.schema();
    let keys = node
        .keys
        .iter()
        .map(|key| {
            let field = schema.field(schema.index_of_column(key)?);
            Ok(format!("{}: {}", field.name(), field.data_type()))
        })
        .collect::<Result<Vec<_>>>()?;
    let expires = node.time.as_ref().filter(|_| node.expires());
    Ok(json!({
        "keys": keys,
        "expires": expires.map(|time| time.column.name.clone()),
    }))
}
