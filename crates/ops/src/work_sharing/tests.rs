use std::{future::poll_fn, sync::PoisonError, time::Duration};

use datafusion::{
    arrow::{
        array::{AsArray, Int64Array},
        datatypes::{DataType, Field, Int64Type, Schema},
    },
    error::DataFusionError,
};
use futures::{
    FutureExt,
    channel::{mpsc, oneshot},
    stream::BoxStream,
};
use proptest::prelude::*;

use super::*;
use crate::origin::origins;

/// Only a failing test waits so long.
const A_LONG_WHILE: Duration = Duration::from_secs(10);

type Rows = BoxStream<'static, Result<RecordBatch>>;

/// Partitions with rows that are given.
struct GivenExec {
    partitions: Vec<std::sync::Mutex<Option<Rows>>>,
    properties: Arc<PlanProperties>,
}

impl std::fmt::Debug for GivenExec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("GivenExec")
    }
}

display_as!(GivenExec, |_this, f| write!(f, "GivenExec"));

impl ExecutionPlan for GivenExec {
    node_over!("GivenExec", [], |this| Ok(this));
    no_expressions!();

    fn execute(
        &self,
        partition: usize,
        _context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let rows = &self.partitions[partition];
        let rows = rows.lock().unwrap_or_else(PoisonError::into_inner).take();
        let rows = rows.expect("a partition is executed once");
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema(), rows)))
    }
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]))
}

fn batch(number: i64) -> Result<RecordBatch> {
    let column = Int64Array::from(vec![number; 2]);
    Ok(RecordBatch::try_new(schema(), vec![Arc::new(column)])?)
}

fn number(batch: &RecordBatch) -> i64 {
    batch.column(0).as_primitive::<Int64Type>().value(0)
}

fn given(partitions: Vec<Rows>) -> Arc<dyn ExecutionPlan> {
    Arc::new(GivenExec {
        properties: properties(schema(), partitions.len(), EmissionType::Incremental),
        partitions: partitions
            .into_iter()
            .map(|rows| std::sync::Mutex::new(Some(rows)))
            .collect(),
    })
}

/// Partitions of so many batches, numbered in order of arrival.
fn numbered(batches: &[usize]) -> Arc<dyn ExecutionPlan> {
    let mut next = 0;
    let partitions = batches.iter().map(|count| {
        let first = next;
        next += *count as i64;
        stream::iter((first..next).map(batch)).boxed()
    });
    given(partitions.collect())
}

fn execute(exec: &WorkSharingExec, partition: usize) -> SendableRecordBatchStream {
    exec.execute(partition, Arc::default()).unwrap()
}

async fn numbers(mut rows: SendableRecordBatchStream) -> Vec<i64> {
    let mut numbers = Vec::new();
    while let Some(batch) = rows.next().await {
        numbers.push(number(&batch.unwrap()));
    }
    numbers
}

#[tokio::test]
async fn who_has_no_rows_left_takes_those_of_others() {
    let exec = WorkSharingExec::over(numbered(&[2, 3]), false, true);
    assert_eq!(numbers(execute(&exec, 1)).await, [2, 3, 4, 0, 1]);
    assert!(numbers(execute(&exec, 0)).await.is_empty());
}

#[tokio::test]
async fn in_an_epoch_of_few_rows_each_keeps_its_own() {
    for tags in [false, true] {
        let exec = WorkSharingExec::over(numbered(&[2, 3]), tags, false);
        assert_eq!(numbers(execute(&exec, 1)).await, [2, 3, 4]);
        assert_eq!(numbers(execute(&exec, 0)).await, [0, 1]);
    }
}

#[tokio::test]
async fn nobody_ends_before_the_last_partition_has() {
    let (release, released) = oneshot::channel::<()>();
    let slow = stream::once(async move {
        released.await.unwrap();
        batch(7)
    });
    let exec = WorkSharingExec::over(
        given(vec![slow.boxed(), stream::empty().boxed()]),
        false,
        true,
    );
    let (mut slow, mut idle) = (execute(&exec, 0), execute(&exec, 1));
    let mut own = slow.next();
    assert!((&mut own).now_or_never().is_none());
    let mut others = idle.next();
    assert!((&mut others).now_or_never().is_none());
    release.send(()).unwrap();
    assert_eq!(number(&own.await.unwrap().unwrap()), 7);
    assert!(others.await.is_none());
    assert!(slow.next().await.is_none());
}

