//! Calls that Spark spells differently from DataFusion, put into DataFusion's words.
//!
//! Only what the syntax decides: what depends on types is left to the functions themselves (`crate::functions`) and to
//! the planner hooks (`crate::expr_planner`).

mod by_name;
mod grouping;
mod syntax;

use datafusion::common::Result;
use datafusion::sql::sqlparser::ast::{
    AccessExpr, BinaryOperator, CeilFloorKind, Expr, UnaryOperator,
};

pub(crate) use by_name::{posexplode, type_named};
pub(crate) use grouping::grouping_ids;
use syntax::not;
pub(crate) use syntax::{args_of, call, name_of, named_struct, number, text};

use crate::lambdas;

/// Rewrites one node; its children are done.
pub(crate) fn rewrite(expr: &mut Expr) -> Result<()> {
    let replacement = match expr {
        Expr::Function(function) => by_name::rewrite(function)?,
        Expr::UnaryOp {
            op: UnaryOperator::Minus,
            expr,
        } if !matches!(**expr, Expr::Value(_) | Expr::Interval(_)) => {
            Some(call("negative", vec![(**expr).clone()]))
        }
        Expr::UnaryOp {
            op: UnaryOperator::BangNot,
            expr,
        } => Some(not((**expr).clone())),
        Expr::UnaryOp {
            op: UnaryOperator::BitwiseNot,
            expr,
        } => Some(call("bitwise_not", vec![(**expr).clone()])),
        Expr::BinaryOp {
            left,
            op: BinaryOperator::StringConcat,
            right,
        } => Some(call("concat", vec![(**left).clone(), (**right).clone()])),
        Expr::RLike {
            negated,
            expr,
            pattern,
            ..
        } => {
            let matches = call("regexp_like", vec![(**expr).clone(), (**pattern).clone()]);
            Some(if *negated { not(matches) } else { matches })
        }
        Expr::Ceil {
            expr,
            field: CeilFloorKind::Scale(scale),
        } => Some(call(
            "ceil",
            vec![(**expr).clone(), Expr::Value(scale.clone())],
        )),
        Expr::Floor {
            expr,
            field: CeilFloorKind::Scale(scale),
        } => Some(call(
            "floor",
            vec![(**expr).clone(), Expr::Value(scale.clone())],
        )),
        Expr::CompoundFieldAccess { root, access_chain } => Some(field_accesses(
            (**root).clone(),
            std::mem::take(access_chain),
        )),
        Expr::Lambda(lambda) => {
            lambdas::fields_of_parameters(lambda);
            None
        }
        Expr::BinaryOp {
            left,
            op: BinaryOperator::PGBitwiseShiftLeft,
            right,
        } => Some(call("shiftleft", vec![(**left).clone(), (**right).clone()])),
        Expr::BinaryOp {
            left,
            op: BinaryOperator::PGBitwiseShiftRight,
            right,
        } => Some(call(
            "shiftright",
            vec![(**left).clone(), (**right).clone()],
        )),
        Expr::Struct { values, .. } => Some(named_struct(std::mem::take(values))),
        _ => None,
    };
    if let Some(replacement) = replacement {
        *expr = replacement;
    }
    Ok(())
}

/// `f(x).a[0].b`: every `.a` becomes a call of `get_field`, subscripts stay.
fn field_accesses(root: Expr, chain: Vec<AccessExpr>) -> Expr {
    let mut chain = chain.into_iter().peekable();
    let mut value = root;
    // `t.xs[0]`: names up to the first subscript are one column, qualified or not.
    if let Expr::Identifier(first) = &value {
        let mut names = vec![first.clone()];
        while let Some(AccessExpr::Dot(Expr::Identifier(name))) =
            chain.next_if(|access| matches!(access, AccessExpr::Dot(Expr::Identifier(_))))
        {
            names.push(name);
        }
        if names.len() > 1 {
            value = Expr::CompoundIdentifier(names);
        }
    }
    let mut subscripts = vec![];
    let with_subscripts =
        |value: Expr, subscripts: &mut Vec<AccessExpr>| match std::mem::take(subscripts) {
            chain if chain.is_empty() => value,
            access_chain => Expr::CompoundFieldAccess {
                root: Box::new(value),
                access_chain,
            },
        };
    for access in chain {
        match access {
            AccessExpr::Dot(Expr::Identifier(name)) => {
                value = call(
                    "get_field",
                    vec![with_subscripts(value, &mut subscripts), text(&name.value)],
                );
            }
            other => subscripts.push(other),
        }
    }
    with_subscripts(value, &mut subscripts)
}
