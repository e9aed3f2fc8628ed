//! Late filters in front of stateful operators, and what is recorded of the rows they drop.

use std::sync::Arc;

use datafusion::{
    arrow::datatypes::Field,
    common::Result,
    logical_expr::{Expr, Extension, LogicalPlan, LogicalPlanBuilder, Projection},
    prelude::Column,
};
use headwater_ops::late::LateWindow;

use super::Rewriter;
use crate::{
    late_schema::LateInput,
    nodes::{
        is_made_by_rewrites,
        late_filter::{LateFilterNode, RecordedRow},
    },
    time_column::{TimeForm, time_marks},
};

/// Name of the column that holds the time by which rows are late, where none does.
const LATE_TIME: &str = "__late_time";

/// A late filter to be.
pub(super) struct Lateness<'a> {
    /// The operator that it stands in front of.
    pub(super) operator: &'a str,
    /// `left` or `right` of a join.
    pub(super) side: Option<&'static str>,
    /// A row is late when the watermark has reached this and so many microseconds.
    pub(super) time: Expr,
    pub(super) extra_micros: i64,
    /// The window that a row belongs to, if it is another than that of `time`.
    pub(super) window: Option<LateWindow<Column>>,
}

impl Rewriter {
    /// `input` without the rows that are late for an operator. Every stateful operator that drops late rows gets its
    /// input from here, whatever its kind: so all of them are counted, and recorded where late rows are wanted.
    pub(super) fn without_late_rows(
        &mut self,
        input: LogicalPlan,
        late: Lateness,
    ) -> Result<LogicalPlan> {
        let (input, time) = as_column(input, late.time)?;
        let row = match self.late_rows {
            false => None,
            true => Some(RecordedRow {
                columns: row_columns(&input),
                window: match late.window {
                    Some(window) => window,
                    None => window_of(&input, &time)?,
                },
                side: late.side,
            }),
        };
        if let Some(row) = &row {
            self.found.late.push(LateInput {
                operator: late.operator.to_owned(),
                side: row.side,
                fields: fields(&input, row)?,
            });
        }
        let columns: Vec<Expr> = input
            .schema()
            .columns()
            .into_iter()
            .map(Expr::Column)
            .collect();
        let is_recorded = row.is_some();
        let filter = LogicalPlan::Extension(Extension {
            node: Arc::new(LateFilterNode {
                input,
                operator: late.operator.to_owned(),
                time,
                extra_micros: late.extra_micros,
                row,
            }),
        });
        if !is_recorded {
            return Ok(filter);
        }
        // What is only recorded goes no further: the optimiser takes it out of this projection, so that the operator
        // has the same columns, and its state the same layout, as if nothing were recorded.
        let projection = Projection::try_new(columns, Arc::new(filter))?;
        Ok(LogicalPlan::Projection(projection))
    }
}

/// The time as a column of the plan.
fn as_column(input: LogicalPlan, time: Expr) -> Result<(LogicalPlan, Column)> {
    match time.unalias() {
        Expr::Column(column) => Ok((input, column)),
        expression => {
            let mut columns: Vec<Expr> = input
                .schema()
                .columns()
                .into_iter()
                .map(Expr::Column)
                .collect();
            columns.push(expression.alias(LATE_TIME));
            let input = LogicalPlanBuilder::from(input).project(columns)?.build()?;
            Ok((input, Column::from_name(LATE_TIME)))
        }
    }
}

/// The columns that the user sees, each with a name of its own: where two have the same, with that of their table.
fn row_columns(input: &LogicalPlan) -> Vec<(Column, String)> {
    let columns = input.schema().columns();
    let name = |column: &Column| {
        let same = columns.iter().filter(|other| other.name == column.name);
        match same.count() {
            1 => column.name.clone(),
            _ => column.flat_name(),
        }
    };
    let seen = columns
        .iter()
        .filter(|column| !is_made_by_rewrites(&column.name));
    seen.map(|column| (column.clone(), name(column))).collect()
}

/// The columns of a record with their types.
fn fields(input: &LogicalPlan, row: &RecordedRow) -> Result<Vec<Field>> {
    let schema = input.schema();
    let fields = row.columns.iter().map(|(column, name)| {
        let field = schema.field(schema.index_of_column(column)?);
        // Records of other operators may not have it.
        Ok(Field::new(name, field.data_type().clone(), true))
    });
    fields.collect()
}

/// The window whose time is the column `time`.
fn window_of(input: &LogicalPlan, time: &Column) -> Result<LateWindow<Column>> {
    let index = input.schema().index_of_column(time)?;
    let mark = time_marks(input)?.get(index).copied().flatten();
    Ok(match mark.map(|mark| mark.form) {
        Some(TimeForm::WindowStart(size_micros)) => LateWindow::StartsAt {
            start: time.clone(),
            size_micros,
        },
        Some(TimeForm::Window(_)) => LateWindow::Whole(time.clone()),
        Some(TimeForm::Time | TimeForm::SessionEnd) | None => LateWindow::None,
    })
}
