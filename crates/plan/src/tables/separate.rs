//! Takes what reads static tables only out of an optimised streaming plan, subplan by subplan.
//!
//! A join gets its table as left input, over which it builds: the stream then passes through in order of arrival, and
//! what was built can be kept. A join that cannot be turned round (`NOT IN`, which treats nulls its own way) builds over
//! the stream's rows instead and reads the table in each epoch.

use std::sync::Arc;

use datafusion::{
    common::{
        JoinType, Result,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{Expr, Join, LogicalPlan, Projection, Subquery},
    prelude::Column,
};

use super::version::{is_versioned, providers};
use crate::{
    nodes::{epoch_time::EpochTimeNode, table::TableNode},
    stream_table::reads_stream,
};

/// The plan with a [`TableNode`] in place of each subplan over tables, and the subplans by number.
pub(crate) fn separate(plan: LogicalPlan) -> Result<(LogicalPlan, Vec<LogicalPlan>)> {
    let mut subplans = Vec::new();
    let plan = separated(plan, &mut subplans)?;
    Ok((plan, subplans))
}

fn separated(plan: LogicalPlan, subplans: &mut Vec<LogicalPlan>) -> Result<LogicalPlan> {
    if !reads_stream(&plan) {
        return over_tables(plan, subplans);
    }
    let plan = plan
        .map_subqueries(|subquery| match subquery {
            LogicalPlan::Subquery(subquery) if subquery.outer_ref_columns.is_empty() => {
                let inner = Arc::unwrap_or_clone(subquery.subquery);
                Ok(Transformed::yes(LogicalPlan::Subquery(Subquery {
                    subquery: Arc::new(over_tables(inner, subplans)?),
                    ..subquery
                })))
            }
            other => Ok(Transformed::no(other)),
        })?
        .data;
    let plan = plan
        .map_children(|child| separated(child, subplans).map(Transformed::yes))?
        .data;
    match plan {
        LogicalPlan::Join(join) if builds_over_stream(&join) => turned_round(join),
        other => Ok(other),
    }
}

/// One subplan, unless it is different in each epoch: then what is below that makes it so.
fn over_tables(plan: LogicalPlan, subplans: &mut Vec<LogicalPlan>) -> Result<LogicalPlan> {
    let tables = providers(&plan);
    if tables.is_empty() {
        return Ok(plan);
    }
    if depends_on_epoch(&plan) {
        return plan
            .map_children(|child| over_tables(child, subplans).map(Transformed::yes))
            .map(|plan| plan.data);
    }
    let node = TableNode {
        number: subplans.len(),
        is_versioned: tables.iter().all(is_versioned),
        subplan: plan.clone(),
    };
    subplans.push(plan);
    Ok(node.plan())
}

/// Whether the rows are others in each epoch although no table changes: they depend on its time or on chance.
fn depends_on_epoch(plan: &LogicalPlan) -> bool {
    plan.exists(|node| {
        let is_timed = matches!(node, LogicalPlan::Extension(extension)
            if extension.node.as_any().is::<EpochTimeNode>());
        Ok(is_timed || node.expressions().iter().any(Expr::is_volatile))
    })
    .unwrap_or(true)
}

fn builds_over_stream(join: &Join) -> bool {
    reads_stream(&join.left) && !reads_stream(&join.right) && !join.null_aware
}

/// The same join with its inputs exchanged; the columns as they were.
fn turned_round(join: Join) -> Result<LogicalPlan> {
    let before = Arc::clone(&join.schema);
    let on = join.on.into_iter().map(|(left, right)| (right, left));
    let turned = Join::try_new(
        Arc::clone(&join.right),
        Arc::clone(&join.left),
        on.collect(),
        join.filter,
        join.join_type.swap(),
        join.join_constraint,
        join.null_equality,
        false,
    )?;
    let width = turned.schema.fields().len();
    let moved = match join.join_type {
        JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => {
            join.right.schema().fields().len()
        }
        // The columns of one side, and at most a mark behind them.
        _ => 0,
    };
    let columns: Vec<Expr> = before
        .iter()
        .enumerate()
        .map(|(place, (qualifier, field))| {
            let column = Column::from(turned.schema.qualified_field((place + moved) % width));
            let same = column.relation.as_ref() == qualifier && column.name == *field.name();
            let column = Expr::Column(column);
            if same {
                column
            } else {
                column.alias_qualified(qualifier.cloned(), field.name())
            }
        })
        .collect();
    let turned = Arc::new(LogicalPlan::Join(turned));
    Ok(LogicalPlan::Projection(Projection::try_new(
        columns, turned,
    )?))
}
