//! The root of a streaming plan: hands each partition to the sink and gives the driver its reports.

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
use headwater_core::{Epoch, EpochWrite, OutputMode, PartWrite, QueryId, RunId};

use crate::{
    binding::{BindEpoch, EpochBinding},
    node::{display_as, no_expressions, node_over, properties},
    report::{Report, encode, report_schema},
    runtime::{EpochRuntime, external, from_datafusion},
};

/// Prepares every partition of the input in the sink; its own rows are reports.
///
/// Everything an operator below reports is posted before its stream ends, so whoever ends last collects the rest.
#[derive(Debug, Clone)]
pub struct SinkExec {
    input: Arc<dyn ExecutionPlan>,
    write: EpochWrite,
    properties: Arc<PlanProperties>,
}

impl SinkExec {
    /// A sink for the rows of `input`.
    pub fn new(input: Arc<dyn ExecutionPlan>) -> Self {
        Self {
            properties: properties(
                report_schema(),
                input.properties().output_partitioning().partition_count(),
                EmissionType::Final,
            ),
            input,
            write: EpochWrite {
                query: QueryId(uuid::Uuid::nil()),
                run: RunId(uuid::Uuid::nil()),
                epoch: Epoch::FIRST,
                mode: OutputMode::Append,
            },
        }
    }
}

impl BindEpoch for SinkExec {
    fn bind_epoch(&self, binding: &EpochBinding) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Self {
            write: binding.write,
            ..self.clone()
        }))
    }
}

display_as!(SinkExec, |this, f| write!(
    f,
    "SinkExec: mode={}",
    this.write.mode
));

impl ExecutionPlan for SinkExec {
    node_over!("SinkExec", [input], |this| {
        Ok(Arc::new(Self {
            write: this.write,
            ..Self::new(input)
        }))
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
        let runtime = EpochRuntime::of(&context)?;
        let part = PartWrite {
            write: self.write,
            partition,
        };
        let rows = self
            .input
            .execute(partition, context)?
            .map_err(from_datafusion)
            .try_filter(|batch| std::future::ready(batch.num_rows() > 0))
            .boxed();
        let reports = stream::once(async move {
            let part = runtime.sink.prepare(part, rows).await.map_err(external)?;
            runtime.unread.read().await?;
            runtime.outbox.post(Report::Part { part });
            encode(&runtime.outbox.drain()).map_err(external)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            self.schema(),
            reports,
        )))
    }
}
