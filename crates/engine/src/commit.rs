//! The order of durable steps of one epoch, on one screen.
//!
//! 1. *plan n* is durable before anything else of the epoch is, and before code runs that may have effects. Rows are
//!    read and worked on meanwhile ([`crate::held_back`]).
//! 2. The sinks' parts and the state's delta become durable side by side; the parts stay invisible.
//! 3. *commit n* is created if absent: with it the epoch has happened, and no run can undo it.
//! 4. The parts are published, idempotently, before *plan n+1*.
//!
//! A sink of late rows goes through the same steps, and the same record names its parts: what was dropped and what was
//! counted become visible by one commit.
//!
//! Whoever fails before step 3 may discard what it prepared; from step 3 on nobody may, because the record may stand
//! although the call that made it failed. Only a record of another run proves that ours will never stand. For the same
//! reason what other runs prepared is discarded only after step 3: a run that was merely slow could still win.

use std::{pin::pin, sync::Arc};

use futures::{
    future::{Either, select},
    join,
};
use headwater_core::{Epoch, EpochWrite, ErrorKind, OutputMode, Result, RunId, Sink};
use headwater_log::{Committed, Planned};
use headwater_ops::{
    binding::EpochBinding,
    read_ahead::ScansEnd,
    report::Outbox,
    runtime::{EpochRuntime, PlanRecorded},
    table::Unread,
};
use headwater_state::StateManifest;

use crate::{discover, driver::Driver, held_back::held_back, progress::Phases, run, tally::Tally};

/// An attempt at an epoch as the sink of late rows sees it: whatever the query does with its result, late rows are
/// added.
fn late_write(write: &EpochWrite) -> EpochWrite {
    EpochWrite {
        mode: OutputMode::Append,
        ..*write
    }
}

/// An epoch of which everything but the commit record is durable.
struct Prepared {
    tally: Tally,
    committed: Committed,
    manifest: StateManifest,
}

impl Driver {
    /// Runs one epoch to its end: committed, published, acknowledged.
    pub(crate) async fn run_epoch(
        &mut self,
        planned: &Planned,
        is_replay: bool,
        phases: &mut Phases,
    ) -> Result<Tally> {
        let write = self.write_of(planned.epoch, self.run);
        let prepared = if is_replay {
            self.prepare(planned, write, None, phases).await
        } else if self.records_first() {
            phases.time("walCommit", self.log.put_plan(planned)).await?;
            self.prepare(planned, write, None, phases).await
        } else {
            self.record_and_prepare(planned, write, phases).await?
        };
        let prepared = match prepared {
            Ok(prepared) => prepared,
            Err(error) => {
                self.discard(&write).await;
                return Err(error);
            }
        };
        let committed = prepared.committed;
        let put = phases.time("commitOffsets", self.log.put_commit(&committed));
        if let Err(error) = put.await {
            if error.kind() == ErrorKind::Fenced {
                self.discard(&write).await;
            }
            return Err(error);
        }
        self.backend.adopt(prepared.manifest);
        let publish = self.publish(&write, &committed);
        phases.time("publish", publish).await?;
        self.discard_losers(planned.epoch, self.run).await;
        discover::acknowledge(&self.sources, &planned.sources).await?;
        self.advance(planned, &committed);
        self.keep_house(planned.epoch);
        Ok(prepared.tally)
    }

    /// Whether the plan of an epoch has to be durable before rows are read and worked on: where that may be seen from
    /// outside.
    fn records_first(&self) -> bool {
        let mut sources = self.sources.iter();
        self.plan.may_have_effects() || sources.any(|running| !running.source.is_replayable())
    }

    /// Steps 1 and 2, as far as they can go side by side. An error of the first is the outer one: nothing was prepared.
    async fn record_and_prepare(
        &mut self,
        planned: &Planned,
        write: EpochWrite,
        phases: &mut Phases,
    ) -> Result<Result<Prepared>> {
        let (log, clock) = (self.log.clone(), Arc::clone(&self.clock));
        let began = clock.monotonic();
        let put = pin!(async move {
            let put = log.put_plan(planned).await;
            put.map(|()| clock.monotonic().saturating_sub(began))
        });
        let (recorded, when_recorded) = PlanRecorded::when();
        let (took, prepared) = {
            let prepare = pin!(self.prepare(planned, write, Some(when_recorded), phases));
            match select(put, prepare).await {
                Either::Left((took, prepare)) => {
                    // An error cuts the work off.
                    let took = took?;
                    // Nobody may be waiting for it any more.
                    let _ = recorded.send(true);
                    (took, prepare.await)
                }
                // It has failed. The record is on its way, and whoever starts again must find it or never see it.
                Either::Right((prepared, put)) => (put.await?, prepared),
            }
        };
        phases.add("walCommit", took);
        Ok(prepared)
    }

