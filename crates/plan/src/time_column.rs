//! Which columns of a plan carry event time, and in what form.
//!
//! Renaming a column keeps its mark, computing on it loses it: a query that groups by `date_trunc('minute', ts)` has
//! no event time any more. A union takes the marks of its first input.

use datafusion::{
    common::{Result, tree_node::TreeNode},
    logical_expr::{Expr, JoinType, LogicalPlan, expr::ScalarFunction},
};
use headwater_core::Delay;
use headwater_sql::{WINDOW_END_FUNCTION, WINDOW_START_FUNCTION};

use crate::{
    nodes::{
        as_of_join::AsOfJoinNode, dedup::DedupNode, epoch_time::EpochTimeNode,
        late_filter::LateFilterNode, limit::StreamLimitNode, processor::ProcessorNode,
        session_aggregate::SessionAggregateNode, stateful_aggregate::StatefulAggregateNode,
        stream_join::StreamJoinNode, watermark::WatermarkNode, windows::AssignWindowsNode,
    },
    session_udf::{end_of_struct, row_time},
    window_expr::rebuilt_window,
};

/// How a column carries event time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimeForm {
    /// The event time itself.
    Time,
    /// Start of a window of this length in microseconds.
    WindowStart(i64),
    /// End of a session.
    SessionEnd,
    /// A window or session `{start, end}`; the length in microseconds of windows.
    Window(Option<i64>),
}

/// The mark of an event-time column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimeMark {
    pub(crate) form: TimeForm,
    /// Delay of the watermark it comes from.
    pub(crate) delay: Delay,
}

impl TimeMark {
    /// How far behind the column's value a row expires; behind the end, if the value is a window.
    pub(crate) fn extra_micros(&self) -> i64 {
        match self.form {
            TimeForm::Time | TimeForm::SessionEnd | TimeForm::Window(_) => 0,
            TimeForm::WindowStart(size) => size,
        }
    }
}

