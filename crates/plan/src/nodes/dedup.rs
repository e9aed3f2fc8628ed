//! Of rows that agree in some columns only the first.

use std::{fmt, sync::Arc};

use datafusion::{
    common::{DFSchemaRef, DataFusionError, Result},
    logical_expr::{Expr, Extension, LogicalPlan, UserDefinedLogicalNodeCore},
    prelude::Column,
};

use super::order_of_equals;

/// Lets the first row of each key through, in order of arrival.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct DedupNode {
    pub(crate) input: LogicalPlan,
    /// The columns in which duplicates agree; at least one.
    pub(crate) keys: Vec<Column>,
    /// Set when the plan is prepared to run.
    pub(crate) time: Option<DedupTime>,
    /// Set when the plan is prepared to run; empty before.
    pub(crate) id: String,
}

/// The column by which rows are late, and keys are forgotten if it is one of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct DedupTime {
    pub(crate) column: Column,
    /// How far behind its value a row is late.
    pub(crate) extra_micros: i64,
}

order_of_equals!(DedupNode);

impl DedupNode {
    /// Whether keys are forgotten when the watermark has passed them.
    pub(crate) fn expires(&self) -> bool {
        let time = self.time.as_ref();
        time.is_some_and(|time| self.keys.contains(&time.column))
    }
}

/// Of the rows of `input` that agree in `keys` only the first.
///
/// # Errors
/// A key that does not exist, or none.
pub fn drop_duplicates(input: LogicalPlan, keys: Vec<Column>) -> Result<LogicalPlan> {
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
        write!(f, "Dedup: {} keys=[{}]", self.id, keys.join(", "))
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
            time,
            id: self.id.clone(),
        })
    }
}
