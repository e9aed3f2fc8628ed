//! Lists as rows: `explode` as a method, and wherever it stands inside a selected expression.
//!
//! An expression holds a mark where a list is taken apart; the plan needs a node of its own for that. The lists become
//! columns first, the node takes them apart, and the expressions then read the elements.

use datafusion::{
    common::{
        Column, NullHandling, UnnestOptions,
        tree_node::{Transformed, TreeNode},
    },
    dataframe::DataFrame as Inner,
    error::{DataFusionError, Result},
    logical_expr::{Expr, LogicalPlanBuilder, expr::Unnest},
};

/// Prefix of the columns that hold lists, and then their elements.
const ELEMENT: &str = "__explode_";

/// Whether an expression takes a list apart.
pub(crate) fn takes_lists_apart(expr: &Expr) -> bool {
    expr.exists(|part| Ok(matches!(part, Expr::Unnest(_))))
        .unwrap_or(false)
}

/// One row per element of a list column. With `outer`, rows whose list is empty or null stay, with a null.
pub(crate) fn explode(frame: Inner, columns: Vec<Column>, outer: bool) -> Result<Inner> {
    let (state, plan) = frame.into_parts();
    let nulls = if outer {
        NullHandling::PreserveAndExpandEmpty
    } else {
        NullHandling::Drop
    };
    let options = UnnestOptions::new().with_null_handling(nulls);
    let plan = LogicalPlanBuilder::from(plan)
        .unnest_columns_with_options(columns, options)?
        .build()?;
    Ok(Inner::new(state, plan))
}

/// Takes the lists in `columns` apart: the frame with their elements, and the expressions over it.
pub(crate) fn exploded(frame: Inner, columns: Vec<Expr>) -> Result<(Inner, Vec<Expr>)> {
    let mut lists: Vec<Unnest> = Vec::new();
    let mut over_elements = Vec::with_capacity(columns.len());
    for column in columns {
        let name = column.schema_name().to_string();
        let rewritten = column.transform_down(|expr| {
            let Expr::Unnest(list) = expr else {
                return Ok(Transformed::no(expr));
            };
            let known = lists.iter().position(|known| *known == list);
            let number = known.unwrap_or(lists.len());
            if known.is_none() {
                lists.push(list);
            }
            let element = Column::from_name(format!("{ELEMENT}{number}"));
            Ok(Transformed::complete(Expr::Column(element)))
        })?;
        over_elements.push(
            if rewritten.transformed && !matches!(rewritten.data, Expr::Alias(_)) {
                rewritten.data.alias(name)
            } else {
                rewritten.data
            },
        );
    }
    let Some(first) = lists.first() else {
        return Ok((frame, over_elements));
    };
    let outer = first.outer;
    if lists.iter().any(|list| list.outer != outer) {
        return Err(DataFusionError::Plan(
            "explode and explode_outer cannot stand in one select: write one select after the other".to_owned(),
        ));
    }
    let kept = frame.schema().columns().into_iter().map(Expr::Column);
    let elements: Vec<Column> = (0..lists.len())
        .map(|number| Column::from_name(format!("{ELEMENT}{number}")))
        .collect();
    let named = lists
        .into_iter()
        .zip(&elements)
        .map(|(list, element)| list.expr.alias(element.name()));
    let with_lists = frame
        .clone()
        .select(kept.chain(named).collect::<Vec<_>>())?;
    Ok((explode(with_lists, elements, outer)?, over_elements))
}
