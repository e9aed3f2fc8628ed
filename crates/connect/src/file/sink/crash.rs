//! The sink on a machine whose power fails at every durable step in turn: what a reader of `*.parquet` sees at that
//! moment, after the restart, and at the end.
//!
//! The loop around it is a small model of the engine's: an attempt is noted, partitions are prepared, a commit record is
//! created, the epoch is published. It cannot see faults of the engine itself.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{AsArray, Int64Array, RecordBatch, StringArray},
    datatypes::Int64Type,
};
use bytes::Bytes;
use futures::{StreamExt, stream};
use headwater_core::{Options, PartWrite, PreparedPart, Result, SinkProvider, Storage};
use headwater_log::store::{Loss, SimMachine};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::{
    tests::{context, write},
    whole_epochs_in,
};
use crate::{
    conformance::sink_schema,
    file::{FileFormat, FileSinkProvider},
};

const EPOCHS: u64 = 3;
const PARTITIONS: usize = 2;

fn rows(epoch: u64, partition: usize) -> RecordBatch {
    let first = (epoch as i64) * 100 + (partition as i64) * 10;
    let ids: Vec<i64> = (first..first + 3).collect();
    let names: Vec<String> = ids.iter().map(|id| format!("n{}", id % 2)).collect();
    RecordBatch::try_new(
        sink_schema(),
        vec![
            Arc::new(Int64Array::from(ids)),
            Arc::new(StringArray::from(names)),
        ],
    )
    .expect("rows")
}

fn all_ids() -> Vec<i64> {
    (0..EPOCHS as i64)
        .flat_map(|epoch| [0, 1, 2, 10, 11, 12].map(|id| epoch * 100 + id))
        .collect()
}

/// One process: goes on from what is on the machine until all epochs are published, or until the power fails.
async fn process(machine: &SimMachine, run: u128) -> Result<()> {
    let log = machine.storage("checkpoint");
    let provider = FileSinkProvider::try_new(
        FileFormat::Parquet,
        "out",
        Options::new(),
        vec!["name".to_owned()],
    )?
    .with_storage(Arc::new(machine.storage("out")));
    let sink = provider.create(context(sink_schema())).await?;
    for epoch in 0..EPOCHS {
        let commit = format!("commits/{epoch:03}");
        let committed = match log.read(&commit).await? {
            Some(record) => record,
            None => {
                for attempt in log.list(&format!("attempts/{epoch:03}")).await? {
                    let died = attempt
                        .path
                        .rsplit('/')
                        .next()
                        .and_then(|run| run.parse().ok());
                    sink.discard(&write(epoch, died.expect("a run"))).await?;
                }
                log.create(&format!("attempts/{epoch:03}/{run}"), Bytes::new())
                    .await?;
                let mut parts = Vec::new();
                for partition in 0..PARTITIONS {
                    let part = PartWrite {
                        write: write(epoch, run),
                        partition,
                    };
                    let rows = stream::iter([Ok(rows(epoch, partition))]).boxed();
                    parts.push(sink.prepare(part, rows).await?);
                }
                let record: Bytes = serde_json::to_vec(&(run, parts))?.into();
                log.create(&commit, record.clone()).await?;
                record
            }
        };
        let (by, parts): (u128, Vec<PreparedPart>) = serde_json::from_slice(&committed)?;
        sink.publish(&write(epoch, by), &parts).await?;
        sink.close().await?;
    }
    Ok(())
}

/// What a reader of the folder sees who knows of nothing but Parquet.
fn visible(machine: &SimMachine) -> Vec<i64> {
    let mut ids = Vec::new();
    let files: BTreeMap<String, Bytes> = machine.files("out");
    for (path, bytes) in files {
        if !path.ends_with(".parquet") {
            continue;
        }
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)
            .and_then(ParquetRecordBatchReaderBuilder::build)
            .expect("a visible file is whole");
        for batch in reader {
            let batch = batch.expect("a visible file can be read");
            ids.extend(batch.column(0).as_primitive::<Int64Type>().values());
        }
    }
    ids.sort_unstable();
    ids
}

fn expect_no_row_twice(machine: &SimMachine, when: &str) {
    let ids = visible(machine);
    assert!(
        ids.windows(2).all(|pair| pair[0] < pair[1]),
        "{when}: {ids:?}"
    );
}

#[tokio::test]
async fn a_crash_at_any_step_never_shows_a_row_twice_and_loses_none() {
    let machine = SimMachine::new();
    process(&machine, 1).await.expect("nothing fails");
    assert_eq!(visible(&machine), all_ids());
    let steps = machine.steps().len();
    assert!(
        steps > 50,
        "the sweep has something to sweep: {steps} steps"
    );
    for step in 0..steps {
        for loss in [Loss::Nothing, Loss::Unsynced, Loss::Some(step as u64)] {
            let when = format!("crash at step {step}, {loss:?}");
            let machine = SimMachine::new();
            machine.crash_at(step);
            // The mark behind the epochs may be what fails; nothing depends on it.
            let outcome = process(&machine, 1).await;
            assert!(outcome.is_err() || visible(&machine) == all_ids(), "{when}");
            expect_no_row_twice(&machine, &when);
            let machine = machine.reopen(loss);
            expect_no_row_twice(&machine, &format!("{when}, before the restart"));
            process(&machine, 2)
                .await
                .expect("the second process finishes");
            assert_eq!(visible(&machine), all_ids(), "{when}, at rest");
            let whole = whole_epochs_in(&machine.storage("out"))
                .await
                .expect("whole epochs");
            assert_eq!(
                whole.len(),
                EPOCHS as usize * PARTITIONS * 2,
                "{when}, at rest"
            );
        }
    }
}

#[tokio::test]
async fn two_crashes_in_a_row_are_no_different() {
    for (first, second) in (0..60)
        .step_by(7)
        .flat_map(|first| (0..40).step_by(5).map(move |second| (first, second)))
    {
        let machine = SimMachine::new();
        machine.crash_at(first);
        let _ = process(&machine, 1).await;
        let machine = machine.reopen(Loss::Unsynced);
        machine.crash_at(second);
        let _ = process(&machine, 2).await;
        let machine = machine.reopen(Loss::Some((first * 100 + second) as u64));
        expect_no_row_twice(&machine, &format!("crashes at {first} and {second}"));
        process(&machine, 3)
            .await
            .expect("the third process finishes");
        assert_eq!(
            visible(&machine),
            all_ids(),
            "crashes at {first} and {second}"
        );
    }
}
