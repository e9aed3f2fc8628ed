//! What cannot run over a stream in the wanted output mode, and what to write instead.
//!
//! Works on the analysed plan, before anything is optimised, so that an upgrade of the optimiser changes no answer.

use datafusion::{
    common::{
        JoinType, NullEquality,
        tree_node::{TreeNode, TreeNodeRecursion},
    },
    logical_expr::{Aggregate, Distinct, Expr, Join, Limit, LogicalPlan},
};
use headwater_core::{Error, OutputMode, Result};

use crate::{
    nodes::watermark::WatermarkNode,
    stream_table::{is_streaming, reads_stream},
    streaming_plan::PlanSettings,
    time_column::{grouping_columns, has_watermark, time_marks},
};

/// Refuses what cannot run.
pub(crate) fn check(plan: &LogicalPlan, settings: &PlanSettings) -> Result<()> {
    if !reads_stream(plan) {
        return Err(Error::invalid(
            "the query reads no stream, so it has a batch answer: collect it instead of starting a streaming query",
        ));
    }
    check_mode(plan, settings.mode)?;
    let mut refusal = Ok(());
    plan.apply(|node| {
        refusal = check_node(node, settings);
        Ok(if refusal.is_err() {
            TreeNodeRecursion::Stop
        } else {
            TreeNodeRecursion::Continue
        })
    })
    .map_err(|error| Error::internal("walking the plan failed").with_source(error))?;
    refusal
}

/// Whether an aggregation over a stream stands in `plan`.
pub(crate) fn aggregates_stream(plan: &LogicalPlan) -> bool {
    plan.exists(|node| {
        Ok(
            matches!(node, LogicalPlan::Aggregate(_) | LogicalPlan::Distinct(_))
                && reads_stream(node),
        )
    })
    .unwrap_or(false)
}

fn check_mode(plan: &LogicalPlan, mode: OutputMode) -> Result<()> {
    if mode == OutputMode::Complete && !aggregates_stream(plan) {
        return Err(Error::invalid(
            "complete mode gives out the whole result each time, which without an aggregation would be the whole \
             stream: use append mode",
        ));
    }
    Ok(())
}

fn check_node(node: &LogicalPlan, settings: &PlanSettings) -> Result<()> {
    check_subqueries(node)?;
    if !reads_stream(node) {
        return Ok(());
    }
    match node {
        LogicalPlan::Aggregate(aggregate) => check_aggregate(aggregate, settings),
        LogicalPlan::Distinct(Distinct::All(input)) => {
            check_above_aggregation(input)?;
            if settings.mode == OutputMode::Append
                && time_marks(node)
                    .map_err(internal)?
                    .iter()
                    .flatten()
                    .all(|mark| mark.extra_micros().is_none())
            {
                return Err(Error::invalid(
                    "SELECT DISTINCT is an aggregation over all its columns and gives rows out in append mode only \
                     when the watermark has passed them: add the event-time column and a watermark, or use update mode",
                ));
            }
            Ok(())
        }
        LogicalPlan::Distinct(Distinct::On(_)) => Err(Error::invalid(
            "DISTINCT ON needs an order over the whole stream: use first_value(… ORDER BY …) with GROUP BY",
        )),
        LogicalPlan::Sort(_) => {
            if settings.mode == OutputMode::Complete && aggregates_stream(node) {
                Ok(())
            } else {
                Err(Error::invalid(format!(
                    "ORDER BY over a stream is possible only above an aggregation in complete mode, not in {} mode: \
                     sort where the result is read",
                    settings.mode
                )))
            }
        }
        LogicalPlan::Limit(limit) => check_limit(limit, settings),
        LogicalPlan::Window(_) => Err(Error::invalid(
            "window functions with OVER need the whole stream: group by window(time, '…') instead, or use max_by / \
             first_value with GROUP BY",
        )),
        LogicalPlan::Union(union) => {
            if union.inputs.iter().all(|input| reads_stream(input)) {
                Ok(())
            } else {
                Err(Error::invalid(
                    "UNION of a stream and a table would give out the table's rows in every epoch: write them to the \
                     sink once, beforehand",
                ))
            }
        }
        LogicalPlan::Join(join) => check_join(join, settings),
        LogicalPlan::Extension(extension) => {
            match extension.node.as_any().downcast_ref::<WatermarkNode>() {
                Some(watermark) if has_watermark(&watermark.input) => Err(Error::invalid(format!(
                    "there is already a watermark below the one on '{}': keep one of them",
                    watermark.column.name
                ))),
                _ => Ok(()),
            }
        }
        LogicalPlan::RecursiveQuery(_) => Err(Error::invalid(
            "a recursive query over a stream never ends: it is not supported",
        )),
        LogicalPlan::Dml(_)
        | LogicalPlan::Ddl(_)
        | LogicalPlan::Copy(_)
        | LogicalPlan::Explain(_)
        | LogicalPlan::Analyze(_)
        | LogicalPlan::Statement(_) => Err(Error::invalid(format!(
            "{} is no query over a stream: start a SELECT with write_stream()",
            node.display()
        ))),
        _ => Ok(()),
    }
}

