//! The order of durable steps of one epoch, on one screen.
//!
//! 1. *plan n* is durable before anything else of the epoch is, and before code runs that may have effects. Rows are
//!    read and worked on meanwhile ([`crate::held_back`]).
//! 2. The sinks' parts and the state's delta become durable side by side; the parts stay invisible.
//! 3. *commit n* is created if absent: with it the epoch has happened, and no run can undo it.
//! 4. The parts are published, idempotently, before *plan n+1*.
//!
//! Rows of epoch n+1 may be worked on as soon as the plan of epoch n has run ([`crate::begun`]), its deltas on their way.
//! It changes nothing of this order: what comes out of them waits for *plan n+1*.
//!
//! A sink of late rows goes through the same steps, and the same record names its parts: what was dropped and what was
//! counted become visible by one commit.
//!
//! Whoever fails before step 3 may discard what it prepared; from step 3 on nobody may, because the record may stand
//! although the call that made it failed. Only a record of another run proves that ours will never stand. For the same
//! reason what other runs prepared is discarded only after step 3: a run that was merely slow could still win.

use std::{
    panic::{AssertUnwindSafe, resume_unwind},
    pin::pin,
    sync::Arc,
};

use datafusion::common::runtime::SpawnedTask;
use futures::{
    FutureExt,
    future::{Either, select},
    try_join,
};
use headwater_core::{Epoch, EpochWrite, Error, ErrorKind, Result, RunId, Sink};
use headwater_log::{Committed, EpochLog, LateOutput, Planned, WatermarkRecord};
use headwater_ops::{
    binding::EpochBinding,
    read_ahead::ScansEnd,
    report::Outbox,
    runtime::{EpochRuntime, PlanRecorded},
    state_provider::Deltas,
    table::{Unread, UnreadUntil},
};
use headwater_state::{StateBackend, StateManifest};
use serde_json::json;
use tokio::sync::watch;
use tracing::{Instrument, Span};

use crate::{
    discover, driver::Driver, held_back::held_back, housekeeping::StateFiles, progress::Phases,
    run, sinks::Sinks, tally::Tally,
};

/// How far an epoch has come when its trigger fires.
pub(crate) enum Stage {
    /// Nothing of it is done.
    New,
    /// An earlier run has recorded its plan.
    Recorded,
    /// Its rows are worked on since the plan of the epoch before has run; it is to be told when its own is recorded.
    Begun(Execution, watch::Sender<bool>),
}

/// The plan of an epoch, being run; given up when it is dropped.
pub(crate) struct Execution {
    task: SpawnedTask<Result<Tally>>,
    scans_end: Arc<ScansEnd>,
    _until_the_end: UnreadUntil,
}

impl Execution {
    /// What its partitions have reported, when all have come to their end: every part is prepared.
    async fn tally(self) -> Result<Tally> {
        // A panic goes on here, where whoever runs the query catches it.
        let ran = self.task.join_unwind().await;
        let tally = ran.map_err(|error| {
            Error::internal("the epoch was given up while it ran").with_source(error)
        })??;
        self.scans_end.plan_has_run();
        Ok(tally)
    }
}

impl Driver {
    /// Runs one epoch to its end: committed, published, acknowledged. The next one is begun meanwhile, inside the span
    /// that it is given for that, if any.
    pub(crate) async fn run_epoch(
        &mut self,
        planned: &Planned,
        stage: Stage,
        phases: &mut Phases,
        next: Option<&Span>,
    ) -> Result<Tally> {
        let write = self.write_of(planned.epoch, self.run);
        let ran = match stage {
            Stage::Recorded => self.run_plan(planned, None, phases).await,
            Stage::New if self.records_first() => {
                phases.time("walCommit", self.log.put_plan(planned)).await?;
                self.run_plan(planned, None, phases).await
            }
            Stage::New => self.record_and_run(planned, None, phases).await?,
            Stage::Begun(execution, recorded) => {
                let begun = Some((execution, recorded));
                self.record_and_run(planned, begun, phases).await?
            }
        };
        let ran = ran.and_then(|tally| Ok((tally, self.state.take_deltas()?)));
        let (tally, deltas) = match ran {
            Ok(ran) => ran,
            Err(error) => {
                self.sinks.discard(&write).await;
                return Err(error);
            }
        };
        let files = self.housekeeping.take_files();
        // What is worth rewriting is told by the files that are named already.
        let rewrites = match files.is_empty() {
            true => self.rewrites(planned.epoch),
            false => Vec::new(),
        };
        // From here on the driver stands behind the epoch. If it cannot be committed, nobody asks the driver any more.
        self.advance(planned, &tally);
        let ending = Ending {
            log: self.log.clone(),
            sinks: self.sinks.clone(),
            backend: Arc::clone(&self.backend),
            write,
            next: self.watermarks.clone(),
        };
        let end = ending.end(tally, deltas, files, phases);
        let stop = self.stop.clone();
        let begin_next = async {
            Ok(match next {
                // What is given up halfway leaves a driver that no step follows.
                Some(around) => stop
                    .run_until_cancelled(self.begin_next(around))
                    .await
                    .flatten(),
                None => None,
            })
        };
        let (tally, begun) = try_join!(end, begin_next)?;
        self.discard_losers(planned.epoch, self.run).await;
        discover::acknowledge(&self.sources, &planned.sources).await?;
        self.keep_house(planned.epoch, rewrites);
        self.begun = begun;
        Ok(tally)
    }

