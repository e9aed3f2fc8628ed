//! Aggregations over streams: which groups can end, and what may stand below.

use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan};
use headwater_core::{Error, OutputMode, Result};

use super::{chain::check_above_aggregation, internal};
use crate::{
    streaming_plan::PlanSettings,
    time_column::{grouping_columns, time_marks},
};

pub(super) fn check_aggregate(aggregate: &Aggregate, settings: &PlanSettings) -> Result<()> {
    check_above_aggregation("an aggregation", &aggregate.input, settings.mode)?;
    if settings.strict_spark {
        for expr in &aggregate.aggr_expr {
            if let Some(name) = distinct_name(expr) {
                return Err(Error::invalid(format!(
                    "{name} is refused because Spark 4.3 refuses DISTINCT aggregates over streams: use \
                     approx_count_distinct, or turn strict Spark compatibility off",
                )));
            }
        }
    }
    if settings.mode != OutputMode::Append {
        return Ok(());
    }
    let keys: Vec<_> = aggregate
        .group_expr
        .iter()
        .flat_map(grouping_columns)
        .collect();
    let marks = time_marks(&LogicalPlan::Aggregate(aggregate.clone())).map_err(internal)?;
    let expires = marks.iter().take(keys.len()).any(Option::is_some);
    let sets = aggregate
        .group_expr
        .iter()
        .any(|group| matches!(group, Expr::GroupingSet(_)));
    // Spark keeps the groups without a window for ever, and never gives them out.
    if expires && (!sets || settings.strict_spark) {
        Ok(())
    } else if sets && expires {
        Err(Error::invalid(
            "GROUPING SETS, ROLLUP and CUBE leave the window out of some groups, which then never end: use update or \
             complete mode",
        ))
    } else {
        Err(Error::invalid(
            "append mode gives a group out once, when no more rows can come for it, but these groups never end: group \
             by window(time, '…') over a column with a watermark, or use update or complete mode",
        ))
    }
}

fn distinct_name(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Alias(alias) => distinct_name(&alias.expr),
        Expr::AggregateFunction(function) if function.params.distinct => {
            Some(format!("{}(DISTINCT …)", function.func.name()))
        }
        _ => None,
    }
}
