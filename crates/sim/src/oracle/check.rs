//! Runs a case and compares it with the batch answer.

use std::{collections::BTreeMap, sync::Arc};

use datafusion::arrow::{
    array::{
        ArrayRef, BooleanArray, Decimal128Array, Int64Array, RecordBatch, StringArray,
        TimestampMicrosecondArray,
    },
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
};
use headwater::{Session, connect::memory::MemoryStream};
use headwater_core::{Error, OutputMode, Result};

use super::{
    answer::{answer, batch_session},
    case::{Case, Event},
    late::{LateMark, records},
    model::{Model, Pair},
    run::{FirstRun, QueryRun, Settings, Triggered},
    shape::QueryShape,
};
use crate::{
    cell::{self, Row, display_row},
    compare::require_rows,
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
        bench.run.begin(number, step.interruption).await?;
        for block in &step.blocks {
            bench.stream.add_batch(batch(&input_schema(), block)?)?;
            bench.arrived.extend(block.iter().cloned());
        }
        while bench.trigger().await? && !step.single_trigger {}
    }
    bench.run.stop().await;
    bench.finish().await
}

/// A query being run, and what the model says.
struct Bench<'a> {
    case: &'a Case,
    run: QueryRun,
    stream: MemoryStream,
    model: Model,
    /// Rows added to the stream so far, and how many of them the model has taken.
    arrived: Vec<Event>,
    taken: usize,
}

impl<'a> Bench<'a> {
    fn new(case: &'a Case) -> Result<Self> {
        let stream = MemoryStream::new("t", input_schema());
        let settings = Settings {
            mode: case.query.mode,
            partitions: case.partitions,
            batches_retained: case.batches_retained,
            late_from: case.late_from,
            late_columns: None,
        };
        Ok(Self {
            case,
            run: QueryRun::new(settings, std::slice::from_ref(&stream))?,
            stream,
            model: Model::new(&case.query),
            arrived: Vec::new(),
            taken: 0,
        })
    }

    /// One trigger; whether it ran an epoch.
    async fn trigger(&mut self) -> Result<bool> {
        let query = &self.case.query;
        let build = async |session: &Session| query.build(session.table("t").await?);
        match self.run.trigger(build).await? {
            Triggered::Idle => return Ok(false),
            Triggered::Again => {}
            Triggered::First(first) => self.judge(first).await?,
        }
        Ok(true)
    }

    async fn judge(&mut self, first: FirstRun) -> Result<()> {
        let FirstRun {
            batch,
            late: recorded,
            late_below,
        } = first;
        let (query, epoch) = (&self.case.query, batch.batch_id);
        if query.delay.is_some() && batch.watermark != Some(self.model.watermark) {
            return Err(Error::internal(format!(
                "epoch {epoch} ran with the watermark {:?}, but {} ms was due",
                batch.watermark, self.model.watermark
            )));
        }
        let mut late = Vec::new();
        if batch.new_data {
            let arrived = self.arrived.get(self.taken..).unwrap_or_default();
            late = self.model.take(arrived, late_below);
            self.taken = self.arrived.len();
        }
        self.model.end_epoch(batch.watermark.unwrap_or(0));
        let operators = batch.state.iter();
        let dropped: u64 = operators.map(|state| state.dropped_by_watermark).sum();
        if dropped != late.len() as u64 {
            return Err(Error::internal(format!(
                "epoch {epoch} reports {dropped} late (row, window) pairs, but {} came too late",
                late.len()
            )));
        }
        if let Some(recorded) = recorded {
            let expected = late_records(query, &late, late_below, epoch)?;
            require_rows(&format!("late rows of epoch {epoch}"), expected, recorded)?;
        }
        if query.mode == OutputMode::Complete {
            let expected = match query.sessions {
                Some(_) => {
                    let in_time = self.model.pairs.iter().map(|pair| pair.event.clone());
                    batch_answer(query, &in_time.collect::<Vec<Event>>()).await?
                }
                None => batch_answer(query, &self.arrived[..self.taken]).await?,
            };
            require_rows(&format!("epoch {epoch}"), expected, batch.rows)?;
        }
        Ok(())
    }

    /// Compares all that came out with the batch answer over all that went in.
    async fn finish(self) -> Result<()> {
        let query = &self.case.query;
        let Some(last_watermark) = self.run.watermark() else {
            return Ok(());
        };
        let given = self.run.into_rows();
        match query.mode {
            OutputMode::Complete => Ok(()),
            OutputMode::Append => {
                if let Some(duplicates) = &query.duplicates
                    && !duplicates.within_watermark
                    && !query.aggregates_anything()
                {
                    let expected = batch_answer(query, &self.model.in_time).await?;
                    let place = "the batch without duplicates";
                    require_rows(place, expected, given.clone())?;
                }
                let is_final = |pair: &&Pair| {
                    !query.aggregates_anything() || Model::is_closed(pair, last_watermark)
                };
                let pairs: Vec<&Pair> = match query.sessions {
                    Some(_) => self.model.ended.iter().collect(),
                    None => self.model.pairs.iter().filter(is_final).collect(),
                };
                let expected = answer_over_pairs(query, &pairs).await?;
                require_rows("all epochs", expected, given)
            }
            OutputMode::Update => {
                let given = last_of_each_key(given, query.key_columns());
                let pairs: Vec<&Pair> = self.model.pairs.iter().collect();
                let expected = answer_over_pairs(query, &pairs).await?;
                require_rows("last rows of all keys", expected, given)
            }
        }
    }
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

/// What an observer of update mode holds in the end.
fn last_of_each_key(rows: Vec<Row>, key_columns: usize) -> Vec<Row> {
    let mut last: BTreeMap<String, Row> = BTreeMap::new();
    for row in rows {
        let key = display_row(&row[..key_columns].to_vec());
        last.insert(key, row);
    }
    last.into_values().collect()
}

async fn batch_answer(query: &QueryShape, events: &[Event]) -> Result<Vec<Row>> {
    let session = batch_session()?;
    session.register_batch("t", batch(&input_schema(), events)?)?;
    answer(query.build(session.table("t").await?)?).await
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
    let answer = answer(query.build_over_pairs(session.table("t").await?)?).await?;
    // Over no row at all a global aggregate has a row in a batch; here there is no group yet.
    let no_groups = pairs.is_empty() && query.aggregates_anything() && query.key_columns() > 0;
    Ok(if no_groups { Vec::new() } else { answer })
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
    use super::super::seeds::check_seeds;
    use super::*;
    use crate::cell::same_row;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_a_stream_gives_is_the_batch_answer() {
        check_seeds(async |seed| check(&Case::of(seed)).await).await;
    }

    #[test]
    fn the_last_row_of_a_key_wins() {
        let row = |k: i128, v: i128| vec![cell::Cell::int(k), cell::Cell::int(v)];
        let rows = vec![row(1, 1), row(2, 5), row(1, 3)];
        let last = last_of_each_key(rows, 1);
        assert!(same_row(&last[0], &row(1, 3)) && same_row(&last[1], &row(2, 5)));
    }
}
