//! The names Spark gives to columns that the query does not name: `count(1)`, `(v + 1)`, `start` for `w.start`.
//!
//! Sinks write column names, so they are part of what a query means. Runs before every other rewrite, on what the user
//! wrote.

use std::collections::HashSet;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CastKind, DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArguments, Ident, ObjectNamePart, Select, SelectItem, TableFactor, UnaryOperator,
    Value,
};

use crate::calls::type_named;
use crate::window_refs::{WindowKeys, window_name};

/// Gives an alias to every column of the SELECT list that DataFusion would call otherwise.
pub(crate) fn name_columns(select: &mut Select) {
    let relations = Relations::of(select);
    let keys = WindowKeys::of(&select.group_by);
    // DataFusion allows no two columns of one name: the second keeps the name it gives.
    let mut used: HashSet<String> = select
        .projection
        .iter()
        .filter_map(|item| match item {
            SelectItem::ExprWithAlias { alias, .. } => Some(alias.value.clone()),
            SelectItem::UnnamedExpr(Expr::Identifier(name)) if !keys.contains(&name.value) => {
                Some(name.value.clone())
            }
            _ => None,
        })
        .collect();
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(expr) = item
            && let Some(name) = column_name(expr, &relations, &keys)
            && used.insert(name.clone())
        {
            let expr = expr.clone();
            *item = SelectItem::ExprWithAlias {
                expr,
                alias: Ident::with_quote('`', name),
            };
        }
    }
}

/// The name of an expression that stands alone; `None` where it is the right one already.
pub(crate) fn standalone_name(expr: &Expr) -> Option<String> {
    column_name(expr, &Relations(vec![]), &WindowKeys::none())
}

fn column_name(expr: &Expr, relations: &Relations, keys: &WindowKeys) -> Option<String> {
    match expr {
        Expr::Identifier(name) => keys
            .contains(&name.value)
            .then(|| name.value.to_ascii_lowercase()),
        Expr::CompoundIdentifier(parts) => {
            let last = parts.last()?.value.clone();
            (!relations.is_column(parts)).then_some(last)
        }
        Expr::Function(function) => {
            let name = function.name.to_string().to_ascii_lowercase();
            match name.as_str() {
                "posexplode" | "posexplode_outer" => None,
                "explode" | "explode_outer" => Some("col".to_owned()),
                "inline" | "inline_outer" | "stack" => None,
                "window_time" => Some(name),
                _ => Some(window_name(expr).map_or_else(|| relations.spell(expr), str::to_owned)),
            }
        }
        // A column keeps its name when it is cast.
        Expr::Cast { expr: column, .. }
            if matches!(**column, Expr::Identifier(_) | Expr::CompoundIdentifier(_)) =>
        {
            match column.as_ref() {
                Expr::Identifier(name) => Some(name.value.clone()),
                Expr::CompoundIdentifier(parts) => parts.last().map(|part| part.value.clone()),
                _ => None,
            }
        }
        _ => Some(relations.spell(expr)),
    }
}

/// Names under which the relations of a FROM clause are known.
struct Relations(Vec<String>);

impl Relations {
    fn of(select: &Select) -> Self {
        let mut names = Self(vec![]);
        for table in &select.from {
            names.add(&table.relation);
            table
                .joins
                .iter()
                .for_each(|join| names.add(&join.relation));
        }
        names.0.extend(
            select
                .lateral_views
                .iter()
                .map(|view| view.lateral_view_name.to_string()),
        );
        names
    }

