//! Dropping of duplicates over streams.

use std::sync::Arc;

use datafusion::{
    common::Result,
    logical_expr::{Expr, Extension, LogicalPlan},
    prelude::Column,
};
use serde_json::json;

use super::{Place, Rewriter, below::below, late::Lateness};
use crate::{
    nodes::dedup::{DedupNode, DedupTime},
    streaming_plan::{OperatorInfo, Withheld},
    time_column::{has_watermark, time_marks},
};

impl Rewriter {
    pub(super) fn dedup(&mut self, dedup: &DedupNode, place: &Place) -> Result<LogicalPlan> {
        let position = self.found.operators.len();
        let input = self.rewrite(dedup.input.clone(), &place.below_stateful())?;
        let first = if dedup.within_watermark {
            &[]
        } else {
            dedup.keys.as_slice()
        };
        let id = place.id("dedup");
        let time = time_of(&input, first)?;
        let input = match &time {
            None => input,
            Some(time) => self.without_late_rows(
                input,
                Lateness {
                    operator: &id,
                    side: None,
                    time: Expr::Column(time.column.clone()),
                    extra_micros: time.extra_micros,
                    window: None,
                },
            )?,
        };
        let node = DedupNode {
            time,
            input,
            id,
            ..dedup.clone()
        };
        let (kind, progress_name) = match node.within_watermark {
            false => ("dedup", "dedupe"),
            true => ("dedup within watermark", "dedupeWithinWatermark"),
        };
        let info = OperatorInfo {
            id: node.id.clone(),
            kind: kind.to_owned(),
            progress_name: progress_name.to_owned(),
            fingerprint: fingerprint(&node, below(&node.input)?.windows)?,
            wants_no_data_epoch: has_watermark(&node.input),
            follows_clock: false,
            stores: Vec::new(),
            withholds: Withheld::Nothing,
            grows: Vec::new(),
        };
        // Nearest the sink first: before what was found below.
        self.found.operators.insert(position, info);
        Ok(LogicalPlan::Extension(Extension {
            node: Arc::new(node),
        }))
    }
}

/// The event time of the rows: that of the first of these columns that has one, else of the first column at all.
fn time_of(input: &LogicalPlan, first: &[Column]) -> Result<Option<DedupTime>> {
    let marks = time_marks(input)?;
    let columns = input.schema().columns();
    let mut marked = columns
        .iter()
        .zip(marks)
        .filter_map(|(column, mark)| Some((column, mark?)));
    let found = first
        .iter()
        .find_map(|key| marked.clone().find(|(column, _)| *column == key))
        .or_else(|| marked.next());
    Ok(found.map(|(column, mark)| DedupTime {
        column: column.clone(),
        extra_micros: mark.extra_micros(),
        delay: mark.delay,
    }))
}

/// What must not change between two starts: the keys with their types, the column that says when they are forgotten, and
/// windows that a key may be.
fn fingerprint(node: &DedupNode, windows: Vec<String>) -> Result<serde_json::Value> {
    let schema = node.input.schema();
    let keys = node
        .keys
        .iter()
        .map(|key| {
            let field = schema.field(schema.index_of_column(key)?);
            Ok(format!("{}: {}", field.name(), field.data_type()))
        })
        .collect::<Result<Vec<_>>>()?;
    let expires = node
        .time
        .as_ref()
        .filter(|time| node.within_watermark || node.keys.contains(&time.column));
    Ok(json!({
        "keys": keys,
        "expires": expires.map(|time| time.column.name.clone()),
        "windows": windows,
    }))
}
