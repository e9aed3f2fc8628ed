//! `SESSION(TABLE t, DESCRIPTOR(ts), gap)`: sessions of the groups of a query.
//!
//! Where a session begins depends on the rows of its group, so the function means something only where its windows are
//! among the keys: `GROUP BY host, window_start, window_end` over it is `GROUP BY host, session_window(ts, gap)` over the
//! table.

use std::ops::ControlFlow;

use datafusion::common::{Result, plan_err};
use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, GroupByExpr, Ident, Select, SelectItem, SetExpr,
    TableFactor, VisitMut, VisitorMut,
};

use crate::calls;
use crate::tokens::SESSION_FUNCTION;

const ADVICE: &str = "write SELECT k, window_start, window_end, count(*) FROM SESSION(TABLE t, DESCRIPTOR(ts), \
    INTERVAL 5 MINUTES) GROUP BY k, window_start, window_end";

/// Puts the sessions of a SELECT over `SESSION(…)` among its keys.
pub(crate) fn group(select: &mut Select) -> Result<()> {
    let is_session = |factor: &TableFactor| matches!(factor, TableFactor::Table { name, .. } if name.to_string() == SESSION_FUNCTION);
    let tables = select.from.iter();
    let mut factors = tables.flat_map(|table| {
        std::iter::once(&table.relation).chain(table.joins.iter().map(|join| &join.relation))
    });
    if !factors.any(is_session) {
        return Ok(());
    }
    let [table] = select.from.as_mut_slice() else {
        return plan_err!("SESSION(…) stands alone in FROM: join its groups in an outer query");
    };
    if !table.joins.is_empty() {
        return plan_err!("SESSION(…) stands alone in FROM: join its groups in an outer query");
    }
    let Some((relation, time, gap)) = parts(&table.relation) else {
        return plan_err!("SESSION(…) has a table, an event time and a gap: {ADVICE}");
    };
    let GroupByExpr::Expressions(keys, _) = &mut select.group_by else {
        return plan_err!("SESSION(…) gives windows to groups, and GROUP BY names none: {ADVICE}");
    };
    let before = keys.len();
    keys.retain(|key| edge(key).is_none());
    if keys.len() == before {
        return plan_err!("SESSION(…) gives windows to groups, and GROUP BY names none: {ADVICE}");
    }
    keys.push(calls::call("session_window", vec![time, gap]));
    table.relation = relation;
    for item in &mut select.projection {
        rename(item);
    }
    if let Some(having) = &mut select.having {
        let _ = having.visit(&mut Edges);
    }
    Ok(())
}

/// The table with its alias, the event time and the gap.
fn parts(factor: &TableFactor) -> Option<(TableFactor, Expr, Expr)> {
    let TableFactor::Table {
        args: Some(args),
        alias,
        ..
    } = factor
    else {
        return None;
    };
    let positional = args.args.iter().map(|arg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _ => None,
    });
    let args: Vec<Expr> = positional.collect::<Option<_>>()?;
    let [Expr::Subquery(query), time, gap] = args.as_slice() else {
        return None;
    };
    let SetExpr::Select(select) = query.body.as_ref() else {
        return None;
    };
    let mut relation = select.from.first()?.relation.clone();
    if let (Some(given), TableFactor::Table { alias, .. } | TableFactor::Derived { alias, .. }) =
        (alias, &mut relation)
    {
        *alias = Some(given.clone());
    }
    Some((relation, time.clone(), gap.clone()))
}

/// What a name means of the session: all of it, its start or its end.
fn edge(expr: &Expr) -> Option<Option<&'static str>> {
    let name = match expr {
        Expr::Identifier(name) => name,
        Expr::CompoundIdentifier(names) => match names.as_slice() {
            [window, part] if window.value.eq_ignore_ascii_case("window") => {
                return match part.value.to_ascii_lowercase().as_str() {
                    "start" => Some(Some("start")),
                    "end" => Some(Some("end")),
                    _ => None,
                };
            }
            names => names.last()?,
        },
        _ => return None,
    };
    match name.value.to_ascii_lowercase().as_str() {
        "window" => Some(None),
        "window_start" => Some(Some("start")),
        "window_end" => Some(Some("end")),
        _ => None,
    }
}

fn session(part: Option<&str>) -> Expr {
    let name = Ident::new("session_window");
    match part {
        None => Expr::Identifier(name),
        Some(part) => Expr::CompoundIdentifier(vec![name, Ident::new(part)]),
    }
}

/// The item with the session's parts; a bare one keeps the name that it was written with.
fn rename(item: &mut SelectItem) {
    if let SelectItem::UnnamedExpr(expr) = item
        && let Some(part) = edge(expr)
    {
        let name = match part {
            None => "window",
            Some("start") => "window_start",
            Some(_) => "window_end",
        };
        *item = SelectItem::ExprWithAlias {
            expr: session(part),
            alias: Ident::new(name),
        };
        return;
    }
    let _ = item.visit(&mut Edges);
}

struct Edges;

impl VisitorMut for Edges {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Some(part) = edge(expr) {
            *expr = session(part);
        }
        ControlFlow::Continue(())
    }
}
