//! Runs a case and compares it with the batch answer.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use datafusion::{
    arrow::{
        array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray},
        datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
    },
    prelude::SessionConfig,
};
use headwater::{
    Session,
    connect::memory::{MemorySink, MemoryStream},
    engine::{Driver, Step},
};
use headwater_core::{
    Clock, Epoch, Error, Result, Storage, StreamingQueryProgress, clock::ManualClock,
};
use headwater_log::store::MemoryStorage;

use super::{
    super::{
        case::Interruption,
        check::published,
        late::{LateMark, records},
    },
    case::{JoinCase, JoinRow},
    shape::{JoinKind, JoinShape},
};
use crate::{
    cell::{self, Cell, Row},
    compare::row_difference,
    values::parse_instant,
};

/// Runs a case; an error says what differs, with the seed that makes the same case again.
///
/// # Errors
/// `Internal` for a difference, and whatever the engine answers.
pub async fn check_join(case: &JoinCase) -> Result<()> {
    Box::pin(run(case)).await.map_err(|error| {
        error.context(format!(
            "seed {} ({}, {} partitions)",
            case.seed, case.shape, case.partitions
        ))
    })
}

async fn run(case: &JoinCase) -> Result<()> {
    let mut bench = Bench::new(case)?;
    for (number, step) in case.steps.iter().enumerate() {
        bench.step = number;
        match step.interruption {
            Interruption::None => {}
            Interruption::Restart => bench.stop().await,
            Interruption::Repartition(partitions) => {
                bench.stop().await;
                bench.partitions = partitions;
            }
            Interruption::LostCommit => bench.lose_commit().await?,
        }
        for (side, blocks) in step.blocks.iter().enumerate() {
            for block in blocks {
                bench.streams[side].add_batch(batch(block)?)?;
                bench.arrived[side].extend(block.iter().cloned());
            }
        }
        while bench.trigger().await? && !step.single_trigger {}
    }
    bench.stop().await;
    bench.finish().await
}

/// A query being run, and what it gave.
struct Bench<'a> {
    case: &'a JoinCase,
    session: Session,
    clock: Arc<ManualClock>,
    streams: [MemoryStream; 2],
    checkpoint: Arc<MemoryStorage>,
    partitions: usize,
    running: Option<Running>,
    step: usize,
    /// Rows added to the streams so far, and how many of them epochs have taken.
    arrived: [Vec<JoinRow>; 2],
    taken: [usize; 2],
    /// Rows that did not come too late.
    counted: [Vec<JoinRow>; 2],
    /// What each epoch gave, and the watermark in force in it.
    given: BTreeMap<u64, Vec<Row>>,
    in_force: BTreeMap<u64, i64>,
    /// What was recorded as late in each epoch, where it was.
    recorded: BTreeMap<u64, Vec<Row>>,
}

/// A run of the query.
struct Running {
    driver: Driver,
    sink: MemorySink,
    late: Option<MemorySink>,
}

impl<'a> Bench<'a> {
    fn new(case: &'a JoinCase) -> Result<Self> {
        let clock = Arc::new(ManualClock::at(1_000_000_000_000));
        let session = Session::builder()
            .clock(Arc::clone(&clock) as Arc<dyn Clock>)
            .build()?;
        let streams = ["l", "r"].map(|name| MemoryStream::new(name, input_schema()));
        for stream in &streams {
            session.register_memory_stream(stream)?;
        }
        Ok(Self {
            case,
            session,
            checkpoint: Arc::new(MemoryStorage::with_clock(Arc::clone(&clock) as _)),
            clock,
            partitions: case.partitions,
            streams,
            running: None,
            step: 0,
            arrived: Default::default(),
            taken: [0; 2],
            counted: Default::default(),
            given: BTreeMap::new(),
            in_force: BTreeMap::new(),
            recorded: BTreeMap::new(),
        })
    }

