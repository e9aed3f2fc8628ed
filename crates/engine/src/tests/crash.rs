//! The first crash sweep: the machine of the checkpoint and of the output folder loses its power at every durable step
//! in turn, and the query goes on from what is left.
//!
//! It catches a step that is missing a sync, is in the wrong order or is not idempotent. It cannot catch a fault of the
//! simulated disk itself, nor of a sink or source that is not the test's own.

use std::{collections::BTreeMap, sync::Arc};

use headwater_core::{Storage, Trigger};
use headwater_log::store::{Loss, SimMachine};

use crate::{
    Step,
    testing::{Fixture, LedgerSink, Query, TestTable},
};

const CHECKPOINT: &str = "checkpoint";
const OUTPUT: &str = "output";

fn disks(machine: &SimMachine) -> (Arc<dyn Storage>, Arc<dyn Storage>) {
    (
        Arc::new(machine.storage(CHECKPOINT)),
        Arc::new(machine.storage(OUTPUT)),
    )
}

/// A world in which an epoch takes so many blocks at most.
fn world(machine: &SimMachine, blocks_per_epoch: usize) -> Fixture {
    let (checkpoint, output) = disks(machine);
    let mut world = Fixture::on(checkpoint, output);
    world.a = TestTable::with_limit("a", blocks_per_epoch);
    world.a.append(&[(1, 1), (12, 2)]);
    world.a.append(&[(25, 4)]);
    world
}

/// Starts the query and runs it until it is idle, then lets more rows arrive, two blocks at a time, and does so again;
/// how many epochs were begun while the one before was committed. Errors are crashes.
async fn run(world: &Fixture, query: Query, arrivals: &mut Vec<(i64, i64)>) -> Option<usize> {
    let mut driver = world.start(query, Trigger::Default).await.ok()?;
    let mut begun = 0;
    loop {
        match driver.step_and_begin_next().await.ok()? {
            Step::Ran(_) => begun += usize::from(driver.begun.is_some()),
            Step::Idle | Step::Finished => {
                if arrivals.is_empty() {
                    driver.shut_down().await;
                    return Some(begun);
                }
                let come = arrivals.len().min(2);
                for arrival in arrivals.drain(..come) {
                    world.a.append(&[arrival]);
                }
            }
        }
    }
}

fn arrivals() -> Vec<(i64, i64)> {
    // The last one lets the windows before it close even if the crash took the epoch without data.
    vec![(26, 8), (3, 16), (47, 32), (61, 64), (62, 128)]
}

async fn sweep(query: Query, blocks_per_epoch: usize, losses: &[Loss]) -> usize {
    let calm = SimMachine::new();
    let calm_world = world(&calm, blocks_per_epoch);
    let begun = run(&calm_world, query, &mut arrivals()).await.unwrap();
    assert_eq!(begun > 0, blocks_per_epoch == 1, "{begun} were begun early");
    let expected = calm_world.rows().await;
    assert!(!expected.is_empty());
    let steps = calm.steps();

    let mut swept = 0;
    for (crash_at, step) in steps.iter().enumerate() {
        for loss in losses {
            // A different part is lost at every step.
            let loss = match loss {
                Loss::Some(seed) => Loss::Some(seed + crash_at as u64),
                whole => *whole,
            };
            swept += 1;
            let machine = SimMachine::new();
            let mut world = world(&machine, blocks_per_epoch);
            let mut left = arrivals();
            machine.crash_at(crash_at);
            run(&world, query, &mut left).await;
            let after = machine.reopen(loss);
            let (checkpoint, output) = disks(&after);
            world = world.reopened(checkpoint, output);
            let context = format!("crash at step {crash_at} ({step}), {loss:?}");
            let seen = world.rows().await;
            assert_no_row_twice(&seen, &expected, &context);
            run(&world, query, &mut left)
                .await
                .unwrap_or_else(|| panic!("{context}: the query does not start again"));
            assert_eq!(world.rows().await, expected, "{context}");
        }
    }
    swept
}

/// Every row that a reader sees before the restart is one of the expected, and none is there too often.
fn assert_no_row_twice(seen: &[String], expected: &[String], context: &str) {
    let mut left = expected.to_vec();
    for row in seen {
        let at = left.iter().position(|expected| expected == row);
        let at = at.unwrap_or_else(|| panic!("{context}: '{row}' is there too often"));
        left.remove(at);
    }
}

