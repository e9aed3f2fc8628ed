//! Sessions against DataFusion's batch answer, epoch by epoch, and what an epoch costs.
//!
//! Runs the operator's pure part over real partial aggregations by key, start and end. It can catch wrong merges of
//! states, wrong expiry and work that grows with the state; the merging of intervals itself, the exchange, the
//! checkpoint and the late filter are tested elsewhere.

use std::sync::Arc;

use datafusion::arrow::{
    array::{Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray},
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
};
use headwater_core::{Delay, Epoch, EventTime, OutputMode, Watermark};
use headwater_state::{RowStore, Work};

use super::aggregate::{Outcome, SessionDefinition};
use crate::partial_step::{context, partial, sorted};

const SECOND: i64 = 1_000_000;
const GAP: i64 = 5;

/// Key, time in seconds, value.
type Row = (&'static str, i64, Option<i64>);

fn schema() -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Microsecond, None);
    Arc::new(Schema::new(vec![
        Field::new("k", DataType::Utf8, true),
        Field::new("s", time.clone(), true),
        Field::new("e", time, true),
        Field::new("v", DataType::Int64, true),
    ]))
}

fn rows(rows: &[Row]) -> RecordBatch {
    let times = |plus: i64| {
        let seconds = rows.iter().map(|row| (row.1 + plus) * SECOND);
        Arc::new(TimestampMicrosecondArray::from_iter_values(seconds))
    };
    RecordBatch::try_new(
        schema(),
        vec![
            Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.0))),
            times(0),
            times(GAP),
            Arc::new(Int64Array::from_iter(rows.iter().map(|row| row.2))),
        ],
    )
    .unwrap()
}

/// One partition of sessions, driven by hand.
struct Driven {
    sql: String,
    definition: SessionDefinition,
    store: RowStore,
    epochs: u64,
}

impl Driven {
    async fn start(aggregates: &str, mode: OutputMode) -> Self {
        let sql = format!("SELECT k, s, e, {aggregates} FROM t GROUP BY k, s, e");
        let (step, output, _) = partial(&sql, &rows(&[])).await;
        let gap = Some(GAP * SECOND);
        let definition =
            SessionDefinition::try_new(&step, "session-0".to_owned(), mode, gap, output).unwrap();
        Self {
            store: RowStore::new(definition.spec().clone()).unwrap(),
            sql,
            definition,
            epochs: 0,
        }
    }

    /// Runs an epoch; the watermark is in seconds.
    async fn epoch(&mut self, batch: &[Row], watermark: i64) -> Outcome {
        let (_, _, incoming) = partial(&self.sql, &rows(batch)).await;
        let watermark = Watermark::START.advanced(EventTime(watermark * 1_000), Delay(0));
        let outcome = self
            .definition
            .run(&mut self.store, &incoming, watermark)
            .unwrap();
        self.store.commit(Epoch(self.epochs)).unwrap();
        self.epochs += 1;
        outcome
    }

    fn work(&self) -> Work {
        self.store.work()
    }
}

fn cost(before: Work, after: Work) -> [u64; 3] {
    [
        after.rows_indexed - before.rows_indexed,
        after.rows_copied - before.rows_copied,
        after.rows_compared - before.rows_compared,
    ]
}

/// DataFusion's answer over rows whose session is known: the first of them is at `start`, the last ends at `end`.
async fn batch_answer(sql: &str, sessions: &[(i64, i64, &[Row])]) -> String {
    let mut answer = Vec::new();
    for (start, end, of_session) in sessions {
        let batch = rows(of_session);
        let mut columns = batch.columns().to_vec();
        for (column, seconds) in [(1, start), (2, end)] {
            let times = vec![seconds * SECOND; of_session.len()];
            columns[column] = Arc::new(TimestampMicrosecondArray::from(times));
        }
        let batch = RecordBatch::try_new(schema(), columns).unwrap();
        let answers = context(&batch).sql(sql).await.unwrap().collect().await;
        answer.extend(answers.unwrap());
    }
    sorted(&answer)
}

