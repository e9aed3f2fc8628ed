//! Aggregations over streams, and `SELECT DISTINCT`, which is one.

use std::{collections::HashMap, sync::Arc};

use datafusion::{
    arrow::datatypes::Field,
    common::{
        DFSchema, Result,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{Aggregate, Expr, Extension, LogicalPlan, Projection},
    prelude::{Column, lit},
};
use headwater_core::OutputMode;
use headwater_ops::expiry::Expiry;
use serde_json::json;

use super::{
    Place, Rewriter,
    below::below,
    late::Lateness,
    normal_keys::{normal_float, normal_float_columns},
};
use crate::{
    nodes::stateful_aggregate::StatefulAggregateNode,
    streaming_plan::{OperatorInfo, Withheld},
    time_column::{TimeForm, grouping_columns, time_marks},
};

impl Rewriter {
    pub(super) fn aggregate(&mut self, aggregate: Aggregate, place: &Place) -> Result<LogicalPlan> {
        let id = place.id("aggregate");
        let position = self.found.operators.len();
        let before = Arc::clone(&aggregate.schema);
        let mut aggregate = self.over_rewritten_input(aggregate, place)?;
        let (expiry, withheld) = self.expiry(&aggregate)?;
        let by_sets = aggregate.group_expr.iter().any(is_grouping_set);
        if let Some(expiry) = expiry.filter(|_| !by_sets) {
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
        let below = below(&aggregate.input)?;
        self.found.filters.insert(id.clone(), below.filters);
        let info = OperatorInfo {
            fingerprint: fingerprint(&aggregate, expiry, below.windows, self.mode)?,
            id: id.clone(),
            kind: "aggregate".to_owned(),
            progress_name: "stateStoreSave".to_owned(),
            wants_no_data_epoch: self.mode != OutputMode::Complete,
            follows_clock: false,
            stores: Vec::new(),
            withholds: withheld,
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

    /// Which key bounds the state, the first one with an event time, and what is given out once it has passed. None in
    /// complete mode, which keeps everything.
    fn expiry(&self, aggregate: &Aggregate) -> Result<(Option<Expiry>, Withheld)> {
        if self.mode == OutputMode::Complete {
            return Ok((None, Withheld::Nothing));
        }
        let keys = aggregate
            .group_expr
            .iter()
            .flat_map(grouping_columns)
            .count();
        let marks = time_marks(&LogicalPlan::Aggregate(aggregate.clone()))?;
        let mut marks = marks.iter().take(keys).enumerate();
        let bound = marks.find_map(|(column, mark)| Some((column, (*mark)?)));
        let withheld = match bound {
            Some((_, mark)) if self.mode == OutputMode::Append => match mark.form {
                TimeForm::WindowStart(micros) | TimeForm::Window(Some(micros)) => {
                    Withheld::Windows(micros / 1_000)
                }
                TimeForm::SessionEnd | TimeForm::Window(None) => Withheld::Sessions,
                TimeForm::Time => Withheld::Times,
            },
            _ => Withheld::Nothing,
        };
        let expiry = bound.map(|(column, mark)| Expiry {
            column,
            extra_micros: mark.extra_micros(),
        });
        Ok((expiry, withheld))
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
    let aggregates = named_by_what_they_compute(aggregate.aggr_expr, input.schema())?;
    Aggregate::try_new(Arc::new(input), groups, aggregates)
}

/// The aggregates under names that say what they compute, whatever the query calls them: by these names their states
/// are found again after a restart.
fn named_by_what_they_compute(aggregates: Vec<Expr>, input: &DFSchema) -> Result<Vec<Expr>> {
    let mut taken: HashMap<String, usize> = HashMap::new();
    let named = aggregates.into_iter().map(|aggregate| {
        let aggregate = aggregate.unalias();
        let computed = aggregate.schema_name().to_string();
        let mut name = name_of(&aggregate, input)?;
        let times = taken.entry(name.clone()).or_insert(0);
        *times += 1;
        if *times > 1 {
            name = format!("{name} {times}");
        }
        Ok(match name == computed {
            true => aggregate,
            false => aggregate.alias(name),
        })
    });
    named.collect()
}

/// What an expression computes, as text: whatever it is called, and whatever tables are called whose columns can be told
/// apart without.
pub(super) fn name_of(expr: &Expr, input: &DFSchema) -> Result<String> {
    let plain = expr.clone().unalias().transform(|expr| {
        Ok(match expr {
            Expr::Column(column)
                if column.relation.is_some()
                    && input.fields_with_unqualified_name(&column.name).len() == 1 =>
            {
                Transformed::yes(Expr::Column(Column::from_name(column.name)))
            }
            // Counting a constant is counting rows.
            Expr::AggregateFunction(mut call)
                if call.func.name() == "count"
                    && !call.params.distinct
                    && matches!(call.params.args.as_slice(), [Expr::Literal(value, _)] if !value.is_null()) =>
            {
                call.params.args = vec![lit(1_i64)];
                Transformed::yes(Expr::AggregateFunction(call))
            }
            other => Transformed::no(other),
        })
    })?;
    let name = plain.data.schema_name().to_string();
    // What the analyser makes of it.
    Ok(name.replace("count(Int64(1))", "count(*)"))
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

/// The grouping expressions with their types, whatever the query calls them.
pub(super) fn described_keys(
    groups: &[Expr],
    fields: &[Arc<Field>],
    input: &DFSchema,
) -> Result<Vec<String>> {
    // A grouping set stands for several columns.
    if groups.len() != fields.len() {
        return Ok(described(fields));
    }
    let keys = groups.iter().zip(fields);
    keys.map(|(group, field)| {
        let computed = name_of(group, input)?;
        Ok(format!("{computed}: {}", field.data_type()))
    })
    .collect()
}

/// What must not change between two starts: the keys with their types, the windows and when groups go. What is kept for
/// the aggregates is compared column by column, and may become less.
fn fingerprint(
    aggregate: &Aggregate,
    expiry: Option<Expiry>,
    windows: Vec<String>,
    mode: OutputMode,
) -> Result<serde_json::Value> {
    let keys = aggregate.schema.fields().len() - aggregate.aggr_expr.len();
    let fields: Vec<Arc<Field>> = aggregate.schema.fields().iter().cloned().collect();
    let expires = expiry.map(|expiry| {
        let key = aggregate.schema.field(expiry.column).name();
        format!("{key} + {} us", expiry.extra_micros)
    });
    let input = aggregate.input.schema();
    Ok(json!({
        "keys": described_keys(&aggregate.group_expr, &fields[..keys], input)?,
        "aggregates": described(&fields[keys..]),
        "windows": windows,
        "expires": expires,
        "mode": mode,
    }))
}

fn is_grouping_set(group: &Expr) -> bool {
    matches!(group, Expr::GroupingSet(_))
}
