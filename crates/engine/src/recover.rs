//! From a checkpoint to a driver that goes on where the last run stopped.
//!
//! What to do is the log's pure decision ([`headwater_log::decide`]); this file carries it out. A committed epoch is
//! published again, and the newest committed range of each source is acknowledged again, which changes nothing if that
//! was done; an epoch that was planned and not committed is left to the driver's first step. Nothing that another run
//! may still commit is discarded here, and nothing is written before the query is known to fit.

use std::{collections::BTreeSet, num::NonZeroUsize, sync::Arc};

use futures::future::try_join_all;
use headwater_core::{
    Clock, Epoch, Error, OutputMode, QueryId, Result, RunId, SinkContext, SourceContext, Storage,
    Trigger, Watermark,
};
use headwater_log::{
    EpochLog, FolderStorage, LogReader, MemoryStorage, Metadata, OperatorRecord, Planned,
    SourceStep, Start, Started, WatermarkRecord, layout,
};
use headwater_ops::{
    aggregate::StatefulAggregateExec, key_index_factory, state_provider::StateProvider,
};
use headwater_plan::{PlanSettings, StreamingPlan, plan_stream};
use headwater_state::{Layouts, StateBackend, StateManifest};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    diagnose::{DiagnosisFacts, record::AtStart},
    discover::{self, RunningSource},
    driver::{Driver, QuerySpec, label},
    handle::StreamingQueryStatus,
    housekeeping::{Housekeeping, manifest_of},
    progress::OperatorFacts,
    settings::Settings,
    sinks::{LateSink, Sinks},
    trigger::NextTimer,
    upgrade::check_restart,
    watermarks::WatermarkNode,
};

/// The version that records name as their writer.
const ENGINE: &str = concat!("headwater ", env!("CARGO_PKG_VERSION"));

/// A query's checkpoint, opened but not changed.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    storage: Arc<dyn Storage>,
    /// As the first start wrote it; `None` if there was none.
    metadata: Option<Metadata>,
    id: QueryId,
}

impl Checkpoint {
    /// Finds out which query the checkpoint belongs to; a new one gets an id.
    pub(crate) async fn open(spec: &QuerySpec) -> Result<Self> {
        let storage = match &spec.checkpoint {
            Some(storage) => Arc::clone(storage),
            None => Arc::new(MemoryStorage::default()),
        };
        let metadata = EpochLog::metadata(storage.as_ref()).await?;
        let id = match &metadata {
            Some(metadata) => metadata.query,
            None => QueryId(Uuid::new_v4()),
        };
        Ok(Self {
            storage,
            metadata,
            id,
        })
    }

    /// Identity of the query.
    pub(crate) fn id(&self) -> QueryId {
        self.id
    }
}

/// The watermarks that a run begins with: those in force, while each node must see rows of this run before it lets the
/// watermark rise again, as recorded.
fn as_of_a_restart(recorded: &WatermarkRecord) -> WatermarkRecord {
    WatermarkRecord {
        nodes: Default::default(),
        ..recorded.clone()
    }
}

/// Where the query stands after recovery.
struct Standing {
    next: Epoch,
    watermarks: WatermarkRecord,
    replay: Option<Planned>,
    manifest: StateManifest,
    /// The newest plan: where the sources stand.
    newest: Option<Planned>,
    /// The watermark that the newest finished epoch ran with.
    in_force: Option<Watermark>,
}

impl Driver {
    /// Goes on from a checkpoint, or begins a new query in it.
    pub(crate) async fn recover(spec: QuerySpec, checkpoint: Checkpoint) -> Result<Self> {
        let name = label(spec.name.as_deref(), checkpoint.id);
        Box::pin(Self::try_recover(spec, checkpoint))
            .await
            .map_err(|error| error.context(format!("{name} cannot start")))
    }

