//! The epoch's processing time as a column.

use std::{fmt, sync::Arc};

use datafusion::{
    arrow::datatypes::Field,
    common::{DFSchemaRef, DataFusionError, Result},
    logical_expr::{Expr, Extension, LogicalPlan, UserDefinedLogicalNodeCore},
};
use headwater_ops::epoch_time::epoch_time_type;

use super::{appended, order_of_equals};

/// Name of the appended column.
pub(crate) const EPOCH_TIME: &str = "__epoch_time";

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct EpochTimeNode {
    pub(crate) input: LogicalPlan,
    schema: DFSchemaRef,
}

order_of_equals!(EpochTimeNode);

impl EpochTimeNode {
    pub(crate) fn plan(input: LogicalPlan) -> Result<LogicalPlan> {
        Ok(LogicalPlan::Extension(Extension {
            node: Arc::new(Self::try_new(input)?),
        }))
    }

    fn try_new(input: LogicalPlan) -> Result<Self> {
        let schema = appended(&input, Field::new(EPOCH_TIME, epoch_time_type(), false))?;
        Ok(Self { input, schema })
    }
}

impl UserDefinedLogicalNodeCore for EpochTimeNode {
    fn name(&self) -> &str {
        "EpochTime"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let inputs = self.input.schema().fields().len();
        Some(vec![
            output_columns
                .iter()
                .copied()
                .filter(|column| *column < inputs)
                .collect(),
        ])
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "EpochTime")
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        let input = inputs
            .pop()
            .ok_or_else(|| DataFusionError::Internal("epoch time needs an input".to_owned()))?;
        Self::try_new(input)
    }
}
