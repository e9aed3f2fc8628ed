//! Drops the repetitions within one input partition, before rows are exchanged.
//!
//! As with the partial step of an aggregation, a row that cannot be the first with its key anyway need not travel. What
//! is let through is the first row of each key in its partition, and maybe some that repeat it, so the first of all is
//! among them. Where hardly a row is dropped the step is not worth its cost and stands aside.
//!
//! A partition that helps another one reads rows that came before its own: from then on it knows no keys, for those that
//! it knew came later.

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
    origin::origins,
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
    /// Whether rows are tagged with their origin, all of a batch with the same.
    tagged: bool,
    properties: Arc<PlanProperties>,
}

impl LocalDedupExec {
    pub(super) fn new(
        input: Arc<dyn ExecutionPlan>,
        operator: String,
        keys: Vec<usize>,
        key_schema: SchemaRef,
        tagged: bool,
    ) -> Self {
        Self {
            properties: properties_of_input(&input),
            input,
            operator,
            keys,
            key_schema,
            tagged,
        }
    }
}

/// One partition in one epoch.
struct FirstRows {
    keys: Vec<usize>,
    known: KnownKeys,
    /// The origin of the last batch, if rows are tagged.
    origin: Option<u64>,
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
        if let Some(last) = &mut self.origin {
            let origin = origins(&batch)[0];
            if origin < *last {
                self.known = KnownKeys::default();
            }
            *last = origin;
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
            this.tagged,
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
            origin: self.tagged.then_some(0),
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
    use datafusion::arrow::{
        array::{ArrayRef, Int64Array},
        datatypes::{DataType, Field, Schema},
    };

    use super::*;
    use crate::origin::{origin, tag, tagged_schema};

    #[test]
    fn rows_that_came_earlier_are_no_repetitions_of_later_ones() {
        let plain = Arc::new(Schema::new(vec![Field::new("k", DataType::Int64, true)]));
        let tagged = tagged_schema(&plain);
        let mut first = FirstRows {
            keys: vec![0],
            known: KnownKeys::default(),
            origin: Some(0),
            rows: 0,
            is_worth_it: true,
            dropped: Dropped {
                operator: "dedup-0".to_owned(),
                rows: 0,
                outbox: Outbox::default(),
            },
        };
        let mut let_through = |partition, turn, keys: Vec<i64>| {
            let keys: ArrayRef = Arc::new(Int64Array::from(keys));
            let batch = RecordBatch::try_new(Arc::clone(&plain), vec![keys]).unwrap();
            let batch = tag(&batch, origin(partition, turn), &tagged).unwrap();
            first.of(batch).unwrap().num_rows()
        };
        assert_eq!(let_through(1, 0, vec![1, 2, 1]), 2);
        assert_eq!(let_through(1, 2, vec![2, 3]), 1, "known");
        assert_eq!(
            let_through(0, 1, vec![2, 4]),
            2,
            "2 came earlier than the one known"
        );
        assert_eq!(let_through(0, 3, vec![4, 1]), 1);
        assert_eq!(
            let_through(2, 0, vec![4, 5]),
            1,
            "all that is known came earlier"
        );
    }

    #[test]
    fn a_step_that_drops_little_stands_aside_once_it_knows() {
        assert!(is_worth_it(1_000, 1_000));
        assert!(is_worth_it(100_000, 80_000));
        assert!(!is_worth_it(100_000, 80_001));
    }
}