    async fn try_recover(spec: QuerySpec, checkpoint: Checkpoint) -> Result<Self> {
        spec.settings.check()?;
        let Checkpoint {
            storage,
            metadata,
            id,
        } = checkpoint;
        let run = RunId(Uuid::new_v4());
        let newest = LogReader::new(Arc::clone(&storage)).newest_commit().await?;
        let recorded = match &newest {
            Some(committed) => manifest_of(&committed.state)?,
            None => StateManifest::default(),
        };
        let partitions = partitions(&spec, metadata.as_ref(), &recorded);
        let plan = plan_stream(
            &spec.state,
            spec.plan,
            &PlanSettings {
                mode: spec.mode,
                partitions,
                no_data_epochs: spec.settings.no_data_epochs,
                strict_spark: spec.settings.strict_spark,
                late_rows: spec.late_sink.is_some(),
                keep_windows: holding_windows(&recorded),
            },
        )
        .await?;
        spec.sink.check(spec.mode, &plan.output_schema())?;
        if let Some((sink, schema)) = spec.late_sink.as_ref().zip(plan.late_schema()) {
            sink.check(OutputMode::Append, &schema)
                .map_err(|error| error.context("the sink of late rows"))?;
        }

        let now = spec.clock.now_millis();
        let present = Metadata {
            query: id,
            created_millis: now,
            engine: ENGINE.to_owned(),
            partitions: u32::try_from(partitions).unwrap_or(u32::MAX),
            output_mode: spec.mode,
            watermark_policy: spec.settings.watermark_policy,
            sources: plan.sources().iter().map(|s| s.identity()).collect(),
            sink: spec.sink.identity(),
            late_sink: spec.late_sink.as_ref().map(|sink| sink.identity()),
            operators: operator_records(&plan)?,
            settings: Default::default(),
        };
        let metadata = match metadata {
            Some(metadata) => metadata,
            None => {
                refuse_lost_metadata(storage.as_ref()).await?;
                EpochLog::create_metadata(storage.as_ref(), &present).await?
            }
        };
        check_restart(
            &storage.to_string(),
            &metadata,
            &present,
            plan.operators(),
            &recorded,
        )?;
        if metadata.query != id {
            return Err(Error::fenced(format!(
                "another process has started query {} in {storage} at this moment",
                metadata.query
            )));
        }

        let started = Started {
            run,
            started_millis: now,
            engine: ENGINE.to_owned(),
        };
        let log = EpochLog::open(Arc::clone(&storage), &started).await?;
        let recovery = log.recover().await?;
        check_late_sink(&recovery.start, present.late_sink.as_deref())?;
        let sources = create_sources(&plan, &storage, &spec.clock, &spec.settings).await?;
        let sink = spec
            .sink
            .create(SinkContext {
                query: id,
                query_name: spec.name.clone(),
                schema: plan.output_schema(),
                mode: spec.mode,
                is_late: false,
                storage: Arc::new(FolderStorage::new(Arc::clone(&storage), layout::SINK)?),
                clock: Arc::clone(&spec.clock),
            })
            .await?;
        let late = match spec.late_sink.as_ref().zip(plan.late_schema()) {
            None => None,
            Some((provider, schema)) => {
                let sink = provider.create(SinkContext {
                    query: id,
                    query_name: spec.name.clone(),
                    schema,
                    mode: OutputMode::Append,
                    is_late: true,
                    storage: Arc::new(FolderStorage::new(Arc::clone(&storage), layout::LATE_SINK)?),
                    clock: Arc::clone(&spec.clock),
                });
                let sink = sink.await;
                Some(LateSink {
                    identity: provider.identity(),
                    sink: sink.map_err(|error| error.context("the sink of late rows"))?,
                })
            }
        };
        let history = log.history().await?;
        for planned in &history {
            discover::resume(&sources, &planned.sources).await?;
        }

        let standing = stand(&recovery.start)?;
        // Spark forgets at a stop that an epoch without data was due, and its windows wait for new data.
        let last_in_force = standing.in_force.filter(|_| !spec.settings.strict_spark);
        // Spark forgets timers at a stop in the same way: they wait for new data.
        let may_have_timers = plan.operators().iter().any(|o| o.follows_clock)
            && standing.next > Epoch::FIRST
            && !spec.settings.strict_spark;
        let next_timer = match may_have_timers {
            true => NextTimer::Unknown,
            false => NextTimer::None,
        };
        let backend = StateBackend::new(storage, standing.manifest).with_layouts(layouts(&plan));
        let backend = Arc::new(backend);
        let state = StateProvider::new(
            Arc::clone(&backend),
            key_index_factory(),
            present.partitions,
            run,
        );
        let facts = DiagnosisFacts::at_start(AtStart {
            query: label(spec.name.as_deref(), id),
            now_millis: now,
            trigger: spec.trigger,
            mode: spec.mode,
            policy: metadata.watermark_policy,
            no_data_epochs: spec.settings.no_data_epochs,
            has_checkpoint: spec.checkpoint.is_some(),
            next_epoch: standing.next.0,
            plan: &plan,
            sources: sources.iter().map(|it| it.source.description()).collect(),
            watermarks: &standing.watermarks,
        });
        let mut driver = Self {
            id,
            run,
            name: spec.name,
            mode: spec.mode,
            trigger: spec.trigger,
            settings: spec.settings,
            clock: spec.clock,
            nodes: watermark_nodes(&plan),
            operators: operator_facts(&plan),
            policy: metadata.watermark_policy,
            partitions,
            plan,
            sources,
            sinks: Sinks { result: sink, late },
            log,
            losers: recovery.earlier_runs,
            backend,
            state: Arc::new(state),
            housekeeping: Housekeeping::default(),
            guessing: None,
            begun: None,
            next: standing.next,
            watermarks: standing.watermarks,
            replay: standing.replay,
            last_in_force,
            next_timer,
            epochs_run: 0,
            previous_trigger: None,
            is_broken: false,
            stop: CancellationToken::new(),
            facts: watch::Sender::new(facts),
            status: watch::Sender::new(StreamingQueryStatus {
                message: "Initializing the query".to_owned(),
                ..StreamingQueryStatus::default()
            }),
        };
        if let Some(newest) = &standing.newest {
            driver.stand_after(newest);
        }
        if let Start::Resume(resume) = &recovery.start {
            driver.finish(resume).await?;
        }
        let newest = newest_ranges(&history, driver.sources.len(), driver.next);
        discover::acknowledge(&driver.sources, &newest).await?;
        if driver.trigger == Trigger::AvailableNow {
            try_join_all(driver.sources.iter().map(|s| s.source.freeze())).await?;
        }
        tracing::info!(
            query = %driver.id,
            run = %driver.run,
            next = driver.next.0,
            replays = driver.replay.is_some(),
            "query recovered"
        );
        for operator in driver.plan.operators() {
            for reason in &operator.grows {
                tracing::warn!(
                    operator = operator.id,
                    "state grows without bound: {reason}"
                );
            }
        }
        Ok(driver)
    }

