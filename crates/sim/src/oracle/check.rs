//! Runs a case and compares it with the batch answer.

use std::{collections::BTreeMap, sync::Arc};

use datafusion::{
    arrow::{
        array::{
            ArrayRef, BooleanArray, Decimal128Array, Int64Array, RecordBatch, StringArray,
            TimestampMicrosecondArray,
        },
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
    Clock, Epoch, Error, OutputMode, Result, Storage, StreamingQueryProgress, clock::ManualClock,
};
use headwater_log::store::MemoryStorage;

use super::{
    case::{Case, Event, Interruption},
    late::{LateMark, records},
    model::{Model, Pair},
    shape::QueryShape,
};
use crate::{
    cell::{self, Row, display_row},
    compare::row_difference,
    values::parse_instant,
};

/// Runs a case; an error says what differs, with the seed that makes the same case again.
///
/// # Errors
/// `Internal` for a difference, and whatever the engine answers.
pub async fn check(case: &Case) -> Result<()> {
    Box::pin(run(case)).await.map_err(|error| {
        error.context(format!(
            "seed {} ({}, {} partitions)",
            case.seed, case.query, case.partitions
        ))
    })
}

async fn run(case: &Case) -> Result<()> {
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
        for block in &step.blocks {
            bench.stream.add_batch(batch(&input_schema(), block)?)?;
            bench.arrived.extend(block.iter().cloned());
        }
        loop {
            let ran = bench.trigger().await?;
            if !ran || step.single_trigger {
                break;
            }
        }
    }
    bench.stop().await;
    bench.finish().await
}

