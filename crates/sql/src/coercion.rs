//! Types that meet in one CASE, list, call or UNION, as in Spark: floats and decimals as doubles, texts and others as
//! the others.
//!
//! Literals with a point are decimals in Spark (`1.5` is DECIMAL(2, 1)), so `coalesce(double_column, 0.0)` mixes the
//! two all the time; DataFusion would turn the doubles into decimals, which have no NaN and too few digits. And
//! `coalesce(number, 'none')` is a number that fails where the text is wanted; DataFusion would make all numbers texts. Runs
//! before DataFusion's type coercion. Operators are planned right from the start (`crate::expr_planner`).

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Union, cast};
use datafusion::optimizer::AnalyzerRule;

use crate::functions::scalar::is_text;

/// Functions that give one of their arguments back.
const CHOICES: [&str; 8] = [
    "coalesce", "nvl", "ifnull", "nvl2", "nullif", "greatest", "least", "if",
];

/// The rule; see the module.
#[derive(Debug, Default)]
pub struct SparkCoercion;

impl AnalyzerRule for SparkCoercion {
    fn name(&self) -> &str {
        "spark_coercion"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(|node| {
            let node = match node {
                LogicalPlan::Union(union) => unite(union)?,
                node => node,
            };
            let schema = merge_schema(&node.inputs());
            let names = NamePreserver::new(&node);
            let rewritten = node.map_expressions(|expr| {
                let name = names.save(&expr);
                let rewritten = expr.transform_up(|e| Ok(rewrite(e, &schema)))?;
                Ok(if rewritten.transformed {
                    rewritten.update_data(|e| name.restore(e))
                } else {
                    rewritten
                })
            })?;
            if !rewritten.transformed {
                return Ok(rewritten);
            }
            Ok(Transformed::yes(rewritten.data.recompute_schema()?))
        })
        .map(|t| t.data)
    }
}

fn rewrite(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    match expr {
        Expr::Case(mut case) => {
            let mut results: Vec<&mut Expr> = case
                .when_then_expr
                .iter_mut()
                .map(|(_, then)| then.as_mut())
                .collect();
            results.extend(case.else_expr.as_deref_mut());
            let changed = meet(results, schema);
            Transformed::new_transformed(Expr::Case(case), changed)
        }
        Expr::InList(mut list) => {
            let changed = meet(
                std::iter::once(list.expr.as_mut())
                    .chain(&mut list.list)
                    .collect(),
                schema,
            );
            Transformed::new_transformed(Expr::InList(list), changed)
        }
        Expr::Between(mut between) => {
            let changed = meet(
                vec![
                    between.expr.as_mut(),
                    between.low.as_mut(),
                    between.high.as_mut(),
                ],
                schema,
            );
            Transformed::new_transformed(Expr::Between(between), changed)
        }
        Expr::ScalarFunction(mut call) if CHOICES.contains(&call.func.name()) => {
            let changed = match call.func.name() {
                // Spark wants one type here, or looks at the first argument's only.
                "greatest" | "least" | "nullif" => {
                    meet_as_doubles(&mut call.args.iter_mut().collect::<Vec<_>>(), schema)
                }
                "if" | "nvl2" => meet(call.args.iter_mut().skip(1).collect(), schema),
                _ => meet(call.args.iter_mut().collect(), schema),
            };
            Transformed::new_transformed(Expr::ScalarFunction(call), changed)
        }
        other => Transformed::no(other),
    }
}

/// Casts `exprs` to what they meet as.
fn meet(mut exprs: Vec<&mut Expr>, schema: &DFSchema) -> bool {
    let by_text = meet_as_other(&mut exprs, schema);
    meet_as_doubles(&mut exprs, schema) || by_text
}

/// What has no type yet is left to the coercion, which says so.
fn type_of(expr: &Expr, schema: &DFSchema) -> DataType {
    expr.get_type(schema).unwrap_or(DataType::Null)
}

