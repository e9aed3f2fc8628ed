//! Of rows that agree in some columns only the first.

use std::{fmt, sync::Arc};

use datafusion::{
    common::{DFSchemaRef, DataFusionError, Result},
    logical_expr::{Expr, Extension, LogicalPlan, UserDefinedLogicalNodeCore},
    prelude::Column,
};
use headwater_core::Delay;

use super::order_of_equals;

/// Lets the first row of each key through, in order of arrival.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct DedupNode {
    pub(crate) input: LogicalPlan,
    /// The columns in which duplicates agree; at least one.
    pub(crate) keys: Vec<Column>,
    /// Whether keys are forgotten by the delay of the watermark after the time of their first row.
    pub(crate) within_watermark: bool,
    /// Set when the plan is prepared to run.
    pub(crate) time: Option<DedupTime>,
    /// Set when the plan is prepared to run; empty before.
    pub(crate) id: String,
}

/// The column by which rows are late, and keys are forgotten if it is one of them or the watermark's delay counts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct DedupTime {
    pub(crate) column: Column,
    /// How far behind its value a row is late.
    pub(crate) extra_micros: i64,
    /// Delay of its watermark.
    pub(crate) delay: Delay,
}

order_of_equals!(DedupNode);

/// Of the rows of `input` that agree in `keys` only the first.
///
/// # Errors
/// A key that does not exist, or none.
pub fn drop_duplicates(input: LogicalPlan, keys: Vec<Column>) -> Result<LogicalPlan> {
    dedup(input, keys, false)
}

/// As [`drop_duplicates`], with keys that are forgotten when the watermark has reached the time of their first row and
/// its delay. The input needs a watermark, which is checked when the query is started.
///
/// # Errors
/// A key that does not exist, or none.
pub fn drop_duplicates_within_watermark(
    input: LogicalPlan,
    keys: Vec<Column>,
) -> Result<LogicalPlan> {
    dedup(input, keys, true)
}

fn dedup(input: LogicalPlan, keys: Vec<Column>, within_watermark: bool) -> Result<LogicalPlan> {
    if keys.is_empty() {
        return Err(DataFusionError::Plan(
            "duplicates need at least one column in which they agree".to_owned(),
        ));
    }
    let keys = keys
        .iter()
        .map(|key| {
            let index = input.schema().index_of_column(key)?;
            Ok(Column::from(input.schema().qualified_field(index)))
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(LogicalPlan::Extension(Extension {
        node: Arc::new(DedupNode {
            input,
            keys,
            within_watermark,
            time: None,
            id: String::new(),
        }),
    }))
}

impl UserDefinedLogicalNodeCore for DedupNode {
    fn name(&self) -> &str {
        "Dedup"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    /// The keys and then the time.
    fn expressions(&self) -> Vec<Expr> {
        let time = self.time.iter().map(|time| &time.column);
        let columns = self.keys.iter().chain(time);
        columns.cloned().map(Expr::Column).collect()
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(vec![output_columns.to_vec()])
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let keys: Vec<String> = self.keys.iter().map(Column::flat_name).collect();
        write!(f, "Dedup: {} keys=[{}]", self.id, keys.join(", "))?;
        if self.within_watermark {
            write!(f, " within watermark")?;
        }
        Ok(())
    }

    fn with_exprs_and_inputs(
        &self,
        exprs: Vec<Expr>,
        mut inputs: Vec<LogicalPlan>,
    ) -> Result<Self> {
        let columns: Option<Vec<Column>> = exprs
            .into_iter()
            .map(|expr| match expr {
                Expr::Column(column) => Some(column),
                _ => None,
            })
            .collect();
        let (Some(mut keys), Some(input)) = (columns, inputs.pop()) else {
            return Err(DataFusionError::Internal(
                "duplicates need columns to agree in and one input".to_owned(),
            ));
        };
        let time = match (&self.time, keys.len() > self.keys.len()) {
            (Some(time), true) => keys.pop().map(|column| DedupTime {
                column,
                ..time.clone()
            }),
            _ => None,
        };
        Ok(Self {
            input,
            keys,
            within_watermark: self.within_watermark,
            time,
            id: self.id.clone(),
        })
    }
}
