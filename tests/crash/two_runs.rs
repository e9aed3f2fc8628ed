//! Two runs of one query on one checkpoint, as when a machine was thought dead and was only slow.
//!
//! Each record can be created once, so one of them is told to stop, whatever the order of their steps; what they wrote
//! together is what one alone would have written.

use std::sync::{Arc, Mutex};

use headwater::{
    ErrorKind, Result as Outcome,
    engine::{Driver, Step},
};
use headwater_log::store::SimMachine;

use super::{
    check,
    ledger::Ledger,
    pipeline::{Honest, Query, RETAINED, Reports, Tamper, World},
    sweep::Case,
};

/// What became of a run.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Finished,
    Fenced,
}

/// One step of a run that has not ended.
async fn step(driver: &mut Driver, end: &mut Option<End>) -> Result<(), String> {
    if end.is_none() {
        *end = match driver.step_and_begin_next().await {
            Ok(Step::Finished) => Some(End::Finished),
            Ok(Step::Ran(_) | Step::Idle) => None,
            Err(error) if error.kind() == ErrorKind::Fenced => Some(End::Fenced),
            Err(error) => return Err(format!("a run failed: {error}")),
        };
    }
    Ok(())
}

/// The first run does `before` epochs, then the second starts, and from then on they take turns.
async fn take_turns(
    case: &Case,
    tamper: &dyn Tamper,
    before: usize,
    is_second_first: bool,
) -> Result<(), String> {
    let machine = SimMachine::new();
    let reports = Mutex::new(Reports::new());
    let world = World {
        query: case.query,
        input: case.input_folder(),
        source_options: &[],
        retained: RETAINED,
        checkpoint: Arc::new(machine.storage("checkpoint")),
        output: Arc::new(machine.storage("output")),
        late: None,
        ledger: Ledger::default(),
        tamper,
        reports: &reports,
    };
    let start = async || -> Outcome<Driver> { Driver::start(world.spec().await?).await };
    let explain = |error| format!("a run cannot start: {error}");
    let mut first = start().await.map_err(explain)?;
    let (mut first_end, mut second_end) = (None, None);
    for _ in 0..before {
        step(&mut first, &mut first_end).await?;
    }
    let mut second = start().await.map_err(explain)?;
    if is_second_first {
        step(&mut second, &mut second_end).await?;
    }
    while first_end.is_none() || second_end.is_none() {
        step(&mut first, &mut first_end).await?;
        step(&mut second, &mut second_end).await?;
    }
    let seen = check::content(&machine.files("output"))?;
    check::everything(&seen, case.answer())?;
    match (first_end, second_end) {
        (Some(End::Fenced), Some(End::Finished)) | (Some(End::Finished), Some(End::Fenced)) => {
            Ok(())
        }
        ends => Err(format!("one should have been fenced: {ends:?}")),
    }
}

/// Every order of two runs over a short query.
pub(crate) fn every_order(tamper: &dyn Tamper) -> Result<(), String> {
    let case = Case::new(Query::Windows, 3);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    for before in 0..case.files.len() {
        for is_second_first in [false, true] {
            let turns = take_turns(&case, tamper, before, is_second_first);
            runtime.block_on(turns).map_err(|wrong| {
                format!("{before} epochs before the second run, which goes first: {is_second_first}: {wrong}")
            })?;
        }
    }
    Ok(())
}

#[test]
fn of_two_runs_on_one_checkpoint_one_is_fenced_and_nothing_is_doubled() {
    every_order(&Honest).expect("whoever goes first");
}