    /// Brings a committed epoch to its end, wherever the run that committed it stopped.
    async fn finish(&mut self, resume: &headwater_log::Resume) -> Result<()> {
        let committed = &resume.committed;
        let write = self.write_of(committed.epoch, committed.run);
        self.sinks
            .publish(&write, committed)
            .await
            .map_err(|error| {
                error.context(format!("epoch {} cannot be published", committed.epoch))
            })?;
        self.discard_losers(committed.epoch, committed.run).await;
        Ok(())
    }
}

/// The last committed range of each source: the epochs before `next` are committed and published, but whoever ran the
/// last of them may have died before the sources had done what they do with a range that is theirs to keep.
fn newest_ranges(history: &[Planned], sources: usize, next: Epoch) -> Vec<SourceStep> {
    (0..sources)
        .map(|source| {
            let committed = history.iter().rev().filter(|planned| planned.epoch < next);
            committed
                .filter_map(|planned| planned.sources.get(source))
                .find(|step| step.range().is_some())
                .cloned()
                .unwrap_or(SourceStep::Idle { at: None })
        })
        .collect()
}

/// A checkpoint that has epochs has had metadata: without it nobody can tell whether the query fits.
async fn refuse_lost_metadata(storage: &dyn Storage) -> Result<()> {
    match storage.list(layout::PLANS).await?.first() {
        None => Ok(()),
        Some(plan) => Err(Error::data(format!(
            "'{}' in the checkpoint {storage} is missing, though there is '{}': put it back, or use another checkpoint \
             to start over",
            layout::METADATA,
            plan.path
        ))),
    }
}

/// Refuses to leave out or to exchange the sink of late rows that the newest committed epoch wrote to: what it prepared
/// may not be visible yet. A query that had none may get one.
fn check_late_sink(start: &Start, present: Option<&str>) -> Result<()> {
    let newest = match start {
        Start::Fresh => None,
        Start::Resume(resume) => Some(&resume.committed),
        Start::Replay(replay) => replay.previous.as_ref(),
    };
    let Some((epoch, late)) = newest.and_then(|newest| Some((newest.epoch, newest.late.as_ref()?)))
    else {
        return Ok(());
    };
    if Some(late.sink.as_str()) == present {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "the late rows of epoch {epoch} went to '{}', and now {}: start the query with late_rows_to the same place, or \
         with another checkpoint location",
        late.sink,
        match present {
            Some(present) => format!("they are to go to '{present}'"),
            None => "they are to be dropped".to_owned(),
        }
    )))
}

