//! Replaces calls of `window(…)` by an assignment of rows to windows and a column; `session_window` is left to
//! [`crate::session_expr`].
//!
//! A row can belong to several windows, so `window(…)` is no scalar function: it becomes a node that appends the start
//! of the window. Grouping then works on the start alone, one number instead of a struct; the struct that users see
//! is rebuilt above.

use std::{
    any::Any,
    hash::{Hash, Hasher},
    sync::Arc,
};

use datafusion::{
    arrow::{
        array::{Array, AsArray, PrimitiveArray, StructArray},
        datatypes::{
            DataType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
            TimestampNanosecondType, TimestampSecondType,
        },
    },
    common::{
        DataFusionError, ExprSchema, Result,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{
        Aggregate, ColumnarValue, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Projection,
        ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
        expr_rewriter::NamePreserver,
    },
    prelude::Column,
};
use headwater_ops::window::Windows;
use headwater_sql::{WindowSpec, window_time_udf};

use crate::{
    as_of::{self, nearest_rows},
    nodes::windows::AssignWindowsNode,
    session_expr::{group_sessions, refuse_misplaced},
    stream_table::reads_stream,
};

/// Prefix of the columns that hold starts of windows.
const START: &str = "__window_start";

/// Replaces every `window(…)`, `session_window(…)` and `as_of(…)` in a plan over tables or streams.
///
/// # Errors
/// Windows that cannot be, see [`WindowSpec::from_args`]; sessions that are no group key of their own.
pub fn batch_windows(plan: LogicalPlan) -> Result<LogicalPlan> {
    let mut made = 0;
    plan.transform_up(|node| {
        refuse_misplaced(&node)?;
        let node = match node {
            LogicalPlan::Projection(projection) => project_windows(projection, &mut made)?,
            LogicalPlan::Join(join) => nearest_rows(join)?,
            LogicalPlan::Aggregate(aggregate) => {
                let sessions = group_sessions(aggregate, &mut made)?;
                match sessions.data {
                    LogicalPlan::Aggregate(aggregate) => group_windows(aggregate, &mut made)?,
                    replaced => Transformed::yes(replaced),
                }
            }
            other => Transformed::no(other),
        };
        as_of::refuse_misplaced(&node.data)?;
        // A parent keeps the schema it was made with: it must see that of its new child.
        if node.transformed {
            Ok(node)
        } else {
            node.map_data(LogicalPlan::recompute_schema)
        }
    })
    .map(|plan| plan.data)
}

/// A call of `window(time, …)`.
#[derive(PartialEq, Clone)]
struct WindowCall {
    call: Expr,
    time: Expr,
    windows: Windows,
}

/// The distinct calls of `window` inside expressions, in order.
fn window_calls<'a>(exprs: impl IntoIterator<Item = &'a Expr>) -> Result<Vec<WindowCall>> {
    let mut calls: Vec<WindowCall> = Vec::new();
    for expr in exprs {
        expr.apply(|node| {
            if let Expr::ScalarFunction(function) = node
                && function.func.name() == "window"
                && calls.iter().all(|known| &known.call != node)
            {
                let spec = WindowSpec::from_args(&function.args)?;
                calls.push(WindowCall {
                    call: node.clone(),
                    time: function.args[0].clone(),
                    windows: Windows {
                        size_micros: spec.size_micros,
                        slide_micros: spec.slide_micros,
                        offset_micros: spec.start_micros,
                    },
                });
            }
            Ok(datafusion::common::tree_node::TreeNodeRecursion::Continue)
        })?;
    }
    if calls.len() > 1 && calls.iter().any(|call| !call.windows.is_tumbling()) {
        return Err(DataFusionError::Plan(
            "several different window() calls in one SELECT multiply rows: compute one of them in a subquery"
                .to_owned(),
        ));
    }
    Ok(calls)
}

