//! Floats and decimals in one CASE, list or call meet as doubles, as in Spark.
//!
//! Literals with a point are decimals in Spark (`1.5` is DECIMAL(2, 1)), so `coalesce(double_column, 0.0)` mixes the
//! two all the time; DataFusion would turn the doubles into decimals, which have no NaN and too few digits. Runs
//! before DataFusion's type coercion. Operators are planned right from the start (`crate::expr_planner`).

use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, cast};
use datafusion::optimizer::AnalyzerRule;

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
            let changed = meet(call.args.iter_mut().collect(), schema);
            Transformed::new_transformed(Expr::ScalarFunction(call), changed)
        }
        other => Transformed::no(other),
    }
}

/// Casts the decimals among `exprs` to doubles if there are floats among them.
fn meet(exprs: Vec<&mut Expr>, schema: &DFSchema) -> bool {
    // What has no type yet is left to the coercion, which says so.
    let data_type = |e: &Expr| e.get_type(schema).unwrap_or(DataType::Null);
    if !exprs.iter().any(|e| data_type(e).is_floating()) {
        return false;
    }
    let mut changed = false;
    for expr in exprs {
        if data_type(expr).is_decimal() {
            *expr = cast(expr.clone(), DataType::Float64);
            changed = true;
        }
    }
    changed
}