/// A query being run, what it gave, and what the model says.
struct Bench<'a> {
    case: &'a Case,
    session: Session,
    clock: Arc<ManualClock>,
    stream: MemoryStream,
    checkpoint: Arc<MemoryStorage>,
    partitions: usize,
    running: Option<Running>,
    step: usize,
    model: Model,
    /// Rows added to the stream so far, and how many of them the model has taken.
    arrived: Vec<Event>,
    taken: usize,
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
    fn new(case: &'a Case) -> Result<Self> {
        let clock = Arc::new(ManualClock::at(1_000_000_000_000));
        let session = Session::builder()
            .clock(Arc::clone(&clock) as Arc<dyn Clock>)
            .build()?;
        let stream = MemoryStream::new("t", input_schema());
        session.register_memory_stream(&stream)?;
        Ok(Self {
            case,
            session,
            checkpoint: Arc::new(MemoryStorage::with_clock(Arc::clone(&clock) as _)),
            clock,
            partitions: case.partitions,
            stream,
            running: None,
            step: 0,
            model: Model::new(&case.query),
            arrived: Vec::new(),
            taken: 0,
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
            self.checkpoint
                .delete(std::slice::from_ref(&last.path))
                .await?;
        }
        Ok(())
    }

    async fn started(&mut self) -> Result<&mut Running> {
        if self.running.is_none() {
            let sink = MemorySink::new("out");
            let wants_late = self.case.late_from.is_some_and(|from| self.step >= from);
            let late = wants_late.then(|| MemorySink::new("late"));
            let frame = self.case.query.build(self.session.table("t").await?)?;
            let mut spec = frame
                .write_stream()
                .output_mode(self.case.query.mode)
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
        let late = running.late.as_ref().map(|late| published(late, epoch));
        let late = late.transpose()?;
        self.record(&progress, rows, late).await?;
        Ok(true)
    }

    async fn record(
        &mut self,
        progress: &StreamingQueryProgress,
        rows: Vec<Row>,
        recorded: Option<Vec<Row>>,
    ) -> Result<()> {
        let epoch = progress.batch_id;
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
        let in_force = watermark(progress)?;
        if self.case.query.delay.is_some() && in_force != Some(self.model.watermark) {
            return Err(Error::internal(format!(
                "epoch {epoch} ran with the watermark {in_force:?}, but {} ms was due",
                self.model.watermark
            )));
        }
        let late_below = self
            .in_force
            .last_key_value()
            .map_or(0, |(_, millis)| *millis);
        self.in_force.insert(epoch, in_force.unwrap_or(0));
        let has_data = progress
            .sources
            .iter()
            .any(|source| source.start_offset != source.end_offset);
        let mut late = Vec::new();
        if has_data {
            let arrived = self.arrived.get(self.taken..).unwrap_or_default();
            late = self.model.take(arrived, late_below);
            self.taken = self.arrived.len();
        }
        self.model.end_epoch(in_force.unwrap_or(0));
        let operators = progress.state_operators.iter();
        let dropped: u64 = operators
            .map(|state| state.num_rows_dropped_by_watermark)
            .sum();
        if dropped != late.len() as u64 {
            return Err(Error::internal(format!(
                "epoch {epoch} reports {dropped} late (row, window) pairs, but {} came too late",
                late.len()
            )));
        }
        if let Some(recorded) = recorded {
            let expected = late_records(&self.case.query, &late, late_below, epoch)?;
            let place = format!("late rows of epoch {epoch}");
            differ_if(row_difference(&place, expected, recorded.clone()))?;
            self.recorded.insert(epoch, recorded);
        }
        self.given.insert(epoch, rows.clone());
        if self.case.query.mode == OutputMode::Complete {
            let query = &self.case.query;
            let expected = match query.sessions {
                Some(_) => {
                    let in_time = self.model.pairs.iter().map(|pair| pair.event.clone());
                    batch_answer(query, &in_time.collect::<Vec<Event>>()).await?
                }
                None => batch_answer(query, &self.arrived[..self.taken]).await?,
            };
            let place = format!("epoch {epoch}");
            differ_if(row_difference(&place, expected, rows))?;
        }
        Ok(())
    }

    /// Compares all that came out with the batch answer over all that went in.
    async fn finish(self) -> Result<()> {
        let query = &self.case.query;
        if self.given.is_empty() {
            return Ok(());
        }
        let last_watermark = self
            .in_force
            .last_key_value()
            .map_or(0, |(_, millis)| *millis);
        match query.mode {
            OutputMode::Complete => Ok(()),
            OutputMode::Append => {
                let given = self.given.into_values().flatten().collect::<Vec<Row>>();
                if let Some(duplicates) = &query.duplicates
                    && !duplicates.within_watermark
                    && !query.aggregates_anything()
                {
                    let expected = batch_answer(query, &self.model.in_time).await?;
                    let place = "the batch without duplicates";
                    differ_if(row_difference(place, expected, given.clone()))?;
                }
                let is_final = |pair: &&Pair| {
                    !query.aggregates_anything() || Model::is_closed(pair, last_watermark)
                };
                let pairs: Vec<&Pair> = match query.sessions {
                    Some(_) => self.model.ended.iter().collect(),
                    None => self.model.pairs.iter().filter(is_final).collect(),
                };
                let expected = answer_over_pairs(query, &pairs).await?;
                differ_if(row_difference("all epochs", expected, given))
            }
            OutputMode::Update => {
                let rows = self.given.into_values().flatten().collect();
                let given = last_of_each_key(rows, query.key_columns());
                let pairs: Vec<&Pair> = self.model.pairs.iter().collect();
                let expected = answer_over_pairs(query, &pairs).await?;
                differ_if(row_difference("last rows of all keys", expected, given))
            }
        }
    }
}

/// The rows that an epoch sent to a sink.
pub(super) fn published(sink: &MemorySink, epoch: Epoch) -> Result<Vec<Row>> {
    let batches = sink
        .rows_of(epoch)
        .ok_or_else(|| Error::internal("an epoch ran but is not published"))?;
    let rows = batches.iter().map(cell::rows).collect::<Result<Vec<_>>>()?;
    Ok(rows.concat())
}

/// The records of late pairs.
fn late_records(
    query: &QueryShape,
    pairs: &[Pair],
    watermark: i64,
    epoch: u64,
) -> Result<Vec<Row>> {
    let events: Vec<Event> = pairs.iter().map(|pair| pair.event.clone()).collect();
    let marks: Vec<LateMark> = pairs
        .iter()
        .map(|pair| LateMark {
            input: None,
            window: pair.window,
        })
        .collect();
    let operator = match (query.sessions, &query.duplicates) {
        (Some(_), _) => "session-0",
        // What comes out of it is never late for the windows above.
        (None, Some(_)) if query.aggregates_anything() => "dedup-1",
        (None, Some(_)) => "dedup-0",
        (None, None) => "aggregate-0",
    };
    let rows = batch(&input_schema(), &events)?;
    cell::rows(&records(&rows, &marks, operator, watermark, epoch)?)
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

/// What an observer of update mode holds in the end.
fn last_of_each_key(rows: Vec<Row>, key_columns: usize) -> Vec<Row> {
    let mut last: BTreeMap<String, Row> = BTreeMap::new();
    for row in rows {
        let key = display_row(&row[..key_columns].to_vec());
        last.insert(key, row);
    }
    last.into_values().collect()
}

/// A session for batch answers: one partition, so that the order of the rows is the order of their arrival.
fn batch_session() -> Result<Session> {
    Session::builder()
        .datafusion_config(SessionConfig::new().with_target_partitions(1))
        .build()
}

async fn batch_answer(query: &QueryShape, events: &[Event]) -> Result<Vec<Row>> {
    let session = batch_session()?;
    session.register_batch("t", batch(&input_schema(), events)?)?;
    collect(query.build(session.table("t").await?)?).await
}

async fn answer_over_pairs(query: &QueryShape, pairs: &[&Pair]) -> Result<Vec<Row>> {
    let session = batch_session()?;
    let events: Vec<Event> = pairs.iter().map(|pair| pair.event.clone()).collect();
    let rows = batch(&input_schema(), &events)?;
    let mut fields: Vec<Arc<Field>> = rows.schema().fields().to_vec();
    let mut columns = rows.columns().to_vec();
    for (name, bound) in [("ws", 0), ("we", 1)] {
        let times: Vec<Option<i64>> = pairs
            .iter()
            .map(|pair| {
                pair.window
                    .map(|window| if bound == 0 { window.0 } else { window.1 })
            })
            .collect();
        fields.push(Arc::new(Field::new(name, time_type(), true)));
        columns.push(Arc::new(
            TimestampMicrosecondArray::from(times).with_timezone("UTC"),
        ));
    }
    let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?;
    session.register_batch("t", rows)?;
    let answer = collect(query.build_over_pairs(session.table("t").await?)?).await?;
    // Over no row at all a global aggregate has a row in a batch; here there is no group yet.
    let no_groups = pairs.is_empty() && query.aggregates_anything() && query.key_columns() > 0;
    Ok(if no_groups { Vec::new() } else { answer })
}

async fn collect(frame: headwater::DataFrame) -> Result<Vec<Row>> {
    let batches = frame.collect().await?;
    let rows = batches.iter().map(cell::rows).collect::<Result<Vec<_>>>()?;
    Ok(rows.concat())
}

fn time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

fn input_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("ts", time_type(), true),
        Field::new("k", DataType::Utf8, true),
        Field::new("v", DataType::Int64, true),
        Field::new("x", DataType::Decimal128(10, 2), true),
        Field::new("b", DataType::Boolean, true),
    ]))
}

