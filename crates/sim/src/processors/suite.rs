//! What every processor must keep, as functions that its author can run on it: a query that calls code gives the same
//! rows however often it is interrupted.
//!
//! [`check_processor`] plays an input once without interruption and then again and again: with a restart after every step,
//! with another number of partitions at each, with the commit record of every epoch lost, and with each write to the
//! checkpoint failing in turn, before or after it took effect. After each step the rows must be those of the uninterrupted
//! run, and an epoch that runs again must give the same rows again. Then the query is started once more with other state
//! under the same name, and once without the code at all: both must be refused, by name.
//!
//! It catches code that remembers outside its state, that asks a clock of its own, or that depends on how keys are spread;
//! and, with processors whose answer is known, an engine that loses or doubles state, timers or rows. It cannot tell
//! whether the rows are the right ones.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use datafusion::arrow::{array::RecordBatch, datatypes::SchemaRef};
use headwater::{
    DataFrame, Session,
    connect::memory::{MemorySink, MemoryStream},
    engine::{Driver, Step},
};
use headwater_core::{
    Clock, Epoch, Error, ErrorKind, OutputMode, Result, Storage, clock::ManualClock,
};
use headwater_log::store::{FailingStorage, Fault, MemoryStorage, Operation};

use crate::{
    cell::Row,
    compare::require_rows,
    epochs::{lose_last_commit, published},
};

/// More epochs than this for one step never end.
const MOST_EPOCHS: usize = 100;

type Register = Box<dyn Fn(&Session) -> Result<()> + Send + Sync>;
type Query = Box<dyn Fn(&Session, DataFrame) -> Result<DataFrame> + Send + Sync>;

/// A query that calls a processor or a group function, and an input for it.
pub struct ProcessorCase {
    /// What to call it in errors.
    pub name: String,
    /// Columns of the stream.
    pub schema: SchemaRef,
    /// Registers the code.
    pub register: Register,
    /// Registers other code under the same name, with another type or kind of the state variable that is named here.
    pub with_other_state: Option<(Register, String)>,
    /// The query over the stream.
    pub query: Query,
    /// Its output mode.
    pub mode: OutputMode,
    /// The input.
    pub steps: Vec<ProcessorStep>,
}

/// Rows that come, after the clock has moved on. What follows from them runs until there is nothing more to do.
#[derive(Debug, Clone)]
pub struct ProcessorStep {
    /// How far the clock moves first, in milliseconds.
    pub clock_millis: i64,
    /// Blocks of rows; none at all if only time passes.
    pub blocks: Vec<RecordBatch>,
}

impl fmt::Debug for ProcessorCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessorCase")
            .field("name", &self.name)
            .field("mode", &self.mode)
            .field("steps", &self.steps.len())
            .finish_non_exhaustive()
    }
}

/// What happens to a query between or during its steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Interruption {
    None,
    /// After each step.
    Restart,
    /// After each step, with the next of these numbers of partitions.
    Repartition(&'static [usize]),
    /// The last commit record is lost after each step.
    LostCommit,
    /// This write to the checkpoint fails; the next start goes on.
    FailedWrite {
        number: usize,
        takes_effect: bool,
    },
}

/// What a run of a case gave.
#[derive(Debug, Clone, Default)]
pub struct Played {
    /// The rows of each step.
    pub steps: Vec<Vec<Row>>,
    /// Writes to the checkpoint.
    pub writes: usize,
    /// Epochs that ran, those that ran again not counted.
    pub epochs: usize,
}

/// Plays a case without interruption.
///
/// # Errors
/// Whatever the query answers.
pub async fn play_processor(case: &ProcessorCase) -> Result<Played> {
    Box::pin(Bench::play(case, Interruption::None)).await
}

/// Plays a case in all ways that must make no difference, and checks what must be refused.
///
/// # Errors
/// `Internal` for a difference, which it names; whatever else the query answers.
pub async fn check_processor(case: &ProcessorCase) -> Result<()> {
    let expected = play_processor(case).await?;
    let mut interruptions = vec![
        Interruption::None,
        Interruption::Restart,
        Interruption::Repartition(&[2, 3, 1, 5]),
        Interruption::LostCommit,
    ];
    for number in 0..expected.writes {
        interruptions.push(Interruption::FailedWrite {
            number,
            takes_effect: number % 2 == 0,
        });
    }
    for interruption in interruptions {
        let played = Box::pin(Bench::play(case, interruption)).await;
        let compared = played.and_then(|played| compare(&expected, &played));
        compared.map_err(|error| error.context(format!("{}, {interruption:?}", case.name)))?;
    }
    Box::pin(check_refusals(case))
        .await
        .map_err(|error| error.context(&case.name))
}