/// Puts the assignment for `call` on top of `input`; the struct that the call stands for.
fn assign(input: LogicalPlan, call: &WindowCall, made: &mut usize) -> Result<(LogicalPlan, Expr)> {
    let number = *made;
    *made += 1;
    let time_type = call.time.get_type(input.schema())?;
    let (time, time_type) = match time_type {
        DataType::Struct(fields) if fields.len() == 2 => (
            window_time_udf().call(vec![call.time.clone()]),
            fields[0].data_type().clone(),
        ),
        other => (call.time.clone(), other),
    };
    let (input, time) = match time {
        Expr::Column(column) => (input, column),
        expression => {
            let name = format!("__window_time_{number}");
            let mut columns: Vec<Expr> = input
                .schema()
                .columns()
                .into_iter()
                .map(Expr::Column)
                .collect();
            columns.push(expression.alias(&name));
            let input = LogicalPlanBuilder::from(input).project(columns)?.build()?;
            (input, Column::from_name(name))
        }
    };
    let input = match call.time.get_type(input.schema())? {
        DataType::Timestamp(_, _) => with_times(input, &time)?,
        _ => input,
    };
    let start = format!("{START}_{number}");
    let plan = AssignWindowsNode::plan(input, time, call.windows, start.clone())?;
    let DataType::Timestamp(unit, _) = time_type else {
        return Err(DataFusionError::Plan(format!(
            "window() needs a timestamp, but '{}' is {time_type}: cast it with to_timestamp first",
            call.time
        )));
    };
    let rebuilt = ScalarUDF::new_from_impl(WindowStruct::new(
        call.windows.size_micros,
        unit,
        call.call.get_type(plan.schema())?,
    ))
    .call(vec![Expr::Column(Column::from_name(start))]);
    Ok((plan, rebuilt))
}

/// `input` without the rows that are in no window because they have no time. The assignment drops them too; said as a
/// filter it moves below what keeps rows (an aggregation, a join), so that such rows are not kept, as recorded.
fn with_times(input: LogicalPlan, time: &Column) -> Result<LogicalPlan> {
    let keeps_rows = input.exists(|node| {
        let keeps = matches!(
            node,
            LogicalPlan::Aggregate(_) | LogicalPlan::Distinct(_) | LogicalPlan::Join(_)
        );
        Ok(keeps && reads_stream(node))
    })?;
    if !keeps_rows || !input.schema().field_from_column(time)?.is_nullable() {
        return Ok(input);
    }
    LogicalPlanBuilder::from(input)
        .filter(Expr::Column(time.clone()).is_not_null())?
        .build()
}

fn replace(expr: Expr, call: &Expr, by: &Expr) -> Result<Expr> {
    let names = NamePreserver::new_for_projection();
    let name = names.save(&expr);
    let replaced = expr.transform_up(|node| {
        Ok(if &node == call {
            Transformed::yes(by.clone())
        } else {
            Transformed::no(node)
        })
    })?;
    Ok(name.restore(replaced.data))
}

fn project_windows(projection: Projection, made: &mut usize) -> Result<Transformed<LogicalPlan>> {
    let calls = window_calls(&projection.expr)?;
    if calls.is_empty() {
        return Ok(Transformed::no(LogicalPlan::Projection(projection)));
    }
    let mut input = Arc::unwrap_or_clone(projection.input);
    let mut exprs = projection.expr;
    for call in &calls {
        let (assigned, rebuilt) = assign(input, call, made)?;
        input = assigned;
        exprs = exprs
            .into_iter()
            .map(|expr| replace(expr, &call.call, &rebuilt))
            .collect::<Result<_>>()?;
    }
    let projection = Projection::try_new(exprs, Arc::new(input))?;
    Ok(Transformed::yes(LogicalPlan::Projection(projection)))
}