/// What the log's decision means for the first step.
fn stand(start: &Start) -> Result<Standing> {
    Ok(match start {
        Start::Fresh => Standing {
            next: Epoch::FIRST,
            watermarks: WatermarkRecord::default(),
            replay: None,
            manifest: StateManifest::default(),
            newest: None,
            in_force: None,
        },
        Start::Resume(resume) => Standing {
            next: resume.next,
            watermarks: as_of_a_restart(&resume.committed.next),
            replay: None,
            manifest: manifest_of(&resume.committed.state)?,
            newest: Some(resume.planned.clone()),
            in_force: Some(resume.planned.watermark.global),
        },
        Start::Replay(replay) => Standing {
            next: replay.planned.epoch,
            watermarks: as_of_a_restart(&replay.planned.watermark),
            replay: Some(replay.planned.clone()),
            manifest: match &replay.previous {
                Some(previous) => manifest_of(&previous.state)?,
                None => StateManifest::default(),
            },
            newest: None,
            in_force: None,
        },
    })
}

/// A number in the settings holds; else the one that the state is divided by; else that of the first start; else the
/// number of processors.
fn partitions(spec: &QuerySpec, metadata: Option<&Metadata>, state: &StateManifest) -> usize {
    // A limit has one partition whatever the others have.
    let is_keyed = |id: &String| {
        let mut operators = metadata.iter().flat_map(|metadata| &metadata.operators);
        operators.any(|operator| operator.id == *id && operator.kind != "limit")
    };
    let keyed = state.operators.iter().filter(|(id, _)| is_keyed(id));
    let recorded = keyed.map(|(_, files)| files.partitions).max();
    let recorded = recorded.or(metadata.map(|metadata| metadata.partitions));
    let recorded = recorded.and_then(|partitions| usize::try_from(partitions).ok());
    spec.settings
        .state_partitions
        .or(recorded)
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, NonZeroUsize::get))
        .max(1)
}

/// Operators whose recorded state holds windows as such, if they are of windows that overlap.
fn holding_windows(state: &StateManifest) -> BTreeSet<String> {
    let operators = state.operators.iter();
    let holding = operators.filter(|(_, files)| {
        // What a store holds was not always recorded.
        files.stores.is_empty() || StatefulAggregateExec::holds_windows(&files.stores)
    });
    holding.map(|(id, _)| id.clone()).collect()
}

async fn create_sources(
    plan: &StreamingPlan,
    storage: &Arc<dyn Storage>,
    clock: &Arc<dyn Clock>,
    settings: &Settings,
) -> Result<Vec<RunningSource>> {
    let retained = settings.retained()?;
    let numbered = plan.sources().iter().enumerate();
    try_join_all(numbered.map(|(source_id, provider)| async move {
        let folder = FolderStorage::new(Arc::clone(storage), &layout::source(source_id))?;
        let source = provider
            .create(SourceContext {
                source_id,
                storage: Arc::new(folder),
                clock: Arc::clone(clock),
                retained,
            })
            .await
            .map_err(|error| error.context(format!("source {source_id}")))?;
        Ok(RunningSource {
            source,
            position: None,
        })
    }))
    .await
}

fn operator_records(plan: &StreamingPlan) -> Result<Vec<OperatorRecord>> {
    let operators = plan.operators().iter();
    operators
        .map(|operator| {
            Ok(OperatorRecord {
                id: operator.id.clone(),
                kind: operator.kind.clone(),
                fingerprint: operator.fingerprint.clone(),
                stores: serde_json::to_value(&operator.stores)?,
            })
        })
        .collect()
}

/// What the stores of each operator hold from now on; operators that say nothing are left out.
fn layouts(plan: &StreamingPlan) -> Layouts {
    let operators = plan.operators().iter().filter(|it| !it.stores.is_empty());
    operators
        .map(|operator| (operator.id.clone(), operator.stores.clone()))
        .collect()
}

fn operator_facts(plan: &StreamingPlan) -> Vec<OperatorFacts> {
    let operators = plan.operators().iter();
    operators
        .map(|operator| OperatorFacts {
            id: operator.id.clone(),
            name: operator.progress_name.clone(),
        })
        .collect()
}

fn watermark_nodes(plan: &StreamingPlan) -> Vec<WatermarkNode> {
    let nodes = plan.watermark_nodes().iter();
    nodes
        .map(|node| WatermarkNode {
            id: node.id.clone(),
            delay: node.delay,
        })
        .collect()
}