    async fn stop(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.driver.shut_down().await;
        }
    }

    async fn lose_commit(&mut self) -> Result<()> {
        self.stop().await;
        let commits = self.checkpoint.list(headwater_log::layout::COMMITS).await?;
        if let Some(last) = commits.last() {
            let last = std::slice::from_ref(&last.path);
            self.checkpoint.delete(last).await?;
        }
        Ok(())
    }

    async fn started(&mut self) -> Result<&mut Running> {
        if self.running.is_none() {
            let sink = MemorySink::new("out");
            let wants_late = self.case.late_from.is_some_and(|from| self.step >= from);
            let late = wants_late.then(|| MemorySink::new("late"));
            let frame = self.session.sql(&self.case.shape.sql(true)).await?;
            let mut spec = frame
                .write_stream()
                .sink(Arc::new(sink.provider()))
                .checkpoint(Arc::clone(&self.checkpoint) as Arc<dyn Storage>)
                .into_spec(None)?;
            spec.settings.state_partitions = Some(self.partitions);
            spec.settings.min_batches_to_retain = self.case.batches_retained;
            spec.late_sink = late.as_ref().map(|late| Arc::new(late.provider()) as _);
            let driver = Driver::start(spec).await?;
            self.running = Some(Running { driver, sink, late });
        }
        self.running
            .as_mut()
            .ok_or_else(|| Error::internal("the query was just started"))
    }

    /// One trigger; whether it ran an epoch.
    async fn trigger(&mut self) -> Result<bool> {
        self.clock.advance(1_000);
        let running = self.started().await?;
        let Step::Ran(progress) = Box::pin(running.driver.step()).await? else {
            return Ok(false);
        };
        let epoch = Epoch(progress.batch_id);
        let rows = published(&running.sink, epoch)?;
        let late = running.late.as_ref().and_then(|late| late.rows_of(epoch));
        self.record(&progress, rows, late)?;
        Ok(true)
    }

    fn record(
        &mut self,
        progress: &StreamingQueryProgress,
        rows: Vec<Row>,
        recorded: Option<Vec<RecordBatch>>,
    ) -> Result<()> {
        let epoch = progress.batch_id;
        let recorded = recorded.map(|batches| late_rows(&batches)).transpose()?;
        if let Some(before) = self.given.get(&epoch) {
            let place = format!("epoch {epoch}, run again");
            differ_if(row_difference(&place, before.clone(), rows))?;
            let place = format!("late rows of epoch {epoch}, run again");
            return match (self.recorded.get(&epoch), recorded) {
                (Some(before), Some(late)) => {
                    differ_if(row_difference(&place, before.clone(), late))
                }
                _ => Ok(()),
            };
        }
        let last = self.in_force.last_key_value();
        let late_below = last.map_or(0, |(_, millis)| *millis);
        self.in_force
            .insert(epoch, watermark(progress)?.unwrap_or(0));
        let has_data = progress
            .sources
            .iter()
            .any(|source| source.start_offset != source.end_offset);
        let late = match has_data {
            true => self.take(late_below),
            false => Default::default(),
        };
        let operators = progress.state_operators.iter();
        let dropped: Vec<u64> = operators
            .map(|state| state.num_rows_dropped_by_watermark)
            .collect();
        // The join stands nearest the sources; what it gives out is not late for anyone.
        let mut expected = vec![0; dropped.len()];
        if let Some(join) = expected.last_mut() {
            *join = late.iter().map(|late| late.len() as u64).sum();
        }
        if dropped != expected {
            return Err(Error::internal(format!(
                "epoch {epoch} reports {dropped:?} late rows by operator, but {expected:?} were"
            )));
        }
        if let Some(recorded) = recorded {
            let operator = if self.case.shape.windows.is_some() {
                "join-1"
            } else {
                "join-0"
            };
            let expected = late_records(&self.case.shape, &late, operator, late_below, epoch)?;
            let place = format!("late rows of epoch {epoch}");
            differ_if(row_difference(&place, expected, recorded.clone()))?;
            self.recorded.insert(epoch, recorded);
        }
        self.given.insert(epoch, rows);
        Ok(())
    }

    /// What has arrived goes into an epoch; the rows of either side that are late.
    fn take(&mut self, late_below: i64) -> [Vec<JoinRow>; 2] {
        let shape = &self.case.shape;
        let mut late: [Vec<JoinRow>; 2] = Default::default();
        for side in [0, 1] {
            for row in &self.arrived[side][self.taken[side]..] {
                if !shape.reaches_the_join(side, row) {
                    continue;
                }
                match shape.is_late(side, row, late_below) {
                    true => late[side].push(row.clone()),
                    false => self.counted[side].push(row.clone()),
                }
            }
            self.taken[side] = self.arrived[side].len();
        }
        late
    }

    /// Compares all that came out with the batch answer over all that counts.
    async fn finish(self) -> Result<()> {
        let shape = &self.case.shape;
        let Some((_, watermark)) = self.in_force.last_key_value() else {
            return Ok(());
        };
        let answer = batch_answer(shape, &self.counted).await?;
        let expected = match shape.windows {
            Some(_) => closed_windows(answer, shape.closed_to(*watermark)),
            None => final_rows(shape, answer, &self.counted, *watermark),
        };
        let given = self.given.into_values().flatten().collect();
        differ_if(row_difference("all epochs", expected, given))
    }
}

/// The rows that have come out by a watermark: all that have a match, and of the others those that can find none.
fn final_rows(
    shape: &JoinShape,
    answer: Vec<Row>,
    counted: &[Vec<JoinRow>; 2],
    watermark: i64,
) -> Vec<Row> {
    if shape.kind == JoinKind::LeftSemi {
        return answer;
    }
    let done = [0, 1].map(|side| -> BTreeSet<i64> {
        let rows = counted[side].iter();
        rows.filter(|row| !shape.passes_alone(side, row) || shape.is_gone(side, row, watermark))
            .map(|row| row.id)
            .collect()
    });
    let id = |cell: &Cell| match cell {
        Cell::Exact { unscaled, .. } => i64::try_from(*unscaled).ok(),
        _ => None,
    };
    answer
        .into_iter()
        .filter(|row| match (id(&row[0]), id(&row[1])) {
            (Some(left), None) => done[0].contains(&left),
            (None, Some(right)) => done[1].contains(&right),
            _ => true,
        })
        .collect()
}

