//! Runs a case and compares it with the batch answer.

use std::{collections::BTreeSet, sync::Arc};

use datafusion::arrow::{
    array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray},
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
};
use headwater::connect::memory::MemoryStream;
use headwater_core::{Error, OutputMode, Result};

use super::{
    super::{
        answer::{answer, batch_session},
        late::{LateMark, records},
        run::{FirstRun, QueryRun, Settings, Triggered},
    },
    case::{JoinCase, JoinRow},
    shape::{JoinKind, JoinShape},
};
use crate::{
    cell::{self, Cell, Row},
    compare::require_rows,
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
        bench.run.begin(number, step.interruption).await?;
        for (side, blocks) in step.blocks.iter().enumerate() {
            for block in blocks {
                bench.streams[side].add_batch(batch(block)?)?;
                bench.arrived[side].extend(block.iter().cloned());
            }
        }
        while bench.trigger().await? && !step.single_trigger {}
    }
    bench.run.stop().await;
    bench.finish().await
}

/// A query being run, and what counts of its input.
struct Bench<'a> {
    case: &'a JoinCase,
    run: QueryRun,
    streams: [MemoryStream; 2],
    /// Rows added to the streams so far, and how many of them epochs have taken.
    arrived: [Vec<JoinRow>; 2],
    taken: [usize; 2],
    /// Rows that did not come too late.
    counted: [Vec<JoinRow>; 2],
}

impl<'a> Bench<'a> {
    fn new(case: &'a JoinCase) -> Result<Self> {
        let streams = ["l", "r"].map(|name| MemoryStream::new(name, input_schema()));
        let settings = Settings {
            mode: OutputMode::Append,
            partitions: case.partitions,
            batches_retained: case.batches_retained,
            late_from: case.late_from,
            late_columns: Some(&LATE_COLUMNS),
        };
        Ok(Self {
            case,
            run: QueryRun::new(settings, &streams)?,
            streams,
            arrived: Default::default(),
            taken: [0; 2],
            counted: Default::default(),
        })
    }

    /// One trigger; whether it ran an epoch.
    async fn trigger(&mut self) -> Result<bool> {
        let query = self.case.shape.sql(true);
        let triggered = self.run.trigger(async |session| session.sql(&query).await);
        match triggered.await? {
            Triggered::Idle => return Ok(false),
            Triggered::Again => {}
            Triggered::First(first) => self.judge(first)?,
        }
        Ok(true)
    }

    fn judge(&mut self, first: FirstRun) -> Result<()> {
        let epoch = first.batch.batch_id;
        let late = match first.batch.new_data {
            true => self.take(first.late_below),
            false => Default::default(),
        };
        let operators = first.batch.state.iter();
        let dropped: Vec<u64> = operators.map(|state| state.dropped_by_watermark).collect();
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
        let Some(recorded) = first.late else {
            return Ok(());
        };
        let shape = &self.case.shape;
        let operator = match shape.windows {
            Some(_) => "join-1",
            None => "join-0",
        };
        let expected = late_records(shape, &late, operator, first.late_below, epoch)?;
        require_rows(&format!("late rows of epoch {epoch}"), expected, recorded)
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
        let Some(watermark) = self.run.watermark() else {
            return Ok(());
        };
        let answer = batch_answer(shape, &self.counted).await?;
        let expected = match shape.windows {
            Some(_) => closed_windows(answer, shape.closed_to(watermark)),
            None => final_rows(shape, answer, &self.counted, watermark),
        };
        require_rows("all epochs", expected, self.run.into_rows())
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

/// The columns of records that both sides have: neither those of the window nor of what comes out of the join.
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

async fn batch_answer(shape: &JoinShape, rows: &[Vec<JoinRow>; 2]) -> Result<Vec<Row>> {
    let session = batch_session()?;
    for (name, rows) in ["l", "r"].into_iter().zip(rows) {
        session.register_batch(name, batch(rows)?)?;
    }
    answer(session.sql(&shape.sql(false)).await?).await
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
    use super::{super::super::seeds::check_seeds, *};

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_a_join_gives_is_the_batch_answer() {
        check_seeds(async |seed| check_join(&JoinCase::of(seed)).await).await;
    }
}