/// The mark of each output column of `plan`.
pub(crate) fn time_marks(plan: &LogicalPlan) -> Result<Vec<Option<TimeMark>>> {
    let marks = match plan {
        LogicalPlan::Projection(projection) => {
            let input = time_marks(&projection.input)?;
            projection
                .expr
                .iter()
                .map(|expr| expression_mark(expr, &projection.input, &input))
                .collect::<Result<_>>()?
        }
        LogicalPlan::Aggregate(aggregate) => {
            let input = time_marks(&aggregate.input)?;
            let mut marks = Vec::new();
            for group in aggregate.group_expr.iter().flat_map(grouping_columns) {
                marks.push(expression_mark(group, &aggregate.input, &input)?);
            }
            marks
        }
        LogicalPlan::Extension(extension) => {
            let node = extension.node.as_any();
            if let Some(watermark) = node.downcast_ref::<WatermarkNode>() {
                let mut marks = time_marks(&watermark.input)?;
                let index = watermark
                    .input
                    .schema()
                    .index_of_column(&watermark.column)?;
                marks.resize(watermark.input.schema().fields().len(), None);
                marks[index] = Some(TimeMark {
                    form: TimeForm::Time,
                    delay: watermark.delay,
                });
                marks
            } else if let Some(windows) = node.downcast_ref::<AssignWindowsNode>() {
                let mut marks = time_marks(&windows.input)?;
                let time = windows.input.schema().index_of_column(&windows.time)?;
                let start = marks.get(time).copied().flatten().map(|mark| TimeMark {
                    form: TimeForm::WindowStart(windows.windows.size_micros),
                    ..mark
                });
                marks.push(start);
                marks
            } else if let Some(aggregate) = node.downcast_ref::<StatefulAggregateNode>() {
                time_marks(&aggregate.input)?
            } else if let Some(aggregate) = node.downcast_ref::<SessionAggregateNode>() {
                time_marks(&aggregate.input)?
            } else if let Some(limit) = node.downcast_ref::<StreamLimitNode>() {
                time_marks(&limit.input)?
            } else if let Some(dedup) = node.downcast_ref::<DedupNode>() {
                time_marks(&dedup.input)?
            } else if let Some(filter) = node.downcast_ref::<LateFilterNode>() {
                time_marks(&filter.input)?
            } else if let Some(join) = node.downcast_ref::<StreamJoinNode>() {
                joined_marks(&join.left, &join.right, join.join_type)?
            } else if let Some(join) = node.downcast_ref::<AsOfJoinNode>() {
                joined_marks(&join.left, &join.right, join.as_of.join_type)?
            } else if let Some(processor) = node.downcast_ref::<ProcessorNode>() {
                processor_marks(processor)?
            } else if let Some(time) = node.downcast_ref::<EpochTimeNode>() {
                time_marks(&time.input)?
            } else {
                Vec::new()
            }
        }
        LogicalPlan::Filter(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Distinct(_)
        | LogicalPlan::Repartition(_) => time_marks(plan.inputs()[0])?,
        LogicalPlan::Union(union) => time_marks(&union.inputs[0])?,
        LogicalPlan::Join(join) => joined_marks(&join.left, &join.right, join.join_type)?,
        LogicalPlan::Unnest(unnest) => {
            let input = time_marks(&unnest.input)?;
            unnest
                .dependency_indices
                .iter()
                .enumerate()
                .map(|(output, index)| {
                    let same = unnest.schema.field(output).data_type()
                        == unnest.input.schema().field(*index).data_type();
                    input.get(*index).copied().flatten().filter(|_| same)
                })
                .collect()
        }
        _ => Vec::new(),
    };
    let mut marks = marks;
    marks.resize(plan.schema().fields().len(), None);
    Ok(marks)
}

/// Only the column that the processor declares to carry event time does, by the watermark below.
fn processor_marks(processor: &ProcessorNode) -> Result<Vec<Option<TimeMark>>> {
    let below = time_marks(&processor.input)?.into_iter().flatten().next();
    let fields = processor.spec.output.fields().iter();
    Ok(fields
        .map(|field| {
            let mark = below.filter(|_| processor.call.event_time.as_ref() == Some(field.name()));
            mark.map(|mark| TimeMark {
                form: TimeForm::Time,
                ..mark
            })
        })
        .collect())
}

fn joined_marks(
    left: &LogicalPlan,
    right: &LogicalPlan,
    join_type: JoinType,
) -> Result<Vec<Option<TimeMark>>> {
    match join_type {
        JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => time_marks(left),
        JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => time_marks(right),
        _ => {
            let mut marks = time_marks(left)?;
            marks.extend(time_marks(right)?);
            Ok(marks)
        }
    }
}

/// The single expressions of a grouping, grouping sets taken apart.
pub(crate) fn grouping_columns(group: &Expr) -> Vec<&Expr> {
    match group {
        Expr::GroupingSet(sets) => sets.distinct_expr(),
        other => vec![other],
    }
}

fn expression_mark(
    expr: &Expr,
    input: &LogicalPlan,
    marks: &[Option<TimeMark>],
) -> Result<Option<TimeMark>> {
    let of_column = |column| -> Result<Option<TimeMark>> {
        let index = input.schema().index_of_column(column)?;
        Ok(marks.get(index).copied().flatten())
    };
    match expr {
        Expr::Alias(alias) => expression_mark(&alias.expr, input, marks),
        Expr::Column(column) => of_column(column),
        Expr::ScalarFunction(function) => {
            if let Some(start) = rebuilt_window(expr) {
                return Ok(of_column(start)?.map(|mark| TimeMark {
                    form: TimeForm::Window(match mark.form {
                        TimeForm::WindowStart(size) => Some(size),
                        _ => None,
                    }),
                    ..mark
                }));
            }
            if let Some(edge) = window_edge(function) {
                let mark = match rebuilt_window(edge) {
                    Some(start) => of_column(start)?,
                    None => None,
                };
                let is_start = function.func.name() == WINDOW_START_FUNCTION;
                return Ok(mark.map(|mark| TimeMark {
                    // A window ends at an event time of its own.
                    form: if is_start { mark.form } else { TimeForm::Time },
                    ..mark
                }));
            }
            let of_session = |part: Option<&Expr>, from: TimeForm, form: TimeForm| match part {
                Some(part) => expression_mark(part, input, marks).map(|mark| {
                    mark.filter(|mark| mark.form == from)
                        .map(|mark| TimeMark { form, ..mark })
                }),
                None => Ok(None),
            };
            if let time @ Some(_) = row_time(expr) {
                return of_session(time, TimeForm::Time, TimeForm::SessionEnd);
            }
            if let end @ Some(_) = end_of_struct(expr) {
                return of_session(end, TimeForm::SessionEnd, TimeForm::Window(None));
            }
            let argument = match (function.func.name(), function.args.as_slice()) {
                ("window_time", [Expr::Column(column)]) => of_column(column)?,
                ("window_time", [nested]) => expression_mark(nested, input, marks)?,
                _ => None,
            };
            Ok(argument
                .filter(|mark| matches!(mark.form, TimeForm::Window(_)))
                .map(|mark| TimeMark {
                    form: TimeForm::Time,
                    ..mark
                }))
        }
        _ => Ok(None),
    }
}

/// The window whose start or end the windowing functions of SQL give out.
fn window_edge(function: &ScalarFunction) -> Option<&Expr> {
    let name = function.func.name();
    let is_edge = name == WINDOW_START_FUNCTION || name == WINDOW_END_FUNCTION;
    match function.args.as_slice() {
        [window] if is_edge => Some(window),
        _ => None,
    }
}

/// Whether there is a watermark anywhere in `plan`.
pub(crate) fn has_watermark(plan: &LogicalPlan) -> bool {
    plan.exists(|node| {
        Ok(matches!(node, LogicalPlan::Extension(extension)
            if extension.node.as_any().is::<WatermarkNode>()))
    })
    .unwrap_or(false)
}
