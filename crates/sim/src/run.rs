//! Plays a scenario against this engine, step by step, by hand: a clock that only the scenario moves, memory streams,
//! a checkpoint in memory, and a driver that runs one trigger when it is told to.

use std::{collections::BTreeMap, sync::Arc};

use datafusion::{
    common::tree_node::{TreeNode, TreeNodeRecursion},
    logical_expr::{Expr, LogicalPlan},
};
use headwater::{
    DataFrame, Session,
    connect::memory::{MemorySink, MemoryStream},
    engine::{Driver, Settings, Step as Epoch, WatermarkPolicy},
    sql::WindowSpec,
};
use headwater_core::{Clock, Error, OutputMode, Result, Storage, Trigger, clock::ManualClock};
use headwater_log::store::MemoryStorage;
use serde_json::Value;

use crate::{
    calls,
    compare::{Found, FoundBatch, Leniency, Outcome},
    epochs::{found_batch, lose_last_commit},
    processors,
    scenario::{Restart, Scenario, Step},
    types, values,
};

/// 2001-09-09T01:46:40Z, where the clock of every scenario starts.
const START_MILLIS: i64 = 1_000_000_000_000;
/// How far the clock moves for a trigger of a running query, and for a restart.
const TRIGGER_MILLIS: i64 = 1_000;
/// Partitions of state, as in the record.
const STATE_PARTITIONS: usize = 2;
/// A trigger step that runs more epochs than this never becomes idle.
const MOST_EPOCHS: usize = 1_000;

/// Plays a scenario from its first step to its last, or to the first error of the query.
///
/// # Errors
/// Only for what is wrong with the scenario or unknown to the runner; errors of the query are part of what was found.
pub async fn play(scenario: &Scenario) -> Result<Found> {
    let query = &scenario.query;
    if query.sql.is_none() && query.calls.is_none() && !processors::is_program(&scenario.name) {
        return Err(Error::data(
            "the scenario has neither SQL nor calls, and its query is not written out by name",
        ));
    }
    let steps = scenario.parsed_steps()?;
    let mut player = Player::new(scenario)?;
    let frame = match player.frame().await {
        Ok(frame) => frame,
        Err(error) => return Ok(player.found(Outcome::RefusedBuilding(error))),
    };
    player.columns = frame
        .schema()
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect();
    player.leniency = leniency(frame.logical_plan(), scenario.mode()?)?;
    for (index, step) in steps.iter().enumerate() {
        match player.take(step).await {
            Ok(None) => {}
            Ok(Some(batches)) => player.triggers.push((index, batches)),
            Err(Stopped::Refused(error)) => {
                return Ok(player.found(Outcome::RefusedStarting(error)));
            }
            Err(Stopped::Failed(error)) => return Ok(player.found(Outcome::Failed(error))),
            Err(Stopped::Unplayable(error)) => return Err(error),
        }
    }
    player.stop().await;
    Ok(player.found(Outcome::Ok))
}

/// Why a scenario did not go on.
enum Stopped {
    /// The query was not started.
    Refused(Error),
    /// The query died.
    Failed(Error),
    /// The runner cannot do what the scenario asks.
    Unplayable(Error),
}

struct Player<'a> {
    scenario: &'a Scenario,
    conf: BTreeMap<String, Value>,
    clock: Arc<ManualClock>,
    streams: BTreeMap<String, MemoryStream>,
    checkpoint: Arc<MemoryStorage>,
    session: Session,
    running: Option<Running>,
    started_before: bool,
    columns: Vec<String>,
    leniency: Leniency,
    triggers: Vec<(usize, Vec<FoundBatch>)>,
}

/// A started query and the sink of this run of it.
struct Running {
    driver: Driver,
    sink: MemorySink,
    /// The start itself makes the first trigger.
    first_trigger: bool,
}

impl<'a> Player<'a> {
    fn new(scenario: &'a Scenario) -> Result<Self> {
        let clock = Arc::new(ManualClock::at(START_MILLIS));
        let streams = scenario
            .streams
            .iter()
            .map(|stream| {
                let schema = types::schema(&stream.schema)?;
                Ok((stream.name.clone(), MemoryStream::new(&stream.name, schema)))
            })
            .collect::<Result<BTreeMap<_, _>>>()?;
        let conf = scenario.conf.clone();
        let session = session(scenario, &conf, &clock, &streams)?;
        Ok(Self {
            scenario,
            conf,
            streams,
            checkpoint: Arc::new(MemoryStorage::with_clock(clock_of(&clock))),
            clock,
            session,
            running: None,
            started_before: false,
            columns: Vec::new(),
            leniency: Leniency::default(),
            triggers: Vec::new(),
        })
    }

