//! Replaces `session_window(time, gap)` among group keys.
//!
//! Each row gets the interval that it opens, from its time to its time plus its gap, as two columns; rows without one
//! are left out. Over a table, ordinary window functions then find where sessions begin. Over a stream the aggregation
//! groups by the two columns and is wrapped into a node whose operators merge intervals that meet. The struct that
//! users see is rebuilt above.

use std::sync::Arc;

use datafusion::{
    arrow::datatypes::DataType,
    common::{
        DFSchemaRef, Result,
        tree_node::{Transformed, TreeNode},
    },
    functions_aggregate::min_max::{max, max_udaf},
    logical_expr::{
        Aggregate, Case, Expr, ExprFunctionExt, ExprSchemable, Extension, LogicalPlan,
        LogicalPlanBuilder, Projection, WindowFrame, WindowFrameBound, WindowFrameUnits,
        expr::WindowFunction,
    },
    prelude::{Column, lit},
    scalar::ScalarValue,
};
use headwater_sql::{constant_micros, window_time_udf};

use crate::{
    nodes::session_aggregate::SessionAggregateNode,
    session_udf::{session_end, session_struct},
    stream_table::reads_stream,
};

/// The interval that a row opens, as columns.
struct RowInterval {
    start: Column,
    end: Column,
}

/// A call of `session_window(time, gap)` that is a group key.
struct SessionCall {
    /// Its place among the keys.
    key: usize,
    call: Expr,
    time: Expr,
    gap: Expr,
}

impl SessionCall {
    /// The gap in microseconds if it is the same for all rows.
    fn fixed_gap(&self) -> Result<Option<i64>> {
        match unaliased(&self.gap) {
            Expr::Literal(gap, _) => constant_micros(gap),
            _ => Ok(None),
        }
    }
}

fn unaliased(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unaliased(&alias.expr),
        other => other,
    }
}

fn is_session(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(call) if call.func.name() == "session_window")
}

fn mentions(expr: &Expr, name: &str) -> bool {
    expr.exists(|node| Ok(matches!(node, Expr::ScalarFunction(call) if call.func.name() == name)))
        .unwrap_or(false)
}

/// Refuses a node that calls `session_window` anywhere but as a group key.
pub(crate) fn refuse_misplaced(node: &LogicalPlan) -> Result<()> {
    let exprs = match node {
        LogicalPlan::Aggregate(aggregate) => aggregate.aggr_expr.clone(),
        other => other.expressions(),
    };
    match exprs.iter().find(|expr| mentions(expr, "session_window")) {
        None => Ok(()),
        Some(expr) => datafusion::common::plan_err!(
            "session_window() depends on other rows and can only be a key to group by, found it in '{expr}': write \
             GROUP BY session_window(time, gap), key"
        ),
    }
}

/// The session among group keys, if there is one.
fn session_call(groups: &[Expr]) -> Result<Option<SessionCall>> {
    let mut found: Option<SessionCall> = None;
    for (key, group) in groups.iter().enumerate() {
        if !mentions(group, "session_window") {
            continue;
        }
        let Expr::ScalarFunction(call) = unaliased(group) else {
            return datafusion::common::plan_err!(
                "session_window() must be a key of its own, found '{group}': group by session_window(time, gap) and \
                 take its parts in the SELECT list"
            );
        };
        let ([time, gap], true) = (call.args.as_slice(), is_session(unaliased(group))) else {
            return datafusion::common::plan_err!(
                "session_window() must be a key of its own, found '{group}'"
            );
        };
        if found.is_some() {
            return datafusion::common::plan_err!(
                "several session_window() keys in one GROUP BY have no meaning: compute one of them in a subquery"
            );
        }
        found = Some(SessionCall {
            key,
            call: group.clone(),
            time: time.clone(),
            gap: gap.clone(),
        });
    }
    if found.is_some() && groups.iter().any(|group| mentions(group, "window")) {
        return datafusion::common::plan_err!(
            "window() and session_window() in one GROUP BY multiply rows: compute one of them in a subquery"
        );
    }
    Ok(found)
}

