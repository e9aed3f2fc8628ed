//! References to a window among the group keys: `SELECT window.start ... GROUP BY window(ts, '10 seconds')`.
//!
//! In Spark the grouped window is a column named `window`. Here the reference is replaced by the group expression
//! itself, which the planner then finds to be the key. Only the SELECT list, HAVING and ORDER BY of the grouping
//! query itself see the name; its subqueries have their own.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, GroupByExpr, Query, Select, SelectItem, VisitMut, VisitorMut,
};

use crate::calls;

/// The window expressions among the keys of one GROUP BY, by the name they are referred to with.
pub(crate) struct WindowKeys(Vec<(&'static str, Expr)>);

impl WindowKeys {
    pub(crate) fn of(group_by: &GroupByExpr) -> Self {
        let mut found = Self(vec![]);
        if let GroupByExpr::Expressions(exprs, _) = group_by {
            exprs.iter().for_each(|expr| found.collect(expr));
        }
        found
    }

    fn collect(&mut self, expr: &Expr) {
        match expr {
            Expr::Function(_) => {
                if let Some(name) = window_name(expr)
                    && !self.0.iter().any(|(known, _)| *known == name)
                {
                    self.0.push((name, expr.clone()));
                }
            }
            Expr::Rollup(sets) | Expr::Cube(sets) | Expr::GroupingSets(sets) => {
                sets.iter().flatten().for_each(|e| self.collect(e));
            }
            Expr::Nested(inner) => self.collect(inner),
            Expr::Tuple(items) => items.iter().for_each(|e| self.collect(e)),
            _ => {}
        }
    }

    /// No window keys.
    pub(crate) fn none() -> Self {
        Self(vec![])
    }

    /// Whether `name` refers to one of the keys.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    fn get(&self, name: &str) -> Option<&Expr> {
        self.0
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, expr)| expr)
    }

    pub(crate) fn replace_in_select(&self, select: &mut Select) {
        if self.0.is_empty() {
            return;
        }
        for item in &mut select.projection {
            self.keep_name(item);
            match item {
                SelectItem::UnnamedExpr(expr)
                | SelectItem::ExprWithAlias { expr, .. }
                | SelectItem::ExprWithAliases { expr, .. } => self.replace_in(expr),
                SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..) => {}
            }
        }
        for expr in select.having.iter_mut().chain(select.qualify.iter_mut()) {
            self.replace_in(expr);
        }
    }

    /// A column that is only such a reference is called by its last word: `window`, `start`.
    fn keep_name(&self, item: &mut SelectItem) {
        let SelectItem::UnnamedExpr(expr) = item else {
            return;
        };
        let alias = match &*expr {
            Expr::Identifier(name) if self.contains(&name.value) => name.clone(),
            Expr::CompoundIdentifier(names) => match names.as_slice() {
                [first, .., last] if self.contains(&first.value) => last.clone(),
                _ => return,
            },
            _ => return,
        };
        *item = SelectItem::ExprWithAlias {
            expr: expr.clone(),
            alias,
        };
    }

    pub(crate) fn replace_in(&self, expr: &mut Expr) {
        if self.0.is_empty() {
            return;
        }
        let mut replacer = Replacer {
            keys: self,
            queries: 0,
            windows: 0,
        };
        // The replacer never breaks.
        let _ = expr.visit(&mut replacer);
    }
}

/// `window` or `session_window`, if `expr` is a call of it.
pub(crate) fn window_name(expr: &Expr) -> Option<&'static str> {
    let Expr::Function(function) = expr else {
        return None;
    };
    let name = function.name.to_string();
    ["window", "session_window"]
        .into_iter()
        .find(|known| name.eq_ignore_ascii_case(known))
}

struct Replacer<'a> {
    keys: &'a WindowKeys,
    /// Subqueries around the present node; their names are their own.
    queries: usize,
    /// Window calls around the present node: `window(window, ...)` groups by a column of that name.
    windows: usize,
}

impl Replacer<'_> {
    fn replacement(&self, expr: &Expr) -> Option<Expr> {
        match expr {
            Expr::Identifier(name) => self.keys.get(&name.value).cloned(),
            Expr::CompoundIdentifier(names) => {
                let (first, fields) = names.split_first()?;
                let key = self.keys.get(&first.value)?.clone();
                Some(fields.iter().fold(key, |value, field| {
                    calls::call(
                        "get_field",
                        vec![value, calls::text(&field.value.to_ascii_lowercase())],
                    )
                }))
            }
            _ => None,
        }
    }
}

impl VisitorMut for Replacer<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.queries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.queries -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        self.windows += usize::from(window_name(expr).is_some());
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        self.windows -= usize::from(window_name(expr).is_some());
        if self.queries == 0
            && self.windows == 0
            && let Some(replacement) = self.replacement(expr)
        {
            *expr = replacement;
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use crate::{parser, rewrite};
    use datafusion::sql::parser::Statement;

    fn rewritten(sql: &str) -> String {
        let mut statement = parser::parse(sql).expect(sql);
        rewrite::statement(&mut statement, rewrite::Flavour::Spark).expect(sql);
        match statement {
            Statement::Statement(inner) => inner.to_string(),
            other => other.to_string(),
        }
    }

    #[test]
    fn references_become_the_group_key() {
        let sql = "SELECT window.start AS ws, window, max(v) FROM t GROUP BY window(ts, '10 seconds'), k HAVING window.end > x ORDER BY window.start";
        assert_eq!(
            rewritten(sql),
            "SELECT get_field(window(ts, '10 seconds'), 'start') AS ws, window(ts, '10 seconds') AS `window`, max(v) AS `max(v)` FROM t \
             GROUP BY window(ts, '10 seconds'), k HAVING get_field(window(ts, '10 seconds'), 'end') > x \
             ORDER BY get_field(window(ts, '10 seconds'), 'start')"
        );
    }

    #[test]
    fn a_column_named_window_stays_one() {
        for sql in [
            "SELECT window.start AS ws, n FROM t WHERE window.start > x",
            "SELECT window.start AS ws, max(n) AS m FROM t GROUP BY window",
        ] {
            assert_eq!(rewritten(sql), sql);
        }
        let nested = rewritten("SELECT window AS w FROM t GROUP BY window(window, '20 seconds')");
        assert_eq!(
            nested,
            "SELECT window(window, '20 seconds') AS w FROM t GROUP BY window(window, '20 seconds')"
        );
    }
}
