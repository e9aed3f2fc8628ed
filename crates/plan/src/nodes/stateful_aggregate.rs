//! Marks an aggregation as stateful: wraps DataFusion's own `Aggregate` node, so that its planning (grouping sets,
//! filters, ordering, names) is DataFusion's and only the final step is ours.

use std::fmt;

use datafusion::{
    common::{DFSchemaRef, DataFusionError, Result},
    logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore},
};
use headwater_core::OutputMode;
use headwater_ops::expiry::Expiry;

use super::order_of_equals;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct StatefulAggregateNode {
    /// The aggregation; the optimiser may put a projection above it.
    pub(crate) input: LogicalPlan,
    pub(crate) id: String,
    pub(crate) mode: OutputMode,
    /// By number of the grouping expression.
    pub(crate) expiry: Option<Expiry>,
}

order_of_equals!(StatefulAggregateNode);

impl UserDefinedLogicalNodeCore for StatefulAggregateNode {
    fn name(&self) -> &str {
        "StatefulAggregate"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(vec![output_columns.to_vec()])
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "StatefulAggregate: {}", self.id)
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        let input = inputs
            .pop()
            .ok_or_else(|| DataFusionError::Internal("an aggregation needs an input".to_owned()))?;
        Ok(Self {
            input,
            ..self.clone()
        })
    }
}
