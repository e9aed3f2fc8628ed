//! Relations of Spark SQL that DataFusion has no plan for: `WATERMARK` and `LATERAL VIEW`.
//!
//! Both arrive as calls of table functions that only our own rewrites write; their first argument is a subquery
//! `SELECT * FROM <relation>`, whose relation is planned in place, so that names qualified with it stay valid.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::NullHandling;
use datafusion::common::{Column, DFSchema, Result, UnnestOptions, plan_err};
use datafusion::logical_expr::planner::{
    PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, ident};
use datafusion::prelude::get_field;
use datafusion::sql::sqlparser::ast::{
    Expr as SqlExpr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Join, JoinOperator,
    SetExpr, TableAlias, TableFactor, TableWithJoins, Value,
};

use crate::functions::collections::{positions_udf, row_list_udf};
use crate::hooks::{StreamingHooks, WatermarkDelay};
use crate::interval::CalendarInterval;
use crate::statement::interval_of;
use crate::tokens::{HOP_FUNCTION, TUMBLE_FUNCTION, WATERMARK_FUNCTION};
use crate::windowing::with_windows;

/// Name of the table function that stands for `LATERAL VIEW` between the rewrite and the planner. Its arguments:
/// `(SELECT * FROM relations)`, the generator call, the view's name, whether it is `OUTER`, the column names.
pub(crate) const GENERATE_FUNCTION: &str = "__headwater_generate";

/// Plans watermarks and generators.
#[derive(Debug)]
pub(crate) struct SparkRelationPlanner {
    hooks: Arc<dyn StreamingHooks>,
}

impl SparkRelationPlanner {
    pub(crate) fn new(hooks: Arc<dyn StreamingHooks>) -> Self {
        Self { hooks }
    }
}

impl RelationPlanner for SparkRelationPlanner {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let plan = match &relation {
            TableFactor::Pivot { .. } | TableFactor::Unpivot { .. } => {
                return plan_err!(
                    "PIVOT and UNPIVOT are not possible over streams: write one aggregate per value instead, for example sum(CASE WHEN k = 'a' THEN v END)"
                );
            }
            TableFactor::Table {
                name,
                args: Some(args),
                ..
            } => {
                let call: Vec<SqlExpr> = args.args.iter().filter_map(positional).cloned().collect();
                match name.to_string().as_str() {
                    WATERMARK_FUNCTION => self.watermark(call, context)?,
                    GENERATE_FUNCTION => generate(call, context)?,
                    TUMBLE_FUNCTION | HOP_FUNCTION => windows(call, context)?,
                    _ => return Ok(RelationPlanning::Original(Box::new(relation))),
                }
            }
            _ => return Ok(RelationPlanning::Original(Box::new(relation))),
        };
        let alias = alias_of(relation);
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(
            plan, alias,
        ))))
    }
}

