//! The late filter in front of a stateful operator, below everything that is done with its rows.
//!
//! Where late rows are wanted, the node needs all columns of the operator's input row as the user wrote it, whatever the
//! operator makes of them: that keeps the optimiser from removing them.

use std::fmt;

use datafusion::{
    common::{DFSchemaRef, DataFusionError, Result},
    logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore},
    prelude::Column,
};
use headwater_ops::late::LateWindow;

use super::order_of_equals;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct LateFilterNode {
    pub(crate) input: LogicalPlan,
    /// The operator that it stands in front of.
    pub(crate) operator: String,
    /// A row is late when the watermark has reached this column and so many microseconds.
    pub(crate) time: Column,
    pub(crate) extra_micros: i64,
    /// What is recorded of a late row, if anything is.
    pub(crate) row: Option<RecordedRow>,
}

/// What is recorded of a late row.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct RecordedRow {
    /// The columns, with their names in the record.
    pub(crate) columns: Vec<(Column, String)>,
    /// The window that a row was dropped from.
    pub(crate) window: LateWindow<Column>,
    /// Which input of the operator it is, if it has several.
    pub(crate) side: Option<&'static str>,
}

order_of_equals!(LateFilterNode);

impl RecordedRow {
    /// The same with its columns replaced by the next ones of `columns`.
    fn with_columns(&self, columns: &mut impl Iterator<Item = Column>) -> Result<Self> {
        let mut next = || columns.next().ok_or_else(wrong);
        Ok(Self {
            columns: self
                .columns
                .iter()
                .map(|(_, name)| Ok((next()?, name.clone())))
                .collect::<Result<_>>()?,
            window: self.window.map(|_| next())?,
            side: self.side,
        })
    }
}

fn wrong() -> DataFusionError {
    DataFusionError::Internal("a late filter needs its columns and one input".to_owned())
}

impl UserDefinedLogicalNodeCore for LateFilterNode {
    fn name(&self) -> &str {
        "LateFilter"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    /// The time, then the columns of the record, then those of its window.
    fn expressions(&self) -> Vec<Expr> {
        let recorded = self.row.iter().flat_map(|row| {
            let columns = row.columns.iter().map(|(column, _)| column);
            columns.chain(row.window.columns())
        });
        let columns = std::iter::once(&self.time).chain(recorded);
        columns.cloned().map(Expr::Column).collect()
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(vec![output_columns.to_vec()])
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(
            f,
            "LateFilter: {} {} + {}us",
            self.operator, self.time, self.extra_micros
        )
    }

    fn with_exprs_and_inputs(
        &self,
        exprs: Vec<Expr>,
        mut inputs: Vec<LogicalPlan>,
    ) -> Result<Self> {
        let columns = exprs
            .into_iter()
            .map(|expr| match expr {
                Expr::Column(column) => Ok(column),
                _ => Err(wrong()),
            })
            .collect::<Result<Vec<_>>>()?;
        let mut columns = columns.into_iter();
        let row = |columns: &mut _| {
            let row = self.row.as_ref();
            row.map(|row| row.with_columns(columns)).transpose()
        };
        Ok(Self {
            input: inputs.pop().ok_or_else(wrong)?,
            operator: self.operator.clone(),
            time: columns.next().ok_or_else(wrong)?,
            extra_micros: self.extra_micros,
            row: row(&mut columns)?,
        })
    }
}
