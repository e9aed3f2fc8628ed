//! One query, one trigger at a time.
//!
//! A driver does nothing by itself: whoever owns it calls [`Driver::step`], a supervised task or a test with a clock
//! of its own. Each step is one trigger and runs at most one epoch: gather facts, decide purely, carry it out in the
//! order that [`crate::commit`] keeps. A driver whose step failed or was cut off refuses further steps: what is true
//! then stands in the checkpoint, and the next start reads it there.

use std::{fmt, sync::Arc};

use datafusion::{execution::SessionState, logical_expr::LogicalPlan};
use futures::future::join_all;
use headwater_core::{
    Admission, Clock, Epoch, Error, OffsetRange, OutputMode, QueryId, Result, RunId, SinkProvider,
    Storage, StreamingQueryProgress, Trigger, Watermark,
};
use headwater_log::{EpochLog, Planned, SourceStep, WatermarkPolicy, WatermarkRecord};
use headwater_ops::state_provider::StateProvider;
use headwater_plan::StreamingPlan;
use headwater_state::{StateBackend, Upkeep};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

use crate::{
    ahead::Guessing,
    begun::Begun,
    commit::Stage,
    diagnose::{Diagnosis, DiagnosisFacts, diagnose_at, record::EpochDone},
    discover::{self, RunningSource},
    handle::StreamingQueryStatus,
    housekeeping::{Chores, Housekeeping, Rewrite, is_time_to_delete},
    progress::{self, EpochFacts, OperatorFacts, Phases, SourceFacts},
    recover::Checkpoint,
    settings::Settings,
    sinks::Sinks,
    tally::Tally,
    trigger::{
        EpochDecision, NextTimer, TriggerFacts, decide_epoch, no_data_epoch_is_due, timer_is_due,
    },
    watermarks::{WatermarkNode, next_watermarks},
};

/// Everything a query is started with.
pub struct QuerySpec {
    /// A name for reports and messages; unique among the active queries of a manager.
    pub name: Option<String>,
    /// Functions, catalog and configuration that the plan is made with.
    pub state: SessionState,
    /// The query. Its leaves include streaming tables.
    pub plan: LogicalPlan,
    /// Which rows the sink receives.
    pub mode: OutputMode,
    /// When epochs run.
    pub trigger: Trigger,
    /// Where the rows go.
    pub sink: Arc<dyn SinkProvider>,
    /// Where records of the rows go that operators drop because they came after the watermark. `None`: they are counted
    /// only.
    pub late_sink: Option<Arc<dyn SinkProvider>>,
    /// The folder that holds the query's log and state. `None`: in memory, gone when the query ends.
    pub checkpoint: Option<Arc<dyn Storage>>,
    /// Everything that has a default.
    pub settings: Settings,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

impl fmt::Debug for QuerySpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuerySpec")
            .field("name", &self.name)
            .field("mode", &self.mode)
            .field("trigger", &self.trigger)
            .field("sink", &self.sink)
            .field("late_sink", &self.late_sink)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// What a trigger did.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// An epoch ran; it is committed and published.
    Ran(Box<StreamingQueryProgress>),
    /// There was nothing to do; [`Driver::changed`] tells when there may be.
    Idle,
    /// The trigger has done what it promises: the query is over.
    Finished,
}

/// What the next epoch is to be.
pub(crate) enum NextEpoch {
    Planned { planned: Planned, stage: Stage },
    Idle,
    Finished,
}

/// A query that has been recovered and runs when it is told to.
pub struct Driver {
    pub(crate) id: QueryId,
    pub(crate) run: RunId,
    pub(crate) name: Option<String>,
    pub(crate) mode: OutputMode,
    pub(crate) trigger: Trigger,
    pub(crate) settings: Settings,
    pub(crate) clock: Arc<dyn Clock>,