    /// Whether the plan of an epoch has to be durable before rows are read and worked on: where that may be seen from
    /// outside.
    pub(crate) fn records_first(&self) -> bool {
        let mut sources = self.sources.iter();
        self.plan.may_have_effects() || sources.any(|running| !running.source.is_replayable())
    }

    /// Steps 1 and 2, as far as they can go side by side. An error of the first is the outer one: nothing was prepared.
    async fn record_and_run(
        &mut self,
        planned: &Planned,
        begun: Option<(Execution, watch::Sender<bool>)>,
        phases: &mut Phases,
    ) -> Result<Result<Tally>> {
        let (log, clock) = (self.log.clone(), Arc::clone(&self.clock));
        let began = clock.monotonic();
        let put = pin!(async move {
            let put = log.put_plan(planned).await;
            put.map(|()| clock.monotonic().saturating_sub(began))
        });
        let (recorded, when_recorded, execution) = match begun {
            Some((execution, recorded)) => (recorded, None, Some(execution)),
            None => {
                let (recorded, when_recorded) = PlanRecorded::when();
                (recorded, Some(when_recorded), None)
            }
        };
        let (took, ran) = {
            let run = async {
                match execution {
                    Some(execution) => phases.time("addBatch", execution.tally()).await,
                    None => self.run_plan(planned, when_recorded, phases).await,
                }
            };
            // A panic waits for the record like any other failure. Whoever meets it ends the query.
            let run = pin!(AssertUnwindSafe(run).catch_unwind());
            match select(put, run).await {
                Either::Left((took, run)) => {
                    // An error cuts the work off.
                    let took = took?;
                    // Nobody may be waiting for it any more.
                    let _ = recorded.send(true);
                    (took, run.await)
                }
                // It has failed. The record is on its way, and whoever starts again must find it or never see it.
                Either::Right((ran, put)) => (put.await?, ran),
            }
        };
        let ran = ran.unwrap_or_else(|panic| resume_unwind(panic));
        phases.add("walCommit", took);
        Ok(ran)
    }

    /// Step 2, but for the state's deltas, which are on their way when this returns.
    async fn run_plan(
        &mut self,
        planned: &Planned,
        recorded: Option<PlanRecorded>,
        phases: &mut Phases,
    ) -> Result<Tally> {
        let execution = self.execute(planned, recorded, phases).await?;
        phases.time("addBatch", execution.tally()).await
    }

