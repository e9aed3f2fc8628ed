//! Puts what was aggregated of slices into their windows.

use std::sync::Arc;

use datafusion::{
    arrow::{array::RecordBatch, compute::concat_batches},
    error::Result,
    execution::TaskContext,
    physical_plan::{
        ExecutionPlan, PlanProperties, SendableRecordBatchStream, execution_plan::EmissionType,
        stream::RecordBatchStreamAdapter,
    },
};
use futures::{StreamExt, TryStreamExt, stream};

use super::{Scaled, combine_slices::Combination, slice::expand};
use crate::node::{display_as, no_expressions, node_over, properties, rows_after};

/// Replaces each row of a slice by one for each window that holds the slice; rows of windows stay as they are. Which of
/// both a row is, and which slice or window, says one column. Where states can be merged, what meets in a window is, once
/// the input has ended: it is an aggregation, which gives out all of its rows at its end anyway.
#[derive(Debug, Clone)]
pub(super) struct ExpandSlicesExec {
    input: Arc<dyn ExecutionPlan>,
    column: usize,
    scaled: Scaled,
    combination: Option<Arc<Combination>>,
    properties: Arc<PlanProperties>,
}

impl ExpandSlicesExec {
    pub(super) fn new(
        input: Arc<dyn ExecutionPlan>,
        column: usize,
        scaled: Scaled,
        combination: Option<Arc<Combination>>,
    ) -> Self {
        Self {
            properties: properties(
                input.schema(),
                input.properties().output_partitioning().partition_count(),
                EmissionType::Incremental,
            ),
            input,
            column,
            scaled,
            combination,
        }
    }
}

display_as!(ExpandSlicesExec, |this, f| {
    let schema = this.schema();
    let column = schema.field(this.column).name();
    write!(
        f,
        "ExpandSlicesExec: windows={column}, at most {} each{}",
        this.scaled.overlapping(),
        match this.combination {
            Some(_) => ", merged",
            None => "",
        }
    )
});

async fn combine(
    combination: Arc<Combination>,
    input: SendableRecordBatchStream,
) -> Result<Vec<RecordBatch>> {
    let schema = input.schema();
    let batches: Vec<RecordBatch> = input.try_collect().await?;
    combination.combine(&concat_batches(&schema, &batches)?)
}

impl ExecutionPlan for ExpandSlicesExec {
    node_over!("ExpandSlicesExec", [input], |this| {
        Ok(Arc::new(Self::new(
            input,
            this.column,
            this.scaled,
            this.combination.clone(),
        )))
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
        let input = self.input.execute(partition, context)?;
        if let Some(combination) = &self.combination {
            let work = combine(Arc::clone(combination), input);
            return Ok(rows_after(self.schema(), work));
        }
        let batches = input
            .map(move |batch| expand(&batch?, column, scaled))
            .map_ok(|batches| stream::iter(batches.into_iter().map(Ok)))
            .try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            self.schema(),
            batches,
        )))
    }
}