    pub(crate) plan: StreamingPlan,
    pub(crate) nodes: Vec<WatermarkNode>,
    pub(crate) operators: Vec<OperatorFacts>,
    pub(crate) policy: WatermarkPolicy,
    pub(crate) partitions: usize,

    pub(crate) sources: Vec<RunningSource>,
    pub(crate) sinks: Sinks,
    pub(crate) log: EpochLog,
    /// Runs that may have left something hidden for the epoch that this run commits first.
    pub(crate) losers: Vec<RunId>,
    pub(crate) backend: Arc<StateBackend>,
    pub(crate) state: Arc<StateProvider>,
    pub(crate) housekeeping: Housekeeping,
    /// What the epoch after the last one will probably read.
    pub(crate) guessing: Option<Guessing>,
    /// The epoch that the next step is to complete.
    pub(crate) begun: Option<Begun>,

    /// The epoch that comes next, unless one is to be replayed.
    pub(crate) next: Epoch,
    /// The watermarks that hold for it.
    pub(crate) watermarks: WatermarkRecord,
    /// Planned by an earlier run, never committed.
    pub(crate) replay: Option<Planned>,
    /// The watermark in force in the last epoch of this run.
    pub(crate) last_in_force: Option<Watermark>,
    /// What is known of timers that follow the clock.
    pub(crate) next_timer: NextTimer,
    /// Epochs of this run that have come to their commit record.
    pub(crate) epochs_run: u64,
    /// When the last trigger that ran an epoch began.
    pub(crate) previous_trigger: Option<i64>,
    /// A step failed or was cut off.
    pub(crate) is_broken: bool,
    /// Cancelled when no step is to follow.
    pub(crate) stop: CancellationToken,
    pub(crate) status: watch::Sender<StreamingQueryStatus>,
    /// What a diagnosis is made of.
    pub(crate) facts: watch::Sender<DiagnosisFacts>,
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field("id", &self.id)
            .field("run", &self.run)
            .field("name", &self.name)
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

impl Driver {
    /// Opens the query's checkpoint and recovers the query from it, or begins a new one.
    ///
    /// When it returns, every committed epoch is published and acknowledged; an epoch that was planned and not
    /// committed runs again in the first step.
    ///
    /// # Errors
    /// `Invalid` if the query cannot run as it is or does not fit its checkpoint, `Data` if the checkpoint is
    /// damaged, and whatever the sources, the sink and the storage answer.
    pub async fn start(spec: QuerySpec) -> Result<Self> {
        let checkpoint = Checkpoint::open(&spec).await?;
        Self::recover(spec, checkpoint).await
    }

    /// Runs one trigger: at most one epoch.
    ///
    /// # Errors
    /// Whatever failed first, with the query and the epoch in its message. The driver cannot be used any more; a new
    /// start on the same checkpoint goes on where this one stopped.
    pub async fn step(&mut self) -> Result<Step> {
        self.take_step(None).await
    }

    /// As [`Self::step`], for a caller who takes the next step at once: if it is certain that another epoch follows, it
    /// is planned and its rows are worked on while this one is committed. Nothing of it becomes durable or visible before
    /// that next step, and if there is none, nothing of it has ever been.
    ///
    /// So the next epoch takes what its sources knew of in this step; what has come since is for the one after it. Where
    /// the query was told to stop, nothing is begun.
    ///
    /// # Errors
    /// As [`Self::step`]. What fails in the next epoch is said by the next step.
    pub async fn step_and_begin_next(&mut self) -> Result<Step> {
        let around = Span::current();
        self.take_step(Some(&around)).await
    }

    async fn take_step(&mut self, next: Option<&Span>) -> Result<Step> {
        if self.is_broken {
            return Err(Error::invalid(format!(
                "{}: an earlier step failed or was cut off: start the query again",
                self.label()
            )));
        }
        self.is_broken = true;
        let step = Box::pin(self.fire(next)).await;
        self.is_broken = step.is_err() || self.stop.is_cancelled();
        step
    }

