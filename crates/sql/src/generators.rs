//! Generators in a SELECT list that DataFusion cannot unnest in place: several of them, which Spark multiplies with each
//! other and DataFusion would put side by side, and those that make several columns. They become lateral views.

use datafusion::common::{Result, plan_err};
use datafusion::sql::sqlparser::ast::{
    Expr, Function, GroupByExpr, Ident, LateralView, ObjectName, ObjectNamePart, Select,
    SelectItem, SelectItemQualifiedWildcardKind, WildcardAdditionalOptions,
};

use crate::calls::{call, name_of, named_struct};

/// Turns the generators of the SELECT list into lateral views where one alone cannot be unnested in place.
pub(crate) fn beside_each_other(select: &mut Select) -> Result<()> {
    let generators = select.projection.iter().filter_map(generator).count();
    let several_columns = select.projection.iter().any(makes_several_columns);
    if generators < 2 && !several_columns {
        return Ok(());
    }
    if !matches!(&select.group_by, GroupByExpr::Expressions(keys, _) if keys.is_empty()) {
        return plan_err!(
            "generators such as explode() beside GROUP BY: put the aggregation into a subquery and generate above it"
        );
    }
    let is_wildcard = |item: &SelectItem| matches!(item, SelectItem::Wildcard(_));
    if select.projection.iter().any(is_wildcard) {
        return plan_err!(
            "several generators, or one that makes several columns, beside *: name the columns, or use LATERAL VIEW"
        );
    }
    for item in std::mem::take(&mut select.projection) {
        let item = match generator(&item).cloned() {
            Some(function) => lateral_view(select, function, aliases(item))?,
            None => item,
        };
        select.projection.push(item);
    }
    Ok(())
}

/// The generator that a column of the SELECT list is.
fn generator(item: &SelectItem) -> Option<&Function> {
    let (SelectItem::UnnamedExpr(Expr::Function(function))
    | SelectItem::ExprWithAlias {
        expr: Expr::Function(function),
        ..
    }
    | SelectItem::ExprWithAliases {
        expr: Expr::Function(function),
        ..
    }) = item
    else {
        return None;
    };
    let name = name_of(function);
    let base = name.strip_suffix("_outer").unwrap_or(&name);
    matches!(
        base,
        "unnest" | "explode" | "posexplode" | "inline" | "stack"
    )
    .then_some(function)
}

/// Positions beside elements are unnested in place, as two columns.
fn makes_several_columns(item: &SelectItem) -> bool {
    let Some(function) = generator(item) else {
        return false;
    };
    let name = name_of(function);
    let is_named_pair =
        matches!(item, SelectItem::ExprWithAliases { aliases, .. } if aliases.len() > 1);
    match name.strip_suffix("_outer").unwrap_or(&name) {
        "inline" | "stack" => true,
        "posexplode" => false,
        _ => is_named_pair,
    }
}

fn aliases(item: SelectItem) -> Vec<Ident> {
    match item {
        // A generator without a name has been given the one of its only column.
        SelectItem::ExprWithAlias { alias, .. } if alias.value != "col" => vec![alias],
        SelectItem::ExprWithAliases { aliases, .. } => aliases,
        _ => vec![],
    }
}

/// Adds the view; its columns.
fn lateral_view(
    select: &mut Select,
    function: Function,
    aliases: Vec<Ident>,
) -> Result<SelectItem> {
    let view = ObjectName(vec![ObjectNamePart::Identifier(Ident::new(format!(
        "__generator_{}",
        select.lateral_views.len()
    )))]);
    let function = match name_of(&function).as_str() {
        "stack" => stacked(&function)?,
        _ => Expr::Function(function),
    };
    select.lateral_views.push(LateralView {
        lateral_view: function,
        lateral_view_name: view.clone(),
        lateral_col_alias: aliases,
        outer: false,
    });
    Ok(SelectItem::QualifiedWildcard(
        SelectItemQualifiedWildcardKind::ObjectName(view),
        WildcardAdditionalOptions::default(),
    ))
}

/// `stack(2, a, b, c, d)`: as many rows as the first argument says, filled one after the other.
fn stacked(function: &Function) -> Result<Expr> {
    const FORM: &str =
        "stack() takes a number of rows and their values: write stack(2, 'a', x, 'b', y)";
    let args = crate::calls::args_of(function).unwrap_or_default();
    let Some((Expr::Value(rows), values)) = args.split_first() else {
        return plan_err!("{FORM}");
    };
    let rows: usize = match rows.value.to_string().parse() {
        Ok(rows) if (1..=values.len()).contains(&rows) => rows,
        _ => return plan_err!("{FORM}"),
    };
    let columns = values.len().div_ceil(rows);
    let row = |values: &[&Expr]| {
        let fields = (0..columns).map(|column| Expr::Named {
            expr: Box::new(
                values
                    .get(column)
                    .map_or_else(null, |value| (*value).clone()),
            ),
            name: Ident::new(format!("col{column}")),
        });
        named_struct(fields.collect())
    };
    let rows = values.chunks(columns).map(row).collect();
    Ok(call("inline", vec![call("array", rows)]))
}

fn null() -> Expr {
    Expr::value(datafusion::sql::sqlparser::ast::Value::Null)
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::{ast::SetExpr, parser::Parser};

    use super::*;
    use crate::dialect::SparkDialect;

    fn rewritten(text: &str) -> Result<String> {
        let mut parser = Parser::new(&SparkDialect).try_with_sql(text).unwrap();
        let mut query = parser.parse_query().unwrap();
        if let SetExpr::Select(select) = query.body.as_mut() {
            beside_each_other(select)?;
        }
        Ok(query.to_string())
    }

    #[test]
    fn several_generators_multiply() {
        assert_eq!(
            rewritten("SELECT k, explode(xs) AS x, explode_outer(ys) FROM t").unwrap(),
            "SELECT k, __generator_0.*, __generator_1.* FROM t \
             LATERAL VIEW explode(xs) __generator_0 AS x \
             LATERAL VIEW explode_outer(ys) __generator_1"
        );
    }

    #[test]
    fn rows_of_a_stack_are_filled_one_after_the_other() {
        assert_eq!(
            rewritten("SELECT stack(2, 1, 'a', 2) AS (n, s) FROM t").unwrap(),
            "SELECT __generator_0.* FROM t LATERAL VIEW inline(array(\
             named_struct('col0', 1, 'col1', 'a'), named_struct('col0', 2, 'col1', NULL))) __generator_0 AS n, s"
        );
        assert!(rewritten("SELECT stack(3, 1) FROM t").is_err());
    }

    #[test]
    fn one_generator_of_one_column_stays() {
        for text in [
            "SELECT explode(xs) FROM t",
            "SELECT *, posexplode(xs) FROM t",
        ] {
            assert_eq!(rewritten(text).unwrap(), text);
        }
        assert!(rewritten("SELECT *, inline(xs) FROM t").is_err());
    }
}
