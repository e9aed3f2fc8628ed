//! Joins whose condition asks for the nearest row, `as_of(…)`.

use std::sync::Arc;

use datafusion::{
    arrow::datatypes::DataType,
    common::{
        DFSchema, DataFusionError, JoinType, Result,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    logical_expr::{
        BinaryExpr, Expr, ExprSchemable, Filter, Join, LogicalPlan, Operator,
        utils::{conjunction, split_conjunction_owned},
    },
};
use headwater_sql::{AS_OF, within_micros};

use crate::nodes::as_of_join::{AsOf, AsOfJoinNode};

/// The join as one of nearest rows, if its condition has an `as_of(…)`.
///
/// # Errors
/// A condition that does not say which row is nearest, with what to write instead.
pub(crate) fn nearest_rows(join: Join) -> Result<Transformed<LogicalPlan>> {
    let asks = |expr: &Expr| is_as_of(expr).is_some();
    let conjuncts = join.filter.clone().map(split_conjunction_owned);
    let conjuncts = conjuncts.unwrap_or_default();
    if !conjuncts.iter().any(asks) {
        return Ok(Transformed::no(LogicalPlan::Join(join)));
    }
    if !matches!(join.join_type, JoinType::Inner | JoinType::Left) {
        return plan_error(format!(
            "an AS OF join is an inner or a left join, not a {} join: the table's rows that are nearest to nothing \
             never come out",
            join.join_type
        ));
    }
    let (left, right) = (join.left.schema(), join.right.schema());
    let mut keys = join.on.clone();
    let (mut nearest, mut of_table) = (None, Vec::new());
    for conjunct in conjuncts {
        if let Some(arguments) = is_as_of(&conjunct) {
            if nearest.replace(place(arguments, left, right)?).is_some() {
                return plan_error(
                    "a join has one as_of(…): the nearest row by two measures is not one row",
                );
            }
        } else if let Some((Operator::Eq, pair)) = compared(&conjunct, left, right) {
            keys.push(pair);
        } else if is_over(&conjunct, right) {
            of_table.push(conjunct);
        } else {
            return plan_error(format!(
                "beside as_of(…) a join condition has equalities of the two sides and conditions of the table alone, \
                 found '{conjunct}': filter the left side before the join, or the result after it"
            ));
        }
    }
    let Some((comparison, place, within_micros)) = nearest else {
        return Ok(Transformed::no(LogicalPlan::Join(join)));
    };
    for (left_key, right_key) in keys.iter().chain([&place]) {
        let types = (left_key.get_type(left)?, right_key.get_type(right)?);
        if types.0 != types.1 {
            return plan_error(format!(
                "'{left_key}' is {} and '{right_key}' is {}: cast one of them",
                types.0, types.1
            ));
        }
    }
    if within_micros.is_some() && !matches!(place.0.get_type(left)?, DataType::Timestamp(_, _)) {
        return plan_error(format!(
            "the distance in as_of(…) is an interval, but '{}' is no timestamp: cast both sides, or leave it out",
            place.0
        ));
    }
    let as_of = AsOf {
        join_type: join.join_type,
        keys,
        place,
        comparison,
        within_micros,
    };
    let mut table = Arc::unwrap_or_clone(join.right);
    if let Some(condition) = conjunction(of_table) {
        table = LogicalPlan::Filter(Filter::try_new(condition, Arc::new(table))?);
    }
    let node = AsOfJoinNode::try_new(Arc::unwrap_or_clone(join.left), table, as_of)?;
    Ok(Transformed::yes(node.plan()))
}

/// Refuses an `as_of(…)` that [`nearest_rows`] has left anywhere in `node`.
pub(crate) fn refuse_misplaced(node: &LogicalPlan) -> Result<()> {
    let mut misplaced = None;
    node.apply_expressions(|expr| {
        expr.apply(|part| {
            if is_as_of(part).is_some() {
                misplaced = Some(part.to_string());
                return Ok(TreeNodeRecursion::Stop);
            }
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    match misplaced {
        Some(call) => plan_error(format!(
            "{call} picks a row of a table: it stands only in the condition of an inner or left join, joined to the \
             rest by AND"
        )),
        None => Ok(()),
    }
}

fn plan_error<T>(message: impl Into<String>) -> Result<T> {
    Err(DataFusionError::Plan(message.into()))
}

/// The arguments, if this is the function.
fn is_as_of(expr: &Expr) -> Option<&[Expr]> {
    match expr {
        Expr::ScalarFunction(call) if call.func.name() == AS_OF => Some(&call.args),
        _ => None,
    }
}

/// What `as_of(…)` compares, and how far away the row may be.
fn place(
    arguments: &[Expr],
    left: &DFSchema,
    right: &DFSchema,
) -> Result<(Operator, (Expr, Expr), Option<i64>)> {
    let within = arguments.get(1).map(within_micros).transpose()?;
    let compared = arguments.first().and_then(|a| compared(a, left, right));
    match compared {
        Some((
            comparison @ (Operator::GtEq | Operator::Gt | Operator::LtEq | Operator::Lt),
            pair,
        )) => Ok((comparison, pair, within)),
        _ => plan_error(format!(
            "as_of(…) compares the left side with the right by >=, >, <= or <, as in as_of(l.time >= r.time), \
             found '{}'",
            arguments
                .first()
                .map(ToString::to_string)
                .unwrap_or_default()
        )),
    }
}

/// The operator and its sides, the left input's first.
fn compared(expr: &Expr, left: &DFSchema, right: &DFSchema) -> Option<(Operator, (Expr, Expr))> {
    let Expr::BinaryExpr(BinaryExpr {
        left: first,
        op,
        right: second,
    }) = expr
    else {
        return None;
    };
    let pair = |a: &Expr, b: &Expr| (a.clone(), b.clone());
    if is_over(first, left) && is_over(second, right) {
        Some((*op, pair(first, second)))
    } else if is_over(first, right) && is_over(second, left) {
        Some((op.swap()?, pair(second, first)))
    } else {
        None
    }
}

/// Whether an expression has columns, all of this input.
fn is_over(expr: &Expr, schema: &DFSchema) -> bool {
    let columns = expr.column_refs();
    !columns.is_empty() && columns.iter().all(|column| schema.has_column(column))
}