#[tokio::test]
async fn a_stateless_query_writes_every_row_once_wherever_the_power_fails() {
    for blocks_per_epoch in [usize::MAX, 1] {
        let losses = [Loss::Nothing, Loss::Unsynced, Loss::Some(0)];
        let swept = sweep(Query::Rows, blocks_per_epoch, &losses).await;
        println!("crash sweep: {swept} runs");
    }
}

#[tokio::test]
async fn a_windowed_aggregation_writes_every_window_once_wherever_the_power_fails() {
    for blocks_per_epoch in [usize::MAX, 1] {
        let losses = [Loss::Unsynced, Loss::Some(1_000)];
        let swept = sweep(Query::Windows, blocks_per_epoch, &losses).await;
        println!("crash sweep: {swept} runs");
    }
}

/// A world in which late rows go to a folder of their own.
fn world_with_late_rows(machine: &SimMachine) -> (Fixture, Arc<dyn Storage>) {
    let mut world = world(machine, 1);
    let late: Arc<dyn Storage> = Arc::new(machine.storage(LATE));
    world.late = Some(LedgerSink::new(Arc::clone(&late)));
    (world, late)
}

const LATE: &str = "late";

/// By epoch, the rows that a reader of a folder sees.
async fn by_epoch(storage: &Arc<dyn Storage>) -> BTreeMap<u64, Vec<String>> {
    let mut epochs: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for object in storage.list("out").await.unwrap() {
        let name = object.path.trim_start_matches("out/");
        let (epoch, _) = name.split_once('-').unwrap();
        let bytes = storage.read(&object.path).await.unwrap().unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let rows = epochs.entry(epoch.parse().unwrap()).or_default();
        rows.extend(text.lines().map(str::to_owned));
        rows.sort();
    }
    epochs.retain(|_, rows| !rows.is_empty());
    epochs
}

#[tokio::test]
async fn an_epoch_is_in_both_sinks_or_in_none_wherever_the_power_fails() {
    let arrivals = || {
        vec![
            (26, 8),
            (3, 16),
            (47, 32),
            (5, 1),
            (33, 2),
            (61, 64),
            (62, 128),
        ]
    };
    let calm = SimMachine::new();
    let (calm_world, calm_late) = world_with_late_rows(&calm);
    run(&calm_world, Query::Windows, &mut arrivals())
        .await
        .unwrap();
    let rows = by_epoch(&calm_world.output).await;
    let late = by_epoch(&calm_late).await;
    assert_eq!(late.values().map(Vec::len).sum::<usize>(), 3, "{late:?}");
    for (crash_at, step) in calm.steps().iter().enumerate() {
        for loss in [Loss::Unsynced, Loss::Some(crash_at as u64)] {
            let context = format!("crash at step {crash_at} ({step}), {loss:?}");
            let machine = SimMachine::new();
            let (crashed, _) = world_with_late_rows(&machine);
            let mut left = arrivals();
            machine.crash_at(crash_at);
            run(&crashed, Query::Windows, &mut left).await;
            let after = machine.reopen(loss);
            let (checkpoint, output) = disks(&after);
            let mut world = crashed.reopened(checkpoint, output);
            let storage: Arc<dyn Storage> = Arc::new(after.storage(LATE));
            world.late = Some(LedgerSink::new(Arc::clone(&storage)));
            // Recovery publishes what was committed, and nothing else has run yet.
            let driver = world.start(Query::Windows, Trigger::Default).await.unwrap();
            let committed = driver.next.0;
            drop(driver);
            let until = |epochs: &BTreeMap<u64, Vec<String>>| -> BTreeMap<u64, Vec<String>> {
                let epochs = epochs.range(..committed);
                epochs.map(|(epoch, rows)| (*epoch, rows.clone())).collect()
            };
            assert_eq!(by_epoch(&world.output).await, until(&rows), "{context}");
            assert_eq!(
                by_epoch(&storage).await,
                until(&late),
                "{context}, late rows"
            );
            run(&world, Query::Windows, &mut left)
                .await
                .unwrap_or_else(|| panic!("{context}: the query does not start again"));
            let flat = |epochs: BTreeMap<u64, Vec<String>>| -> Vec<String> {
                let mut rows: Vec<String> = epochs.into_values().flatten().collect();
                rows.sort();
                rows
            };
            assert_eq!(
                flat(by_epoch(&world.output).await),
                flat(rows.clone()),
                "{context}"
            );
            assert_eq!(
                flat(by_epoch(&storage).await),
                flat(late.clone()),
                "{context}"
            );
        }
    }
}
