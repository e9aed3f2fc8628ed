//! Drops rows that come after the watermark, and counts them.
//!
//! Stands below the partial aggregation, so that what is late is counted per (row, operator, window). It uses the
//! watermark of the epoch before: rows of one epoch are never late against each other.

use std::sync::Arc;

use datafusion::{
    arrow::{array::RecordBatch, compute::filter_record_batch},
    error::Result,
    execution::TaskContext,
    physical_plan::{
        ExecutionPlan, PlanProperties, SendableRecordBatchStream, stream::RecordBatchStreamAdapter,
    },
};
use futures::StreamExt;
use headwater_core::Watermark;

use crate::{
    binding::{BindEpoch, EpochBinding},
    expiry::Expiry,
    node::{display_as, no_expressions, properties_of_input, unary_node},
    report::{Outbox, Report},
    runtime::EpochRuntime,
};

/// Lets through the rows that are not late for `operator`.
#[derive(Debug, Clone)]
pub struct LateFilterExec {
    input: Arc<dyn ExecutionPlan>,
    operator: String,
    expiry: Expiry,
    watermark: Watermark,
    properties: Arc<PlanProperties>,
}

impl LateFilterExec {
    /// A late filter in front of the stateful operator `operator`.
    pub fn new(input: Arc<dyn ExecutionPlan>, operator: String, expiry: Expiry) -> Self {
        Self {
            properties: properties_of_input(&input),
            input,
            operator,
            expiry,
            watermark: Watermark::START,
        }
    }
}

impl BindEpoch for LateFilterExec {
    fn bind_epoch(&self, binding: &EpochBinding) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Self {
            watermark: binding.late_watermark,
            ..self.clone()
        }))
    }
}

display_as!(LateFilterExec, |this, f| {
    write!(
        f,
        "LateFilterExec: operator={}, time={}, watermark={}",
        this.operator,
        this.schema().field(this.expiry.column).name(),
        this.watermark
    )
});

/// Late rows of one partition; reports them when dropped.
struct LateCount {
    operator: String,
    rows: u64,
    outbox: Outbox,
}

impl LateCount {
    fn add(&mut self, rows: usize) {
        self.rows += rows as u64;
    }
}

impl Drop for LateCount {
    fn drop(&mut self) {
        if self.rows > 0 {
            self.outbox.post(Report::LateRows {
                operator: self.operator.clone(),
                rows: self.rows,
            });
        }
    }
}

impl ExecutionPlan for LateFilterExec {
    unary_node!("LateFilterExec", |this, input| {
        Ok(Arc::new(Self {
            watermark: this.watermark,
            ..Self::new(input, this.operator.clone(), this.expiry)
        }))
    });
    no_expressions!();

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let runtime = EpochRuntime::of(&context)?;
        let mut late = LateCount {
            operator: self.operator.clone(),
            rows: 0,
            outbox: runtime.outbox.clone(),
        };
        let (expiry, watermark) = (self.expiry, self.watermark);
        let batches =
            self.input
                .execute(partition, context)?
                .map(move |batch| -> Result<RecordBatch> {
                    let batch = batch?;
                    match expiry.alive(batch.columns(), watermark)? {
                        None => Ok(batch),
                        Some(alive) => {
                            let kept = filter_record_batch(&batch, &alive)?;
                            late.add(batch.num_rows() - kept.num_rows());
                            Ok(kept)
                        }
                    }
                });
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            self.schema(),
            batches,
        )))
    }
}
