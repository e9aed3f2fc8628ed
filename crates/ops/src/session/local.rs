//! Gives the rows of a partition the bounds of the sessions that they make among themselves.
//!
//! What comes in are rows with the interval that each opens alone; what goes out are the same rows in the same order,
//! with the interval of their session instead, so that a partial aggregation by key, start and end has few groups. Rows
//! are taken a stretch at a time, to bound the memory: what belongs together but lies in two stretches is merged behind
//! the exchange, like what lies in two partitions.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{RecordBatch, UInt32Array},
        compute::{concat_batches, take_arrays},
        datatypes::SchemaRef,
    },
    common::tree_node::TreeNodeRecursion,
    error::Result,
    execution::TaskContext,
    physical_expr::PhysicalExpr,
    physical_plan::{
        ExecutionPlan, PlanProperties, SendableRecordBatchStream, execution_plan::EmissionType,
        stream::RecordBatchStreamAdapter,
    },
};
use futures::{TryStreamExt, stream};

use super::{
    intervals::{Intervals, sessions_of_rows},
    keys::{number_keys, time_numbers, times_of},
};
use crate::node::{display_as, node_over, properties};

/// Rows of a stretch: a second or so of a fast stream, a few megabytes.
const STRETCH_ROWS: usize = 128 * 1_024;

/// Replaces the interval of each row by that of the session it is part of.
#[derive(Debug, Clone)]
pub struct LocalSessionsExec {
    input: Arc<dyn ExecutionPlan>,
    keys: Vec<(Arc<dyn PhysicalExpr>, String)>,
    start: usize,
    end: usize,
    whole: bool,
    properties: Arc<PlanProperties>,
}

impl LocalSessionsExec {
    /// Sessions of rows of equal `keys`; columns number `start` and `end` hold the interval that a row opens. With
    /// `whole` the rows of a partition are taken all at once and put in order of time, those of one time in order of
    /// arrival: so a later step sees them, as recorded.
    pub fn try_new(
        input: Arc<dyn ExecutionPlan>,
        keys: Vec<(Arc<dyn PhysicalExpr>, String)>,
        start: usize,
        end: usize,
        whole: bool,
    ) -> Result<Self> {
        Ok(Self {
            properties: properties(
                input.schema(),
                input.properties().output_partitioning().partition_count(),
                EmissionType::Incremental,
            ),
            input,
            keys,
            start,
            end,
            whole,
        })
    }

    /// The rows of a stretch with the bounds of their sessions.
    fn bounded(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let keys = self
            .keys
            .iter()
            .map(|(key, _)| key.evaluate(rows)?.into_array(rows.num_rows()))
            .collect::<Result<Vec<_>>>()?;
        let keys = number_keys(&keys, rows.num_rows())?;
        let intervals = Intervals {
            keys: keys.of_rows,
            starts: time_numbers(rows.column(self.start))?.to_vec(),
            ends: time_numbers(rows.column(self.end))?.to_vec(),
        };
        let (starts, ends) = sessions_of_rows(&intervals, keys.count);
        let mut columns = rows.columns().to_vec();
        let by_time = (self.whole && !intervals.starts.is_sorted()).then(|| {
            let mut order: Vec<u32> = (0..).take(rows.num_rows()).collect();
            order.sort_by_key(|row| intervals.starts[*row as usize]);
            UInt32Array::from(order)
        });
        for (column, numbers) in [(self.start, starts), (self.end, ends)] {
            columns[column] = times_of(numbers, rows.column(column).data_type())?;
        }
        if let Some(order) = by_time {
            columns = take_arrays(&columns, &order, None)?;
        }
        Ok(RecordBatch::try_new(rows.schema(), columns)?)
    }
}

/// The next rows of `input`, at least `wanted` if there are as many; `None` at the end.
async fn next_stretch(
    input: &mut SendableRecordBatchStream,
    schema: &SchemaRef,
    wanted: usize,
) -> Result<Option<RecordBatch>> {
    let mut batches = Vec::new();
    let mut rows = 0;
    while rows < wanted
        && let Some(batch) = input.try_next().await?
    {
        rows += batch.num_rows();
        batches.push(batch);
    }
    Ok(match batches.as_slice() {
        [] => None,
        [batch] => Some(batch.clone()),
        batches => Some(concat_batches(schema, batches)?),
    })
}

display_as!(LocalSessionsExec, |this, f| {
    let keys: Vec<&str> = this.keys.iter().map(|(_, name)| name.as_str()).collect();
    write!(f, "LocalSessionsExec: keys=[{}]", keys.join(", "))
});

impl ExecutionPlan for LocalSessionsExec {
    node_over!("LocalSessionsExec", [input], |this| {
        Ok(Arc::new(Self::try_new(
            input,
            this.keys.clone(),
            this.start,
            this.end,
            this.whole,
        )?))
    });

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        let mut next = TreeNodeRecursion::Continue;
        for (key, _) in &self.keys {
            if next == TreeNodeRecursion::Stop {
                break;
            }
            next = f(key)?;
        }
        Ok(next)
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![false]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, context)?;
        let (local, schema) = (self.clone(), self.schema());
        let wanted = if self.whole { usize::MAX } else { STRETCH_ROWS };
        let batches = stream::try_unfold(input, move |mut input| {
            let (local, schema) = (local.clone(), Arc::clone(&schema));
            async move {
                let Some(rows) = next_stretch(&mut input, &schema, wanted).await? else {
                    return Ok(None);
                };
                Ok(Some((local.bounded(&rows)?, input)))
            }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            self.schema(),
            batches,
        )))
    }
}
