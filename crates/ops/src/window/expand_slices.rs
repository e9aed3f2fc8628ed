//! Puts what was aggregated of slices into their windows.

use std::sync::Arc;

use datafusion::{
    arrow::{array::RecordBatch, compute::concat_batches},
    error::{DataFusionError, Result},
    execution::TaskContext,
    physical_plan::{
        ExecutionPlan, PlanProperties, SendableRecordBatchStream, execution_plan::EmissionType,
        stream::RecordBatchStreamAdapter,
    },
};
use futures::{StreamExt, TryStreamExt, stream};

use super::{Scaled, combine_slices::Combination, slice::expand};
use crate::node::{display_as, no_expressions, node_over, properties};

/// Replaces each row of a slice by one for each window that holds the slice; rows of windows stay as they are. Which of
/// both a row is, and which slice or window, says one column. Where states can be merged, what meets in a window is, of a
/// run of rows at a time.
#[derive(Debug, Clone)]
pub(crate) struct ExpandSlicesExec {
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

/// The rows of the next run of input batches, merged by window; `None` at the end.
async fn next_run(
    combination: &Combination,
    input: &mut SendableRecordBatchStream,
) -> Result<Option<Vec<RecordBatch>>> {
    let (mut batches, mut rows) = (Vec::new(), 0);
    while rows < combination.run() {
        let Some(batch) = input.try_next().await? else {
            break;
        };
        rows += batch.num_rows();
        batches.push(batch);
    }
    if batches.is_empty() {
        return Ok(None);
    }
    let run = concat_batches(&input.schema(), &batches)?;
    combination.combine(&run).map(Some)
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
            let start = (Arc::clone(combination), input);
            let runs = stream::try_unfold(start, |(combination, mut input)| async move {
                let run = next_run(&combination, &mut input).await?;
                Ok::<_, DataFusionError>(run.map(|run| (run, (combination, input))))
            });
            let batches = runs.map_ok(|run| stream::iter(run.into_iter().map(Ok)));
            return Ok(Box::pin(RecordBatchStreamAdapter::new(
                self.schema(),
                batches.try_flatten(),
            )));
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
