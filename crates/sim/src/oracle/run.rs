//! A query that is started, interrupted and triggered, and what its epochs gave: the same for every oracle.
//!
//! What an epoch gives at first is for the oracle to judge. That it gives the same rows when it runs again, and the same
//! late rows, is checked here.

use std::{collections::BTreeMap, sync::Arc};

use datafusion::arrow::array::RecordBatch;
use headwater::{
    DataFrame, Session,
    connect::memory::{MemorySink, MemoryStream},
    engine::{Driver, Step},
};
use headwater_core::{Clock, Epoch, Error, OutputMode, Result, Storage, clock::ManualClock};
use headwater_log::store::MemoryStorage;
use rand::{Rng, rngs::StdRng};

use crate::{
    cell::{self, Row},
    compare::{FoundBatch, require_rows},
    epochs::{found_batch, lose_last_commit},
};

/// What happens before the rows of a step arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interruption {
    /// Nothing.
    None,
    /// The query stops and starts again.
    Restart,
    /// The same, and its state is dealt out to another number of partitions.
    Repartition(usize),
    /// It stops and starts again, and the newest commit record is lost.
    LostCommit,
}

impl Interruption {
    /// Before step `number`; the first has nothing to interrupt.
    pub(super) fn random(random: &mut StdRng, number: usize) -> Self {
        match random.random_range(0..8) {
            0 if number > 0 => Self::Restart,
            1 if number > 0 => Self::LostCommit,
            2 if number > 0 => Self::Repartition(random.random_range(1..=4)),
            _ => Self::None,
        }
    }
}

/// How a query is run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    pub(super) mode: OutputMode,
    /// Partitions of its state.
    pub(super) partitions: usize,
    /// Committed epochs whose records stay readable.
    pub(super) batches_retained: u64,
    /// The first step before which the query may be started with a sink of late rows; none: it never has one.
    pub(super) late_from: Option<usize>,
    /// The columns of the records of late rows that count; none: all.
    pub(super) late_columns: Option<&'static [&'static str]>,
}

/// A query being run, and what it gave.
pub(super) struct QueryRun {
    settings: Settings,
    session: Session,
    clock: Arc<ManualClock>,
    checkpoint: Arc<MemoryStorage>,
    step: usize,
    running: Option<Running>,
    given: BTreeMap<u64, Given>,
}

/// From one start of the query to its stop. Its sinks are its own, so that an epoch that runs again shows its rows again.
struct Running {
    driver: Driver,
    sink: MemorySink,
    late: Option<MemorySink>,
}

/// What an epoch gave when it first ran.
struct Given {
    rows: Vec<Row>,
    /// What was recorded as late, if it was.
    late: Option<Vec<Row>>,
    watermark: i64,
}

/// What a trigger did.
pub(super) enum Triggered {
    /// There was nothing to do.
    Idle,
    /// An epoch ran again and gave the same again.
    Again,
    /// An epoch ran for the first time.
    First(FirstRun),
}

/// An epoch that ran for the first time.
pub(super) struct FirstRun {
    pub(super) batch: FoundBatch,
    /// Records of late rows, if there is a sink for them.
    pub(super) late: Option<Vec<Row>>,
    /// What is behind this watermark is late: that of the epoch before, in milliseconds.
    pub(super) late_below: i64,
}

impl QueryRun {
    /// A query over these streams, not started yet.
    pub(super) fn new(settings: Settings, streams: &[MemoryStream]) -> Result<Self> {
        let clock = Arc::new(ManualClock::at(1_000_000_000_000));
        let session = Session::builder()
            .clock(Arc::clone(&clock) as Arc<dyn Clock>)
            .build()?;
        for stream in streams {
            session.register_memory_stream(stream)?;
        }
        Ok(Self {
            settings,
            session,
            checkpoint: Arc::new(MemoryStorage::with_clock(Arc::clone(&clock) as _)),
            clock,
            step: 0,
            running: None,
            given: BTreeMap::new(),
        })
    }