fn internal(error: datafusion::error::DataFusionError) -> Error {
    Error::internal("the event-time columns of the plan could not be found").with_source(error)
}

fn check_subqueries(node: &LogicalPlan) -> Result<()> {
    let mut refusal = Ok(());
    node.apply_subqueries(|subquery| {
        if is_streaming(subquery) {
            refusal = Err(Error::invalid(
                "a subquery inside an expression (IN, EXISTS or a scalar) cannot read a stream: write it as a join",
            ));
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .map_err(internal)?;
    refusal
}

fn check_aggregate(aggregate: &Aggregate, settings: &PlanSettings) -> Result<()> {
    check_above_aggregation(&aggregate.input)?;
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
    let expires = marks
        .iter()
        .take(keys.len())
        .flatten()
        .any(|mark| mark.extra_micros().is_some());
    let sets = aggregate
        .group_expr
        .iter()
        .any(|group| matches!(group, Expr::GroupingSet(_)));
    if expires && !sets {
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

fn check_above_aggregation(input: &LogicalPlan) -> Result<()> {
    if aggregates_stream(input) {
        Err(Error::invalid(
            "an aggregation over another aggregation of a stream is not supported yet: write the inner result to a \
             table and read that as a stream",
        ))
    } else {
        Ok(())
    }
}

fn check_limit(limit: &Limit, settings: &PlanSettings) -> Result<()> {
    let whole = settings.mode == OutputMode::Complete && aggregates_stream(&limit.input);
    let skips = limit
        .skip
        .as_deref()
        .is_some_and(|skip| !matches!(skip, Expr::Literal(value, _) if is_zero(value)));
    if skips {
        return Err(Error::invalid(
            "OFFSET over a stream is not supported: leave the rows out where the result is read",
        ));
    }
    if settings.mode == OutputMode::Update {
        return Err(Error::invalid(
            "LIMIT is not possible in update mode, where a row may be given out again: use append or complete mode",
        ));
    }
    if whole || !aggregates_stream(&limit.input) {
        Ok(())
    } else {
        Err(Error::invalid(
            "LIMIT above an aggregation needs complete mode: in append mode the first groups to end are no ranking",
        ))
    }
}

fn is_zero(value: &datafusion::common::ScalarValue) -> bool {
    value.is_null() || value.to_string() == "0"
}

fn check_join(join: &Join, settings: &PlanSettings) -> Result<()> {
    let (left, right) = (reads_stream(&join.left), reads_stream(&join.right));
    if left && right {
        if matches!(join.join_type, JoinType::LeftAnti | JoinType::RightAnti) {
            return Err(Error::invalid(
                "an anti join (EXCEPT, NOT EXISTS) of two streams gives out rows without a match, but any later row may \
                 be that match: put a table on the right",
            ));
        }
        return Err(Error::invalid(
            "a join of two streams is not supported yet: join a stream with a table",
        ));
    }
    let kept = match join.join_type {
        JoinType::Inner => true,
        JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => left,
        JoinType::Right | JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => right,
        JoinType::Full => false,
    };
    if !kept {
        return Err(Error::invalid(format!(
            "a {} join keeps rows of the table that no row of the stream has matched so far, and any later row may \
             match: put the stream on the kept side",
            join.join_type
        )));
    }
    if settings.strict_spark
        && join.null_equality == NullEquality::NullEqualsNull
        && matches!(join.join_type, JoinType::LeftSemi | JoinType::RightSemi)
    {
        return Err(Error::invalid(
            "INTERSECT with a stream is refused because Spark 4.3 refuses it: write a semi join, or turn strict Spark \
             compatibility off",
        ));
    }
    Ok(())
}