fn batch(schema: &SchemaRef, events: &[Event]) -> Result<RecordBatch> {
    let times: TimestampMicrosecondArray = events.iter().map(|e| e.time).collect();
    let keys: StringArray = events.iter().map(|e| e.key).collect();
    let values: Int64Array = events.iter().map(|e| e.value).collect();
    let prices: Decimal128Array = events.iter().map(|e| e.price).collect();
    let flags: BooleanArray = events.iter().map(|e| e.flag).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(times.with_timezone("UTC")),
        Arc::new(keys),
        Arc::new(values),
        Arc::new(prices.with_precision_and_scale(10, 2)?),
        Arc::new(flags),
    ];
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::same_row;

    /// How many random cases the gate runs; more with the variable `HEADWATER_ORACLE_CASES`.
    const CASES: u64 = 150;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_a_stream_gives_is_the_batch_answer() {
        let cases = std::env::var("HEADWATER_ORACLE_CASES")
            .ok()
            .and_then(|cases| cases.parse().ok())
            .unwrap_or(CASES);
        let first = std::env::var("HEADWATER_ORACLE_SEED")
            .ok()
            .and_then(|seed| seed.parse().ok())
            .unwrap_or(0);
        let mut failures = Vec::new();
        for seed in first..first + cases {
            if let Err(error) = check(&Case::of(seed)).await {
                failures.push(error.to_string());
            }
        }
        assert!(failures.is_empty(), "{}", failures.join("\n"));
    }

    #[test]
    fn the_last_row_of_a_key_wins() {
        let row = |k: i128, v: i128| vec![cell::Cell::int(k), cell::Cell::int(v)];
        let rows = vec![row(1, 1), row(2, 5), row(1, 3)];
        let last = last_of_each_key(rows, 1);
        assert!(same_row(&last[0], &row(1, 3)) && same_row(&last[1], &row(2, 5)));
    }
}
