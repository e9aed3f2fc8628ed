//! Calls that Spark spells differently from DataFusion, put into DataFusion's words.
//!
//! Only what the syntax decides: what depends on types is left to the functions themselves (`crate::functions`) and to
//! the planner hooks (`crate::expr_planner`).

use std::ops::ControlFlow;

use datafusion::common::{Result, plan_err};
use datafusion::sql::sqlparser::ast::{
    AccessExpr, BinaryOperator, CaseWhen, CastKind, CeilFloorKind, DataType, ExactNumberInfo, Expr,
    Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, GroupByExpr,
    Ident, NullTreatment, ObjectName, Select, SelectItem, TimezoneInfo, UnaryOperator, Value,
    VisitMut, VisitorMut, helpers::attached_token::AttachedToken,
};

use crate::lambdas;

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

/// A text literal.
pub(crate) fn text(value: &str) -> Expr {
    Expr::value(Value::SingleQuotedString(value.to_owned()))
}

/// A number literal, as written.
pub(crate) fn number(digits: &str) -> Expr {
    Expr::value(Value::Number(digits.to_owned(), false))
}

/// If `expr` calls `posexplode` or `posexplode_outer`: what unnests for it, and its argument.
pub(crate) fn posexplode(expr: &Expr) -> Option<(&'static str, Expr)> {
    let Expr::Function(function) = expr else {
        return None;
    };
    let unnest = match name_of(function).as_str() {
        "posexplode" => "unnest",
        "posexplode_outer" => "unnest_outer",
        _ => return None,
    };
    match args_of(function)?.as_slice() {
        [argument] => Some((unnest, (*argument).clone())),
        _ => None,
    }
}