/// Replaces `session_window` among the keys of an aggregation.
pub(crate) fn group_sessions(
    aggregate: Aggregate,
    made: &mut usize,
) -> Result<Transformed<LogicalPlan>> {
    let Some(call) = session_call(&aggregate.group_expr)? else {
        return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
    };
    let number = *made;
    *made += 1;
    let before = Arc::clone(&aggregate.schema);
    let mut keys = aggregate.group_expr;
    keys.remove(call.key);
    let over_stream = reads_stream(&aggregate.input);
    let input = Arc::unwrap_or_clone(aggregate.input);
    let window_type = call.call.get_type(input.schema())?;
    let (input, row) = with_row_intervals(input, &call, number)?;
    let key_count = keys.len();
    let (grouped, start, end) = if over_stream {
        let mut groups = keys;
        groups.extend([row.start, row.end].map(Expr::Column));
        let grouped = Aggregate::try_new(Arc::new(input), groups, aggregate.aggr_expr)?;
        let node = SessionAggregateNode::new(grouped, call.fixed_gap()?);
        let node = LogicalPlan::Extension(Extension {
            node: Arc::new(node),
        });
        (node, key_count, key_count + 1)
    } else {
        let (input, start) = with_session_start(input, &keys, &row, number)?;
        let mut groups = keys;
        groups.push(Expr::Column(start));
        let mut aggregates = aggregate.aggr_expr;
        aggregates.push(max(Expr::Column(row.end)).alias(format!("__session_last_{number}")));
        let last = groups.len() + aggregates.len() - 1;
        let grouped = Aggregate::try_new(Arc::new(input), groups, aggregates)?;
        (LogicalPlan::Aggregate(grouped), key_count, last)
    };
    let columns = grouped.schema().columns();
    let window = session_struct(
        Expr::Column(columns[start].clone()),
        Expr::Column(columns[end].clone()),
        window_type,
    );
    // What was there before: the keys with the session at its place, then the aggregates.
    let mut rest = columns
        .into_iter()
        .enumerate()
        .filter(|(column, _)| *column != start && *column != end)
        .map(|(_, column)| Expr::Column(column));
    let restored = restored(&before, call.key, window, &mut rest);
    Ok(Transformed::yes(LogicalPlan::Projection(
        Projection::try_new(restored, Arc::new(grouped))?,
    )))
}

/// The columns of `before`: the window at its place, the others in their order.
fn restored(
    before: &DFSchemaRef,
    key: usize,
    window: Expr,
    rest: &mut impl Iterator<Item = Expr>,
) -> Vec<Expr> {
    let mut columns = Vec::with_capacity(before.fields().len());
    for (index, (qualifier, field)) in before.iter().enumerate() {
        if index == key {
            let window = window.clone();
            columns.push(window.alias_qualified(qualifier.cloned(), field.name()));
        } else {
            columns.extend(rest.next());
        }
    }
    columns
}

/// Appends the start and the end of the interval that each row opens; rows that open none are left out.
fn with_row_intervals(
    input: LogicalPlan,
    call: &SessionCall,
    number: usize,
) -> Result<(LogicalPlan, RowInterval)> {
    let row = RowInterval {
        start: Column::from_name(format!("__session_start_{number}")),
        end: Column::from_name(format!("__session_end_{number}")),
    };
    let mut columns: Vec<Expr> = input
        .schema()
        .columns()
        .into_iter()
        .map(Expr::Column)
        .collect();
    // A window given as the time counts with its last instant.
    let time = match call.time.get_type(input.schema())? {
        DataType::Struct(_) => window_time_udf().call(vec![call.time.clone()]),
        _ => call.time.clone(),
    };
    let end = session_end(time.clone(), call.gap.clone());
    columns.push(time.alias(&row.start.name));
    columns.push(end.alias(&row.end.name));
    let opens = Expr::Column(row.end.clone()).is_not_null();
    let plan = LogicalPlanBuilder::from(input)
        .project(columns)?
        .filter(opens)?
        .build()?;
    Ok((plan, row))
}

/// Appends the start of the session that each row of a table is part of.
///
/// A row begins a session if no row before it, in order of start, ends at its start or later. Rows of equal start are
/// peers in the second window function, so that it does not matter which of them comes first.
fn with_session_start(
    input: LogicalPlan,
    keys: &[Expr],
    row: &RowInterval,
    number: usize,
) -> Result<(LogicalPlan, Column)> {
    let keys: Vec<Expr> = keys.iter().map(|key| key.clone().unalias()).collect();
    let start = Expr::Column(row.start.clone());
    let over = |value: Expr, frame: WindowFrame, name: &str| {
        Expr::from(WindowFunction::new(max_udaf(), vec![value]))
            .partition_by(keys.clone())
            .order_by(vec![start.clone().sort(true, false)])
            .window_frame(frame)
            .build()
            .map(|expr| expr.alias(name))
    };
    let before_name = format!("__session_before_{number}");
    let before = over(
        Expr::Column(row.end.clone()),
        WindowFrame::new_bounds(
            WindowFrameUnits::Rows,
            WindowFrameBound::Preceding(ScalarValue::UInt64(None)),
            WindowFrameBound::Preceding(ScalarValue::UInt64(Some(1))),
        ),
        &before_name,
    )?;
    let before_column = Expr::Column(Column::from_name(&before_name));
    let start_type = start.get_type(input.schema())?;
    let begins = Expr::Case(Case::new(
        None,
        vec![(
            Box::new(start.clone().lt_eq(before_column)),
            Box::new(lit(ScalarValue::try_from(&start_type)?)),
        )],
        Some(Box::new(start.clone())),
    ));
    let name = format!("__session_first_{number}");
    // From the first row to the last peer of the present one.
    let first = over(begins, WindowFrame::new(Some(false)), &name)?;
    let plan = LogicalPlanBuilder::from(input)
        .window(vec![before])?
        .window(vec![first])?
        .build()?;
    Ok((plan, Column::from_name(name)))
}
