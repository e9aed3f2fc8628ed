//! The first crash sweep: the machine of the checkpoint and of the output folder loses its power at every durable step
//! in turn, and the query goes on from what is left.
//!
//! It catches a step that is missing a sync, is in the wrong order or is not idempotent. It cannot catch a fault of the
//! simulated disk itself, nor of a sink or source that is not the test's own.

use std::sync::Arc;

use headwater_core::{Storage, Trigger};
use headwater_log::store::{Loss, SimMachine};

use crate::{
    Step,
    testing::{Fixture, Query},
};

const CHECKPOINT: &str = "checkpoint";
const OUTPUT: &str = "output";

fn disks(machine: &SimMachine) -> (Arc<dyn Storage>, Arc<dyn Storage>) {
    (
        Arc::new(machine.storage(CHECKPOINT)),
        Arc::new(machine.storage(OUTPUT)),
    )
}

fn world(machine: &SimMachine) -> Fixture {
    let (checkpoint, output) = disks(machine);
    let world = Fixture::on(checkpoint, output);
    world.a.append(&[(1, 1), (12, 2)]);
    world.a.append(&[(25, 4)]);
    world
}

/// Starts the query and runs it until it is idle, then lets more rows arrive and does so again. Errors are crashes.
async fn run(world: &Fixture, query: Query, arrivals: &mut Vec<(i64, i64)>) -> Option<()> {
    let mut driver = world.start(query, Trigger::Default).await.ok()?;
    loop {
        match driver.step().await.ok()? {
            Step::Ran(_) => {}
            Step::Idle | Step::Finished => {
                if arrivals.is_empty() {
                    driver.shut_down().await;
                    return Some(());
                }
                world.a.append(&[arrivals.remove(0)]);
            }
        }
    }
}

fn arrivals() -> Vec<(i64, i64)> {
    // The last one lets the windows before it close even if the crash took the epoch without data.
    vec![(26, 8), (3, 16), (47, 32), (61, 64), (62, 128)]
}

async fn sweep(query: Query, losses: &[Loss]) -> usize {
    let calm = SimMachine::new();
    let calm_world = world(&calm);
    run(&calm_world, query, &mut arrivals()).await.unwrap();
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
            let mut world = world(&machine);
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
    let swept = sweep(Query::Rows, &[Loss::Nothing, Loss::Unsynced, Loss::Some(0)]).await;
    println!("crash sweep: {swept} runs");
}

#[tokio::test]
async fn a_windowed_aggregation_writes_every_window_once_wherever_the_power_fails() {
    let swept = sweep(Query::Windows, &[Loss::Unsynced, Loss::Some(1_000)]).await;
    println!("crash sweep: {swept} runs");
}
