//! Rows of the next epoch, read while the present one ends.
//!
//! When the scans of an epoch have ended ([`ScansEnd`]), processors begin to idle: state and output are encoded, written
//! and made durable. Meanwhile tasks read what the next epoch will probably take, up to a limit of memory, and hold it.
//! A scan that is then given these splits takes over what was read and reads on where the task has stopped; nothing
//! else can tell the difference, and what nobody takes is dropped.

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use datafusion::{
    arrow::array::RecordBatch,
    common::{
        runtime::SpawnedTask,
        tree_node::{TreeNode, TreeNodeRecursion},
    },
    execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation},
    physical_plan::ExecutionPlan,
};
use futures::{StreamExt, future::Either, stream};
use headwater_core::{BatchStream, Result, Source, Split};
use tokio::sync::{Notify, oneshot};

use crate::{
    beside::let_others_run_who_is_woken,
    scan::{ScanColumns, SourceScanExec},
};

/// Tells when all scans of an epoch have ended.
#[derive(Debug)]
pub struct ScansEnd {
    /// Partitions of scans that have not ended.
    left: AtomicUsize,
    ended: Notify,
}

impl ScansEnd {
    /// Of an epoch that runs `plan`.
    pub fn of(plan: &Arc<dyn ExecutionPlan>) -> Self {
        let mut partitions = 0;
        each_scan(plan, |scan| partitions += scan.partitions());
        Self {
            left: AtomicUsize::new(partitions),
            ended: Notify::new(),
        }
    }

    /// One of the partitions, which ends when this is dropped.
    pub(crate) fn one_of(self: &Arc<Self>) -> UntilTheEnd {
        UntilTheEnd(Arc::clone(self))
    }

    /// The plan has run: a partition that it has not executed will not be read any more.
    pub fn plan_has_run(&self) {
        self.ended.notify_one();
    }

    /// Resolves when all have ended or the plan has run; to be awaited once.
    pub async fn all(&self) {
        self.ended.notified().await;
    }
}

/// Held while a partition of a scan is read.
#[derive(Debug)]
pub(crate) struct UntilTheEnd(Arc<ScansEnd>);

impl Drop for UntilTheEnd {
    fn drop(&mut self) {
        if self.0.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.ended.notify_one();
            let_others_run_who_is_woken();
        }
    }
}

/// What is read, and what has been read, for the scans of the next epoch.
#[derive(Default)]
pub struct ReadAhead {
    readings: Mutex<Vec<Reading>>,
}

/// One partition of one scan.
struct Reading {
    source_id: usize,
    partition: usize,
    columns: ScanColumns,
    task: SpawnedTask<Held>,
    /// Dropped when the scan wants its rows.
    stop: oneshot::Sender<()>,
}

/// Rows that were read, and where to read on.
struct Held {
    batches: VecDeque<Result<RecordBatch>>,
    /// `None` if the stream has ended.
    rest: Option<BatchStream>,
    memory: MemoryReservation,
}

impl fmt::Debug for ReadAhead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadAhead")
            .field("readings", &self.lock().len())
            .finish()
    }
}

impl ReadAhead {
    /// Begins to read for the scans of `plan`, as if they were given these splits by source number, holding about
    /// `limit` bytes at most and no more than `pool` has. A source without splits is not read.
    pub fn begin(
        plan: &Arc<dyn ExecutionPlan>,
        sources: &[Arc<dyn Source>],
        splits: &[Vec<Split>],
        limit: usize,
        pool: &Arc<dyn MemoryPool>,
    ) -> Self {
        let mut wanted = Vec::new();
        each_scan(plan, |scan| {
            let id = scan.source_id();
            let (Some(source), Some(splits)) = (sources.get(id), splits.get(id)) else {
                return;
            };
            for (partition, splits) in scan.deal(splits).into_iter().enumerate() {
                if !splits.is_empty() {
                    let columns = scan.columns().clone();
                    wanted.push((Arc::clone(source), id, partition, columns, splits));
                }
            }
        });
        let share = limit / wanted.len().max(1);
        let readings = wanted
            .into_iter()
            .map(|(source, source_id, partition, columns, splits)| {
                let rows = columns.clone().of_splits(source, splits);
                let memory = MemoryConsumer::new("rows read ahead").register(pool);
                let (stop, stopped) = oneshot::channel();
                Reading {
                    source_id,
                    partition,
                    columns,
                    task: SpawnedTask::spawn(hold(rows, share, memory, stopped)),
                    stop,
                }
            })
            .collect();
        Self {
            readings: Mutex::new(readings),
        }
    }

    /// Drops what was read of a source, which turned out to offer something else.
    pub fn forget(&self, source_id: usize) {
        self.lock().retain(|reading| reading.source_id != source_id);
    }

    /// The rows of a partition of a scan, from the first on; `None` if they were not read ahead.
    pub(crate) async fn take(
        &self,
        source_id: usize,
        partition: usize,
        columns: &ScanColumns,
    ) -> Option<BatchStream> {
        let reading = {
            let mut readings = self.lock();
            let position = readings.iter().position(|reading| {
                reading.source_id == source_id
                    && reading.partition == partition
                    && reading.columns == *columns
            });
            readings.swap_remove(position?)
        };
        drop(reading.stop);
        // A task that panicked will do so again in the scan, which reports it.
        Some(reading.task.join().await.ok()?.into_rows())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Reading>> {
        // The list is never left half changed.
        self.readings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads until the rows end, fail, are asked for, or take more than `limit` bytes.
async fn hold(
    mut rows: BatchStream,
    limit: usize,
    memory: MemoryReservation,
    mut stopped: oneshot::Receiver<()>,
) -> Held {
    let mut batches = VecDeque::new();
    while memory.size() < limit {
        let next = match futures::future::select(&mut stopped, rows.next()).await {
            Either::Left(_) => break,
            Either::Right((next, _)) => next,
        };
        let Some(batch) = next else {
            return Held {
                batches,
                rest: None,
                memory,
            };
        };
        let bytes = batch.as_ref().map_or(0, RecordBatch::get_array_memory_size);
        let is_last = batch.is_err() || memory.try_grow(bytes).is_err();
        batches.push_back(batch);
        if is_last {
            break;
        }
        // Rows that are always ready would keep the thread from everything else.
        tokio::task::yield_now().await;
    }
    Held {
        batches,
        rest: Some(rows),
        memory,
    }
}

impl Held {
    fn into_rows(self) -> BatchStream {
        let Self {
            batches,
            rest,
            memory,
        } = self;
        let held = stream::iter(batches).inspect(move |batch| {
            let bytes = batch.as_ref().map_or(0, RecordBatch::get_array_memory_size);
            // The last batch may not have been accounted for.
            memory.shrink(bytes.min(memory.size()));
        });
        match rest {
            Some(rest) => held.chain(rest).boxed(),
            None => held.boxed(),
        }
    }
}

fn each_scan(plan: &Arc<dyn ExecutionPlan>, mut visit: impl FnMut(&SourceScanExec)) {
    // The closure never fails, so neither does the walk.
    let _ = plan.apply(|node| {
        if let Some(scan) = node.downcast_ref::<SourceScanExec>() {
            visit(scan);
        }
        Ok(TreeNodeRecursion::Continue)
    });
}

#[cfg(test)]
mod tests;
