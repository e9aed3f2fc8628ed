//! Binds `now()` and its kin to the epoch's recorded time.
//!
//! The optimiser would fold them into constants when the plan is made, once for all epochs. They become a column that
//! each epoch fills.

use std::sync::Arc;

use datafusion::{
    common::{
        Result,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{Expr, ExprSchemable, LogicalPlan, Projection, expr_rewriter::NamePreserver},
    prelude::Column,
};

use crate::nodes::epoch_time::{EPOCH_TIME, EpochTimeNode};

/// Functions of the present time.
const PRESENT: &[&str] = &[
    "now",
    "current_timestamp",
    "current_date",
    "current_time",
    "today",
    "curdate",
    "localtimestamp",
];

fn is_present(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(function)
        if function.args.is_empty() && PRESENT.contains(&function.func.name()))
}

fn mentions_present(expr: &Expr) -> bool {
    expr.exists(|node| Ok(is_present(node))).unwrap_or(false)
}

/// Replaces functions of the present time in every node of a streaming query, also over static tables.
pub(crate) fn bind_present(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up(|node| {
        if !node.expressions().iter().any(mentions_present) {
            return Ok(Transformed::no(node));
        }
        let inputs = node.inputs();
        let [input] = inputs.as_slice() else {
            return Ok(Transformed::no(node));
        };
        let columns: Vec<Expr> = node
            .schema()
            .columns()
            .into_iter()
            .map(Expr::Column)
            .collect();
        let timed = EpochTimeNode::plan((*input).clone())?;
        let names = NamePreserver::new(&node);
        let exprs = node
            .expressions()
            .into_iter()
            .map(|expr| {
                let name = names.save(&expr);
                Ok(name.restore(with_epoch_time(expr, &timed)?))
            })
            .collect::<Result<Vec<_>>>()?;
        let width = node.schema().fields().len();
        let rebuilt = node
            .with_new_exprs(exprs, vec![timed])?
            .recompute_schema()?;
        Ok(Transformed::yes(
            if rebuilt.schema().fields().len() == width {
                rebuilt
            } else {
                // A filter or sort passes the added column on: it ends here.
                LogicalPlan::Projection(Projection::try_new(columns, Arc::new(rebuilt))?)
            },
        ))
    })
    .map(|plan| plan.data)
}

fn with_epoch_time(expr: Expr, timed: &LogicalPlan) -> Result<Expr> {
    let replaced = expr.transform_up(|node| {
        if !is_present(&node) {
            return Ok(Transformed::no(node));
        }
        let wanted = node.get_type(timed.schema())?;
        Expr::Column(Column::from_name(EPOCH_TIME))
            .cast_to(&wanted, timed.schema())
            .map(Transformed::yes)
    })?;
    Ok(replaced.data)
}
