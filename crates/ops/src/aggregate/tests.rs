//! The aggregation against DataFusion's batch answer, epoch by epoch, and what an epoch costs.
//!
//! Runs the operator's pure part over real partial aggregations. It can catch wrong merges, wrong expiry and work that
//! grows with the state; exchange, checkpoint and late filter are tested elsewhere.

use datafusion::arrow::{
    array::{Int64Array, StringArray, TimestampMicrosecondArray},
    datatypes::TimeUnit,
};
use headwater_core::{Delay, Epoch, EventTime, Watermark};
use headwater_state::Work;

use super::{epoch::Outcome, *};
use crate::partial_step::{context, partial, sorted};

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("t", DataType::Timestamp(TimeUnit::Microsecond, None), true),
        Field::new("k", DataType::Utf8, true),
        Field::new("v", DataType::Int64, true),
    ]))
}

fn rows(rows: impl IntoIterator<Item = (i64, &'static str, Option<i64>)>) -> RecordBatch {
    let rows: Vec<_> = rows.into_iter().collect();
    RecordBatch::try_new(
        schema(),
        vec![
            Arc::new(TimestampMicrosecondArray::from_iter_values(
                rows.iter().map(|row| row.0),
            )),
            Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.1))),
            Arc::new(Int64Array::from_iter(rows.iter().map(|row| row.2))),
        ],
    )
    .unwrap()
}

/// One partition of an aggregation, driven by hand.
struct Driven {
    sql: &'static str,
    definition: Arc<Definition>,
    stores: Stores,
    seen: Vec<RecordBatch>,
    /// That of the last epoch.
    watermark: Watermark,
}

impl Driven {
    async fn start(sql: &'static str, mode: OutputMode, expiry: Option<Expiry>) -> Self {
        let (step, output, _) = partial(sql, &rows([])).await;
        let exec = StatefulAggregateExec::try_new(
            &step,
            Arc::new(step.clone()),
            "aggregate-0".to_owned(),
            mode,
            expiry,
            output,
        )
        .unwrap();
        let mut stores: Vec<KeyedState> = exec
            .definition
            .stores()
            .into_iter()
            .map(|(_, spec)| KeyedState::new(spec, crate::key_index_factory()).unwrap())
            .collect();
        let distinct = stores.split_off(1);
        Self {
            sql,
            definition: exec.definition,
            stores: Stores {
                groups: stores.pop().unwrap(),
                distinct,
            },
            seen: Vec::new(),
            watermark: Watermark::START,
        }
    }

    async fn epoch(&mut self, batch: RecordBatch, watermark: i64) -> Outcome {
        let (_, _, incoming) = partial(self.sql, &batch).await;
        self.seen.push(batch);
        let watermark = Watermark::START.advanced(EventTime(watermark), Delay(0));
        let span = Span::between(std::mem::replace(&mut self.watermark, watermark), watermark);
        let outcome = self
            .definition
            .run(&mut self.stores, &incoming, span)
            .unwrap();
        let version = Epoch(self.seen.len() as u64);
        self.stores.groups.commit(version).unwrap();
        for store in &mut self.stores.distinct {
            store.commit(version).unwrap();
        }
        outcome
    }

    /// DataFusion's answer over everything so far.
    async fn batch_answer(&self) -> String {
        let all = concat_batches(&schema(), &self.seen).unwrap();
        sorted(
            &context(&all)
                .sql(self.sql)
                .await
                .unwrap()
                .collect()
                .await
                .unwrap(),
        )
    }

    fn work(&self) -> Work {
        let mut work = self.stores.groups.work();
        for store in &self.stores.distinct {
            work.rows_copied += store.work().rows_copied;
            work.rows_indexed += store.work().rows_indexed;
        }
        work
    }
}