    fn found(self, outcome: Outcome) -> Found {
        Found {
            outcome,
            columns: self.columns,
            triggers: self.triggers,
            leniency: self.leniency,
        }
    }

    /// The query as the session plans it.
    async fn frame(&self) -> Result<DataFrame> {
        refuse_unsupported(&self.conf)?;
        match (&self.scenario.query.sql, &self.scenario.query.calls) {
            (Some(sql), _) => self.session.sql(sql).await,
            (None, Some(calls)) => calls::build(&self.session, calls).await,
            (None, None) => processors::build(&self.session, &self.scenario.name).await,
        }
    }

    /// Takes one step; a trigger step gives its batches.
    async fn take(&mut self, step: &Step) -> Result<Option<Vec<FoundBatch>>, Stopped> {
        match step {
            Step::Rows { stream, rows } => {
                self.add(stream, rows).map_err(Stopped::Unplayable)?;
                Ok(None)
            }
            Step::Restart(restart) => {
                self.restart(restart).await?;
                Ok(None)
            }
            Step::Idle => {
                self.ensure_started(Trigger::Default).await?;
                let mut batches = Vec::new();
                while let Some(batch) = self.trigger(TRIGGER_MILLIS).await? {
                    batches.push(batch);
                    check_count(&batches)?;
                }
                Ok(Some(batches))
            }
            Step::One { clock_millis } => {
                self.ensure_started(Trigger::Default).await?;
                let batch = self.trigger(*clock_millis).await?;
                Ok(Some(batch.into_iter().collect()))
            }
            Step::AvailableNow => self.run_to_its_end(Trigger::AvailableNow).await.map(Some),
            Step::Once => self.run_to_its_end(Trigger::Once).await.map(Some),
        }
    }

    fn add(&self, stream: &str, rows: &[serde_json::Map<String, Value>]) -> Result<()> {
        let stream = self
            .streams
            .get(stream)
            .ok_or_else(|| Error::data(format!("there is no stream '{stream}'")))?;
        stream.add_batch(values::batch(&stream.schema(), rows)?)?;
        Ok(())
    }

    async fn run_to_its_end(&mut self, trigger: Trigger) -> Result<Vec<FoundBatch>, Stopped> {
        self.stop().await;
        self.ensure_started(trigger).await?;
        let mut batches = Vec::new();
        while let Some(batch) = self.trigger(0).await? {
            batches.push(batch);
            check_count(&batches)?;
        }
        self.stop().await;
        Ok(batches)
    }

    async fn ensure_started(&mut self, trigger: Trigger) -> Result<(), Stopped> {
        if self.running.is_some() {
            return Ok(());
        }
        let started = self.start(trigger).await.map_err(|error| {
            if self.started_before {
                Stopped::Failed(error.context("the restart was refused"))
            } else {
                Stopped::Refused(error)
            }
        })?;
        self.started_before = true;
        self.running = Some(started);
        Ok(())
    }

    async fn start(&self, trigger: Trigger) -> Result<Running> {
        // A sink of its own for each run, so that an epoch that runs again shows its rows again.
        let sink = MemorySink::new("result");
        let checkpoint: Arc<dyn Storage> = Arc::clone(&self.checkpoint) as _;
        let spec = self
            .frame()
            .await?
            .write_stream()
            .output_mode(self.scenario.mode()?)
            .trigger(trigger)
            .sink(Arc::new(sink.provider()))
            .checkpoint(checkpoint)
            .into_spec(None)?;
        Ok(Running {
            driver: Driver::start(spec).await?,
            sink,
            first_trigger: true,
        })
    }

    /// Makes one trigger, moving the clock unless the start makes it. None if it found nothing to do.
    async fn trigger(&mut self, clock_millis: i64) -> Result<Option<FoundBatch>, Stopped> {
        let Some(running) = &mut self.running else {
            return Err(Stopped::Unplayable(Error::internal("no query is running")));
        };
        if !std::mem::take(&mut running.first_trigger) {
            self.clock.advance(clock_millis);
        }
        match Box::pin(running.driver.step()).await {
            Ok(Epoch::Ran(progress)) => found_batch(&progress, &running.sink)
                .map(Some)
                .map_err(Stopped::Failed),
            Ok(Epoch::Idle | Epoch::Finished) => Ok(None),
            Err(error) => Err(Stopped::Failed(error)),
        }
    }

