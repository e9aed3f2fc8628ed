//! Takes the condition of a join with a stream apart, and leaves out early what can never match.
//!
//! Equalities of two streams become keys. A row with a null where the condition needs a value matches nothing; a side
//! whose rows come out only with a match drops them at once, and the filter that does it moves below the watermark as
//! any other: as recorded, such rows do not advance it, be the other side a stream or a table.

use std::sync::Arc;

use datafusion::{
    common::{
        NullEquality, Result, ScalarValue,
        tree_node::{Transformed, TreeNode},
    },
    functions::expr_fn::coalesce,
    logical_expr::{
        BinaryExpr, Expr, ExprSchemable, Filter, Join, LogicalPlan, Operator,
        utils::{conjunction, find_valid_equijoin_key_pair, split_conjunction_owned},
    },
    prelude::lit,
};

use super::{null_refusing::columns_refusing_null, time_range::time_ranges};
use crate::stream_table::reads_stream;

/// Whether both inputs of `join` are streams.
pub(crate) fn is_stream_join(join: &Join) -> bool {
    reads_stream(&join.left) && reads_stream(&join.right)
}

/// Makes every equality of two sides a key, in all joins of two streams.
pub(crate) fn extract_keys(plan: LogicalPlan) -> Result<LogicalPlan> {
    each_join(plan, is_stream_join, with_keys)
}

/// Drops rows of streams that can never match, on the sides whose rows come out only with a match.
pub(crate) fn drop_unmatchable(plan: LogicalPlan) -> Result<LogicalPlan> {
    let reads_any_stream = |join: &Join| reads_stream(&join.left) || reads_stream(&join.right);
    each_join(plan, reads_any_stream, without_nulls)
}

fn each_join(
    plan: LogicalPlan,
    wanted: impl Fn(&Join) -> bool,
    change: impl Fn(Join) -> Result<Join>,
) -> Result<LogicalPlan> {
    plan.transform_up(|node| match node {
        LogicalPlan::Join(join) if wanted(&join) => {
            Ok(Transformed::yes(LogicalPlan::Join(change(join)?)))
        }
        other => Ok(Transformed::no(other)),
    })
    .map(|plan| plan.data)
}

pub(super) fn with_keys(mut join: Join) -> Result<Join> {
    let Some(filter) = join.filter.take() else {
        return Ok(join);
    };
    let mut rest = Vec::new();
    for conjunct in split_conjunction_owned(filter) {
        let keys = match key(&conjunct, &join)? {
            Some(key) => vec![key],
            None => null_safe_keys(&conjunct, &join)?,
        };
        if keys.is_empty() {
            rest.push(conjunct);
        }
        for key in keys {
            if !join.on.contains(&key) {
                join.on.push(key);
            }
        }
    }
    join.filter = conjunction(rest);
    Ok(join)
}

/// The sides of an equality between the left and the right input.
fn key(conjunct: &Expr, join: &Join) -> Result<Option<(Expr, Expr)>> {
    let Expr::BinaryExpr(BinaryExpr {
        left,
        op: Operator::Eq,
        right,
    }) = conjunct
    else {
        return Ok(None);
    };
    // Keys that match where both are null are not of the same kind as this one.
    if join.null_equality == NullEquality::NullEqualsNull || conjunct.is_volatile() {
        return Ok(None);
    }
    let (left_schema, right_schema) = (join.left.schema(), join.right.schema());
    let pair = find_valid_equijoin_key_pair(left, right, left_schema, right_schema)?;
    let Some((left, right)) = pair else {
        return Ok(None);
    };
    let same_type = left.get_type(left_schema)? == right.get_type(right_schema)?;
    Ok(same_type.then_some((left, right)))
}

/// Keys for an equality that also holds where both sides are null (`<=>`): the values with a default in the place of
/// NULL, and whether they are null.
fn null_safe_keys(conjunct: &Expr, join: &Join) -> Result<Vec<(Expr, Expr)>> {
    let Expr::BinaryExpr(BinaryExpr {
        left,
        op: Operator::IsNotDistinctFrom,
        right,
    }) = conjunct
    else {
        return Ok(Vec::new());
    };
    let equality = Expr::BinaryExpr(BinaryExpr::new(left.clone(), Operator::Eq, right.clone()));
    let Some((left, right)) = key(&equality, join)? else {
        return Ok(Vec::new());
    };
    let default = ScalarValue::new_default(&left.get_type(join.left.schema())?)?;
    let filled = |value: &Expr| coalesce(vec![value.clone(), lit(default.clone())]);
    Ok(vec![
        (filled(&left), filled(&right)),
        (left.is_null(), right.is_null()),
    ])
}

fn without_nulls(mut join: Join) -> Result<Join> {
    let (from_left, from_right) = join.join_type.on_lr_is_preserved();
    let (mut left, mut right) = (Vec::new(), Vec::new());
    if join.null_equality == NullEquality::NullEqualsNothing {
        for (left_key, right_key) in &join.on {
            left.push(left_key.clone());
            right.push(right_key.clone());
        }
    }
    let conditions = conditions(&join);
    for range in time_ranges(conditions.iter(), join.left.schema(), join.right.schema()) {
        left.push(Expr::Column(range.left));
        right.push(Expr::Column(range.right));
    }
    for column in conditions.iter().flat_map(columns_refusing_null) {
        for (schema, values) in [
            (join.left.schema(), &mut left),
            (join.right.schema(), &mut right),
        ] {
            let value = Expr::Column(column.clone());
            if schema.has_column(column) && !values.contains(&value) {
                values.push(value);
            }
        }
    }
    if from_left && reads_stream(&join.left) {
        join.left = with_values(join.left, left)?;
    }
    if from_right && reads_stream(&join.right) {
        join.right = with_values(join.right, right)?;
    }
    Ok(join)
}

/// What is left of the condition besides the keys, apart.
pub(super) fn conditions(join: &Join) -> Vec<Expr> {
    join.filter
        .clone()
        .map(split_conjunction_owned)
        .unwrap_or_default()
}

/// `input` without the rows in which one of `values` is null.
fn with_values(input: Arc<LogicalPlan>, values: Vec<Expr>) -> Result<Arc<LogicalPlan>> {
    let mut wanted: Vec<Expr> = Vec::new();
    for value in values {
        if value.nullable(input.schema())? {
            let not_null = Expr::IsNotNull(Box::new(value));
            if !wanted.contains(&not_null) {
                wanted.push(not_null);
            }
        }
    }
    Ok(match conjunction(wanted) {
        Some(predicate) => Arc::new(LogicalPlan::Filter(Filter::try_new(predicate, input)?)),
        None => input,
    })
}
