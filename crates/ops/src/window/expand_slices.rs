//! Puts what was aggregated of slices into their windows.

use std::sync::Arc;

use datafusion::{
    error::Result,
    execution::TaskContext,
    physical_plan::{
        ExecutionPlan, PlanProperties, SendableRecordBatchStream, execution_plan::EmissionType,
        stream::RecordBatchStreamAdapter,
    },
};
use futures::{StreamExt, TryStreamExt, stream};

use super::{Scaled, slice::expand};
use crate::node::{display_as, no_expressions, node_over, properties};

/// Replaces each row of a slice by one for each window that holds the slice; rows of windows stay as they are. Which of
/// both a row is, and which slice or window, says one column.
#[derive(Debug, Clone)]
pub(super) struct ExpandSlicesExec {
    input: Arc<dyn ExecutionPlan>,
    column: usize,
    scaled: Scaled,
    properties: Arc<PlanProperties>,
}

impl ExpandSlicesExec {
    pub(super) fn new(input: Arc<dyn ExecutionPlan>, column: usize, scaled: Scaled) -> Self {
        Self {
            properties: properties(
                input.schema(),
                input.properties().output_partitioning().partition_count(),
                EmissionType::Incremental,
            ),
            input,
            column,
            scaled,
        }
    }
}

display_as!(ExpandSlicesExec, |this, f| {
    let schema = this.schema();
    let column = schema.field(this.column).name();
    write!(
        f,
        "ExpandSlicesExec: windows={column}, at most {} each",
        this.scaled.overlapping()
    )
});

impl ExecutionPlan for ExpandSlicesExec {
    node_over!("ExpandSlicesExec", [input], |this| {
        Ok(Arc::new(Self::new(input, this.column, this.scaled)))
    });
    no_expressions!();

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let (column, scaled) = (self.column, self.scaled);
        let batches = self
            .input
            .execute(partition, context)?
            .map(move |batch| expand(&batch?, column, scaled))
            .map_ok(|batches| stream::iter(batches.into_iter().map(Ok)))
            .try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            self.schema(),
            batches,
        )))
    }
}
