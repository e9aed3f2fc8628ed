//! LIMIT over a stream: a barrier, so that no fetch is pushed into scans and truncates every epoch.

use std::fmt;

use datafusion::{
    common::{DFSchemaRef, DataFusionError, Result},
    logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore},
};
use headwater_ops::limit::Counting;

use super::order_of_equals;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StreamLimitNode {
    pub(crate) input: LogicalPlan,
    pub(crate) fetch: u64,
    pub(crate) counting: Counting,
}

order_of_equals!(StreamLimitNode);

impl std::hash::Hash for StreamLimitNode {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.input.hash(state);
        self.fetch.hash(state);
    }
}

impl UserDefinedLogicalNodeCore for StreamLimitNode {
    fn name(&self) -> &str {
        "StreamLimit"
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
        write!(f, "StreamLimit: {}", self.fetch)
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        let input = inputs
            .pop()
            .ok_or_else(|| DataFusionError::Internal("a limit needs an input".to_owned()))?;
        Ok(Self {
            input,
            ..self.clone()
        })
    }
}