/// The columns of records that both sides have.
const LATE_COLUMNS: [&str; 10] = [
    "id",
    "ts",
    "k",
    "v",
    "late_operator",
    "late_input",
    "late_window_start",
    "late_window_end",
    "late_watermark",
    "late_epoch",
];

/// Records without the columns of the window and of what comes out of the join.
fn late_rows(batches: &[RecordBatch]) -> Result<Vec<Row>> {
    let rows = batches.iter().map(|batch| {
        let columns = LATE_COLUMNS
            .iter()
            .map(|name| batch.schema().index_of(name));
        let columns = columns.collect::<Result<Vec<usize>, _>>()?;
        cell::rows(&batch.project(&columns)?)
    });
    Ok(rows.collect::<Result<Vec<_>>>()?.concat())
}

/// The records of late rows of either side.
fn late_records(
    shape: &JoinShape,
    late: &[Vec<JoinRow>; 2],
    operator: &str,
    watermark: i64,
    epoch: u64,
) -> Result<Vec<Row>> {
    let mut expected = Vec::new();
    for (side, input) in ["left", "right"].into_iter().enumerate() {
        let mark = |row: &JoinRow| LateMark {
            input: Some(input),
            window: shape.window_of(row),
        };
        let marks: Vec<LateMark> = late[side].iter().map(mark).collect();
        let rows = batch(&late[side])?;
        expected.extend(cell::rows(&records(
            &rows, &marks, operator, watermark, epoch,
        )?)?);
    }
    Ok(expected)
}

/// The rows whose window, of which the first column is the end, is closed.
fn closed_windows(answer: Vec<Row>, watermark: i64) -> Vec<Row> {
    let is_closed = |row: &Row| match &row[0] {
        Cell::Instant(micros) => *micros <= watermark.saturating_mul(1_000),
        _ => false,
    };
    answer.into_iter().filter(is_closed).collect()
}

fn differ_if(difference: Option<crate::compare::Difference>) -> Result<()> {
    match difference {
        None => Ok(()),
        Some(difference) => Err(Error::internal(difference.to_string())),
    }
}

fn watermark(progress: &StreamingQueryProgress) -> Result<Option<i64>> {
    progress
        .event_time
        .get("watermark")
        .map(|text| {
            parse_instant(&text.as_str().into())
                .map(|micros| micros.div_euclid(1_000))
                .ok_or_else(|| Error::internal(format!("'{text}' is reported as a watermark")))
        })
        .transpose()
}

async fn batch_answer(shape: &JoinShape, rows: &[Vec<JoinRow>; 2]) -> Result<Vec<Row>> {
    let session = Session::builder()
        .datafusion_config(SessionConfig::new().with_target_partitions(1))
        .build()?;
    for (name, rows) in ["l", "r"].into_iter().zip(rows) {
        session.register_batch(name, batch(rows)?)?;
    }
    let batches = session.sql(&shape.sql(false)).await?.collect().await?;
    let rows = batches.iter().map(cell::rows).collect::<Result<Vec<_>>>()?;
    Ok(rows.concat())
}

fn input_schema() -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, true),
        Field::new("ts", time, true),
        Field::new("k", DataType::Utf8, true),
        Field::new("v", DataType::Int64, true),
    ]))
}

fn batch(rows: &[JoinRow]) -> Result<RecordBatch> {
    let times: TimestampMicrosecondArray = rows.iter().map(|row| row.time).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.id))),
        Arc::new(times.with_timezone("UTC")),
        Arc::new(rows.iter().map(|row| row.key).collect::<StringArray>()),
        Arc::new(rows.iter().map(|row| row.value).collect::<Int64Array>()),
    ];
    Ok(RecordBatch::try_new(input_schema(), columns)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many random cases the gate runs; more with the variable `HEADWATER_ORACLE_CASES`.
    const CASES: u64 = 150;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_a_join_gives_is_the_batch_answer() {
        let number = |name: &str, otherwise: u64| {
            let set = std::env::var(name).ok();
            set.and_then(|text| text.parse().ok()).unwrap_or(otherwise)
        };
        let cases = number("HEADWATER_ORACLE_CASES", CASES);
        let first = number("HEADWATER_ORACLE_SEED", 0);
        let mut failures = Vec::new();
        for seed in first..first + cases {
            if let Err(error) = check_join(&JoinCase::of(seed)).await {
                failures.push(error.to_string());
            }
        }
        assert!(failures.is_empty(), "{}", failures.join("\n"));
    }
}
