//! The aggregates of DataFusion's expression functions, `sum(col("v"))`, replaced by ours of the same name.
//!
//! SQL finds ours by name; expressions carry the function itself. Sums fail on overflow in every flavour; the order of
//! doubles in `min` and `max` and the rounding of `avg` are Spark's only where Spark's functions are.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::functions_aggregate::average::Avg;
use datafusion::functions_aggregate::min_max::{Max, Min};
use datafusion::functions_aggregate::sum::Sum;
use datafusion::logical_expr::{AggregateUDF, Expr, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;

use crate::functions::aggregate::{avg_udaf, checked_sum_udaf, max_udaf, min_udaf};

/// The rule; see the module.
#[derive(Debug)]
pub struct AnsiAggregates {
    spark: bool,
}

impl AnsiAggregates {
    /// Replaces sums, and with `spark` also `min`, `max` and `avg`.
    pub fn new(spark: bool) -> Self {
        Self { spark }
    }

    fn replacement(&self, function: &AggregateUDF) -> Option<Arc<AggregateUDF>> {
        let function = function.inner();
        if function.is::<Sum>() {
            return Some(checked_sum_udaf());
        }
        if !self.spark {
            return None;
        }
        if function.is::<Avg>() {
            Some(avg_udaf())
        } else if function.is::<Max>() {
            Some(max_udaf())
        } else if function.is::<Min>() {
            Some(min_udaf())
        } else {
            None
        }
    }
}

impl AnalyzerRule for AnsiAggregates {
    fn name(&self) -> &str {
        "ansi_aggregates"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_down_with_subqueries(|node| {
            if !matches!(node, LogicalPlan::Aggregate(_)) {
                return Ok(Transformed::no(node));
            }
            // Names and types stay, so the schema does.
            node.map_expressions(|expr| {
                expr.transform_up(|expr| match expr {
                    Expr::AggregateFunction(mut call) => {
                        let replacement = self.replacement(&call.func);
                        let replaced = replacement.is_some();
                        if let Some(function) = replacement {
                            call.func = function;
                        }
                        Ok(Transformed::new_transformed(
                            Expr::AggregateFunction(call),
                            replaced,
                        ))
                    }
                    other => Ok(Transformed::no(other)),
                })
            })
        })
        .map(|t| t.data)
    }
}