/// Casts the decimals among `exprs` to doubles if there are floats among them.
fn meet_as_doubles(exprs: &mut [&mut Expr], schema: &DFSchema) -> bool {
    if !exprs.iter().any(|e| type_of(e, schema).is_floating()) {
        return false;
    }
    let mut changed = false;
    for expr in exprs {
        if type_of(expr, schema).is_decimal() {
            **expr = cast(expr.clone(), DataType::Float64);
            changed = true;
        }
    }
    changed
}

/// Casts the texts among `exprs` to what the others are.
fn meet_as_other(exprs: &mut [&mut Expr], schema: &DFSchema) -> bool {
    let types: Vec<DataType> = exprs.iter().map(|e| type_of(e, schema)).collect();
    let Some(wanted) = other_than_text(&types) else {
        return false;
    };
    for (expr, data_type) in exprs.iter_mut().zip(types) {
        if is_text(&data_type) {
            **expr = cast(expr.clone(), wanted.clone());
        }
    }
    true
}

/// The type that texts are cast to where they meet `types`: of whole numbers the widest, of others DOUBLE. `None` if
/// there is no text, nothing else, or things of several kinds.
pub(crate) fn other_than_text(types: &[DataType]) -> Option<DataType> {
    let mut others = types
        .iter()
        .filter(|t| !is_text(t) && **t != DataType::Null);
    if !types.iter().any(is_text) {
        return None;
    }
    let first = others.next()?;
    let is_all = |is: fn(&DataType) -> bool| is(first) && others.clone().all(is);
    if is_all(DataType::is_integer) {
        Some(DataType::Int64)
    } else if is_all(DataType::is_numeric) {
        Some(DataType::Float64)
    } else if is_all(|t| {
        matches!(
            t,
            DataType::Boolean | DataType::Date32 | DataType::Timestamp(_, _)
        )
    }) && others.all(|t| t == first)
    {
        Some(first.clone())
    } else {
        None
    }
}

/// The inputs of a UNION with the texts cast to what they meet.
fn unite(union: Union) -> Result<LogicalPlan> {
    let columns = union.schema.fields().len();
    let wanted: Vec<Option<DataType>> = (0..columns)
        .map(|column| {
            let types: Option<Vec<DataType>> = union
                .inputs
                .iter()
                .map(|input| {
                    input
                        .schema()
                        .fields()
                        .get(column)
                        .map(|f| f.data_type().clone())
                })
                .collect();
            other_than_text(&types?)
        })
        .collect();
    if wanted.iter().all(Option::is_none) {
        return Ok(LogicalPlan::Union(union));
    }
    let inputs = union.inputs.into_iter().map(|input| {
        let columns = input
            .schema()
            .iter()
            .zip(&wanted)
            .map(|((relation, field), wanted)| {
                let column = Expr::Column((relation, field).into());
                match wanted {
                    Some(wanted) if is_text(field.data_type()) => cast(column, wanted.clone())
                        .alias_qualified(relation.cloned(), field.name()),
                    _ => column,
                }
            });
        let columns: Vec<Expr> = columns.collect();
        LogicalPlanBuilder::from(Arc::unwrap_or_clone(input))
            .project(columns)?
            .build()
            .map(Arc::new)
    });
    let inputs = inputs.collect::<Result<Vec<_>>>()?;
    Ok(LogicalPlan::Union(Union::try_new_with_loose_types(inputs)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_becomes_what_it_meets() {
        use DataType::{Boolean, Date32, Decimal128, Float64, Int32, Int64, Null, Utf8};
        for (types, wanted) in [
            (vec![Utf8, Int32], Some(Int64)),
            (vec![Int32, Null, Utf8, Int64], Some(Int64)),
            (vec![Utf8, Decimal128(5, 2)], Some(Float64)),
            (vec![Date32, Utf8], Some(Date32)),
            (vec![Boolean, Utf8], Some(Boolean)),
            (vec![Boolean, Utf8, Int32], None),
            (vec![Utf8, Utf8], None),
            (vec![Utf8, Null], None),
            (vec![Int32, Int64], None),
        ] {
            assert_eq!(other_than_text(&types), wanted, "{types:?}");
        }
    }
}
