//! Turns an analysed plan into one whose streaming parts are nodes of ours, with stable ids.
//!
//! An operator's id is made of its kind, of how many stateful operators stand between it and the sink, and of the
//! branches on the way where streams come together: adding a filter, a column or a join with a table changes no id.

mod aggregate;
mod below;
mod dedup;
mod join;
mod late;
mod limit;
mod normal_keys;
mod processor;
mod session;
mod sources;

use std::{collections::BTreeMap, sync::Arc};

use datafusion::{
    common::{
        Result,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{Aggregate, Distinct, Expr, Extension, Join, JoinType, LogicalPlan},
};
use headwater_core::{Delay, OutputMode};

use crate::{
    join::is_stream_join,
    late_schema::LateInput,
    nodes::{
        dedup::DedupNode, processor::ProcessorNode, session_aggregate::SessionAggregateNode,
        watermark::WatermarkNode,
    },
    stream_table::{reads_stream, sources_of},
    streaming_plan::{OperatorInfo, PlanSettings, WatermarkNodeInfo},
};

pub(crate) use below::pushed_filters;
pub(crate) use join::add_stored_columns;
pub(crate) use sources::number_sources;

/// What the rewrite found out.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) operators: Vec<OperatorInfo>,
    pub(crate) watermarks: Vec<WatermarkNodeInfo>,
    /// What late rows are recorded of, if they are.
    pub(crate) late: Vec<LateInput>,
    /// Conditions on the rows of each aggregation, by its id.
    pub(crate) filters: BTreeMap<String, Vec<String>>,
}

/// Replaces aggregations, DISTINCT and LIMIT over streams by stateful nodes, and names those and watermarks.
///
/// With late rows wanted, the columns of every row that may be late are kept, to be recorded.
pub(crate) fn make_stateful(
    plan: LogicalPlan,
    settings: &PlanSettings,
) -> Result<(LogicalPlan, Found)> {
    let mut rewriter = Rewriter {
        mode: settings.mode,
        late_rows: settings.late_rows,
        strict_spark: settings.strict_spark,
        found: Found::default(),
    };
    let plan = rewriter.rewrite(plan, &Place::default())?;
    Ok((plan, rewriter.found))
}

/// Where a node stands.
#[derive(Debug, Clone, Default)]
struct Place {
    /// Stateful operators between here and the sink.
    depth: usize,
    /// Branches taken, for instance `.1` for the second input of a union.
    branch: String,
}

impl Place {
    fn id(&self, kind: &str) -> String {
        format!("{kind}-{}{}", self.depth, self.branch)
    }

    fn below_stateful(&self) -> Self {
        Self {
            depth: self.depth + 1,
            branch: self.branch.clone(),
        }
    }

    fn branch(&self, number: usize) -> Self {
        Self {
            depth: self.depth,
            branch: format!("{}.{number}", self.branch),
        }
    }
}

struct Rewriter {
    mode: OutputMode,
    late_rows: bool,
    strict_spark: bool,
    found: Found,
}

impl Rewriter {
    fn rewrite(&mut self, plan: LogicalPlan, place: &Place) -> Result<LogicalPlan> {
        if !reads_stream(&plan) {
            return Ok(plan);
        }
        match plan {
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate, place),
            LogicalPlan::Distinct(Distinct::All(input)) => {
                let columns = input
                    .schema()
                    .columns()
                    .into_iter()
                    .map(Expr::Column)
                    .collect();
                self.aggregate(Aggregate::try_new(input, columns, Vec::new())?, place)
            }
            LogicalPlan::Limit(limit) => self.limit(limit, place),
            LogicalPlan::Join(join) if is_stream_join(&join) => self.stream_join(join, place),
            LogicalPlan::Join(join) => match below_distinct(join)? {
                Ok(distinct) => self.rewrite(distinct, place),
                Err(join) => self.children(LogicalPlan::Join(join), place),
            },
            LogicalPlan::Extension(extension) => {
                let node = extension.node.as_any();
                if let Some(dedup) = node.downcast_ref::<DedupNode>() {
                    return self.dedup(dedup, place);
                }
                if let Some(processor) = node.downcast_ref::<ProcessorNode>() {
                    return self.processor(processor, place);
                }
                if let Some(sessions) = node.downcast_ref::<SessionAggregateNode>() {
                    return self.sessions(sessions.clone(), place);
                }
                let Some(watermark) = extension.node.as_any().downcast_ref::<WatermarkNode>()
                else {
                    return self.children(LogicalPlan::Extension(extension), place);
                };
                let named = WatermarkNode {
                    id: place.id("watermark"),
                    ..watermark.clone()
                };
                self.found.watermarks.push(WatermarkNodeInfo {
                    id: named.id.clone(),
                    delay: Delay(named.delay.0),
                    column: named.column.name.clone(),
                    sources: sources_of(&named.input),
                });
                self.children(
                    LogicalPlan::Extension(Extension {
                        node: Arc::new(named),
                    }),
                    place,
                )
            }
            other => self.children(other, place),
        }
    }

    fn children(&mut self, plan: LogicalPlan, place: &Place) -> Result<LogicalPlan> {
        let several = plan.inputs().iter().filter(|i| reads_stream(i)).count() > 1;
        let mut number = 0;
        let rewritten = plan.map_children(|child| {
            let place = if several {
                place.branch(number)
            } else {
                place.clone()
            };
            number += 1;
            self.rewrite(child, &place).map(Transformed::yes)
        })?;
        rewritten.data.recompute_schema()
    }
}

/// `DISTINCT stream EXCEPT table` (and the like with a semi join) as `DISTINCT (stream EXCEPT table)`: the same rows,
/// and the state keeps only those. The join itself if it is of another kind.
fn below_distinct(join: Join) -> Result<Result<LogicalPlan, Join>> {
    if !matches!(join.join_type, JoinType::LeftAnti | JoinType::LeftSemi) {
        return Ok(Err(join));
    }
    let input = match join.left.as_ref() {
        LogicalPlan::Distinct(Distinct::All(input)) => Arc::clone(input),
        _ => return Ok(Err(join)),
    };
    let below = LogicalPlan::Join(Join {
        left: input,
        ..join
    })
    .recompute_schema()?;
    Ok(Ok(LogicalPlan::Distinct(Distinct::All(Arc::new(below)))))
}
