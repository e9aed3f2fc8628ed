//! Syntax trees made and taken apart.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentList, FunctionArguments, Ident, ObjectName, UnaryOperator, Value,
};

/// A call of `name` with positional arguments.
pub(crate) fn call(name: &str, args: Vec<Expr>) -> Expr {
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: args
                .into_iter()
                .map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)))
                .collect(),
            clauses: vec![],
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: vec![],
    })
}

/// The same call with another name and other arguments: FILTER, OVER and the like are kept.
pub(super) fn call_like(function: &Function, name: &str, args: Vec<Expr>) -> Expr {
    let Expr::Function(mut made) = call(name, args) else {
        unreachable!("call makes a function")
    };
    if let (FunctionArguments::List(made), FunctionArguments::List(old)) =
        (&mut made.args, &function.args)
    {
        made.duplicate_treatment = old.duplicate_treatment;
        made.clauses.clone_from(&old.clauses);
    }
    made.filter.clone_from(&function.filter);
    made.null_treatment.clone_from(&function.null_treatment);
    made.over.clone_from(&function.over);
    made.within_group.clone_from(&function.within_group);
    Expr::Function(made)
}

pub(crate) fn name_of(function: &Function) -> String {
    function.name.to_string().to_ascii_lowercase()
}

/// The positional arguments; `None` if there are others.
pub(crate) fn args_of(function: &Function) -> Option<Vec<&Expr>> {
    let FunctionArguments::List(list) = &function.args else {
        return Some(vec![]);
    };
    list.args
        .iter()
        .map(|arg| match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
            _ => None,
        })
        .collect()
}

/// A text literal.
pub(crate) fn text(value: &str) -> Expr {
    Expr::value(Value::SingleQuotedString(value.to_owned()))
}

/// A number literal, as written.
pub(crate) fn number(digits: &str) -> Expr {
    Expr::value(Value::Number(digits.to_owned(), false))
}

pub(super) fn cast(expr: Expr, data_type: DataType) -> Expr {
    Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(expr),
        data_type,
        array: false,
        format: None,
    }
}

pub(super) fn binary(left: &Expr, op: BinaryOperator, right: &Expr) -> Expr {
    Expr::BinaryOp {
        left: Box::new(left.clone()),
        op,
        right: Box::new(right.clone()),
    }
}

pub(super) fn not(expr: Expr) -> Expr {
    Expr::UnaryOp {
        op: UnaryOperator::Not,
        expr: Box::new(Expr::Nested(Box::new(expr))),
    }
}

/// `struct(a, b + 1, c AS d)`: fields are called by their column, by their alias, or `col2` by their place.
pub(crate) fn named_struct(values: Vec<Expr>) -> Expr {
    let mut args = Vec::with_capacity(values.len() * 2);
    for (i, value) in values.into_iter().enumerate() {
        let (name, value) = match value {
            Expr::Named { expr, name } => (name.value, *expr),
            Expr::Identifier(name) => (name.value.clone(), Expr::Identifier(name)),
            Expr::CompoundIdentifier(parts) => (
                parts.last().map(|p| p.value.clone()).unwrap_or_default(),
                Expr::CompoundIdentifier(parts),
            ),
            other => (format!("col{}", i + 1), other),
        };
        args.push(text(&name));
        args.push(value);
    }
    call("named_struct", args)
}
