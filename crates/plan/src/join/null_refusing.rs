//! Which columns a condition needs a value of: with a null there it is never true.

use datafusion::{
    logical_expr::{BinaryExpr, Expr, Operator},
    prelude::Column,
};

/// Functions whose result is null where one of their arguments is, that conditions are made of: arithmetic, casts and
/// texts, under the names that they have in a plan.
const NULL_FOR_NULL: &[&str] = &[
    "abs",
    "btrim",
    "cast_ansi",
    "ceil",
    "date_add",
    "date_sub",
    "date_trunc",
    "divide_ansi",
    "floor",
    "length",
    "lower",
    "ltrim",
    "normalize_float",
    "rtrim",
    "substr",
    "substring",
    "to_date",
    "to_timestamp",
    "trim",
    "try_cast_ansi",
    "upper",
];

/// The columns that `condition` compares or computes with, such that it is null where one of them is. What may be true
/// in spite of a null (`OR`, `IS NULL`, `<=>`, `coalesce`) has none.
pub(super) fn columns_refusing_null(condition: &Expr) -> Vec<&Column> {
    let mut columns = Vec::new();
    if !condition.is_volatile() {
        collect(condition, &mut columns);
    }
    columns
}

fn collect<'a>(expr: &'a Expr, columns: &mut Vec<&'a Column>) {
    match expr {
        Expr::Column(column) => columns.push(column),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_null_for_null(*op) => {
            collect(left, columns);
            collect(right, columns);
        }
        Expr::Between(between) if !between.negated => {
            collect(&between.expr, columns);
            collect(&between.low, columns);
            collect(&between.high, columns);
        }
        Expr::Like(like) | Expr::SimilarTo(like) => {
            collect(&like.expr, columns);
            collect(&like.pattern, columns);
        }
        Expr::Not(inner) | Expr::Negative(inner) => collect(inner, columns),
        Expr::Cast(cast) => collect(&cast.expr, columns),
        Expr::TryCast(cast) => collect(&cast.expr, columns),
        Expr::Alias(alias) => collect(&alias.expr, columns),
        Expr::ScalarFunction(call) if NULL_FOR_NULL.contains(&call.func.name()) => {
            call.args.iter().for_each(|arg| collect(arg, columns));
        }
        _ => {}
    }
}

fn is_null_for_null(op: Operator) -> bool {
    use Operator::{Divide, Eq, Gt, GtEq, Lt, LtEq, Minus, Modulo, Multiply, NotEq, Plus};
    matches!(
        op,
        Eq | NotEq | Lt | LtEq | Gt | GtEq | Plus | Minus | Multiply | Divide | Modulo
    )
}

#[cfg(test)]
mod tests {
    use datafusion::{
        functions::expr_fn::{coalesce, upper},
        prelude::{col, lit},
    };

    use super::*;

    fn names(condition: &Expr) -> Vec<&str> {
        columns_refusing_null(condition)
            .into_iter()
            .map(|column| column.name.as_str())
            .collect()
    }

    #[test]
    fn comparisons_need_the_values_they_compute_with() {
        assert_eq!(names(&(col("a") + lit(1)).lt(col("b"))), ["a", "b"]);
        assert_eq!(names(&upper(col("k")).eq(col("d"))), ["k", "d"]);
        assert_eq!(names(&col("a").between(lit(1), col("c"))), ["a", "c"]);
    }

    #[test]
    fn what_may_be_true_beside_a_null_needs_none() {
        for condition in [
            col("a").eq(lit(1)).or(col("b").eq(lit(2))),
            col("a").is_null(),
            coalesce(vec![col("a"), lit(1)]).eq(lit(1)),
            col("a").not_between(lit(1), lit(2)),
            col("a").in_list(vec![lit(1)], false),
        ] {
            assert!(names(&condition).is_empty(), "{condition}");
        }
    }
}
