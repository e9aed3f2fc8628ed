//! Arithmetic that fails where integers leave their range, instead of wrapping around.
//!
//! DataFusion's physical `BinaryExpr` can check but is never told to: this pass tells it, in every expression of the
//! plan nodes that compute, and what guards what can fail (`crate::guarded`). `-x` becomes `0 - x`, which can be checked too. Nodes it does not know are left alone;
//! whoever plans nodes of their own passes their expressions through [`checked_expression`].

use std::sync::Arc;

use datafusion::arrow::datatypes::Schema;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, Literal, NegativeExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::{AggregateExec, PhysicalGroupBy};
use datafusion::physical_plan::filter::{FilterExec, FilterExecBuilder};
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{HashJoinExec, NestedLoopJoinExec};
use datafusion::physical_plan::projection::ProjectionExec;

use crate::guarded::guarded;

/// Makes every `+`, `-` and `*` of integers in `plan` fail on overflow.
///
/// # Errors
/// When a node cannot be rebuilt, which would be a defect.
pub fn checked_arithmetic(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(checked_node).map(|t| t.data)
}

/// Makes every `+`, `-` and `*` of integers in `expr` fail on overflow. `schema` is that of the input.
///
/// # Errors
/// When the type of a negated value cannot be told, which would be a defect.
pub fn checked_expression(
    expr: Arc<dyn PhysicalExpr>,
    schema: &Schema,
) -> Result<Arc<dyn PhysicalExpr>> {
    expr.transform_up(|expr| checked_operator(expr, schema))
        .map(|t| t.data)
}

fn checked_operator(
    expr: Arc<dyn PhysicalExpr>,
    schema: &Schema,
) -> Result<Transformed<Arc<dyn PhysicalExpr>>> {
    if let Some(binary) = expr.downcast_ref::<BinaryExpr>() {
        let integers = || -> Result<bool> {
            Ok(binary.left().data_type(schema)?.is_integer()
                && binary.right().data_type(schema)?.is_integer())
        };
        if matches!(
            binary.op(),
            Operator::Plus | Operator::Minus | Operator::Multiply
        ) && integers()?
        {
            let checked = binary.clone().with_fail_on_overflow(true);
            return Ok(Transformed::yes(Arc::new(checked)));
        }
        if let Some(guarded) = guarded(binary, schema)? {
            return Ok(Transformed::yes(guarded));
        }
    }
    if let Some(negative) = expr.downcast_ref::<NegativeExpr>() {
        let data_type = negative.arg().data_type(schema)?;
        if data_type.is_signed_integer() {
            let zero = Arc::new(Literal::new(ScalarValue::new_zero(&data_type)?));
            let checked = BinaryExpr::new(zero, Operator::Minus, Arc::clone(negative.arg()))
                .with_fail_on_overflow(true);
            return Ok(Transformed::yes(Arc::new(checked)));
        }
    }
    Ok(Transformed::no(expr))
}

/// The rewritten expression, if anything changed.
fn changed(expr: &Arc<dyn PhysicalExpr>, schema: &Schema) -> Result<Option<Arc<dyn PhysicalExpr>>> {
    let result = Arc::clone(expr).transform_up(|expr| checked_operator(expr, schema))?;
    Ok(result.transformed.then_some(result.data))
}

fn checked_node(plan: Arc<dyn ExecutionPlan>) -> Result<Transformed<Arc<dyn ExecutionPlan>>> {
    let rebuilt = if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        checked_projection(projection)?
    } else if let Some(filter) = plan.downcast_ref::<FilterExec>() {
        checked_filter(filter)?
    } else if let Some(aggregate) = plan.downcast_ref::<AggregateExec>() {
        checked_aggregate(aggregate)?
    } else if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        checked_hash_join(join)?
    } else if let Some(join) = plan.downcast_ref::<NestedLoopJoinExec>() {
        checked_loop_join(join)?
    } else {
        None
    };
    Ok(match rebuilt {
        Some(rebuilt) => Transformed::yes(rebuilt),
        None => Transformed::no(plan),
    })
}

