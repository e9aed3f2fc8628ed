//! Partitions of an epoch help each other: whoever has come to the end of its own rows takes batches from another one.
//!
//! Splits are dealt out evenly, but processors are not equally fast and files are not cut at every row. Without help one
//! processor waits at the end of nearly each epoch for another to come through its rows. Sharing is by batch, as the
//! morsels of Leis et al. are (*Morsel-Driven Parallelism*, SIGMOD 2014): below this node whoever asks next reads on, one
//! at a time; what is done to the batch above it is done side by side. So even the rows of one file that nothing can cut
//! are worked on by all processors.
//!
//! Which partition a row comes out of is therefore no longer known beforehand. Where the order of arrival matters,
//! batches are tagged with their origin: the partition, and a number that rises whenever another reader takes over. The
//! batches that one reader takes from one partition are in order.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use datafusion::{
    arrow::{array::RecordBatch, datatypes::SchemaRef},
    common::tree_node::{TreeNode, TreeNodeRecursion},
    error::Result,
    execution::TaskContext,
    physical_plan::{
        ExecutionPlan, PlanProperties, SendableRecordBatchStream,
        aggregates::{AggregateExec, AggregateMode},
        execution_plan::{
            ChildrenPropertiesMode, EmissionType, ExecutionPlanProperties, ReplaceChildrenOptions,
        },
        filter::FilterExec,
        projection::ProjectionExec,
        stream::RecordBatchStreamAdapter,
        union::UnionExec,
    },
};
use futures::{StreamExt, stream};
use tokio::sync::Mutex;

use crate::{
    beside::let_others_run_who_is_woken,
    binding::{BindEpoch, EpochBinding},
    epoch_time::EpochTimeExec,
    event_time::EventTimeExec,
    late::LateFilterExec,
    node::{display_as, no_expressions, node_over, properties},
    origin::{TagOriginExec, origin, tag, tag_all, tagged_schema},
    scan::SourceScanExec,
    session::LocalSessionsExec,
    window::{AssignSlicesExec, AssignWindowsExec, ExpandSlicesExec},
};

/// An epoch of fewer rows is over before help would come, and its rows stay where they were dealt to.
const LEAST_ROWS: u64 = 64 * 1_024;

/// Lets the partitions of `plan` share the work on the rows of its sources, for an operator to whose answer their order
/// does not matter. To be called once the plan is final.
///
/// # Errors
/// None but defects of planning: a node that cannot be rebuilt.
pub(crate) fn share_work(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    if reads_rows(&plan) {
        return Ok(if has_partitions(&plan) {
            Arc::new(WorkSharingExec::new(plan, false))
        } else {
            plan
        });
    }
    let is_partial = plan
        .downcast_ref::<AggregateExec>()
        .is_some_and(|aggregate| *aggregate.mode() == AggregateMode::Partial);
    let is_in_between = is_partial
        || passes_rows_on(&plan)
        || plan.is::<ExpandSlicesExec>()
        || plan.is::<LocalSessionsExec>()
        || plan.is::<UnionExec>();
    if !is_in_between {
        return Ok(plan);
    }
    let inputs = plan.children().into_iter().cloned().map(share_work);
    let inputs = inputs.collect::<Result<Vec<_>>>()?;
    let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
    plan.replace_children(inputs, options)
}

/// The rows of `plan` tagged with their origin, in ascending order of it for each reader and partition; work is shared
/// where it can be.
pub(crate) fn share_work_by_origin(plan: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    if reads_rows(&plan) && has_partitions(&plan) {
        Arc::new(WorkSharingExec::new(plan, true))
    } else {
        Arc::new(TagOriginExec::new(plan))
    }
}

fn has_partitions(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.output_partitioning().partition_count() > 1
}

/// Whether `plan` is a scan and what is done to each of its rows by itself.
fn reads_rows(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.is::<SourceScanExec>()
        || passes_rows_on(plan) && plan.children().into_iter().all(reads_rows)
}

/// Whether a node looks at each row by itself.
fn passes_rows_on(node: &Arc<dyn ExecutionPlan>) -> bool {
    node.is::<FilterExec>()
        || node.is::<ProjectionExec>()
        || node.is::<EventTimeExec>()
        || node.is::<EpochTimeExec>()
        || node.is::<LateFilterExec>()
        || node.is::<AssignWindowsExec>()
        || node.is::<AssignSlicesExec>()
}

/// Gives out the rows of its input, each once, in whatever partition asks for them.
#[derive(Debug, Clone)]
pub(crate) struct WorkSharingExec {
    input: Arc<dyn ExecutionPlan>,
    /// Whether rows are tagged with their origin.
    tags: bool,
    /// Whether the epoch has enough rows.
    is_worth_it: bool,
    partitions: Arc<Partitions>,
    properties: Arc<PlanProperties>,
}

impl WorkSharingExec {
    fn new(input: Arc<dyn ExecutionPlan>, tags: bool) -> Self {
        Self::over(input, tags, false)
    }

    fn over(input: Arc<dyn ExecutionPlan>, tags: bool, is_worth_it: bool) -> Self {
        let count = input.output_partitioning().partition_count();
        let schema = if tags {
            tagged_schema(&input.schema())
        } else {
            input.schema()
        };
        Self {
            properties: properties(schema, count, EmissionType::Incremental),
            partitions: Arc::new(Partitions::new(count)),
            input,
            tags,
            is_worth_it,
        }
    }

