//! `SELECT v * 2 AS d, d + 1 AS e`: an alias may be used further right in the same list, as in Spark.
//!
//! A column of that name comes first, which only planning can tell: so this is asked for a name that planning did not
//! find.

use std::ops::ControlFlow;

use datafusion::common::{DataFusionError, SchemaError};
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::{Expr, Select, SelectItem, VisitMut, VisitorMut};

use crate::rewrite::inner;

/// The unqualified name that planning did not find, if that is what is wrong.
pub(crate) fn unknown_name(error: &DataFusionError) -> Option<String> {
    match error.find_root() {
        DataFusionError::SchemaError(error, _) => match error.as_ref() {
            SchemaError::FieldNotFound { field, .. } if field.relation.is_none() => {
                Some(field.name.clone())
            }
            _ => None,
        },
        _ => None,
    }
}

/// Writes out what `name` stands for, to the right of where it is given as an alias; whether it stood anywhere.
pub(crate) fn write_out(statement: &mut DfStatement, name: &str) -> bool {
    let mut visitor = WriteOut { name, any: false };
    inner(statement, &mut |statement| {
        let _: ControlFlow<()> = statement.visit(&mut visitor);
    });
    visitor.any
}

struct WriteOut<'a> {
    name: &'a str,
    any: bool,
}

impl VisitorMut for WriteOut<'_> {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        let mut meaning: Option<Expr> = None;
        for item in &mut select.projection {
            let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item
            else {
                continue;
            };
            if let Some(meaning) = &meaning {
                let mut replace = Replace {
                    name: self.name,
                    meaning,
                    any: false,
                };
                let _: ControlFlow<()> = expr.visit(&mut replace);
                self.any |= replace.any;
            }
            if let SelectItem::ExprWithAlias { expr, alias } = item
                && alias.value.eq_ignore_ascii_case(self.name)
            {
                meaning.get_or_insert_with(|| Expr::Nested(Box::new(expr.clone())));
            }
        }
        ControlFlow::Continue(())
    }
}

struct Replace<'a> {
    name: &'a str,
    meaning: &'a Expr,
    any: bool,
}

impl VisitorMut for Replace<'_> {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Identifier(name) = expr
            && name.value.eq_ignore_ascii_case(self.name)
        {
            *expr = self.meaning.clone();
            self.any = true;
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parser;

    #[test]
    fn an_alias_is_written_out_to_the_right_of_it() {
        let mut statement =
            parser::parse("SELECT d, v * 2 AS d, d + 1 AS e FROM t WHERE d > 1").unwrap();
        assert!(write_out(&mut statement, "D"));
        assert_eq!(
            statement.to_string(),
            "SELECT d, v * 2 AS d, (v * 2) + 1 AS e FROM t WHERE d > 1"
        );
        assert!(!write_out(&mut statement, "e"));
    }
}