    async fn stop(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.driver.shut_down().await;
        }
    }

    async fn restart(&mut self, restart: &Restart) -> Result<(), Stopped> {
        self.stop().await;
        self.clock.advance(TRIGGER_MILLIS);
        match restart {
            Restart::Plain => Ok(()),
            Restart::LoseLastCommit => self.lose_last_commit().await,
            Restart::NewConf(conf) => {
                self.conf.extend(conf.clone());
                session(self.scenario, &self.conf, &self.clock, &self.streams)
                    .map(|session| self.session = session)
            }
        }
        .map_err(Stopped::Unplayable)
    }

    async fn lose_last_commit(&self) -> Result<()> {
        match lose_last_commit(self.checkpoint.as_ref()).await? {
            true => Ok(()),
            false => Err(Error::data("there is no commit record to lose")),
        }
    }
}

fn clock_of(clock: &Arc<ManualClock>) -> Arc<dyn Clock> {
    Arc::clone(clock) as _
}

fn check_count(batches: &[FoundBatch]) -> Result<(), Stopped> {
    if batches.len() > MOST_EPOCHS {
        return Err(Stopped::Failed(Error::internal(format!(
            "{MOST_EPOCHS} epochs in one trigger step, and no end of it"
        ))));
    }
    Ok(())
}

/// A session with the scenario's tables, configured as the record's was.
fn session(
    scenario: &Scenario,
    conf: &BTreeMap<String, Value>,
    clock: &Arc<ManualClock>,
    streams: &BTreeMap<String, MemoryStream>,
) -> Result<Session> {
    let mut settings = Settings {
        state_partitions: Some(STATE_PARTITIONS),
        ..Settings::default()
    };
    let mut zone = "UTC".to_owned();
    for (name, value) in conf {
        let text = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        match name.as_str() {
            "spark.sql.session.timeZone" => zone = text,
            "spark.sql.streaming.noDataMicroBatches.enabled" => {
                settings.no_data_epochs = parse_bool(name, &text)?;
            }
            "spark.sql.streaming.multipleWatermarkPolicy" => {
                settings.watermark_policy = match text.as_str() {
                    "min" => WatermarkPolicy::Min,
                    "max" => WatermarkPolicy::Max,
                    _ => return Err(Error::data(format!("{name} cannot be '{text}'"))),
                };
            }
            "spark.sql.shuffle.partitions" => {
                let partitions = text
                    .parse()
                    .map_err(|_| Error::data(format!("{name} cannot be '{text}'")))?;
                settings.state_partitions = Some(partitions);
            }
            // Which of its two state stores the reference engine used changes nothing that a query shows.
            "spark.sql.streaming.stateStore.providerClass" => {}
            // See `refuse_unsupported`.
            "spark.sql.streaming.statefulOperator.allowMultiple" => {}
            _ => return Err(Error::data(format!("unknown setting '{name}'"))),
        }
    }
    let session = Session::builder()
        .settings(settings)
        .spark_functions(true)
        .strict_spark(true)
        .time_zone(zone)
        .clock(clock_of(clock))
        .build()?;
    processors::register(&session)?;
    for (name, stream) in streams {
        session.register_stream(name, Arc::new(stream.provider()))?;
    }
    for table in &scenario.tables {
        let schema = types::schema(&table.schema)?;
        session.register_batch(&table.name, values::batch(&schema, &table.rows)?)?;
    }
    Ok(session)
}

/// What this engine knowingly does not have is refused when it is asked for.
fn refuse_unsupported(conf: &BTreeMap<String, Value>) -> Result<()> {
    let name = "spark.sql.streaming.statefulOperator.allowMultiple";
    match conf.get(name) {
        Some(value) if !parse_bool(name, value.as_str().unwrap_or(&value.to_string()))? => {
            Err(Error::invalid(format!(
                "{name} cannot be false: there is no mode with a single stateful operator, leave it true"
            )))
        }
        _ => Ok(()),
    }
}

fn parse_bool(name: &str, text: &str) -> Result<bool> {
    text.parse()
        .map_err(|_| Error::data(format!("{name} cannot be '{text}'")))
}

/// Decides from the query itself what cannot be compared.
fn leniency(plan: &LogicalPlan, mode: OutputMode) -> Result<Leniency> {
    let mut leniency = Leniency::default();
    plan.apply_with_subqueries(|node| {
        leniency.limit |= matches!(node, LogicalPlan::Limit(_));
        node.apply_expressions(|expr| {
            expr.apply(|part| {
                if let Expr::ScalarFunction(call) = part
                    && call.func.name() == "window"
                    && let Ok(spec) = WindowSpec::from_args(&call.args)
                {
                    let has_slices = mode == OutputMode::Append && !spec.is_tumbling();
                    leniency.sliding_windows |= has_slices;
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })
    .map_err(|error| Error::internal("the plan cannot be walked").with_source(error))?;
    Ok(leniency)
}
