use std::sync::atomic::{AtomicBool, Ordering};

use datafusion::arrow::{
    array::{Int64Array, RecordBatch},
    datatypes::{DataType, Field, Schema},
};
use futures::FutureExt;
use headwater_core::{Epoch, ErrorKind, OutputMode, QueryId, RunId, Storage};
use headwater_log::MemoryStorage;
use uuid::Uuid;

use super::*;
use crate::testing::LedgerSink;

fn part() -> PartWrite {
    PartWrite {
        write: EpochWrite {
            query: QueryId(Uuid::from_u128(1)),
            run: RunId(Uuid::from_u128(2)),
            epoch: Epoch(0),
            mode: OutputMode::Append,
        },
        partition: 0,
    }
}

/// One row, and whether anybody has asked for it.
fn rows() -> (BatchStream, Arc<AtomicBool>) {
    let asked = Arc::new(AtomicBool::new(false));
    let schema = Schema::new(vec![Field::new("v", DataType::Int64, true)]);
    let column = Arc::new(Int64Array::from(vec![7]));
    let batch = RecordBatch::try_new(Arc::new(schema), vec![column]).unwrap();
    let noted = Arc::clone(&asked);
    let rows = stream::once(async move {
        noted.store(true, Ordering::SeqCst);
        Ok(batch)
    });
    (rows.boxed(), asked)
}

#[tokio::test]
async fn rows_are_worked_on_before_the_plan_is_recorded_and_written_after() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::default());
    let (recorded, when) = PlanRecorded::when();
    let sink = held_back(Arc::new(LedgerSink::new(Arc::clone(&storage))), when);
    let (rows, asked) = rows();
    let mut prepare = sink.prepare(part(), rows);
    assert!((&mut prepare).now_or_never().is_none(), "it waits");
    assert!(asked.load(Ordering::SeqCst), "for the record, not to begin");
    recorded.send(true).unwrap();
    let prepared = prepare.await.unwrap();
    assert_eq!(prepared.rows, 1);
    sink.publish(&part().write, &[prepared]).await.unwrap();
    assert_eq!(LedgerSink::rows(&storage).await, ["{\"v\":7}"]);
}

#[tokio::test]
async fn a_part_of_an_epoch_that_is_never_recorded_does_not_begin() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::default());
    let (recorded, when) = PlanRecorded::when();
    let sink = held_back(Arc::new(LedgerSink::new(storage)), when);
    let (rows, _) = rows();
    let preparing = sink.prepare(part(), rows);
    drop(recorded);
    assert_eq!(preparing.await.unwrap_err().kind(), ErrorKind::Internal);
}