    /// Resolves when the next step may find something to do.
    pub async fn changed(&self) {
        if self.begun.is_some() {
            return;
        }
        tokio::select! {
            () = discover::changed(&self.sources) => {}
            () = self.timer() => {}
        }
    }

    /// Resolves when an epoch is to run for a timer that follows the clock; never if there is none.
    async fn timer(&self) {
        match self.next_timer {
            _ if self.runs_at_every_trigger() => {}
            NextTimer::At(at) if self.settings.no_data_epochs => self.clock.sleep_until(at).await,
            _ => std::future::pending().await,
        }
    }

    fn follows_clock(&self) -> bool {
        self.plan.operators().iter().any(|o| o.follows_clock)
    }

    /// Whether each trigger runs an epoch, as Spark does as soon as an operator may have timers that follow the clock.
    fn runs_at_every_trigger(&self) -> bool {
        self.settings.strict_spark
            && self.settings.no_data_epochs
            && self.trigger != Trigger::AvailableNow
            && self.follows_clock()
            && self.epochs_run > 0
    }

    /// Gives up what was begun of the next epoch and waits for background work. Call it when no step is to follow.
    pub async fn shut_down(&mut self) {
        self.begun = None;
        self.guessing = None;
        self.housekeeping.wait().await;
    }

    async fn fire(&mut self, next: Option<&Span>) -> Result<Step> {
        let label = self.label();
        let (planned, stage, mut phases, span) = match self.begun.take() {
            Some(begun) => begun.resume(),
            None => {
                let mut phases = Phases::begin(Arc::clone(&self.clock), self.facts.clone());
                self.say("Getting offsets from the sources", None, true);
                let began = phases.began_millis();
                let found = self.next_epoch(began, &mut phases).await;
                let (planned, stage) = match found.map_err(|error| error.context(&label))? {
                    NextEpoch::Idle => {
                        self.guessing = None;
                        let now = self.clock.now_millis();
                        self.facts.send_modify(|facts| facts.found_nothing(now));
                        self.say("Waiting for data to arrive", Some(false), false);
                        return Ok(Step::Idle);
                    }
                    NextEpoch::Finished => {
                        self.guessing = None;
                        self.say("Stopped", Some(false), false);
                        return Ok(Step::Finished);
                    }
                    NextEpoch::Planned { planned, stage } => (planned, stage),
                };
                let is_replay = matches!(stage, Stage::Recorded);
                let span = epoch_span(&Span::current(), &planned, is_replay);
                (planned, stage, phases, span)
            }
        };
        self.say("Processing new data", Some(planned.has_data), true);
        let epoch = planned.epoch;
        let tally = self
            .run_epoch(&planned, stage, &mut phases, next)
            .instrument(span.clone())
            .await
            .map_err(|error| error.context(format!("{label}, epoch {epoch}")))?;
        span.record("rows", tally.input_rows());
        self.next_timer = tally.next_timer.map_or(NextTimer::None, NextTimer::At);
        let began = phases.began_millis();
        let progress = self.report(&planned, phases, &tally).await;
        self.previous_trigger = Some(began);
        self.say("Waiting for next trigger", None, false);
        if let Some(begun) = &mut self.begun {
            begun.set_aside();
        }
        Ok(Step::Ran(Box::new(progress)))
    }

