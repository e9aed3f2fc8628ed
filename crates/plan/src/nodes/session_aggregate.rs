//! An aggregation over sessions of a stream: wraps DataFusion's own `Aggregate` node, whose last two keys are the start
//! and the end of the interval that each row opens. Its operators merge intervals that meet.

use std::{collections::HashSet, fmt};

use datafusion::{
    common::{DFSchemaRef, DataFusionError, Result},
    logical_expr::{Aggregate, Expr, LogicalPlan, UserDefinedLogicalNodeCore},
};
use headwater_core::OutputMode;

use super::order_of_equals;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct SessionAggregateNode {
    /// The aggregation; the optimiser may put a projection above it.
    pub(crate) input: LogicalPlan,
    /// The gap in microseconds if it is the same for all rows.
    pub(crate) gap_micros: Option<i64>,
    /// Set when the plan is prepared to run; empty before.
    pub(crate) id: String,
    pub(crate) mode: OutputMode,
    /// Names of the columns that a filter above may be pushed below by: the keys beside the session.
    plain_keys: Vec<String>,
}

order_of_equals!(SessionAggregateNode);

impl SessionAggregateNode {
    pub(crate) fn new(aggregate: Aggregate, gap_micros: Option<i64>) -> Self {
        let mut node = Self {
            input: LogicalPlan::Aggregate(aggregate),
            gap_micros,
            id: String::new(),
            mode: OutputMode::Append,
            plain_keys: Vec::new(),
        };
        node.plain_keys = node.key_names();
        node
    }

    /// The aggregation, as long as the optimiser has put nothing above it.
    pub(crate) fn aggregate(&self) -> Result<&Aggregate> {
        match &self.input {
            LogicalPlan::Aggregate(aggregate) => Ok(aggregate),
            other => Err(DataFusionError::Internal(format!(
                "sessions are aggregated by {}",
                other.display()
            ))),
        }
    }

    /// The same sessions of an aggregation that is prepared to run, as operator `id`.
    pub(crate) fn prepared(&self, aggregate: Aggregate, id: String, mode: OutputMode) -> Self {
        Self {
            id,
            mode,
            ..Self::new(aggregate, self.gap_micros)
        }
    }

    /// Number of keys beside the session's start and end, which are the last two.
    pub(crate) fn plain_keys(&self) -> usize {
        self.plain_keys.len()
    }

    fn key_names(&self) -> Vec<String> {
        let keys = match self.aggregate() {
            Ok(aggregate) => aggregate.group_expr.len().saturating_sub(2),
            Err(_) => 0,
        };
        let fields = self.input.schema().fields().iter();
        fields.take(keys).map(|key| key.name().clone()).collect()
    }
}

impl UserDefinedLogicalNodeCore for SessionAggregateNode {
    fn name(&self) -> &str {
        "SessionAggregate"
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

    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        let names = self.schema().fields().iter().map(|field| field.name());
        names
            .filter(|name| !self.plain_keys.contains(name))
            .cloned()
            .collect()
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(vec![output_columns.to_vec()])
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.gap_micros {
            Some(gap) => write!(f, "SessionAggregate: {} gap={gap}us", self.id),
            None => write!(f, "SessionAggregate: {} gap by row", self.id),
        }
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        let input = inputs
            .pop()
            .ok_or_else(|| DataFusionError::Internal("sessions need an input".to_owned()))?;
        Ok(Self {
            input,
            ..self.clone()
        })
    }
}