    /// Begins step `number` with what happens first.
    pub(super) async fn begin(&mut self, number: usize, interruption: Interruption) -> Result<()> {
        self.step = number;
        match interruption {
            Interruption::None => {}
            Interruption::Restart => self.stop().await,
            Interruption::Repartition(partitions) => {
                self.stop().await;
                self.settings.partitions = partitions;
            }
            Interruption::LostCommit => {
                self.stop().await;
                lose_last_commit(self.checkpoint.as_ref()).await?;
            }
        }
        Ok(())
    }

    /// One trigger. If the query does not run, it is started as `query` makes it.
    pub(super) async fn trigger(
        &mut self,
        query: impl AsyncFnOnce(&Session) -> Result<DataFrame>,
    ) -> Result<Triggered> {
        self.clock.advance(1_000);
        let mut running = match self.running.take() {
            Some(running) => running,
            None => self.start(query(&self.session).await?).await?,
        };
        let step = Box::pin(running.driver.step()).await?;
        let running = self.running.insert(running);
        let Step::Ran(progress) = step else {
            return Ok(Triggered::Idle);
        };
        let batch = found_batch(&progress, &running.sink)?;
        let late = running.late.as_ref();
        let late = late.map(|sink| late_rows(sink, &batch, self.settings.late_columns));
        self.record(batch, late.transpose()?)
    }

    async fn start(&self, frame: DataFrame) -> Result<Running> {
        let sink = MemorySink::new("out");
        let wants_late = self
            .settings
            .late_from
            .is_some_and(|from| self.step >= from);
        let late = wants_late.then(|| MemorySink::new("late"));
        let mut spec = frame
            .write_stream()
            .output_mode(self.settings.mode)
            .sink(Arc::new(sink.provider()))
            .checkpoint(Arc::clone(&self.checkpoint) as Arc<dyn Storage>)
            .into_spec(None)?;
        spec.settings.state_partitions = Some(self.settings.partitions);
        spec.settings.min_batches_to_retain = self.settings.batches_retained;
        spec.late_sink = late.as_ref().map(|late| Arc::new(late.provider()) as _);
        let driver = Driver::start(spec).await?;
        Ok(Running { driver, sink, late })
    }

    fn record(&mut self, batch: FoundBatch, late: Option<Vec<Row>>) -> Result<Triggered> {
        let epoch = batch.batch_id;
        if let Some(before) = self.given.get(&epoch) {
            let place = format!("epoch {epoch}, run again");
            require_rows(&place, before.rows.clone(), batch.rows)?;
            if let (Some(before), Some(late)) = (&before.late, late) {
                let place = format!("late rows of epoch {epoch}, run again");
                require_rows(&place, before.clone(), late)?;
            }
            return Ok(Triggered::Again);
        }
        let late_below = self.watermark().unwrap_or(0);
        let given = Given {
            rows: batch.rows.clone(),
            late: late.clone(),
            watermark: batch.watermark.unwrap_or(0),
        };
        self.given.insert(epoch, given);
        Ok(Triggered::First(FirstRun {
            batch,
            late,
            late_below,
        }))
    }

    /// The watermark in force in the newest epoch, in milliseconds; none before the first.
    pub(super) fn watermark(&self) -> Option<i64> {
        self.given
            .last_key_value()
            .map(|(_, given)| given.watermark)
    }

    /// Stops the query, to go on from its checkpoint.
    pub(super) async fn stop(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.driver.shut_down().await;
        }
    }

    /// All rows that came out, epoch by epoch.
    pub(super) fn into_rows(self) -> Vec<Row> {
        self.given
            .into_values()
            .flat_map(|given| given.rows)
            .collect()
    }
}

/// What an epoch sent to the sink of late rows.
fn late_rows(sink: &MemorySink, batch: &FoundBatch, columns: Option<&[&str]>) -> Result<Vec<Row>> {
    let epoch = Epoch(batch.batch_id);
    let batches = sink
        .rows_of(epoch)
        .ok_or_else(|| Error::internal(format!("late rows of epoch {epoch} are not published")))?;
    let Some(columns) = columns else {
        return cell::rows_of(&batches);
    };
    let projected = batches.iter().map(|batch| {
        let schema = batch.schema();
        let columns = columns.iter().map(|name| schema.index_of(name));
        batch.project(&columns.collect::<Result<Vec<usize>, _>>()?)
    });
    cell::rows_of(&projected.collect::<Result<Vec<RecordBatch>, _>>()?)
}