#[tokio::test]
async fn states_of_every_kind_are_merged_when_a_row_bridges_two_sessions() {
    for aggregates in [
        "count(*), sum(v), avg(v), min(v), max(v), bit_xor(v)",
        "count(DISTINCT v), sum(DISTINCT v), count(v) FILTER (WHERE v > 2)",
        "array_agg(v ORDER BY v), array_agg(DISTINCT v ORDER BY v), median(v)",
        "first_value(v ORDER BY v), last_value(v ORDER BY v), approx_distinct(v), bool_or(v > 2)",
        "array_agg(v), first_value(v), last_value(v), string_agg(k, ',')",
        "sum(nullif(v, v)), avg(nullif(v, v)), min(nullif(v, 3))",
    ] {
        let mut query = Driven::start(aggregates, OutputMode::Complete).await;
        let first: &[Row] = &[("a", 0, Some(3)), ("b", 1, None), ("a", 8, Some(2))];
        let outcome = query.epoch(first, 0).await;
        let apart = [
            (0, 5, &first[..1]),
            (8, 13, &first[2..]),
            (1, 6, &first[1..2]),
        ];
        assert_eq!(
            sorted(&outcome.output),
            batch_answer(&query.sql, &apart).await,
            "{aggregates}"
        );
        let bridge: &[Row] = &[("a", 4, Some(3)), ("c", 4, Some(9))];
        let outcome = query.epoch(bridge, 0).await;
        let together: &[Row] = &[first[0], first[2], bridge[0]];
        let merged = [
            (0, 13, together),
            (1, 6, &first[1..2]),
            (4, 9, &bridge[1..]),
        ];
        assert_eq!(
            sorted(&outcome.output),
            batch_answer(&query.sql, &merged).await,
            "{aggregates}"
        );
        assert_eq!((outcome.updated, outcome.removed), (2, 1), "{aggregates}");
    }
}

#[tokio::test]
async fn a_session_ends_when_the_watermark_reaches_its_end_and_not_before() {
    let mut query = Driven::start("count(*)", OutputMode::Append).await;
    query.epoch(&[("a", 0, None), ("b", 1, None)], 4).await;
    assert_eq!(query.store.len(), 2);
    let outcome = query.epoch(&[("a", 5, None)], 5).await;
    assert!(outcome.output.is_empty(), "a row at its end keeps it open");
    let outcome = query.epoch(&[], 6).await;
    assert_eq!(
        sorted(&outcome.output),
        "| b | 1970-01-01T00:00:01 | 1970-01-01T00:00:06 | 1 |"
    );
    let outcome = query.epoch(&[("a", 9, None)], 10).await;
    assert!(
        outcome.output.is_empty(),
        "it grows before what has ended goes"
    );
    let outcome = query.epoch(&[], 14).await;
    assert_eq!((outcome.updated, outcome.removed), (0, 1));
    assert_eq!(
        sorted(&outcome.output),
        "| a | 1970-01-01T00:00:00 | 1970-01-01T00:00:14 | 3 |"
    );
}

#[tokio::test]
async fn all_sessions_of_a_touched_key_count_as_updated() {
    let mut query = Driven::start("count(*)", OutputMode::Complete).await;
    let apart: Vec<Row> = (0..10).map(|n| ("a", n * 100, None)).collect();
    assert_eq!(query.epoch(&apart, 0).await.updated, 10);
    assert_eq!(query.epoch(&[("a", 2_000, None)], 0).await.updated, 11);
    assert_eq!(query.epoch(&[("b", 0, None)], 0).await.updated, 1);
}

#[tokio::test]
async fn an_epoch_costs_what_it_touches() {
    const KEYS: [&str; 4] = ["a", "b", "c", "d"];
    let mut query = Driven::start("count(*), count(DISTINCT v)", OutputMode::Append).await;
    // 40,000 sessions of one key, 400,000 seconds of them.
    let many: Vec<Row> = (0..40_000).map(|n| ("a", n * 10, Some(n))).collect();
    query.epoch(&many, 0).await;
    let others: Vec<Row> = KEYS[1..].iter().map(|k| (*k, 7, Some(1))).collect();
    query.epoch(&others, 0).await;

    let before = query.work();
    query.epoch(&others, 0).await;
    // Each of three keys: looked up, its one session compared, read and written.
    let [indexed, copied, compared] = cost(before, query.work());
    assert!(indexed <= 6 && compared <= 3, "{indexed} {compared}");
    assert!(copied <= 9, "{copied}");

    let before = query.work();
    let outcome = query.epoch(&[], 1_000).await;
    // Those that end by 1,000 s, and of the others no more than the bucket that this cuts, which is wide in a store
    // that spans days.
    assert_eq!(outcome.removed, 100 + 3);
    let [indexed, copied, compared] = cost(before, query.work());
    assert_eq!(indexed, 0);
    assert!(copied <= 300 && compared <= 300, "{copied} {compared}");
}

#[tokio::test]
async fn only_the_session_that_a_row_reaches_is_read_and_written() {
    let mut query = Driven::start("count(*), array_agg(v)", OutputMode::Append).await;
    let many: Vec<Row> = (0..1_000).map(|n| ("a", n * 10, Some(n))).collect();
    query.epoch(&many, 0).await;
    let before = query.work();
    query.epoch(&[("a", 5_001, Some(1))], 0).await;
    let [indexed, copied, _] = cost(before, query.work());
    // One look-up, one row put; keys and bounds of the key's sessions are compared, of the states one is read.
    assert!(indexed <= 2, "{indexed}");
    assert!(copied <= 2 * 1_000 + 10, "{copied}");
    assert_eq!(query.store.len(), 1_000);
}
