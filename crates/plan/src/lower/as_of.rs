//! AS OF joins.

use std::sync::Arc;

use datafusion::{
    common::DataFusionError,
    error::Result,
    logical_expr::{Expr, LogicalPlan, Operator, UserDefinedLogicalNodeCore},
    physical_plan::ExecutionPlan,
};
use headwater_ops::as_of::{AsOf, AsOfJoinExec, Nearest};
use headwater_sql::checked_expression;

use super::join::PlanExpr;
use crate::nodes::as_of_join::AsOfJoinNode;

/// Plans the join over its planned inputs, the left one and the table.
pub(super) fn as_of_join(
    node: &AsOfJoinNode,
    inputs: [(&LogicalPlan, &Arc<dyn ExecutionPlan>); 2],
    plan: PlanExpr,
) -> Result<Arc<dyn ExecutionPlan>> {
    let [(left, stream), (right, table)] = inputs;
    let planned = |expr: &Expr, input: &LogicalPlan| {
        let schema = input.schema();
        checked_expression(plan(expr, schema)?, schema.as_arrow())
    };
    let pair = |(of_left, of_right): &(Expr, Expr)| {
        Ok::<_, DataFusionError>([planned(of_left, left)?, planned(of_right, right)?])
    };
    let as_of = &node.as_of;
    let join = AsOf {
        keys: as_of.keys.iter().map(pair).collect::<Result<_>>()?,
        place: pair(&as_of.place)?,
        nearest: nearest(as_of.comparison)?,
        within_micros: as_of.within_micros,
        join_type: as_of.join_type,
        schema: Arc::clone(node.schema().inner()),
    };
    let exec = AsOfJoinExec::try_new(Arc::clone(table), Arc::clone(stream), join)?;
    Ok(Arc::new(exec))
}

fn nearest(comparison: Operator) -> Result<Nearest> {
    match comparison {
        Operator::GtEq => Ok(Nearest::AtOrBefore),
        Operator::Gt => Ok(Nearest::Before),
        Operator::LtEq => Ok(Nearest::AtOrAfter),
        Operator::Lt => Ok(Nearest::After),
        other => Err(DataFusionError::Internal(format!(
            "an AS OF join does not compare by {other}"
        ))),
    }
}
