//! What Spark means and DataFusion's planner would not: rewrites of the parsed statement.
//!
//! One visit of the whole tree, innermost first. Calls are put into DataFusion's words (`crate::calls`), references to
//! a window among the group keys become the key itself (`crate::window_refs`), `LATERAL VIEW` becomes a relation
//! (`crate::relation` plans it), and columns without a name get the one Spark gives them (`crate::names`).

use std::ops::ControlFlow;

use datafusion::common::{DataFusionError, Result, plan_datafusion_err};
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, GroupByExpr, GroupByWithModifier, Ident, LateralView,
    ObjectName, OrderBy, OrderByExpr, OrderByKind, OrderByOptions, Query, Select, SelectItem,
    SetExpr, Statement, TableAlias, TableAliasColumnDef, TableFactor, TableFunctionArgs,
    TableWithJoins, Value, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::parser::Parser;

use crate::calls;
use crate::dialect::SparkDialect;
use crate::generators;
use crate::joins;
use crate::names;
use crate::relation::GENERATE_FUNCTION;
use crate::using;
use crate::window_refs::WindowKeys;
use crate::windowing_sessions;

/// Whose words a text uses where Spark's and DataFusion's differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flavour {
    Spark,
    DataFusion,
}

/// Rewrites a whole statement.
pub(crate) fn statement(statement: &mut DfStatement, flavour: Flavour) -> Result<()> {
    let mut result = Ok(());
    inner(statement, &mut |inner| result = visit(inner, flavour));
    result
}

/// Calls `f` with the statement that SQL's own parser made, if there is one.
pub(crate) fn inner(statement: &mut DfStatement, f: &mut impl FnMut(&mut Statement)) {
    match statement {
        DfStatement::Statement(inner) => f(inner.as_mut()),
        DfStatement::Explain(explain) => inner(&mut explain.statement, f),
        _ => {}
    }
}

/// Rewrites one expression that stands alone.
pub(crate) fn expression(expr: &mut Expr, flavour: Flavour) -> Result<()> {
    visit(expr, flavour)
}