#[tokio::test]
async fn complete_mode_equals_the_batch_answer_after_every_epoch() {
    for sql in [
        "SELECT k, count(*), sum(v), avg(v), min(v), max(v), bit_xor(v) FROM t GROUP BY k",
        "SELECT k, first_value(v), last_value(v), array_agg(v), median(v) FROM t GROUP BY k",
        "SELECT k, count(DISTINCT v), sum(DISTINCT v), count(v) FILTER (WHERE v > 2) FROM t GROUP BY k",
        "SELECT k, first_value(v ORDER BY t), last_value(v ORDER BY t DESC), string_agg(k, ',') FROM t GROUP BY k",
        "SELECT k, v, sum(nullif(v, v)), avg(CAST(nullif(v, v) AS DECIMAL(10, 2))), sum(DISTINCT nullif(v, 3)) FROM t GROUP BY k, v",
        "SELECT count(*), sum(v), count(DISTINCT k), approx_distinct(v) FROM t",
        "SELECT t, k, count(*) FROM t GROUP BY t, k",
    ] {
        let mut query = Driven::start(sql, OutputMode::Complete, None).await;
        let mut next = 7_u64;
        for epoch in 0..6 {
            let batch: Vec<_> = (0..20)
                .map(|_| {
                    next = next.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let key = ["a", "b", "c"][(next >> 33) as usize % 3];
                    let value = (next >> 40) as i64 % 7;
                    ((next >> 20) as i64 % 5, key, (value > 0).then_some(value))
                })
                .collect();
            let batch = if epoch == 3 { Vec::new() } else { batch };
            let outcome = query.epoch(rows(batch), 0).await;
            assert_eq!(
                sorted(&outcome.output),
                query.batch_answer().await,
                "{sql}, epoch {epoch}"
            );
        }
    }
}

#[tokio::test]
async fn a_million_distinct_values_in_one_key_cost_an_epoch_what_it_adds() {
    let mut query = Driven::start(
        "SELECT k, count(DISTINCT v) FROM t GROUP BY k",
        OutputMode::Update,
        None,
    )
    .await;
    query
        .epoch(rows((0..1_000_000).map(|v| (0, "a", Some(v)))), 0)
        .await;
    let before = query.work();
    // 50 values that are known and 50 that are new.
    let outcome = query
        .epoch(rows((999_950..1_000_050).map(|v| (0, "a", Some(v)))), 0)
        .await;
    let after = query.work();
    let count = outcome.output[0]
        .column(1)
        .as_any()
        .downcast_ref::<Int64Array>()
        .unwrap();
    assert_eq!(count.value(0), 1_000_050);
    assert!(
        after.rows_copied - before.rows_copied <= 10,
        "{before:?} {after:?}"
    );
    assert!(
        after.rows_indexed - before.rows_indexed <= 101,
        "{before:?} {after:?}"
    );
}

#[tokio::test]
async fn grouping_by_a_microsecond_timestamp_expires_exactly_and_cheaply() {
    let expiry = Expiry {
        column: 0,
        extra_micros: 0,
    };
    let mut query = Driven::start(
        "SELECT t, count(*) FROM t GROUP BY t",
        OutputMode::Append,
        Some(expiry),
    )
    .await;
    // 200,000 timestamps 500 microseconds apart: 100 seconds.
    query
        .epoch(rows((1..=200_000).map(|n| (n * 500, "a", None))), 0)
        .await;
    let before = query.work();
    let outcome = query.epoch(rows([]), 1_000).await;
    // Everything up to and including 1.000000 s.
    let expired: usize = outcome.output.iter().map(RecordBatch::num_rows).sum();
    assert_eq!(expired, 2_000);
    assert_eq!(outcome.removed, 2_000);
    let after = query.work();
    assert!(
        after.rows_copied - before.rows_copied <= 2_000,
        "{before:?} {after:?}"
    );
    let outcome = query.epoch(rows([(1_500_000, "a", None)]), 1_000).await;
    assert_eq!(outcome.updated, 1);
    assert_eq!(query.stores.groups.len(), 198_000);
}

#[tokio::test]
async fn lists_are_chained_and_not_rewritten_at_each_touch() {
    let expiry = Expiry {
        column: 0,
        extra_micros: 1_000_000,
    };
    let mut query = Driven::start(
        "SELECT t, array_agg(v), count(*) FROM t GROUP BY t",
        OutputMode::Append,
        Some(expiry),
    )
    .await;
    for epoch in 0..50 {
        query
            .epoch(rows((0..10).map(|n| (0, "a", Some(epoch * 10 + n)))), 0)
            .await;
    }
    // One row for each epoch; small blocks are merged now and then, at a cost paid for by the rows put.
    assert!(query.work().rows_copied <= 100, "{:?}", query.work());
    let outcome = query.epoch(rows([]), 1_000).await;
    assert_eq!(sorted(&outcome.output), query.batch_answer().await);
}

#[tokio::test]
async fn update_mode_gives_out_touched_keys_only_even_when_nothing_changed() {
    let mut query = Driven::start(
        "SELECT k, max(v) FROM t GROUP BY k",
        OutputMode::Update,
        None,
    )
    .await;
    query
        .epoch(rows([(0, "a", Some(5)), (0, "b", Some(1))]), 0)
        .await;
    let outcome = query.epoch(rows([(0, "a", Some(3))]), 0).await;
    assert_eq!(sorted(&outcome.output), "| a | 5 |");
}
