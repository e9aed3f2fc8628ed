use std::{pin::pin, time::Duration};

use datafusion::{
    arrow::{
        array::{Int64Array, RecordBatch, cast::AsArray},
        datatypes::{DataType, Field, Int64Type, Schema},
    },
    execution::memory_pool::{GreedyMemoryPool, UnboundedMemoryPool},
};
use futures::TryStreamExt;
use headwater_core::Error;

use super::*;

fn batch(number: i64) -> RecordBatch {
    let schema = Schema::new(vec![Field::new("n", DataType::Int64, true)]);
    let column = Int64Array::from(vec![number; 128]);
    RecordBatch::try_new(Arc::new(schema), vec![Arc::new(column)]).unwrap()
}

async fn held(rows: Vec<Result<RecordBatch>>, limit: usize, pool: &Arc<dyn MemoryPool>) -> Held {
    let memory = MemoryConsumer::new("test").register(pool);
    let (stop, stopped) = oneshot::channel();
    let held = hold(stream::iter(rows).boxed(), limit, memory, stopped).await;
    drop(stop);
    held
}

async fn numbers(held: Held) -> Result<Vec<i64>> {
    let batches: Vec<RecordBatch> = held.into_rows().try_collect().await?;
    let number = |batch: &RecordBatch| batch.column(0).as_primitive::<Int64Type>().value(0);
    Ok(batches.iter().map(number).collect())
}

#[tokio::test]
async fn all_rows_come_once_and_in_order_however_many_were_held() -> Result<()> {
    let one = batch(0).get_array_memory_size();
    let unbounded: Arc<dyn MemoryPool> = Arc::new(UnboundedMemoryPool::default());
    let tight: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(2 * one));
    for (pool, limit, expected) in [
        (&unbounded, 0, 0),
        (&unbounded, 1, 1),
        (&unbounded, 3 * one, 3),
        (&unbounded, 100 * one, 5),
        // The third does not fit, and is not read twice for that.
        (&tight, 100 * one, 3),
    ] {
        let held = held((0..5).map(|n| Ok(batch(n))).collect(), limit, pool).await;
        assert_eq!(held.batches.len(), expected, "limit {limit}");
        assert_eq!(numbers(held).await?, [0, 1, 2, 3, 4]);
        assert_eq!(pool.reserved(), 0, "nothing is left accounted for");
    }
    Ok(())
}

#[tokio::test]
async fn an_error_comes_where_it_came_while_reading_ahead() {
    let pool: Arc<dyn MemoryPool> = Arc::new(UnboundedMemoryPool::default());
    let rows = vec![Ok(batch(0)), Err(Error::data("cut short")), Ok(batch(1))];
    let mut rows = held(rows, usize::MAX, &pool).await.into_rows();
    assert!(rows.next().await.unwrap().is_ok());
    let error = rows.next().await.unwrap().unwrap_err();
    assert_eq!(error.message(), "cut short");
}

#[tokio::test]
async fn who_asks_for_the_rows_does_not_wait_for_those_that_have_not_come() {
    let pool: Arc<dyn MemoryPool> = Arc::new(UnboundedMemoryPool::default());
    let memory = MemoryConsumer::new("test").register(&pool);
    let (stop, stopped) = oneshot::channel();
    let rows = stream::iter([Ok(batch(7))]).chain(stream::pending());
    let reading = tokio::spawn(hold(rows.boxed(), usize::MAX, memory, stopped));
    while pool.reserved() == 0 {
        tokio::task::yield_now().await;
    }
    drop(stop);
    let held = reading.await.unwrap();
    assert_eq!(held.batches.len(), 1);
    assert!(held.rest.is_some());
}

#[tokio::test]
async fn a_scan_that_is_not_executed_keeps_nobody_waiting_once_the_plan_has_run() {
    let end = Arc::new(ScansEnd {
        left: AtomicUsize::new(2),
        ended: Notify::new(),
    });
    drop(end.one_of());
    assert!(futures::FutureExt::now_or_never(end.all()).is_none());
    end.plan_has_run();
    end.all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_the_scans_runs_beside_what_follows_the_last_one() {
    let end = Arc::new(ScansEnd {
        left: AtomicUsize::new(1),
        ended: Notify::new(),
    });
    let (reads, has_read) = std::sync::mpsc::channel();
    let (tell_waits, waits) = oneshot::channel();
    let waiting = Arc::clone(&end);
    let reading = tokio::spawn(async move {
        let mut all = pin!(waiting.all());
        assert!(futures::poll!(&mut all).is_pending());
        tell_waits.send(()).unwrap();
        all.await;
        reads.send(()).unwrap();
    });
    waits.await.unwrap();
    let scanning = tokio::spawn(async move {
        drop(end.one_of());
        // At work on what was read, without a pause in which its worker could run another task.
        has_read.recv_timeout(Duration::from_secs(10))
    });
    assert_eq!(scanning.await.unwrap(), Ok(()));
    reading.await.unwrap();
}
