//! Drops the repetitions within one input partition, before rows are exchanged.
//!
//! As with the partial step of an aggregation, a row that cannot be the first with its key anyway need not travel. What
//! is let through is the first row of each key in its partition, and maybe some that repeat it, so the first of all is among them. Where hardly a row
//! is dropped the step is not worth its cost and stands aside.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{BooleanArray, RecordBatch},
        compute::filter_record_batch,
        datatypes::SchemaRef,
    },
    error::Result,
    execution::TaskContext,
    physical_plan::{
        ExecutionPlan, PlanProperties, SendableRecordBatchStream, stream::RecordBatchStreamAdapter,
    },
};
use futures::{StreamExt, stream};

use super::{
    DUPLICATES,
    known::{KnownKeys, can_be_compared},
};
use crate::{
    node::{display_as, no_expressions, node_over, properties_of_input},
    report::{Outbox, Report},
    runtime::EpochRuntime,
};

/// Rows after which it is decided whether the step is worth its cost.
const ROWS_TO_JUDGE: usize = 64 * 1_024;

/// Where more than this share of the rows, in percent, is let through the step stands aside.
const MOST_LET_THROUGH: usize = 80;

/// Lets the first row of each key through in each partition, and counts the others that it drops as duplicates of `operator`.
#[derive(Debug, Clone)]
pub(super) struct LocalDedupExec {
    input: Arc<dyn ExecutionPlan>,
    operator: String,
    keys: Vec<usize>,
    /// The schema of the keys.
    key_schema: SchemaRef,
    properties: Arc<PlanProperties>,
}

impl LocalDedupExec {
    pub(super) fn new(
        input: Arc<dyn ExecutionPlan>,
        operator: String,
        keys: Vec<usize>,
        key_schema: SchemaRef,
    ) -> Self {
        Self {
            properties: properties_of_input(&input),
            input,
            operator,
            keys,
            key_schema,
        }
    }
}

/// One partition in one epoch.
struct FirstRows {
    keys: Vec<usize>,
    known: KnownKeys,
    rows: usize,
    is_worth_it: bool,
    dropped: Dropped,
}

/// Duplicates of one partition; reports them when dropped.
struct Dropped {
    operator: String,
    rows: usize,
    outbox: Outbox,
}

impl Drop for Dropped {
    fn drop(&mut self) {
        if self.rows > 0 {
            self.outbox.post(Report::Metric {
                operator: self.operator.clone(),
                name: DUPLICATES.to_owned(),
                value: self.rows as u64,
            });
        }
    }
}

/// Whether it pays to go on after `rows` rows of which `first` were let through.
fn is_worth_it(rows: usize, first: usize) -> bool {
    rows < ROWS_TO_JUDGE || first * 100 <= rows * MOST_LET_THROUGH
}

impl FirstRows {
    fn of(&mut self, batch: RecordBatch) -> Result<RecordBatch> {
        if !self.is_worth_it || batch.num_rows() == 0 {
            return Ok(batch);
        }
        let keys = self.keys.iter().map(|column| batch.column(*column));
        let repeated = self.known.repeated(keys.cloned().collect())?;
        let dropped = repeated.count_set_bits();
        self.rows += batch.num_rows();
        self.dropped.rows += dropped;
        self.is_worth_it = is_worth_it(self.rows, self.rows - self.dropped.rows);
        if dropped == 0 {
            return Ok(batch);
        }
        let wanted = BooleanArray::new(!&repeated, None);
        Ok(filter_record_batch(&batch, &wanted)?)
    }
}

display_as!(LocalDedupExec, |this, f| {
    write!(f, "LocalDedupExec: operator={}", this.operator)
});

impl ExecutionPlan for LocalDedupExec {
    node_over!("LocalDedupExec", [input], |this| {
        Ok(Arc::new(Self::new(
            input,
            this.operator.clone(),
            this.keys.clone(),
            Arc::clone(&this.key_schema),
        )))
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
        let first = FirstRows {
            keys: self.keys.clone(),
            known: KnownKeys::default(),
            rows: 0,
            is_worth_it: can_be_compared(&self.key_schema),
            dropped: Dropped {
                operator: self.operator.clone(),
                rows: 0,
                outbox: runtime.outbox.clone(),
            },
        };
        let input = self.input.execute(partition, context)?;
        let batches = stream::unfold((input, first), |(mut input, mut first)| async move {
            let batch = input.next().await?;
            let batch = batch.and_then(|batch| first.of(batch));
            Some((batch, (input, first)))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            self.schema(),
            batches.boxed(),
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_drops_little_stands_aside_once_it_knows() {
        assert!(is_worth_it(1_000, 1_000));
        assert!(is_worth_it(100_000, 80_000));
        assert!(!is_worth_it(100_000, 80_001));
    }
}