fn group_windows(aggregate: Aggregate, made: &mut usize) -> Result<Transformed<LogicalPlan>> {
    let calls = window_calls(&aggregate.group_expr)?;
    if calls.is_empty() {
        return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
    }
    let before = Arc::clone(&aggregate.schema);
    let mut input = Arc::unwrap_or_clone(aggregate.input);
    let mut groups = aggregate.group_expr;
    let mut aggregates = aggregate.aggr_expr;
    let mut rebuild: Vec<(Expr, Expr)> = Vec::new();
    for call in &calls {
        let (assigned, rebuilt) = assign(input, call, made)?;
        input = assigned;
        let start = Expr::Column(Column::from_name(format!("{START}_{}", *made - 1)));
        groups = groups
            .into_iter()
            .map(|group| group_by_start(group, &call.call, &start))
            .collect::<Result<_>>()?;
        // A window that overlaps no other is a function of the row; of the others a row is in several.
        if !call.windows.is_tumbling() {
            aggregates = aggregates
                .into_iter()
                .map(|aggregate| replace(aggregate, &call.call, &rebuilt))
                .collect::<Result<_>>()?;
        }
        rebuild.push((start, rebuilt));
    }
    let grouped = Aggregate::try_new(Arc::new(input), groups, aggregates)?;
    let columns = before
        .iter()
        .zip(grouped.schema.columns())
        .map(|((qualifier, field), column)| {
            let column = Expr::Column(column);
            match rebuild.iter().find(|(start, _)| start == &column) {
                Some((_, rebuilt)) => rebuilt
                    .clone()
                    .alias_qualified(qualifier.cloned(), field.name()),
                None => column,
            }
        })
        .collect();
    let restored = Projection::try_new(columns, Arc::new(LogicalPlan::Aggregate(grouped)))?;
    Ok(Transformed::yes(LogicalPlan::Projection(restored)))
}

/// A grouping expression with the whole call (and its alias, if it has one) replaced by the start's column.
fn group_by_start(group: Expr, call: &Expr, start: &Expr) -> Result<Expr> {
    group
        .transform_down(|node| {
            let is_call = match &node {
                Expr::Alias(alias) => alias.expr.as_ref() == call,
                other => other == call,
            };
            Ok(if is_call {
                Transformed::yes(start.clone())
            } else {
                Transformed::no(node)
            })
        })
        .map(|group| group.data)
}

/// The start column, if `expr` is the struct of a window rebuilt from one.
pub(crate) fn rebuilt_window(expr: &Expr) -> Option<&Column> {
    let Expr::ScalarFunction(function) = expr else {
        return None;
    };
    (function.func.inner().as_ref() as &dyn Any).downcast_ref::<WindowStruct>()?;
    match function.args.as_slice() {
        [Expr::Column(start)] => Some(start),
        _ => None,
    }
}

/// Builds `{start, end}` from a window's start.
#[derive(Debug)]
struct WindowStruct {
    size_micros: i64,
    unit: TimeUnit,
    output: DataType,
    signature: Signature,
}

impl WindowStruct {
    fn new(size_micros: i64, unit: TimeUnit, output: DataType) -> Self {
        Self {
            size_micros,
            unit,
            output,
            signature: Signature::any(1, Volatility::Immutable),
        }
    }
}

impl PartialEq for WindowStruct {
    fn eq(&self, other: &Self) -> bool {
        (self.size_micros, self.unit, &self.output)
            == (other.size_micros, other.unit, &other.output)
    }
}

impl Eq for WindowStruct {}

impl Hash for WindowStruct {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.size_micros, self.unit, &self.output).hash(state);
    }
}

impl ScalarUDFImpl for WindowStruct {
    fn name(&self) -> &str {
        "window_struct"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(self.output.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let starts = args.args[0].to_array(args.number_rows)?;
        // A group of ROLLUP that leaves the window out has none.
        let nulls = starts.nulls().cloned();
        let DataType::Struct(fields) = &self.output else {
            return Err(DataFusionError::Internal(
                "a window is no struct".to_owned(),
            ));
        };
        macro_rules! ends {
            ($kind:ty, $size:expr) => {{
                let size = $size;
                let starts = starts.as_primitive::<$kind>();
                let ends: PrimitiveArray<$kind> = starts.unary(|start| start.saturating_add(size));
                Arc::new(ends.with_data_type(starts.data_type().clone())) as _
            }};
        }
        let ends = match self.unit {
            TimeUnit::Second => ends!(TimestampSecondType, self.size_micros / 1_000_000),
            TimeUnit::Millisecond => ends!(TimestampMillisecondType, self.size_micros / 1_000),
            TimeUnit::Microsecond => ends!(TimestampMicrosecondType, self.size_micros),
            TimeUnit::Nanosecond => ends!(TimestampNanosecondType, self.size_micros * 1_000),
        };
        Ok(ColumnarValue::Array(Arc::new(StructArray::try_new(
            fields.clone(),
            vec![starts, ends],
            nulls,
        )?)))
    }
}