impl SparkRelationPlanner {
    fn watermark(
        &self,
        call: Vec<SqlExpr>,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<LogicalPlan> {
        let Ok([relation, event_time, name, months, micros]) = <[SqlExpr; 5]>::try_from(call)
        else {
            return plan_err!(
                "{WATERMARK_FUNCTION} is internal: write `FROM t WATERMARK ts DELAY OF INTERVAL 10 SECONDS`"
            );
        };
        let input = plan_input(relation, context)?;
        let delay = WatermarkDelay {
            months: number(&months)?,
            micros: number(&micros)?,
        };
        let expr = context.sql_to_expr(event_time, input.schema())?;
        check_event_time(&expr, input.schema())?;
        let name = text(&name)?;
        if name.is_empty() {
            return self.hooks.watermark(input, expr, delay);
        }
        let mut columns = all_columns(input.schema());
        columns.push(expr.alias(name.clone()));
        let input = LogicalPlanBuilder::from(input).project(columns)?.build()?;
        self.hooks.watermark(input, ident(name), delay)
    }
}

/// `TUMBLE` with a length, `HOP` with a distance and a length.
fn windows(call: Vec<SqlExpr>, context: &mut dyn RelationPlannerContext) -> Result<LogicalPlan> {
    let mut call = call.into_iter();
    let (Some(relation), Some(time)) = (call.next(), call.next()) else {
        return plan_err!("a windowing function needs a table and an event time");
    };
    let lengths: Vec<CalendarInterval> = call
        .map(|length| interval_of(&length))
        .collect::<Result<_>>()?;
    let (slide, size) = match lengths.as_slice() {
        [size] => (*size, *size),
        [slide, size] => (*slide, *size),
        _ => {
            return plan_err!(
                "a windowing function has one length, and HOP the distance of its windows before it: write \
                 TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL 10 MINUTES) or HOP(TABLE t, DESCRIPTOR(ts), INTERVAL 5 MINUTES, \
                 INTERVAL 10 MINUTES)"
            );
        }
    };
    let input = plan_input(relation, context)?;
    let time = context.sql_to_expr(time, input.schema())?;
    with_windows(input, time, size, slide)
}

/// An event time is a timestamp, or a window, which counts with its end.
pub(crate) fn check_event_time(expr: &Expr, schema: &DFSchema) -> Result<()> {
    let data_type = expr.get_type(schema)?;
    let is_window = matches!(&data_type, DataType::Struct(fields)
        if fields.find("end").is_some_and(|(_, end)| matches!(end.data_type(), DataType::Timestamp(_, _))));
    if is_window || matches!(data_type, DataType::Timestamp(_, _)) {
        return Ok(());
    }
    plan_err!(
        "the event time of a watermark must be a timestamp, but {expr} is {data_type}: convert it, for example `WATERMARK to_timestamp(text) AS event_time DELAY OF ...`"
    )
}

/// `LATERAL VIEW`: one row per element of a list or map of the row, beside the row's own columns.
fn generate(call: Vec<SqlExpr>, context: &mut dyn RelationPlannerContext) -> Result<LogicalPlan> {
    let mut call = call.into_iter();
    let (Some(relation), Some(SqlExpr::Function(function)), Some(view), Some(outer)) =
        (call.next(), call.next(), call.next(), call.next())
    else {
        return plan_err!(
            "{GENERATE_FUNCTION} is internal: write `FROM t LATERAL VIEW explode(xs) v AS x`"
        );
    };
    let view = text(&view)?;
    let names = call.map(|name| text(&name)).collect::<Result<Vec<_>>>()?;
    let generator = Generator::of(&function, number::<i32>(&outer)? != 0)?;
    let input = plan_input(relation, context)?;
    let argument = context.sql_to_expr(generator.argument.clone(), input.schema())?;
    generator.plan(input, argument, &view, &names)
}

struct Generator {
    argument: SqlExpr,
    with_position: bool,
    /// The elements are structs whose fields become columns.
    inline: bool,
    outer: bool,
}

impl Generator {
    fn of(function: &Function, outer: bool) -> Result<Self> {
        let name = function.name.to_string().to_ascii_lowercase();
        let (base, named_outer) = match name.strip_suffix("_outer") {
            Some(base) => (base, true),
            None => (name.as_str(), false),
        };
        let (with_position, inline) = match base {
            "explode" | "unnest" => (false, false),
            "posexplode" => (true, false),
            "inline" => (false, true),
            _ => {
                return plan_err!(
                    "LATERAL VIEW takes explode, posexplode, inline or their _outer forms, found {name}()"
                );
            }
        };
        let mut args = match &function.args {
            FunctionArguments::List(list) => {
                list.args.iter().filter_map(positional).cloned().collect()
            }
            _ => Vec::new(),
        };
        match (args.pop(), args.is_empty()) {
            (Some(argument), true) => Ok(Self {
                argument,
                with_position,
                inline,
                outer: outer || named_outer,
            }),
            _ => plan_err!("{name}() takes one argument"),
        }
    }

