//! A subplan of a streaming plan that reads static tables only, as one leaf: it is planned by itself.

use std::{fmt, sync::Arc};

use datafusion::{
    common::{DFSchemaRef, DataFusionError, Result},
    logical_expr::{Expr, Extension, LogicalPlan, UserDefinedLogicalNodeCore},
};

use super::order_of_equals;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct TableNode {
    pub(crate) number: usize,
    /// What it reads, optimised.
    pub(crate) subplan: LogicalPlan,
    /// Whether it is known when the tables change.
    pub(crate) is_versioned: bool,
}

order_of_equals!(TableNode);

impl TableNode {
    pub(crate) fn plan(self) -> LogicalPlan {
        LogicalPlan::Extension(Extension {
            node: Arc::new(self),
        })
    }
}

impl UserDefinedLogicalNodeCore for TableNode {
    fn name(&self) -> &str {
        "Table"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        Vec::new()
    }

    fn schema(&self) -> &DFSchemaRef {
        self.subplan.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Table: {}", self.number)
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        if exprs.is_empty() && inputs.is_empty() {
            Ok(self.clone())
        } else {
            Err(DataFusionError::Internal(
                "a static table takes no inputs".to_owned(),
            ))
        }
    }
}