    /// Begins step 2: reads rows and works on them. Nothing of it becomes durable before the plan is `recorded`, if that
    /// is still to come. If it fails, nothing has been done.
    pub(crate) async fn execute(
        &mut self,
        planned: &Planned,
        recorded: Option<PlanRecorded>,
        phases: &mut Phases,
    ) -> Result<Execution> {
        let reads = self.reads(&planned.sources);
        let reads = phases.time("getBatch", reads).await?;
        let binding = EpochBinding {
            write: self.write_of(planned.epoch, self.run),
            time_millis: planned.time_millis,
            watermark: planned.watermark.global,
            late_watermark: planned.watermark.previous,
            splits: reads.splits,
            partitions: self.partitions,
        };
        let plan = phases
            .time("queryPlanning", async {
                self.plan.refresh().await?;
                self.plan.bind(&binding)
            })
            .await?;
        self.state.begin(recorded.clone());
        let held_back = |sink: &Arc<dyn Sink>| match &recorded {
            Some(recorded) => held_back(Arc::clone(sink), recorded.clone()),
            None => Arc::clone(sink),
        };
        let scans_end = Arc::new(ScansEnd::of(&plan));
        let unread = Unread::default();
        let until_the_end = unread.until();
        let late = self.sinks.late.as_ref();
        // A mailbox of its own for each epoch: whatever a cancelled task posts late reaches nobody.
        let context = self.plan.task_context(Arc::new(EpochRuntime {
            sources: self.sources.iter().map(|s| Arc::clone(&s.source)).collect(),
            state: Arc::clone(&self.state),
            sink: held_back(&self.sinks.result),
            late_sink: late.map(|late| held_back(&late.sink)),
            outbox: Outbox::default(),
            read_ahead: reads.ahead,
            scans_end: Arc::clone(&scans_end),
            unread,
        }));
        let pool = &context.runtime_env().memory_pool;
        self.guessing = self.guess_next(&planned.sources, &plan, &scans_end, pool);
        Ok(Execution {
            task: SpawnedTask::spawn(run::execute(plan, context).in_current_span()),
            scans_end,
            _until_the_end: until_the_end,
        })
    }

    /// An attempt of a run at an epoch.
    pub(crate) fn write_of(&self, epoch: Epoch, run: RunId) -> EpochWrite {
        EpochWrite {
            query: self.id,
            run,
            epoch,
            mode: self.mode,
        }
    }

    /// Forgets what earlier runs prepared for an epoch that `winner` has committed.
    pub(crate) async fn discard_losers(&mut self, epoch: Epoch, winner: RunId) {
        if self.losers.is_empty() {
            return;
        }
        for run in std::mem::take(&mut self.losers) {
            if run != winner {
                self.sinks.discard(&self.write_of(epoch, run)).await;
            }
        }
        if let Err(error) = self.log.forget_earlier_runs().await {
            tracing::warn!(%error, "could not forget earlier runs; the next start tries again");
        }
    }
}

/// What brings an epoch whose plan has run to its end, while the driver begins the next one.
struct Ending {
    log: EpochLog,
    sinks: Sinks,
    backend: Arc<StateBackend>,
    write: EpochWrite,
    /// The watermarks that hold after the epoch.
    next: WatermarkRecord,
}

impl Ending {
    /// What is left of step 2, then steps 3 and 4.
    async fn end(
        self,
        mut tally: Tally,
        deltas: Deltas,
        files: StateFiles,
        phases: &mut Phases,
    ) -> Result<Tally> {
        let prepare = self.prepare(&mut tally, deltas, files);
        let (committed, manifest) = match phases.time("addBatch", prepare).await {
            Ok(prepared) => prepared,
            Err(error) => {
                self.sinks.discard(&self.write).await;
                return Err(error);
            }
        };
        let put = phases.time("commitOffsets", self.log.put_commit(&committed));
        if let Err(error) = put.await {
            if error.kind() == ErrorKind::Fenced {
                self.sinks.discard(&self.write).await;
            }
            return Err(error);
        }
        self.backend.adopt(manifest);
        let publish = self.sinks.publish(&self.write, &committed);
        phases.time("publish", publish).await?;
        Ok(tally)
    }

    /// Everything that the commit record names is durable when this returns.
    async fn prepare(
        &self,
        tally: &mut Tally,
        deltas: Deltas,
        files: StateFiles,
    ) -> Result<(Committed, StateManifest)> {
        self.sinks.before_commit(&self.write, tally).await?;
        let mut written = deltas.durable().await?;
        written.extend(files);
        let manifest = self.backend.next_manifest(written)?;
        let committed = Committed {
            epoch: self.write.epoch,
            run: self.write.run,
            next: self.next.clone(),
            state: serde_json::to_value(&manifest)?,
            parts: tally.parts.clone(),
            late: self.sinks.late.as_ref().map(|late| LateOutput {
                sink: late.identity.clone(),
                parts: tally.late_parts.clone(),
            }),
            stats: json!({
                "inputRows": tally.input_rows(),
                "outputRows": tally.output_rows(),
            }),
        };
        Ok((committed, manifest))
    }
}