    fn plan(
        &self,
        input: LogicalPlan,
        argument: Expr,
        view: &str,
        names: &[String],
    ) -> Result<LogicalPlan> {
        let data_type = argument.get_type(input.schema())?;
        // What the elements are called before they are split into columns.
        let fields: Vec<String> = match &data_type {
            DataType::Map(_, _) => vec!["key".to_owned(), "value".to_owned()],
            DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
                match (item.data_type(), self.inline) {
                    (DataType::Struct(fields), true) => {
                        fields.iter().map(|f| f.name().clone()).collect()
                    }
                    (_, false) => vec![],
                    (other, true) => {
                        return plan_err!(
                            "inline() takes an array of structs, found an array of {other}"
                        );
                    }
                }
            }
            other => {
                return plan_err!("explode() takes an array or a map, found {other}: {argument}");
            }
        };
        let mut defaults = if self.with_position {
            vec!["pos".to_owned()]
        } else {
            vec![]
        };
        defaults.extend(if fields.is_empty() {
            vec!["col".to_owned()]
        } else {
            fields.clone()
        });
        if !names.is_empty() && names.len() != defaults.len() {
            return plan_err!(
                "LATERAL VIEW {view} makes {} columns, but {} names are given",
                defaults.len(),
                names.len()
            );
        }
        let names = if names.is_empty() { &defaults } else { names };

        // Unnesting drops qualifiers, so the new columns go by names of our own until the last projection.
        const POSITION: &str = "__position";
        const ELEMENT: &str = "__element";
        let own = all_columns(input.schema());
        let mut columns = own.clone();
        let mut unnested = vec![];
        let mut add = |expr: Expr, name: &str| {
            columns.push(expr.alias(name));
            unnested.push(Column::new_unqualified(name));
        };
        if self.with_position {
            add(positions_udf().call(vec![argument.clone()]), POSITION);
        }
        add(row_list_udf().call(vec![argument]), ELEMENT);
        let null_handling = if self.outer {
            NullHandling::PreserveAndExpandEmpty
        } else {
            NullHandling::Drop
        };
        let options = UnnestOptions::new().with_null_handling(null_handling);
        let mut made = vec![];
        if self.with_position {
            made.push(ident(POSITION));
        }
        if fields.is_empty() {
            made.push(ident(ELEMENT));
        }
        made.extend(
            fields
                .iter()
                .map(|field| get_field(ident(ELEMENT), field.as_str())),
        );
        let made = made
            .into_iter()
            .zip(names)
            .map(|(expr, name)| expr.alias_qualified(Some(view), name));
        LogicalPlanBuilder::from(input)
            .project(columns)?
            .unnest_columns_with_options(unnested, options)?
            .project(own.into_iter().chain(made))?
            .build()
    }
}

/// Plans the relations of `(SELECT * FROM relations)`.
fn plan_input(subquery: SqlExpr, context: &mut dyn RelationPlannerContext) -> Result<LogicalPlan> {
    let SqlExpr::Subquery(query) = subquery else {
        return plan_err!("expected a relation, found {subquery}");
    };
    let SetExpr::Select(select) = *query.body else {
        return plan_err!("expected a relation, found {}", query.body);
    };
    let mut from = select.from.into_iter();
    let Some(mut first) = from.next() else {
        return plan_err!("expected a relation before the clause");
    };
    // `FROM a, b` is a cross join.
    first.joins.extend(from.map(|next| Join {
        relation: nested(next),
        global: false,
        join_operator: JoinOperator::CrossJoin(
            datafusion::sql::sqlparser::ast::JoinConstraint::None,
        ),
    }));
    context.plan(nested(first))
}

fn nested(table: TableWithJoins) -> TableFactor {
    if table.joins.is_empty() {
        return table.relation;
    }
    TableFactor::NestedJoin {
        table_with_joins: Box::new(table),
        alias: None,
    }
}

pub(crate) fn all_columns(schema: &DFSchema) -> Vec<Expr> {
    schema.columns().into_iter().map(Expr::Column).collect()
}

fn alias_of(relation: TableFactor) -> Option<TableAlias> {
    match relation {
        TableFactor::Table { alias, .. } => alias,
        _ => None,
    }
}

fn positional(arg: &FunctionArg) -> Option<&SqlExpr> {
    match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    }
}

fn text(expr: &SqlExpr) -> Result<String> {
    if let SqlExpr::Value(value) = expr
        && let Value::SingleQuotedString(text) = &value.value
    {
        return Ok(text.clone());
    }
    plan_err!("expected a text, found {expr}")
}

fn number<T: std::str::FromStr>(expr: &SqlExpr) -> Result<T> {
    if let SqlExpr::Value(value) = expr
        && let Value::Number(text, _) = &value.value
        && let Ok(number) = text.parse()
    {
        return Ok(number);
    }
    plan_err!("expected a number, found {expr}")
}