/// Without help of the scheduler the second reader is not run before the first one's task comes to rest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_works_its_batch_off_beside_the_next_one() {
    let (release, released) = oneshot::channel::<()>();
    let first = stream::once(async move {
        released.await.unwrap();
        batch(0)
    });
    let rows = first.chain(stream::iter([batch(1)])).boxed();
    let exec = WorkSharingExec::over(given(vec![rows, stream::empty().boxed()]), false, true);
    let (tell_waits, mut waits) = mpsc::unbounded();
    let (tell_number, told) = std::sync::mpsc::channel();
    let told = Arc::new(std::sync::Mutex::new(told));
    let readers = [0, 1].map(|reader| {
        let mut rows = execute(&exec, reader);
        let (waits, tell, told) = (tell_waits.clone(), tell_number.clone(), Arc::clone(&told));
        tokio::spawn(async move {
            let mut next = rows.next();
            let batch = poll_fn(|context| {
                let polled = next.poll_unpin(context);
                if polled.is_pending() {
                    waits.unbounded_send(()).unwrap();
                }
                polled
            });
            match number(&batch.await.unwrap().unwrap()) {
                // At work, without a pause in which its worker could run another task.
                0 => told.lock().unwrap().recv_timeout(A_LONG_WHILE),
                other => {
                    tell.send(other).unwrap();
                    Ok(other)
                }
            }
        })
    });
    for _ in &readers {
        waits.next().await.unwrap();
    }
    release.send(()).unwrap();
    for reader in readers {
        assert_eq!(reader.await.unwrap(), Ok(1), "it came beside the first");
    }
}

#[tokio::test]
async fn a_failure_is_told_once_and_does_not_keep_the_others() {
    let failing = stream::iter([batch(0), Err(DataFusionError::Internal("cut short".into()))]);
    let other = stream::iter([batch(5), batch(6)]);
    let exec = WorkSharingExec::over(given(vec![failing.boxed(), other.boxed()]), true, true);
    let mut rows = execute(&exec, 0);
    assert!(rows.next().await.unwrap().is_ok());
    let error = rows.next().await.unwrap().unwrap_err();
    assert!(error.to_string().contains("cut short"), "{error}");
    assert!(rows.next().await.is_none());
    assert_eq!(numbers(execute(&exec, 1)).await, [5, 6]);
}

#[test]
fn help_goes_where_the_fewest_readers_are() {
    let partitions = Partitions::new(3);
    let with_readers = |readers: [usize; 3]| {
        for (shared, readers) in partitions.0.iter().zip(readers) {
            shared.readers.store(readers, Relaxed);
        }
        &partitions
    };
    assert_eq!(with_readers([1, 1, 1]).choose(2), Some(2));
    assert_eq!(with_readers([2, 1, ENDED]).choose(2), Some(1));
    assert_eq!(with_readers([1, 1, ENDED]).choose(2), Some(0));
    assert_eq!(with_readers([ENDED, 1, ENDED + 1]).choose(2), Some(1));
    assert_eq!(with_readers([ENDED, ENDED, ENDED]).choose(0), None);
}

proptest! {
    /// Whoever reads when: each batch comes out once, origins tell the order of arrival, and what one reader takes from a
    /// partition is in order.
    #[test]
    fn origins_restore_the_order_of_arrival(
        batches in prop::collection::vec(0_usize..8, 1..5),
        schedule in prop::collection::vec(0_usize..4, 0..40),
    ) {
        let exec = WorkSharingExec::over(numbered(&batches), true, true);
        let mut readers: Vec<_> = (0..batches.len()).map(|n| execute(&exec, n)).collect();
        let until_the_end = (0..batches.len()).flat_map(|reader| vec![reader; 40]);
        let mut found: Vec<Vec<(u64, i64)>> = vec![Vec::new(); batches.len()];
        for reader in schedule.into_iter().chain(until_the_end) {
            let reader = reader % batches.len();
            if let Some(Some(batch)) = readers[reader].next().now_or_never() {
                let batch = batch.unwrap();
                found[reader].push((origins(&batch)[0], number(&batch)));
            }
        }
        // In an exchange the rows of a reader stay in order, those of several meet anyhow.
        found.reverse();
        let mut all = found.concat();
        all.sort_by_key(|(origin, _)| *origin);
        let numbers: Vec<i64> = all.into_iter().map(|(_, number)| number).collect();
        prop_assert_eq!(numbers, (0..batches.iter().sum::<usize>() as i64).collect::<Vec<_>>());
    }
}
