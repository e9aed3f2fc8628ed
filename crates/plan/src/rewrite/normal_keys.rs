//! Keys that hold floats: all NaN are one key, and -0.0 is the same as 0.0.

use std::sync::Arc;

use datafusion::{
    common::Result,
    logical_expr::{Expr, ExprSchemable, LogicalPlan, Projection, expr_rewriter::NamePreserver},
};
use headwater_ops::normal_float::has_floats;

use crate::{normal_float::normal_float_udf, time_column::grouping_columns};

/// Makes all NaN one key and -0.0 the same as 0.0 in columns that are grouped by as they are.
pub(super) fn normal_float_columns(input: LogicalPlan, groups: &[Expr]) -> Result<LogicalPlan> {
    let keys: Vec<&datafusion::prelude::Column> = groups
        .iter()
        .flat_map(grouping_columns)
        .filter_map(|group| match group {
            Expr::Column(column) => Some(column),
            _ => None,
        })
        .collect();
    let mut changed = false;
    let columns = input
        .schema()
        .iter()
        .map(|(qualifier, field)| {
            let column = datafusion::prelude::Column::new(qualifier.cloned(), field.name());
            if has_floats(field.data_type()) && keys.contains(&&column) {
                changed = true;
                normal_float_udf()
                    .call(vec![Expr::Column(column)])
                    .alias_qualified(qualifier.cloned(), field.name())
            } else {
                Expr::Column(column)
            }
        })
        .collect();
    if !changed {
        return Ok(input);
    }
    Ok(LogicalPlan::Projection(Projection::try_new(
        columns,
        Arc::new(input),
    )?))
}

/// The same for expressions that are grouped by.
pub(super) fn normal_float(group: Expr, input: &LogicalPlan) -> Result<Expr> {
    if matches!(group, Expr::Column(_) | Expr::GroupingSet(_))
        || !has_floats(&group.get_type(input.schema())?)
    {
        return Ok(group);
    }
    let name = NamePreserver::new_for_projection().save(&group);
    let normal = normal_float_udf().call(vec![group.unalias()]);
    Ok(name.restore(normal))
}