    /// Finds out what the next epoch is.
    pub(crate) async fn next_epoch(&mut self, now: i64, phases: &mut Phases) -> Result<NextEpoch> {
        if let Some(planned) = self.replay.take() {
            return Ok(NextEpoch::Planned {
                planned,
                stage: Stage::Recorded,
            });
        }
        let ranges = match self.trigger {
            // It has had its epoch; what the sources hold is for the next run.
            Trigger::Once if self.epochs_run > 0 => vec![None; self.sources.len()],
            trigger => {
                let admission = match trigger {
                    Trigger::Once => Admission::All,
                    _ => Admission::Configured,
                };
                let found = discover::discover(&self.sources, admission);
                phases.time("latestOffset", found).await?
            }
        };
        let wanted = self.plan.operators().iter().any(|o| o.wants_no_data_epoch);
        let no_data_due = no_data_epoch_is_due(
            self.settings.no_data_epochs,
            wanted,
            self.last_in_force,
            self.watermarks.global,
        );
        let timer_due = timer_is_due(
            self.settings.no_data_epochs,
            self.runs_at_every_trigger(),
            self.epochs_run,
            self.next_timer,
            now,
        );
        let decision = decide_epoch(&TriggerFacts {
            trigger: self.trigger,
            epochs_run: self.epochs_run,
            new_data: ranges.iter().any(Option::is_some),
            no_data_due: no_data_due || timer_due,
        });
        Ok(match decision {
            EpochDecision::Idle => NextEpoch::Idle,
            EpochDecision::Finished => NextEpoch::Finished,
            EpochDecision::RunData | EpochDecision::RunNoData => NextEpoch::Planned {
                planned: self.planned(now, ranges),
                stage: Stage::New,
            },
        })
    }

    /// The record of an epoch that this run begins.
    fn planned(&self, now: i64, ranges: Vec<Option<OffsetRange>>) -> Planned {
        Planned {
            epoch: self.next,
            run: self.run,
            time_millis: now,
            watermark: self.watermarks.clone(),
            has_data: ranges.iter().any(Option::is_some),
            sources: ranges
                .into_iter()
                .zip(&self.sources)
                .map(|(range, running)| match range {
                    Some(range) => SourceStep::Read(range),
                    None => SourceStep::Idle {
                        at: running.position.clone(),
                    },
                })
                .collect(),
        }
    }

    /// Lets every source stand where an epoch ended.
    pub(crate) fn stand_after(&mut self, planned: &Planned) {
        for (running, step) in self.sources.iter_mut().zip(&planned.sources) {
            running.position = step.end().cloned();
        }
    }

    /// Takes an epoch whose plan has run as the one to go on from.
    pub(crate) fn advance(&mut self, planned: &Planned, tally: &Tally) {
        self.stand_after(planned);
        self.next = planned.epoch.next();
        self.last_in_force = Some(planned.watermark.global);
        // Those of this run: at a replay, inputs that it has seen no rows of do not count, as after any restart.
        self.watermarks = next_watermarks(
            &self.watermarks,
            &self.nodes,
            &tally.largest_event_times(),
            self.policy,
        );
        self.epochs_run += 1;
    }

    /// The state files that are to be rewritten after epoch `newest`, as those of the epochs before tell; none while
    /// others are. State is captured as it is now.
    pub(crate) fn rewrites(&self, newest: Epoch) -> Vec<Rewrite> {
        if !self.housekeeping.is_free() {
            return Vec::new();
        }
        let upkeep = self.backend.upkeep().into_iter();
        upkeep
            .filter_map(|(operator, upkeep)| self.rewrite(operator, upkeep, newest))
            .collect()
    }

    fn has_state(&self) -> bool {
        !self.operators.is_empty()
    }

    /// Begins background work if there is any and none is running, now that epoch `newest` is committed and published.
    pub(crate) fn keep_house(&mut self, newest: Epoch, rewrites: Vec<Rewrite>) {
        if self.has_state() {
            self.housekeeping.committed(newest, self.backend.manifest());
        }
        let retained = self
            .settings
            .retained()
            .ok()
            .filter(|retained| is_time_to_delete(newest, *retained));
        if retained.is_some() || !rewrites.is_empty() {
            self.housekeeping.begin(Chores {
                log: self.log.clone(),
                backend: Arc::clone(&self.backend),
                run: self.run,
                newest,
                retained,
                has_state: self.has_state(),
                rewrites,
            });
        }
    }

