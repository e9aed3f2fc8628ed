//! Functions that have another name in DataFusion, or are made of others.

use datafusion::common::{Result, plan_err};
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CaseWhen, DataType, ExactNumberInfo, Expr, Function, Ident, NullTreatment,
    ObjectName, TimezoneInfo, Value, helpers::attached_token::AttachedToken,
};

use super::syntax::{
    args_of, binary, call, call_like, cast, name_of, named_struct, not, number, text,
};
use crate::lambdas;

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

/// What a call is in DataFusion; `None` if it stays as it is but for its name.
pub(super) fn rewrite(function: &mut Function) -> Result<Option<Expr>> {
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

/// `DAY` in `dateadd(DAY, 1, d)`, as a text.
fn unit_text(unit: &Expr) -> Result<Expr> {
    match unit {
        Expr::Identifier(name) => Ok(text(&name.value)),
        other if crate::rewrite::literal_text(other).is_some() => Ok(other.clone()),
        other => plan_err!("expected a unit of time like DAY, found {other}"),
    }
}