fn compare(expected: &Played, found: &Played) -> Result<()> {
    let steps = expected.steps.iter().zip(&found.steps).enumerate();
    for (number, (expected, found)) in steps {
        let place = format!("step {number}");
        require_rows(&place, expected.clone(), found.clone())?;
    }
    Ok(())
}

/// A query on a checkpoint with state refuses to go on with other state, and without the code.
async fn check_refusals(case: &ProcessorCase) -> Result<()> {
    let mut bench = Bench::new(case, Interruption::None)?;
    if let Some(step) = case.steps.first() {
        bench.take(0, step).await?;
    }
    bench.stop().await;
    if let Some((register, variable)) = &case.with_other_state {
        register(&bench.session)?;
        let refused = bench.start().await.err();
        let refused = refused.ok_or_else(|| {
            Error::internal("a restart with another state schema was not refused")
        })?;
        let text = refused.to_string();
        let names_all = ["operator 'processor-", variable, "was", "is"]
            .iter()
            .all(|part| text.contains(part));
        if refused.kind() != ErrorKind::Invalid || !names_all {
            return Err(Error::internal(format!(
                "the refusal of another state schema does not name operator, state '{variable}', recorded and new \
                 schema: {text}"
            )));
        }
    }
    bench.session = session(case, &bench.clock, &bench.stream)?;
    match bench.start().await.err() {
        Some(error) if error.kind() == ErrorKind::Invalid => Ok(()),
        other => Err(Error::internal(format!(
            "a restart without the code was not refused as invalid: {other:?}"
        ))),
    }
}

fn session(
    _case: &ProcessorCase,
    clock: &Arc<ManualClock>,
    stream: &MemoryStream,
) -> Result<Session> {
    let session = Session::builder()
        .clock(Arc::clone(clock) as Arc<dyn Clock>)
        .build()?;
    session.register_memory_stream(stream)?;
    Ok(session)
}

struct Bench<'a> {
    case: &'a ProcessorCase,
    interruption: Interruption,
    clock: Arc<ManualClock>,
    stream: MemoryStream,
    session: Session,
    checkpoint: Arc<MemoryStorage>,
    storage: Arc<FailingStorage>,
    writes: Arc<AtomicUsize>,
    partitions: usize,
    /// Of all runs where a run may have to publish what an earlier one prepared.
    sink: MemorySink,
    running: Option<(Driver, MemorySink)>,
    /// The rows of each epoch, and the step in which it first ran.
    given: BTreeMap<u64, (usize, Vec<Row>)>,
}

impl<'a> Bench<'a> {
    fn new(case: &'a ProcessorCase, interruption: Interruption) -> Result<Self> {
        let clock = Arc::new(ManualClock::at(1_000_000_000_000));
        let stream = MemoryStream::new("events", Arc::clone(&case.schema));
        let session = session(case, &clock, &stream)?;
        (case.register)(&session)?;
        let checkpoint = Arc::new(MemoryStorage::with_clock(Arc::clone(&clock) as _));
        let storage = FailingStorage::new(Arc::clone(&checkpoint) as Arc<dyn Storage>);
        let bench = Self {
            case,
            interruption,
            clock,
            stream,
            session,
            checkpoint,
            storage: Arc::new(storage),
            writes: Arc::default(),
            partitions: 2,
            sink: MemorySink::new("out"),
            running: None,
            given: BTreeMap::new(),
        };
        bench.arm();
        Ok(bench)
    }

    /// Counts writes, and lets one of them fail if that is asked for.
    fn arm(&self) {
        let (failing, fault) = match self.interruption {
            Interruption::FailedWrite {
                number,
                takes_effect,
            } => (
                Some(number),
                match takes_effect {
                    true => Fault::LostAnswer,
                    false => Fault::Unavailable("the network is down".to_owned()),
                },
            ),
            _ => (None, Fault::LostAnswer),
        };
        let writes = Arc::clone(&self.writes);
        self.storage.fail_once(fault, move |operation, _| {
            let is_write = matches!(
                operation,
                Operation::Create
                    | Operation::Replace
                    | Operation::Write
                    | Operation::Finish
                    | Operation::Publish
            );
            is_write && Some(writes.fetch_add(1, Relaxed)) == failing
        });
    }

