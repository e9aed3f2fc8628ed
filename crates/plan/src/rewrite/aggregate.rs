//! Aggregations over streams, and `SELECT DISTINCT`, which is one.

use std::sync::Arc;

use datafusion::{
    arrow::datatypes::Field,
    common::{DFSchema, Result},
    logical_expr::{Aggregate, Expr, Extension, LogicalPlan, Projection},
};
use headwater_core::OutputMode;
use headwater_ops::expiry::Expiry;
use serde_json::json;

use super::{
    Place, Rewriter,
    late::Lateness,
    normal_keys::{normal_float, normal_float_columns},
};
use crate::{
    nodes::stateful_aggregate::StatefulAggregateNode, streaming_plan::OperatorInfo,
    time_column::time_marks,
};

impl Rewriter {
    pub(super) fn aggregate(&mut self, aggregate: Aggregate, place: &Place) -> Result<LogicalPlan> {
        let id = place.id("aggregate");
        let position = self.found.operators.len();
        let before = Arc::clone(&aggregate.schema);
        let mut aggregate = self.over_rewritten_input(aggregate, place)?;
        let expiry = self.expiry(&aggregate)?;
        if let Some(expiry) = expiry {
            let late = Lateness {
                operator: &id,
                side: None,
                time: aggregate.group_expr[expiry.column].clone(),
                extra_micros: expiry.extra_micros,
                window: None,
            };
            let input = Arc::unwrap_or_clone(aggregate.input);
            aggregate.input = Arc::new(self.without_late_rows(input, late)?);
        }
        let aggregate = with_normal_keys(aggregate)?;
        let info = OperatorInfo {
            fingerprint: fingerprint(&aggregate, self.mode),
            id: id.clone(),
            kind: "aggregate".to_owned(),
            progress_name: "stateStoreSave".to_owned(),
            wants_no_data_epoch: self.mode != OutputMode::Complete,
            follows_clock: false,
            grows: Vec::new(),
        };
        // Nearest the sink first: before what was found below.
        self.found.operators.insert(position, info);
        let stateful = LogicalPlan::Extension(Extension {
            node: Arc::new(StatefulAggregateNode {
                input: LogicalPlan::Aggregate(aggregate),
                id,
                mode: self.mode,
                expiry,
            }),
        });
        named_as(&before, stateful)
    }

    /// The same aggregation over its input rewritten.
    pub(super) fn over_rewritten_input(
        &mut self,
        aggregate: Aggregate,
        place: &Place,
    ) -> Result<Aggregate> {
        let input = self.rewrite(
            Arc::unwrap_or_clone(aggregate.input),
            &place.below_stateful(),
        )?;
        Aggregate::try_new(Arc::new(input), aggregate.group_expr, aggregate.aggr_expr)
    }

    /// Which key bounds the state: the first one with an event time. None in complete mode, which keeps everything.
    fn expiry(&self, aggregate: &Aggregate) -> Result<Option<Expiry>> {
        if self.mode == OutputMode::Complete {
            return Ok(None);
        }
        let grouping_sets = aggregate
            .group_expr
            .iter()
            .any(|group| matches!(group, Expr::GroupingSet(_)));
        if grouping_sets {
            return Ok(None);
        }
        let keys = aggregate.group_expr.len();
        let marks = time_marks(&LogicalPlan::Aggregate(aggregate.clone()))?;
        Ok(marks
            .iter()
            .take(keys)
            .enumerate()
            .find_map(|(column, mark)| {
                mark.map(|mark| Expiry {
                    column,
                    extra_micros: mark.extra_micros(),
                })
            }))
    }
}

/// The same aggregation with keys in which equal floats are equal bits.
pub(super) fn with_normal_keys(aggregate: Aggregate) -> Result<Aggregate> {
    let input = Arc::unwrap_or_clone(aggregate.input);
    let input = normal_float_columns(input, &aggregate.group_expr)?;
    let groups = aggregate
        .group_expr
        .into_iter()
        .map(|group| normal_float(group, &input))
        .collect::<Result<Vec<_>>>()?;
    Aggregate::try_new(Arc::new(input), groups, aggregate.aggr_expr)
}

/// The columns of `plan` under the names in `before`, where they differ.
pub(super) fn named_as(before: &DFSchema, plan: LogicalPlan) -> Result<LogicalPlan> {
    let columns = plan.schema().columns();
    if before.columns() == columns {
        return Ok(plan);
    }
    let columns = before
        .iter()
        .zip(columns)
        .map(|((qualifier, field), column)| {
            Expr::Column(column).alias_qualified(qualifier.cloned(), field.name())
        })
        .collect();
    Ok(LogicalPlan::Projection(Projection::try_new(
        columns,
        Arc::new(plan),
    )?))
}

/// Columns with their types, by the names the user gave.
pub(super) fn described(fields: &[Arc<Field>]) -> Vec<String> {
    fields
        .iter()
        .map(|field| format!("{}: {}", field.name(), field.data_type()))
        .collect()
}

/// What must not change between two starts: keys and aggregates with their types.
fn fingerprint(aggregate: &Aggregate, mode: OutputMode) -> serde_json::Value {
    let keys = aggregate.schema.fields().len() - aggregate.aggr_expr.len();
    let fields: Vec<Arc<Field>> = aggregate.schema.fields().iter().cloned().collect();
    json!({
        "keys": described(&fields[..keys]),
        "aggregates": described(&fields[keys..]),
        "mode": mode,
    })
}
