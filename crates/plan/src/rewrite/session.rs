//! Sessions over streams.

use std::sync::Arc;

use datafusion::{
    arrow::datatypes::Field,
    common::{Result, internal_err},
    logical_expr::{Aggregate, Expr, Extension, LogicalPlan},
};
use headwater_core::OutputMode;
use headwater_ops::late::LateWindow;
use serde_json::json;

use super::{
    Place, Rewriter,
    aggregate::{described, described_keys, named_as, with_normal_keys},
    below::below,
    late::Lateness,
};
use crate::{
    nodes::session_aggregate::SessionAggregateNode,
    streaming_plan::{OperatorInfo, Withheld},
    time_column::{TimeForm, time_marks},
};

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
        let mut aggregate = self.over_rewritten_input(aggregate, place)?;
        // As recorded, complete mode drops late rows of sessions too, though it never removes a session.
        let marks = time_marks(&LogicalPlan::Aggregate(aggregate.clone()))?;
        let mut marks = marks.iter().flatten();
        if marks.any(|mark| mark.form == TimeForm::SessionEnd) {
            aggregate = self.without_late_intervals(aggregate, &id)?;
        }
        let aggregate = with_normal_keys(aggregate)?;
        let below = below(&aggregate.input)?;
        self.found.filters.insert(id.clone(), below.filters);
        let info = OperatorInfo {
            fingerprint: fingerprint(&aggregate, node.gap_micros, self.mode)?,
            id: id.clone(),
            kind: "session".to_owned(),
            progress_name: "sessionWindowStateStoreSaveExec".to_owned(),
            wants_no_data_epoch: self.mode != OutputMode::Complete,
            follows_clock: false,
            stores: Vec::new(),
            withholds: match self.mode {
                OutputMode::Append => Withheld::Sessions,
                OutputMode::Update | OutputMode::Complete => Withheld::Nothing,
            },
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

    /// The same aggregation without the rows whose own interval has ended, whatever session they would be part of.
    fn without_late_intervals(&mut self, mut aggregate: Aggregate, id: &str) -> Result<Aggregate> {
        let [.., start, end] = aggregate.group_expr.as_slice() else {
            return internal_err!("an aggregation over sessions has no bounds");
        };
        let (Expr::Column(start), Expr::Column(end_column)) = (start, end) else {
            return internal_err!("a bound of the sessions {id} is no column");
        };
        let late = Lateness {
            operator: id,
            side: None,
            time: end.clone(),
            extra_micros: 0,
            window: Some(LateWindow::Between {
                start: start.clone(),
                end: end_column.clone(),
            }),
        };
        let input = Arc::unwrap_or_clone(aggregate.input);
        aggregate.input = Arc::new(self.without_late_rows(input, late)?);
        Ok(aggregate)
    }
}

/// What must not change between two starts: keys and aggregates with their types, the type of the times and a gap that
/// is the same for all rows. The names of the session's own two columns are ours and say nothing.
fn fingerprint(
    aggregate: &Aggregate,
    gap_micros: Option<i64>,
    mode: OutputMode,
) -> Result<serde_json::Value> {
    let fields: Vec<Arc<Field>> = aggregate.schema.fields().iter().cloned().collect();
    let (keys, aggregates) = fields.split_at(fields.len() - aggregate.aggr_expr.len());
    let (keys, session) = keys.split_at(keys.len().saturating_sub(2));
    let groups = &aggregate.group_expr;
    let groups = &groups[..groups.len().saturating_sub(2)];
    Ok(json!({
        "keys": described_keys(groups, keys, aggregate.input.schema())?,
        "session": session.first().map(|start| start.data_type().to_string()),
        "gap_micros": gap_micros,
        "aggregates": described(aggregates),
        "mode": mode,
    }))
}
