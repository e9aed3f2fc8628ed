//! Expressions that can fail run only for the rows that they are meant for.
//!
//! In Spark `WHERE v <> 0` guards `10 / v` above it, and `v <> 0 AND 10 / v > 1` guards itself. DataFusion takes
//! expressions for infallible: it moves projections below filters, and evaluates both sides of AND and OR.

use std::sync::Arc;

use datafusion::arrow::datatypes::Schema;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, CaseExpr, Column, Literal, NotExpr};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::{ProjectionExec, remove_unnecessary_projections};

use crate::functions::arithmetic::DIVIDE;

/// Functions that fail on some values.
const FALLIBLE: [&str; 12] = [
    DIVIDE,
    "__subscript",
    "array_insert",
    "cast_ansi",
    "element_at",
    "make_date",
    "make_timestamp",
    "pmod",
    "sequence",
    "to_date",
    "to_timestamp",
    "unix_timestamp",
];

/// DataFusion's rule of this name, but for projections that compute something above a filter: they stay there.
#[derive(Debug, Default)]
pub struct GuardedProjections;

impl PhysicalOptimizerRule for GuardedProjections {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_down(|node| match computes_above_filter(node.as_ref()) {
            true => Ok(Transformed::no(node)),
            false => remove_unnecessary_projections(node),
        })
        .data()
    }

    fn name(&self) -> &str {
        "ProjectionPushdown"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// `rules` with [`GuardedProjections`] in the place of DataFusion's.
pub fn guarded_rules(
    rules: &[Arc<dyn PhysicalOptimizerRule + Send + Sync>],
) -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    rules
        .iter()
        .map(|rule| match rule.name() {
            "ProjectionPushdown" => Arc::new(GuardedProjections) as _,
            _ => Arc::clone(rule),
        })
        .collect()
}

fn computes_above_filter(node: &dyn ExecutionPlan) -> bool {
    let Some(projection) = node.downcast_ref::<ProjectionExec>() else {
        return false;
    };
    let is_plain = |expr: &Arc<dyn PhysicalExpr>| {
        expr.downcast_ref::<Column>().is_some() || expr.downcast_ref::<Literal>().is_some()
    };
    projection.input().downcast_ref::<FilterExec>().is_some()
        && !projection
            .expr()
            .iter()
            .all(|column| is_plain(&column.expr))
}

/// `a AND b` with a `b` that can fail asks `b` only where `a` is not false; `a OR b` only where it is not true.
pub(crate) fn guarded(
    binary: &BinaryExpr,
    schema: &Schema,
) -> Result<Option<Arc<dyn PhysicalExpr>>> {
    let decided: Arc<dyn PhysicalExpr> = match binary.op() {
        Operator::And => Arc::new(NotExpr::new(Arc::clone(binary.left()))),
        Operator::Or => Arc::clone(binary.left()),
        _ => return Ok(None),
    };
    if !can_fail(binary.right(), schema)? {
        return Ok(None);
    }
    let value = Literal::new(ScalarValue::Boolean(Some(*binary.op() == Operator::Or)));
    let undecided: Arc<dyn PhysicalExpr> = Arc::new(binary.clone());
    let guarded = CaseExpr::try_new(None, vec![(decided, Arc::new(value))], Some(undecided))?;
    Ok(Some(Arc::new(guarded)))
}

fn can_fail(expr: &Arc<dyn PhysicalExpr>, schema: &Schema) -> Result<bool> {
    expr.exists(|node| {
        if let Some(binary) = node.downcast_ref::<BinaryExpr>() {
            return Ok(matches!(binary.op(), Operator::Divide | Operator::Modulo)
                && !binary.left().data_type(schema)?.is_floating());
        }
        Ok(node
            .downcast_ref::<ScalarFunctionExpr>()
            .is_some_and(|call| FALLIBLE.contains(&call.name())))
    })
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{AsArray, BooleanArray, Int64Array, RecordBatch};
    use datafusion::arrow::datatypes::{DataType, Field};
    use datafusion::physical_expr::expressions::{binary, col, lit};

    use super::*;
    use crate::checked::checked_expression;

    #[test]
    fn a_division_is_done_only_where_it_is_asked_for() {
        let schema = Schema::new(vec![Field::new("v", DataType::Int64, true)]);
        let values = Int64Array::from(vec![Some(0), Some(2), Some(20), None]);
        let batch = RecordBatch::try_new(Arc::new(schema.clone()), vec![Arc::new(values)]).unwrap();
        let v = || col("v", &schema).unwrap();
        let compare = |left, op, right| binary(left, op, right, &schema).unwrap();
        let divided = || compare(lit(10_i64), Operator::Divide, v());
        let is_large = || compare(divided(), Operator::Gt, lit(1_i64));
        for (guard, op, expected) in [
            (
                Operator::NotEq,
                Operator::And,
                [Some(false), Some(true), Some(false), None],
            ),
            (
                Operator::Eq,
                Operator::Or,
                [Some(true), Some(true), Some(false), None],
            ),
        ] {
            let zero = compare(v(), guard, lit(0_i64));
            let whole = checked_expression(compare(zero, op, is_large()), &schema).unwrap();
            let found = whole.evaluate(&batch).unwrap().into_array(4).unwrap();
            assert_eq!(found.as_boolean(), &BooleanArray::from(expected.to_vec()));
        }
    }
}
