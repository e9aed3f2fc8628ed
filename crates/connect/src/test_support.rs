//! Short words for the tests of this crate: contexts, batches of one column of numbers, and what is read back.

use std::{num::NonZeroU64, sync::Arc};

use arrow::{
    array::{AsArray, Int64Array, RecordBatch},
    datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimestampMicrosecondType},
};
use futures::{StreamExt, TryStreamExt, stream};
use headwater_core::{
    Admission, BatchStream, Discovery, Epoch, EpochWrite, Offset, OffsetRange, OutputMode,
    PartWrite, PreparedPart, QueryId, RunId, Sink, SinkContext, Source, SourceContext,
    clock::ManualClock,
};
use headwater_log::store::MemoryStorage;
use uuid::Uuid;

pub(crate) fn source_context() -> SourceContext {
    source_context_at(0).0
}

pub(crate) fn source_context_at(millis: i64) -> (SourceContext, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(millis));
    let context = SourceContext {
        source_id: 0,
        storage: Arc::new(MemoryStorage::new()),
        clock: Arc::clone(&clock) as _,
        retained: NonZeroU64::MIN,
    };
    (context, clock)
}

pub(crate) fn sink_context(mode: OutputMode) -> SinkContext {
    SinkContext {
        query: QueryId(Uuid::from_u128(1)),
        query_name: None,
        schema: numbers_schema(),
        mode,
        is_late: false,
        storage: Arc::new(MemoryStorage::new()),
        clock: Arc::new(ManualClock::at(0)),
    }
}

pub(crate) fn write(epoch: u64, mode: OutputMode) -> EpochWrite {
    EpochWrite {
        query: QueryId(Uuid::from_u128(1)),
        run: RunId(Uuid::from_u128(2)),
        epoch: Epoch(epoch),
        mode,
    }
}

pub(crate) fn part(write: &EpochWrite, partition: usize) -> PartWrite {
    PartWrite {
        write: *write,
        partition,
    }
}

/// One column `n`.
pub(crate) fn numbers_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]))
}

pub(crate) fn numbers(values: &[i64]) -> RecordBatch {
    let column = Arc::new(Int64Array::from(values.to_vec()));
    RecordBatch::try_new(numbers_schema(), vec![column]).expect("one column of numbers")
}

/// The values of the first column.
pub(crate) fn numbers_in(batches: &[RecordBatch]) -> Vec<i64> {
    batches
        .iter()
        .flat_map(|batch| {
            batch
                .column(0)
                .as_primitive::<Int64Type>()
                .values()
                .to_vec()
        })
        .collect()
}

pub(crate) fn rows_of(values: &[i64]) -> BatchStream {
    stream::iter([Ok(numbers(values))]).boxed()
}

/// Takes an epoch through a sink as the engine does; one slice is one partition.
pub(crate) async fn deliver(
    sink: &dyn Sink,
    write: &EpochWrite,
    partitions: &[&[i64]],
) -> Vec<PreparedPart> {
    let mut parts = Vec::new();
    for (partition, values) in partitions.iter().enumerate() {
        let prepared = sink.prepare(part(write, partition), rows_of(values)).await;
        parts.push(prepared.expect("prepared"));
    }
    let parts = sink.before_commit(write, parts).await.expect("delivered");
    sink.publish(write, &parts).await.expect("published");
    parts
}

/// The rows after `from` (0: from the beginning) up to `until`.
pub(crate) fn range(from: u64, until: u64) -> OffsetRange {
    OffsetRange {
        start: (from > 0).then(|| Offset::count(from)),
        end: Offset::count(until),
        detail: serde_json::Value::Null,
    }
}

/// Where a discovery ends, if it finds anything.
pub(crate) async fn end_of(source: &Arc<dyn Source>, start: Option<u64>) -> Option<u64> {
    let start = start.map(Offset::count);
    let found = source.discover(start.as_ref(), Admission::Configured).await;
    match found.expect("discovered") {
        Discovery::Nothing => None,
        Discovery::Increment(step) => step.end.as_count(),
    }
}

/// All rows of a range, split after split.
pub(crate) async fn read(
    source: &Arc<dyn Source>,
    range: &OffsetRange,
    tasks: usize,
) -> Vec<RecordBatch> {
    let mut batches = Vec::new();
    for split in source.splits(range, tasks).await.expect("described") {
        let rows = source.open(&split, None).expect("opened");
        batches.extend(rows.try_collect::<Vec<_>>().await.expect("read"));
    }
    batches
}

/// The rows (`timestamp` in microseconds, `value`) of a rate source.
pub(crate) async fn read_rate(
    source: &Arc<dyn Source>,
    range: &OffsetRange,
    tasks: usize,
) -> Vec<(i64, i64)> {
    let batches = read(source, range, tasks).await;
    batches
        .iter()
        .flat_map(|batch| {
            let times = batch.column(0).as_primitive::<TimestampMicrosecondType>();
            let values = batch.column(1).as_primitive::<Int64Type>();
            let (times, values) = (times.values().to_vec(), values.values().to_vec());
            times.into_iter().zip(values)
        })
        .collect()
}