    fn add(&mut self, relation: &TableFactor) {
        let alias = match relation {
            TableFactor::Table {
                name, alias, args, ..
            } => {
                if alias.is_none() {
                    if let Some(ObjectNamePart::Identifier(last)) = name.0.last() {
                        self.0.push(last.value.clone());
                    }
                    // The relation inside a WATERMARK call keeps its own name.
                    if let Some(args) = args
                        && let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Subquery(
                            inner,
                        )))) = args.args.first()
                        && let Some(select) = inner.body.as_select()
                    {
                        self.0.extend(Self::of(select).0);
                    }
                }
                alias
            }
            TableFactor::Derived { alias, .. } | TableFactor::TableFunction { alias, .. } => alias,
            TableFactor::NestedJoin {
                table_with_joins,
                alias,
            } => {
                self.add(&table_with_joins.relation);
                table_with_joins
                    .joins
                    .iter()
                    .for_each(|join| self.add(&join.relation));
                alias
            }
            _ => &None,
        };
        self.0.extend(alias.as_ref().map(|a| a.name.value.clone()));
    }

    /// Whether the last of `parts` is a column of a relation rather than a field of a struct.
    fn is_column(&self, parts: &[Ident]) -> bool {
        let Some([relation, _]) = parts.last_chunk::<2>() else {
            return false;
        };
        self.0
            .iter()
            .any(|known| known.eq_ignore_ascii_case(&relation.value))
    }

    /// The text of an expression as Spark shows it.
    fn spell(&self, expr: &Expr) -> String {
        let binary = |left: &Expr, op: &str, right: &Expr| {
            format!("({} {op} {})", self.spell(left), self.spell(right))
        };
        match expr {
            Expr::Identifier(name) => name.value.clone(),
            Expr::CompoundIdentifier(parts) if self.is_column(parts) => {
                parts.last().map(|p| p.value.clone()).unwrap_or_default()
            }
            Expr::CompoundIdentifier(parts) => parts
                .iter()
                .map(|p| p.value.as_str())
                .collect::<Vec<_>>()
                .join("."),
            Expr::Value(value) => match &value.value {
                Value::SingleQuotedString(text) | Value::DoubleQuotedString(text) => text.clone(),
                Value::Boolean(b) => b.to_string(),
                Value::Number(n, _) => n.clone(),
                other => other.to_string(),
            },
            Expr::Nested(inner) => self.spell(inner),
            Expr::Function(function) => self.spell_call(function),
            Expr::BinaryOp {
                left,
                op: BinaryOperator::StringConcat,
                right,
            } => {
                format!("concat({}, {})", self.spell(left), self.spell(right))
            }
            Expr::BinaryOp {
                left,
                op: BinaryOperator::MyIntegerDivide,
                right,
            } => binary(left, "div", right),
            Expr::BinaryOp {
                left,
                op: BinaryOperator::Spaceship,
                right,
            } => binary(left, "<=>", right),
            Expr::BinaryOp { left, op, right } => binary(left, &op.to_string(), right),
            Expr::UnaryOp {
                op: UnaryOperator::Not,
                expr,
            } => format!("(NOT {})", self.spell(expr)),
            Expr::UnaryOp {
                op: UnaryOperator::Minus,
                expr,
            } => match expr.as_ref() {
                Expr::Value(_) => format!("-{}", self.spell(expr)),
                _ => format!("(- {})", self.spell(expr)),
            },
            Expr::IsNull(inner) => format!("({} IS NULL)", self.spell(inner)),
            Expr::IsNotNull(inner) => format!("({} IS NOT NULL)", self.spell(inner)),
            Expr::InList {
                expr,
                list,
                negated,
            } => {
                let list = list
                    .iter()
                    .map(|e| self.spell(e))
                    .collect::<Vec<_>>()
                    .join(", ");
                let inside = format!("({} IN ({list}))", self.spell(expr));
                if *negated {
                    format!("(NOT {inside})")
                } else {
                    inside
                }
            }
            Expr::Cast {
                kind,
                expr,
                data_type,
                ..
            } => {
                let cast = match kind {
                    CastKind::TryCast => "TRY_CAST",
                    _ => "CAST",
                };
                format!(
                    "{cast}({} AS {})",
                    self.spell(expr),
                    data_type.to_string().to_ascii_uppercase()
                )
            }
            Expr::Case {
                operand,
                conditions,
                else_result,
                ..
            } => {
                let mut text = "CASE".to_owned();
                if let Some(operand) = operand {
                    text.push_str(&format!(" {}", self.spell(operand)));
                }
                for when in conditions {
                    text.push_str(&format!(
                        " WHEN {} THEN {}",
                        self.spell(&when.condition),
                        self.spell(&when.result)
                    ));
                }
                if let Some(result) = else_result {
                    text.push_str(&format!(" ELSE {}", self.spell(result)));
                }
                text + " END"
            }
            other => other.to_string(),
        }
    }

    fn spell_call(&self, function: &Function) -> String {
        let name = function.name.to_string().to_ascii_lowercase();
        let FunctionArguments::List(list) = &function.args else {
            return format!("{name}()");
        };
        // `bigint(x)` and the like are casts that nobody wrote.
        if let [FunctionArg::Unnamed(FunctionArgExpr::Expr(value))] = list.args.as_slice()
            && type_named(&name).is_some()
        {
            return self.spell(value);
        }
        let distinct = match list.duplicate_treatment {
            Some(DuplicateTreatment::Distinct) => "DISTINCT ",
            _ => "",
        };
        let args = list
            .args
            .iter()
            .map(|arg| match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => self.spell(expr),
                FunctionArg::Unnamed(FunctionArgExpr::Wildcard) => "1".to_owned(),
                other => other.to_string(),
            })
            .collect::<Vec<_>>()
            .join(", ");
        let call = format!("{name}({distinct}{args})");
        match &function.filter {
            Some(filter) => format!("{call} FILTER (WHERE {})", self.spell(filter)),
            None => call,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parser;
    use datafusion::sql::parser::Statement as DfStatement;
    use datafusion::sql::sqlparser::ast::Statement;

    fn names(sql: &str) -> Vec<String> {
        let DfStatement::Statement(statement) = parser::parse(sql).expect(sql) else {
            unreachable!("a query")
        };
        let Statement::Query(query) = *statement else {
            unreachable!("a query")
        };
        let mut select = query.body.as_select().expect("a select").clone();
        name_columns(&mut select);
        select
            .projection
            .iter()
            .map(|item| match item {
                SelectItem::ExprWithAlias { alias, .. } => alias.value.clone(),
                other => format!("<{other}>"),
            })
            .collect()
    }

    #[test]
    fn unnamed_columns_get_the_names_of_spark() {
        let cases: [(&str, &[&str]); 7] = [
            (
                "SELECT CAST(v AS INT), t.k::string, try_cast(v + 1 AS INT), string(v + 2) FROM t",
                &["v", "k", "TRY_CAST((v + 1) AS INT)", "(v + 2)"],
            ),
            (
                "SELECT count(*), sum(t.v), upper(k) FROM t",
                &["count(1)", "sum(v)", "upper(k)"],
            ),
            (
                "SELECT v + 1, -v, 'x', NOT b FROM t",
                &["(v + 1)", "(- v)", "x", "(NOT b)"],
            ),
            (
                "SELECT w.start, t.k, t.w.end FROM t",
                &["start", "<t.k>", "end"],
            ),
            (
                "SELECT window, window.start FROM t GROUP BY window(ts, '1 day')",
                &["window", "start"],
            ),
            (
                "SELECT window(ts, '1 day'), k AS `K` FROM t",
                &["window", "K"],
            ),
            (
                "SELECT e.k FROM events WATERMARK ts DELAY OF INTERVAL 1 DAY AS e",
                &["<e.k>"],
            ),
        ];
        for (sql, expected) in cases {
            assert_eq!(names(sql), expected, "{sql}");
        }
    }
}