fn visit(node: &mut impl VisitMut, flavour: Flavour) -> Result<()> {
    match node.visit(&mut Rewriter(flavour)) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

struct Rewriter(Flavour);

impl VisitorMut for Rewriter {
    type Break = DataFusionError;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<DataFusionError> {
        match self.0 {
            Flavour::Spark => flow(calls::rewrite(expr)),
            Flavour::DataFusion => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<DataFusionError> {
        match factor {
            TableFactor::Table {
                name,
                sample: Some(_),
                ..
            } => ControlFlow::Break(DataFusionError::Plan(format!(
                "TABLESAMPLE of '{name}' is not possible: use LIMIT, or a filter such as rand() < 0.1"
            ))),
            TableFactor::Table {
                name,
                alias,
                args: Some(_),
                ..
            } if self.0 == Flavour::Spark && name.to_string().eq_ignore_ascii_case("range") => {
                name_range(alias);
                ControlFlow::Continue(())
            }
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<DataFusionError> {
        // Names are taken from what the user wrote, before anything is rewritten.
        if self.0 == Flavour::Spark {
            names::name_columns(select);
            using::columns_first(select);
            using::kept_side_first(select);
            joins::conditions(select);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<DataFusionError> {
        if self.0 == Flavour::Spark {
            order_of_rows(query);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<DataFusionError> {
        flow(rewrite_select(select))
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<DataFusionError> {
        flow(order_by_window(query))
    }
}

fn flow(result: Result<()>) -> ControlFlow<DataFusionError> {
    match result {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(error),
    }
}

fn rewrite_select(select: &mut Select) -> Result<()> {
    if !select.sort_by.is_empty() || !select.cluster_by.is_empty() {
        return Err(plan_datafusion_err!(
            "SORT BY and CLUSTER BY sort within partitions, which a stream has none of: write ORDER BY over an aggregation, in complete mode"
        ));
    }
    if !select.distribute_by.is_empty() {
        return Err(plan_datafusion_err!(
            "DISTRIBUTE BY places rows, which the engine does itself: leave it out"
        ));
    }
    windowing_sessions::group(select)?;
    group_by_modifiers(&mut select.group_by);
    generators::beside_each_other(select)?;
    lateral_views(select);
    generators_in_projection(select);
    let keys = WindowKeys::of(&select.group_by);
    keys.replace_in_select(select);
    calls::grouping_ids(select);
    Ok(())
}

/// Rows are placed by the engine, so DISTRIBUTE BY says nothing, and what is sorted as a whole is sorted in every part.
/// ORDER BY ALL is by the columns in their order.
fn order_of_rows(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_mut() else {
        return;
    };
    select.distribute_by.clear();
    let mut order = std::mem::take(&mut select.sort_by);
    order.extend(
        std::mem::take(&mut select.cluster_by)
            .into_iter()
            .map(|expr| OrderByExpr {
                expr,
                options: OrderByOptions::default(),
                with_fill: None,
            }),
    );
    let is_listed = |item: &SelectItem| {
        matches!(
            item,
            SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. }
        )
    };
    if let Some(OrderBy { kind, .. }) = &mut query.order_by
        && let OrderByKind::All(options) = kind
        && select.projection.iter().all(is_listed)
    {
        let all = (1..=select.projection.len()).map(|place| OrderByExpr {
            expr: calls::number(&place.to_string()),
            options: *options,
            with_fill: None,
        });
        *kind = OrderByKind::Expressions(all.collect());
    }
    if !order.is_empty() && query.order_by.is_none() {
        query.order_by = Some(OrderBy {
            kind: OrderByKind::Expressions(order),
            interpolate: None,
        });
    }
}

/// The column of `range(…)` is called `id`.
fn name_range(alias: &mut Option<TableAlias>) {
    let alias = alias.get_or_insert_with(|| TableAlias {
        explicit: true,
        name: Ident::new("range"),
        columns: vec![],
        at: None,
    });
    if alias.columns.is_empty() {
        alias.columns.push(TableAliasColumnDef::from_name("id"));
    }
}

/// `ORDER BY window.start` of a query means the group key, like in its SELECT list.
fn order_by_window(query: &mut Query) -> Result<()> {
    let SetExpr::Select(select) = query.body.as_ref() else {
        return Ok(());
    };
    let keys = WindowKeys::of(&select.group_by);
    if let Some(order_by) = &mut query.order_by
        && let OrderByKind::Expressions(exprs) = &mut order_by.kind
    {
        for order in exprs {
            keys.replace_in(&mut order.expr);
        }
    }
    Ok(())
}

/// `GROUP BY a, b WITH ROLLUP` is `GROUP BY ROLLUP (a, b)`.
fn group_by_modifiers(group_by: &mut GroupByExpr) {
    let GroupByExpr::Expressions(exprs, modifiers) = group_by else {
        return;
    };
    let [modifier] = modifiers.as_slice() else {
        return;
    };
    let sets = match modifier {
        GroupByWithModifier::Rollup => Expr::Rollup(exprs.drain(..).map(|e| vec![e]).collect()),
        GroupByWithModifier::Cube => Expr::Cube(exprs.drain(..).map(|e| vec![e]).collect()),
        _ => return,
    };
    exprs.push(sets);
    modifiers.clear();
}

/// Wraps the relations into one call of the generator function per view, innermost the first view.
fn lateral_views(select: &mut Select) {
    for view in std::mem::take(&mut select.lateral_views) {
        let relations = std::mem::take(&mut select.from);
        select.from = vec![TableWithJoins {
            relation: generator(relations, view),
            joins: vec![],
        }];
    }
}

fn generator(relations: Vec<TableWithJoins>, view: LateralView) -> TableFactor {
    let mut args = vec![
        subquery(relations),
        view.lateral_view,
        calls::text(view.lateral_view_name.to_string().trim_matches('`')),
        calls::number(if view.outer { "1" } else { "0" }),
    ];
    args.extend(
        view.lateral_col_alias
            .into_iter()
            .map(|name| calls::text(&name.value)),
    );
    TableFactor::Table {
        name: ObjectName::from(vec![Ident::new(GENERATE_FUNCTION)]),
        alias: None::<TableAlias>,
        args: Some(TableFunctionArgs {
            args: args
                .into_iter()
                .map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)))
                .collect(),
            settings: None,
        }),
        with_hints: vec![],
        version: None,
        with_ordinality: false,
        partitions: vec![],
        json_path: None,
        sample: None,
        index_hints: vec![],
    }
}

/// `(SELECT * FROM relations)`.
fn subquery(relations: Vec<TableWithJoins>) -> Expr {
    let mut query = empty_query();
    if let SetExpr::Select(select) = query.body.as_mut() {
        select.from = relations;
    }
    Expr::Subquery(Box::new(query))
}

/// `SELECT *`, to be filled in.
fn empty_query() -> Query {
    let parsed = Parser::parse_sql(&SparkDialect, "SELECT *")
        .ok()
        .and_then(|mut statements| statements.pop());
    match parsed {
        Some(Statement::Query(query)) => *query,
        _ => unreachable!("the text is a query"),
    }
}

/// `SELECT explode(xs)` unnests; `SELECT posexplode(xs) AS (p, x)` unnests positions beside elements.
fn generators_in_projection(select: &mut Select) {
    let items = std::mem::take(&mut select.projection);
    for item in items {
        let (expr, aliases) = match item {
            SelectItem::UnnamedExpr(expr) => (expr, vec![]),
            SelectItem::ExprWithAlias { expr, alias } => (expr, vec![alias]),
            SelectItem::ExprWithAliases { expr, aliases } => (expr, aliases),
            other => {
                select.projection.push(other);
                continue;
            }
        };
        if let Some((unnest, argument)) = calls::posexplode(&expr) {
            let mut aliases = aliases.into_iter();
            let position = aliases.next().unwrap_or_else(|| Ident::new("pos"));
            let element = aliases.next().unwrap_or_else(|| Ident::new("col"));
            let positions = calls::call("__positions", vec![argument.clone()]);
            select.projection.push(SelectItem::ExprWithAlias {
                expr: calls::call(unnest, vec![positions]),
                alias: position,
            });
            select.projection.push(SelectItem::ExprWithAlias {
                expr: calls::call(unnest, vec![argument]),
                alias: element,
            });
            continue;
        }
        select
            .projection
            .push(match <[Ident; 1]>::try_from(aliases) {
                Ok([alias]) => SelectItem::ExprWithAlias { expr, alias },
                Err(aliases) if aliases.is_empty() => SelectItem::UnnamedExpr(expr),
                Err(aliases) => SelectItem::ExprWithAliases { expr, aliases },
            });
    }
}

/// A text literal's content.
pub(crate) fn literal_text(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) | Value::DoubleQuotedString(text) => Some(text),
            _ => None,
        },
        _ => None,
    }
}