    async fn play(case: &'a ProcessorCase, interruption: Interruption) -> Result<Played> {
        let mut bench = Self::new(case, interruption)?;
        for (number, step) in case.steps.iter().enumerate() {
            bench.take(number, step).await?;
            bench.interrupt(number).await?;
        }
        bench.stop().await;
        let mut played = Played {
            steps: vec![Vec::new(); case.steps.len()],
            writes: bench.writes.load(Relaxed),
            epochs: bench.given.len(),
        };
        for (step, rows) in bench.given.into_values() {
            played.steps[step].extend(rows);
        }
        Ok(played)
    }

    async fn interrupt(&mut self, step: usize) -> Result<()> {
        match self.interruption {
            Interruption::None | Interruption::FailedWrite { .. } => {}
            Interruption::Restart => self.stop().await,
            Interruption::Repartition(numbers) => {
                self.stop().await;
                self.partitions = numbers[step % numbers.len()];
            }
            Interruption::LostCommit => {
                self.stop().await;
                lose_last_commit(self.checkpoint.as_ref()).await?;
                // The epoch runs again before anything new comes, and what it gives is compared.
                self.run_until_idle(step).await?;
            }
        }
        Ok(())
    }

    async fn take(&mut self, number: usize, step: &ProcessorStep) -> Result<()> {
        self.clock.advance(step.clock_millis);
        for block in &step.blocks {
            self.stream.add_batch(block.clone())?;
        }
        self.run_until_idle(number).await
    }

    async fn run_until_idle(&mut self, step: usize) -> Result<()> {
        for _ in 0..MOST_EPOCHS {
            match self.trigger(step).await {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                // The injected fault: once.
                Err(error)
                    if error.kind() == ErrorKind::Unavailable
                        && matches!(self.interruption, Interruption::FailedWrite { .. }) =>
                {
                    self.stop().await;
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::internal(format!(
            "{MOST_EPOCHS} epochs in step {step}, and no end of it"
        )))
    }

    /// One trigger; whether it ran an epoch.
    async fn trigger(&mut self, step: usize) -> Result<bool> {
        if self.running.is_none() {
            self.running = Some(self.start().await?);
        }
        let Some((driver, sink)) = &mut self.running else {
            return Ok(false);
        };
        let ran = Box::pin(driver.step()).await?;
        let sink = sink.clone();
        let epochs = match (&ran, self.interruption) {
            // A start may have published an epoch that no step ran to its end.
            (_, Interruption::FailedWrite { .. }) => sink.epochs(),
            (Step::Ran(progress), _) => vec![Epoch(progress.batch_id)],
            (Step::Idle | Step::Finished, _) => Vec::new(),
        };
        for epoch in epochs {
            self.record(step, epoch.0, published(&sink, epoch)?)?;
        }
        Ok(matches!(ran, Step::Ran(_)))
    }

    fn record(&mut self, step: usize, epoch: u64, rows: Vec<Row>) -> Result<()> {
        let Some((_, before)) = self.given.get(&epoch) else {
            self.given.insert(epoch, (step, rows));
            return Ok(());
        };
        let place = format!("epoch {epoch}, run again");
        require_rows(&place, before.clone(), rows)
    }

    async fn start(&self) -> Result<(Driver, MemorySink)> {
        // Otherwise of its own, so that an epoch that runs again shows its rows again.
        let sink = match self.interruption {
            Interruption::FailedWrite { .. } => self.sink.clone(),
            _ => MemorySink::new("out"),
        };
        let events = self.session.table("events").await?;
        let mut spec = (self.case.query)(&self.session, events)?
            .write_stream()
            .output_mode(self.case.mode)
            .sink(Arc::new(sink.provider()))
            .checkpoint(Arc::clone(&self.storage) as Arc<dyn Storage>)
            .into_spec(None)?;
        spec.settings.state_partitions = Some(self.partitions);
        Ok((Driver::start(spec).await?, sink))
    }

    async fn stop(&mut self) {
        if let Some((mut driver, _)) = self.running.take() {
            driver.shut_down().await;
        }
    }
}