fn checked_projection(projection: &ProjectionExec) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let schema = projection.input().schema();
    let mut any = false;
    let exprs = projection
        .expr()
        .iter()
        .map(|column| {
            let mut column = column.clone();
            if let Some(expr) = changed(&column.expr, &schema)? {
                any = true;
                column.expr = expr;
            }
            Ok(column)
        })
        .collect::<Result<Vec<_>>>()?;
    if !any {
        return Ok(None);
    }
    Ok(Some(Arc::new(ProjectionExec::try_new(
        exprs,
        Arc::clone(projection.input()),
    )?)))
}

fn checked_filter(filter: &FilterExec) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let Some(predicate) = changed(filter.predicate(), &filter.input().schema())? else {
        return Ok(None);
    };
    let rebuilt = FilterExecBuilder::from(filter)
        .with_predicate(predicate)
        .build()?;
    Ok(Some(Arc::new(rebuilt)))
}

fn checked_aggregate(aggregate: &AggregateExec) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    // Final stages read states, not expressions over rows; rewriting their arguments would be harmless but useless.
    let schema = aggregate.input_schema();
    let mut any = false;
    let mut check = |expr: &Arc<dyn PhysicalExpr>| -> Result<Arc<dyn PhysicalExpr>> {
        Ok(match changed(expr, &schema)? {
            Some(expr) => {
                any = true;
                expr
            }
            None => Arc::clone(expr),
        })
    };
    let keys = aggregate.group_expr();
    let group_by = PhysicalGroupBy::new(
        keys.expr()
            .iter()
            .map(|(e, name)| Ok((check(e)?, name.clone())))
            .collect::<Result<_>>()?,
        keys.null_expr().to_vec(),
        keys.groups().to_vec(),
        keys.has_grouping_set(),
    );
    let filters = aggregate
        .filter_expr()
        .iter()
        .map(|filter| filter.as_ref().map(&mut check).transpose())
        .collect::<Result<Vec<_>>>()?;
    let functions = aggregate
        .aggr_expr()
        .iter()
        .map(|function| checked_function(function, &mut check))
        .collect::<Result<Vec<_>>>()?;
    if !any {
        return Ok(None);
    }
    let rebuilt = AggregateExec::try_new(
        *aggregate.mode(),
        group_by,
        functions,
        filters,
        Arc::clone(aggregate.input()),
        aggregate.input_schema(),
    )?
    .with_limit_options(aggregate.limit_options());
    Ok(Some(Arc::new(rebuilt)))
}

fn checked_function(
    function: &Arc<AggregateFunctionExpr>,
    check: &mut impl FnMut(&Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>>,
) -> Result<Arc<AggregateFunctionExpr>> {
    let args = function
        .expressions()
        .iter()
        .map(&mut *check)
        .collect::<Result<Vec<_>>>()?;
    let order_by = function
        .order_bys()
        .iter()
        .map(|order| check(&order.expr))
        .collect::<Result<Vec<_>>>()?;
    Ok(match function.with_new_expressions(args, order_by) {
        Some(rebuilt) => Arc::new(rebuilt),
        None => Arc::clone(function),
    })
}

/// The join's filter, if anything in it changed.
fn checked_join_filter(filter: Option<&JoinFilter>) -> Result<Option<JoinFilter>> {
    let Some(filter) = filter else {
        return Ok(None);
    };
    let Some(expression) = changed(filter.expression(), filter.schema())? else {
        return Ok(None);
    };
    Ok(Some(JoinFilter::new(
        expression,
        filter.column_indices().to_vec(),
        Arc::clone(filter.schema()),
    )))
}

fn checked_hash_join(join: &HashJoinExec) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let Some(filter) = checked_join_filter(join.filter())? else {
        return Ok(None);
    };
    Ok(Some(join.builder().with_filter(Some(filter)).build_exec()?))
}

fn checked_loop_join(join: &NestedLoopJoinExec) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let Some(filter) = checked_join_filter(join.filter())? else {
        return Ok(None);
    };
    let rebuilt = NestedLoopJoinExec::try_new(
        Arc::clone(join.left()),
        Arc::clone(join.right()),
        Some(filter),
        join.join_type(),
        join.projection().as_ref().map(|p| p.to_vec()),
    )?;
    Ok(Some(Arc::new(rebuilt)))
}
