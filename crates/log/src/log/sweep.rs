//! The protocol of log and storage under power failures: a small stand-in for the engine writes a part in each epoch,
//! crashes at every step in turn, and again while it recovers; in the end every epoch is there once.

use std::sync::Arc;

use bytes::Bytes;
use headwater_core::{Epoch, Prepared, PreparedPart, Result, RunId, Storage};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    Committed, EpochLog, Planned, Start, Started, WatermarkRecord,
    store::{Loss, STAGING, SimMachine, SimStorage},
};

const EPOCHS: u64 = 3;

/// Like the engine: plan, prepare, commit, publish.
struct Engine {
    log: EpochLog,
    out: SimStorage,
    losers: Vec<RunId>,
}

impl Engine {
    fn owner(epoch: Epoch, run: RunId) -> String {
        format!("{epoch}-{}", run.0.simple())
    }

    async fn run_epoch(&mut self, epoch: Epoch, is_replay: bool) -> Result<()> {
        let run = self.log.run();
        if !is_replay {
            let planned = Planned {
                epoch,
                run,
                time_millis: 0,
                watermark: WatermarkRecord::default(),
                sources: Vec::new(),
                has_data: true,
            };
            self.log.put_plan(&planned).await?;
        }
        let path = format!("{epoch}-{}.parquet", run.0.as_u128());
        let mut write = self.out.prepare(&path, &Self::owner(epoch, run)).await?;
        write.write(content(epoch)).await?;
        let committed = Committed {
            epoch,
            run,
            next: WatermarkRecord::default(),
            state: Value::Null,
            parts: vec![PreparedPart {
                partition: 0,
                rows: 1,
                detail: serde_json::to_value(write.finish().await?)?,
            }],
            late: None,
            stats: json!({"rows": 1}),
        };
        self.log.put_commit(&committed).await?;
        self.publish(&committed).await
    }

    async fn publish(&mut self, committed: &Committed) -> Result<()> {
        let parts = committed.parts.iter();
        let objects: serde_json::Result<Vec<Prepared>> = parts
            .map(|part| serde_json::from_value(part.detail.clone()))
            .collect();
        self.out.publish(&objects?).await?;
        for run in std::mem::take(&mut self.losers) {
            let owner = Self::owner(committed.epoch, run);
            self.out.discard_prepared(&owner).await?;
        }
        self.log.forget_earlier_runs().await
    }
}

fn content(epoch: Epoch) -> Bytes {
    format!("the rows of epoch {epoch}").into()
}

/// One run, from whatever the machine holds to the last epoch.
async fn go_on(machine: &SimMachine, run: u128) -> Result<()> {
    let started = Started {
        run: RunId(Uuid::from_u128(run)),
        started_millis: 0,
        engine: "sweep".to_owned(),
    };
    let log = EpochLog::open(Arc::new(machine.storage("checkpoint")), &started).await?;
    let recovery = log.recover().await?;
    let mut engine = Engine {
        log,
        out: machine.storage("out"),
        losers: recovery.earlier_runs,
    };
    let next = match recovery.start {
        Start::Fresh => Epoch::FIRST,
        Start::Resume(resume) => {
            engine.publish(&resume.committed).await?;
            resume.next
        }
        Start::Replay(replay) => {
            engine.run_epoch(replay.planned.epoch, true).await?;
            replay.planned.epoch.next()
        }
    };
    for epoch in next.0..EPOCHS {
        engine.run_epoch(Epoch(epoch), false).await?;
    }
    Ok(())
}

/// Whole files only, and no epoch twice; at rest, each once and nothing hidden but temporary files.
fn check(machine: &SimMachine, is_at_rest: bool) {
    let files = machine.files("out");
    let (hidden, visible): (Vec<_>, Vec<_>) = files
        .iter()
        .partition(|(path, _)| path.starts_with(STAGING));
    let mut seen: Vec<&str> = Vec::new();
    for (path, bytes) in visible {
        let epoch = path.split('-').next().unwrap_or_default();
        assert!(!seen.contains(&epoch), "epoch {epoch} is there twice");
        assert_eq!(bytes, &content(Epoch(epoch.parse().unwrap())), "{path}");
        seen.push(epoch);
    }
    if is_at_rest {
        assert_eq!(seen, ["0", "1", "2"]);
        let forgotten: Vec<_> = hidden.iter().filter(|it| !it.0.contains("/tmp-")).collect();
        assert!(forgotten.is_empty(), "{forgotten:?}");
    }
}

fn losses() -> impl Iterator<Item = Loss> {
    [Loss::Nothing, Loss::Unsynced]
        .into_iter()
        .chain((0..3).map(Loss::Some))
}

#[tokio::test]
async fn every_epoch_is_published_once_whatever_step_a_crash_hits() {
    let whole = SimMachine::new();
    go_on(&whole, 1).await.unwrap();
    let steps = whole.steps();
    for (step, name) in steps.iter().enumerate() {
        for loss in losses() {
            let machine = SimMachine::new();
            machine.crash_at(step);
            go_on(&machine, 1).await.expect_err("it crashes");
            check(&machine, false);
            let machine = machine.reopen(loss);
            check(&machine, false);
            let outcome = go_on(&machine, 2).await;
            assert!(
                outcome.is_ok(),
                "{loss:?} at step {step}, {name}: {outcome:?}"
            );
            check(&machine, true);
        }
    }
}

#[tokio::test]
async fn a_second_crash_while_recovering_changes_nothing() {
    let mut crashes = 0;
    for step in 0_usize.. {
        let first = SimMachine::new();
        first.crash_at(step);
        if go_on(&first, 1).await.is_ok() {
            break;
        }
        for second_step in 0.. {
            let machine = first.reopen(Loss::Some(step as u64));
            machine.crash_at(second_step);
            if go_on(&machine, 2).await.is_ok() {
                break;
            }
            crashes += 1;
            let machine = machine.reopen(Loss::Some(second_step as u64));
            check(&machine, false);
            let outcome = go_on(&machine, 3).await;
            assert!(
                outcome.is_ok(),
                "steps {step} and {second_step}: {outcome:?}"
            );
            check(&machine, true);
        }
    }
    assert!(crashes > 1_000, "{crashes}");
}