    /// Rows that the epoch has, as far as its sources know.
    fn rows(&self) -> u64 {
        let mut rows = 0_u64;
        // The closure never fails, so neither does the walk.
        let _ = self.input.apply(|node| {
            if let Some(scan) = node.downcast_ref::<SourceScanExec>() {
                rows = rows.saturating_add(scan.estimated_rows());
            }
            Ok(TreeNodeRecursion::Continue)
        });
        rows
    }
}

impl BindEpoch for WorkSharingExec {
    fn bind_epoch(&self, _binding: &EpochBinding) -> Result<Arc<dyn ExecutionPlan>> {
        let is_worth_it = self.rows() >= LEAST_ROWS;
        Ok(Arc::new(Self::over(
            Arc::clone(&self.input),
            self.tags,
            is_worth_it,
        )))
    }
}

/// The partitions of the input in one epoch.
#[derive(Debug)]
struct Partitions(Vec<Shared>);

/// A partition that several may read.
struct Shared {
    /// Readers that are at it; [`ENDED`] once it has no more rows.
    readers: AtomicUsize,
    rows: Mutex<Reading>,
}

/// In place of a number of readers.
const ENDED: usize = usize::MAX / 2;

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("readers", &self.readers)
            .finish_non_exhaustive()
    }
}

/// How far a partition has been read.
struct Reading {
    /// `None` before the first batch and after the last.
    stream: Option<SendableRecordBatchStream>,
    /// Who took the last batch.
    reader: usize,
    /// How often another one has taken over.
    turn: u64,
}

impl Partitions {
    fn new(count: usize) -> Self {
        let shared = |partition| Shared {
            readers: AtomicUsize::new(0),
            rows: Mutex::new(Reading {
                stream: None,
                reader: partition,
                turn: 0,
            }),
        };
        Self((0..count).map(shared).collect())
    }

    /// The partition that needs `reader` most: its own, or else that with the fewest readers, from the next one on.
    fn choose(&self, reader: usize) -> Option<usize> {
        let count = self.0.len();
        let others = (1..count).map(|step| (reader + step) % count);
        let readers = |partition: &usize| self.0[*partition].readers.load(Relaxed);
        let open = |partition: &usize| readers(partition) < ENDED;
        Some(reader)
            .filter(open)
            .or_else(|| others.filter(open).min_by_key(readers))
    }
}

impl Shared {
    /// The next batch of the partition and its turn; `None` if there is none. `begin` begins to read it.
    async fn next(
        &self,
        reader: usize,
        begin: impl FnOnce() -> Result<SendableRecordBatchStream>,
    ) -> Result<Option<(RecordBatch, u64)>> {
        let next = self.locked_next(reader, begin).await;
        if self.readers.load(Relaxed) > 1 {
            let_others_run_who_is_woken();
        }
        next
    }

    /// The same; whoever waits for it is woken at the end.
    async fn locked_next(
        &self,
        reader: usize,
        begin: impl FnOnce() -> Result<SendableRecordBatchStream>,
    ) -> Result<Option<(RecordBatch, u64)>> {
        let mut reading = self.rows.lock().await;
        if self.readers.load(Relaxed) >= ENDED {
            return Ok(None);
        }
        let stream = match &mut reading.stream {
            Some(stream) => stream,
            none => none.insert(begin()?),
        };
        let batch = match stream.next().await {
            Some(Ok(batch)) => batch,
            end => {
                // What nodes below have to report they report when their stream is dropped: before anyone ends.
                reading.stream = None;
                self.readers.store(ENDED, Relaxed);
                return end.transpose().map(|_| None);
            }
        };
        if reading.reader != reader {
            reading.reader = reader;
            reading.turn += 1;
        }
        Ok(Some((batch, reading.turn)))
    }
}

/// One partition of the output: who reads, and where.
struct Reader {
    exec: WorkSharingExec,
    context: Arc<TaskContext>,
    number: usize,
    at: Option<usize>,
}

impl Reader {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        let partitions = Arc::clone(&self.exec.partitions);
        loop {
            let at = match self.at {
                Some(at) => at,
                None => match partitions.choose(self.number) {
                    Some(at) => at,
                    None => return Ok(None),
                },
            };
            let shared = &partitions.0[at];
            if self.at.is_none() {
                shared.readers.fetch_add(1, Relaxed);
                self.at = Some(at);
            }
            let begin = || self.exec.input.execute(at, Arc::clone(&self.context));
            match shared.next(self.number, begin).await? {
                Some((batch, turn)) if self.exec.tags => {
                    return tag(&batch, origin(at, turn), &self.exec.schema()).map(Some);
                }
                Some((batch, _)) => return Ok(Some(batch)),
                None => self.at = None,
            }
        }
    }
}

display_as!(WorkSharingExec, |this, f| {
    write!(f, "WorkSharingExec: tagged={}", this.tags)
});

impl ExecutionPlan for WorkSharingExec {
    node_over!("WorkSharingExec", [input], |this| Ok(Arc::new(Self::over(
        input,
        this.tags,
        this.is_worth_it
    ))));
    no_expressions!();

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let schema: SchemaRef = self.schema();
        if !self.is_worth_it {
            let rows = self.input.execute(partition, context)?;
            return Ok(if self.tags {
                tag_all(rows, origin(partition, 0), schema)
            } else {
                rows
            });
        }
        let reader = Reader {
            exec: self.clone(),
            context,
            number: partition,
            at: None,
        };
        let rows = stream::try_unfold(reader, |mut reader| async move {
            let batch = reader.next().await?;
            Ok(batch.map(|batch| (batch, reader)))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }
}

#[cfg(test)]
mod tests;