    fn rewrite(&self, operator: String, upkeep: Upkeep, newest: Epoch) -> Option<Rewrite> {
        match upkeep {
            Upkeep::Merge(deltas) => Some(Rewrite::Merge { operator, deltas }),
            Upkeep::Snapshot => {
                let captured = self.state.capture(&operator);
                let partitions = captured
                    .iter()
                    .map(|(_, partition, _)| partition + 1)
                    .max()?;
                // An operator that the epoch did not run is not at its version: another time.
                let is_current = captured
                    .iter()
                    .all(|(_, _, snapshot)| snapshot.version() == Some(newest));
                is_current.then_some(Rewrite::Snapshot {
                    operator,
                    partitions,
                    captured,
                })
            }
        }
    }

    async fn report(
        &self,
        planned: &Planned,
        phases: Phases,
        tally: &Tally,
    ) -> StreamingQueryProgress {
        let began = phases.began_millis();
        let latest = join_all(self.sources.iter().map(|running| running.source.latest())).await;
        let sources: Vec<SourceFacts> = self
            .sources
            .iter()
            .zip(&planned.sources)
            .zip(latest)
            .map(|((running, step), latest)| SourceFacts {
                description: running.source.description(),
                step: step.clone(),
                latest,
                metrics: step
                    .end()
                    .map(|end| running.source.metrics(end))
                    .unwrap_or_default(),
            })
            .collect();
        let done = EpochDone {
            planned,
            began_millis: began,
            tally,
            watermarks: &self.watermarks,
            sources: &sources,
        };
        let late = self.sinks.late.as_ref();
        let now = self.clock.now_millis();
        self.facts.send_modify(|facts| facts.epoch_done(&done, now));
        progress::report(EpochFacts {
            id: self.id,
            run: self.run,
            name: self.name.as_deref(),
            epoch: planned.epoch,
            began_millis: began,
            previous_millis: self.previous_trigger,
            durations: phases.end(),
            watermark: (!self.nodes.is_empty()).then_some(planned.watermark.global),
            tally,
            operators: &self.operators,
            partitions: self.partitions,
            sources: &sources,
            sink: self.sinks.result.description(),
            late_sink: late.map(|late| late.sink.description()),
        })
    }

    /// Shows what the query is doing; `data` is left as it was where it is not known.
    fn say(&self, message: &str, data: Option<bool>, is_trigger_active: bool) {
        self.status.send_modify(|status| {
            message.clone_into(&mut status.message);
            status.is_trigger_active = is_trigger_active;
            if let Some(data) = data {
                status.is_data_available = data;
            }
        });
    }

    /// The query in messages: by name if it has one.
    pub fn label(&self) -> String {
        label(self.name.as_deref(), self.id)
    }

    /// Identity of the query.
    pub fn id(&self) -> QueryId {
        self.id
    }

    /// Identity of this run.
    pub fn run(&self) -> RunId {
        self.run
    }

    /// The query's name.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The plan as text.
    pub fn explain(&self) -> String {
        self.plan.explain()
    }

    /// When epochs run.
    pub fn trigger(&self) -> Trigger {
        self.trigger
    }

    /// The query's settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The query's clock.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Why nothing comes out of the query.
    pub fn diagnose(&self) -> Diagnosis {
        diagnose_at(self.facts.borrow().clone(), self.clock.now_millis())
    }

    /// What the query is doing, to be watched.
    pub fn status(&self) -> &watch::Sender<StreamingQueryStatus> {
        &self.status
    }
}

/// The span of an epoch, inside that of the query.
pub(crate) fn epoch_span(query: &Span, planned: &Planned, is_replay: bool) -> Span {
    tracing::info_span!(
        parent: query,
        "epoch",
        epoch = planned.epoch.0,
        is_replay,
        watermark = %planned.watermark.global,
        rows = tracing::field::Empty,
    )
}

/// A query in messages.
pub(crate) fn label(name: Option<&str>, id: QueryId) -> String {
    match name {
        Some(name) => format!("query '{name}'"),
        None => format!("query {id}"),
    }
}
