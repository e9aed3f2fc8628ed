//! `grouping_id()` over the keys of its GROUP BY.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, GroupByExpr, Select, SelectItem, VisitMut, VisitorMut,
};

use super::syntax::{args_of, call, name_of};

/// `grouping_id()` stands for `grouping_id(<all group keys>)`, which DataFusion calls `grouping`.
pub(crate) fn grouping_ids(select: &mut Select) {
    let mut keys = vec![];
    if let GroupByExpr::Expressions(exprs, _) = &select.group_by {
        exprs.iter().for_each(|expr| collect_keys(expr, &mut keys));
    }
    let mut visitor = GroupingIds(keys);
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
            let _: ControlFlow<()> = expr.visit(&mut visitor);
        }
    }
    if let Some(having) = &mut select.having {
        let _: ControlFlow<()> = having.visit(&mut visitor);
    }
}

fn collect_keys(expr: &Expr, keys: &mut Vec<Expr>) {
    match expr {
        Expr::Rollup(sets) | Expr::Cube(sets) | Expr::GroupingSets(sets) => {
            sets.iter().flatten().for_each(|e| collect_keys(e, keys));
        }
        Expr::Tuple(items) => items.iter().for_each(|e| collect_keys(e, keys)),
        Expr::Nested(inner) => collect_keys(inner, keys),
        other if !keys.contains(other) => keys.push(other.clone()),
        _ => {}
    }
}

struct GroupingIds(Vec<Expr>);

impl VisitorMut for GroupingIds {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Function(function) = expr
            && name_of(function) == "grouping_id"
            && let Some(args) = args_of(function)
        {
            let keys = if args.is_empty() {
                self.0.clone()
            } else {
                args.into_iter().cloned().collect()
            };
            *expr = call("grouping", keys);
        }
        ControlFlow::Continue(())
    }
}