/// Rewrites one node; its children are done.
pub(crate) fn rewrite(expr: &mut Expr) -> Result<()> {
    let replacement = match expr {
        Expr::Function(function) => rewrite_call(function)?,
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

/// Other names of functions that DataFusion knows under the second one, with the same arguments.
const RENAMED: &[(&str, &str)] = &[
    ("any", "bool_or"),
    ("explode", "unnest"),
    ("explode_outer", "unnest_outer"),
    ("approx_percentile", "percentile_approx"),
    ("array_agg", "collect_list"),
    ("array_size", "size"),
    ("cardinality", "size"),
    ("char_length", "length"),
    ("character_length", "length"),
    ("curdate", "current_date"),
    ("endswith", "ends_with"),
    ("filter", "array_filter"),
    ("first_value", "first"),
    ("last_value", "last"),
    ("lcase", "lower"),
    ("mean", "avg"),
    ("now", "current_timestamp"),
    ("regexp", "regexp_like"),
    ("rlike", "regexp_like"),
    ("sha", "sha1"),
    ("sign", "signum"),
    ("startswith", "starts_with"),
    ("std", "stddev"),
    ("string_agg", "listagg"),
    ("transform", "array_transform"),
    ("ucase", "upper"),
    ("variance", "var_samp"),
];

fn rewrite_call(function: &mut Function) -> Result<Option<Expr>> {
    let name = name_of(function);
    let renamed = RENAMED
        .iter()
        .find(|(spark, _)| *spark == name)
        .map(|(_, ours)| *ours);
    // first_value and last_value with a window frame are DataFusion's.
    if let Some(ours) = renamed
        && function.over.is_none()
    {
        function.name = ObjectName::from(vec![Ident::new(ours)]);
    }
    let Some(args) = args_of(function) else {
        return Ok(None);
    };
    let args: Vec<Expr> = args.into_iter().cloned().collect();
    let name = name_of(function);
    if let Some(replacement) = lambdas::of_several(&name, &args) {
        return Ok(Some(replacement));
    }
    let replacement = match (name.as_str(), args.as_slice()) {
        ("arrays_zip", _) if !args.is_empty() => lambdas::arrays_zip(&args),
        ("trunc", [date, unit]) => call(
            "trunc",
            vec![cast(date.clone(), DataType::Date), unit.clone()],
        ),
        ("to_timestamp_ltz", _) => call("to_timestamp", args.clone()),
        ("to_timestamp_ntz", [x]) => cast(
            x.clone(),
            DataType::Custom(ObjectName::from(vec![Ident::new("TIMESTAMP_NTZ")]), vec![]),
        ),
        ("space", [count]) => call("repeat", vec![text(" "), count.clone()]),
        ("factorial", [n]) => call_like(
            function,
            "factorial",
            vec![cast(n.clone(), DataType::Int(None))],
        ),
        ("replace", [x, part]) => call("replace", vec![x.clone(), part.clone(), text("")]),
        ("position", [part, x, ..]) => {
            let from = args.get(2).cloned();
            let args = [part.clone(), x.clone()].into_iter().chain(from);
            call("locate", args.collect())
        }
        ("regexp_substr", [x, pattern]) => {
            let found = call(
                "regexp_extract",
                vec![x.clone(), pattern.clone(), number("0")],
            );
            call("nullif", vec![found, text("")])
        }
        ("decode", [x, first, second, rest @ ..]) => {
            let mut pairs = vec![first.clone(), second.clone()];
            pairs.extend_from_slice(rest);
            decode(x, pairs)
        }
        ("encode", [x, charset]) if is_utf8(charset) => cast(x.clone(), DataType::Binary(None)),
        ("decode", [x, charset]) if is_utf8(charset) => cast(x.clone(), DataType::String(None)),
        ("isnull", [x]) => Expr::IsNull(Box::new(x.clone())),
        ("isnotnull", [x]) => Expr::IsNotNull(Box::new(x.clone())),
        ("equal_null", [a, b]) => binary(a, BinaryOperator::Spaceship, b),
        ("mod", [a, b]) => binary(a, BinaryOperator::Modulo, b),
        ("log", [x]) => call("ln", vec![x.clone()]),
        ("positive", [x]) => x.clone(),
        ("e", []) => cast(
            text("2.718281828459045"),
            DataType::Double(ExactNumberInfo::None),
        ),
        ("log1p", [x]) => call("ln", vec![binary(&number("1"), BinaryOperator::Plus, x)]),
        ("date_from_unix_date", [days]) => call(
            "date_add",
            vec![cast(text("1970-01-01"), DataType::Date), days.clone()],
        ),
        ("map_contains_key", [map, key]) => call(
            "array_contains",
            vec![call("map_keys", vec![map.clone()]), key.clone()],
        ),
        // All elements meet the condition if none meets its opposite.
        ("forall", [list, Expr::Lambda(lambda)]) => {
            let mut opposite = lambda.clone();
            opposite.body = Box::new(not(*opposite.body));
            not(call(
                "array_any_match",
                vec![list.clone(), Expr::Lambda(opposite)],
            ))
        }
        ("nullifzero", [x]) => call("nullif", vec![x.clone(), number("0")]),
        ("zeroifnull", [x]) => call("coalesce", vec![x.clone(), number("0")]),
        ("median", [x]) => call_like(function, "percentile", vec![x.clone(), number("0.5")]),
        ("approx_count_distinct", [x, ..]) => {
            call_like(function, "approx_distinct", vec![x.clone()])
        }
        ("listagg", [x]) => call_like(function, "listagg", vec![x.clone(), text("")]),
        ("struct", _) if !args.is_empty() => named_struct(args),
        ("dateadd" | "date_add" | "timestampadd", [unit, count, time]) => call(
            "timestampadd",
            vec![unit_text(unit)?, count.clone(), time.clone()],
        ),
        ("datediff" | "date_diff" | "timestampdiff", [unit, from, to]) => call(
            "timestampdiff",
            vec![unit_text(unit)?, from.clone(), to.clone()],
        ),
        ("dateadd", [date, days]) => call("date_add", vec![date.clone(), days.clone()]),
        ("first" | "last" | "any_value", [x, Expr::Value(flag)]) => {
            let mut rewritten = call_like(function, &name, vec![x.clone()]);
            if let (Expr::Function(f), Value::Boolean(true)) = (&mut rewritten, &flag.value) {
                f.null_treatment = Some(NullTreatment::IgnoreNulls);
            }
            rewritten
        }
        (name, [x]) if function.over.is_none() => match type_named(name) {
            Some(data_type) => cast(x.clone(), data_type),
            None => return Ok(None),
        },
        _ => return Ok(None),
    };
    Ok(Some(replacement))
}

/// `decode(x, 1, 'a', 2, 'b', 'else')`: the value behind the first that is the same as `x`, NULL included.
fn decode(x: &Expr, pairs: Vec<Expr>) -> Expr {
    let mut conditions = Vec::new();
    let mut pairs = pairs.into_iter().peekable();
    let mut otherwise = None;
    while let Some(first) = pairs.next() {
        match pairs.next() {
            Some(result) => conditions.push(CaseWhen {
                condition: binary(x, BinaryOperator::Spaceship, &first),
                result,
            }),
            None => otherwise = Some(Box::new(first)),
        }
    }
    Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions,
        else_result: otherwise,
    }
}

fn is_utf8(charset: &Expr) -> bool {
    crate::rewrite::literal_text(charset)
        .is_some_and(|name| name.eq_ignore_ascii_case("utf-8") || name.eq_ignore_ascii_case("utf8"))
}

/// The same call with another name and other arguments: FILTER, OVER and the like are kept.
fn call_like(function: &Function, name: &str, args: Vec<Expr>) -> Expr {
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

/// `bigint(x)` and the like are casts.
pub(crate) fn type_named(name: &str) -> Option<DataType> {
    Some(match name {
        "bigint" => DataType::BigInt(None),
        "int" => DataType::Int(None),
        "smallint" => DataType::SmallInt(None),
        "tinyint" => DataType::TinyInt(None),
        "float" => DataType::Float(ExactNumberInfo::None),
        "double" => DataType::Double(ExactNumberInfo::None),
        "decimal" => DataType::Decimal(ExactNumberInfo::None),
        "string" => DataType::String(None),
        "binary" => DataType::Binary(None),
        "boolean" => DataType::Boolean,
        "date" => DataType::Date,
        "timestamp" => DataType::Timestamp(None, TimezoneInfo::None),
        _ => return None,
    })
}

fn cast(expr: Expr, data_type: DataType) -> Expr {
    Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(expr),
        data_type,
        array: false,
        format: None,
    }
}

fn binary(left: &Expr, op: BinaryOperator, right: &Expr) -> Expr {
    Expr::BinaryOp {
        left: Box::new(left.clone()),
        op,
        right: Box::new(right.clone()),
    }
}

fn not(expr: Expr) -> Expr {
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

/// `DAY` in `dateadd(DAY, 1, d)`, as a text.
fn unit_text(unit: &Expr) -> Result<Expr> {
    match unit {
        Expr::Identifier(name) => Ok(text(&name.value)),
        other if crate::rewrite::literal_text(other).is_some() => Ok(other.clone()),
        other => plan_err!("expected a unit of time like DAY, found {other}"),
    }
}

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