    /// Step 2: everything that the commit record will name is durable when this returns. Nothing of it is before the
    /// plan is `recorded`, if that is still to come.
    async fn prepare(
        &mut self,
        planned: &Planned,
        write: EpochWrite,
        recorded: Option<PlanRecorded>,
        phases: &mut Phases,
    ) -> Result<Prepared> {
        let reads = self.reads(&planned.sources);
        let reads = phases.time("getBatch", reads).await?;
        let binding = EpochBinding {
            write,
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
        let _until_the_end = unread.until();
        // A mailbox of its own for each epoch: whatever a cancelled task posts late reaches nobody.
        let context = self.plan.task_context(Arc::new(EpochRuntime {
            sources: self.sources.iter().map(|s| Arc::clone(&s.source)).collect(),
            state: Arc::clone(&self.state),
            sink: held_back(&self.sink),
            late_sink: self.late.as_ref().map(|late| held_back(&late.sink)),
            outbox: Outbox::default(),
            read_ahead: reads.ahead,
            scans_end: Arc::clone(&scans_end),
            unread,
        }));
        let pool = &context.runtime_env().memory_pool;
        self.guessing = self.guess_next(&planned.sources, &plan, &scans_end, pool);
        let batch = async {
            let mut tally = run::execute(plan, context).await?;
            scans_end.plan_has_run();
            let parts = std::mem::take(&mut tally.parts);
            tally.parts = self.sink.before_commit(&write, parts).await?;
            if let Some(late) = &self.late {
                let parts = std::mem::take(&mut tally.late_parts);
                let late_write = late_write(&write);
                tally.late_parts = late.sink.before_commit(&late_write, parts).await?;
            }
            // Each delta has been on its way since the last partition of its operator was done.
            let mut files = self.state.flush().await?;
            files.extend(self.housekeeping.take_files());
            let manifest = self.backend.next_manifest(files)?;
            let committed = self.committed(planned, &tally, &manifest)?;
            Ok(Prepared {
                tally,
                committed,
                manifest,
            })
        };
        phases.time("addBatch", batch).await
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

    /// Makes a committed epoch visible, in all its sinks. Whoever fails in between does it again at the next start.
    pub(crate) async fn publish(&self, write: &EpochWrite, committed: &Committed) -> Result<()> {
        let late = async {
            match (&self.late, &committed.late) {
                (Some(late), Some(output)) => {
                    let published = late.sink.publish(&late_write(write), &output.parts).await;
                    published.map_err(|error| error.context("the sink of late rows"))
                }
                _ => Ok(()),
            }
        };
        let (result, late) = join!(self.sink.publish(write, &committed.parts), late);
        result.and(late)
    }

    /// Forgets what was prepared by a run that will never commit the epoch. A failure costs hidden bytes only.
    async fn discard(&self, write: &EpochWrite) {
        let discarded = self.sink.discard(write).await;
        let late = match &self.late {
            Some(late) => late.sink.discard(&late_write(write)).await,
            None => Ok(()),
        };
        for error in [discarded, late].into_iter().filter_map(Result::err) {
            tracing::warn!(
                epoch = write.epoch.0,
                run = %write.run,
                %error,
                "could not discard what was prepared"
            );
        }
    }

    /// Forgets what earlier runs prepared for an epoch that `winner` has committed.
    pub(crate) async fn discard_losers(&mut self, epoch: Epoch, winner: RunId) {
        if self.losers.is_empty() {
            return;
        }
        for run in std::mem::take(&mut self.losers) {
            if run != winner {
                self.discard(&self.write_of(epoch, run)).await;
            }
        }
        if let Err(error) = self.log.forget_earlier_runs().await {
            tracing::warn!(%error, "could not forget earlier runs; the next start tries again");
        }
    }
}
