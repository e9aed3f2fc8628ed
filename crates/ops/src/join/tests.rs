//! A join against the loop over all pairs, epoch by epoch, and what an epoch costs.
//!
//! Runs the operator's pure part. It can catch pairs lost, doubled or given out in the wrong epoch, rows without a match
//! that come at the wrong time, and work that grows with the state. The loop knows nothing of state: whatever the
//! watermark has removed and could still have found a match shows as a lost pair. Exchange, checkpoint and late filter
//! are tested elsewhere.

use std::collections::BTreeSet;

use datafusion::{
    arrow::{
        array::{Array, ArrayRef, AsArray, Int64Array, StringArray, TimestampMicrosecondArray},
        compute::concat_batches,
        datatypes::{
            DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType,
        },
    },
    common::{DFSchema, JoinSide, JoinType, ScalarValue},
    execution::context::ExecutionProps,
    logical_expr::{
        Expr, col, lit, logical_plan::builder::build_join_schema,
        physical_planning_context::PhysicalPlanningContext,
    },
    physical_expr::create_physical_expr,
    physical_plan::joins::utils::{ColumnIndex, JoinFilter},
};
use headwater_core::{Delay, Epoch, EventTime, Watermark};
use headwater_state::{NullKeys, Work};

use super::*;
use crate::expiry::Expiry;

const SECOND: i64 = 1_000_000;

/// A key, a time in microseconds, a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    key: Option<i64>,
    time: Option<i64>,
    value: i64,
}

fn row(key: i64, seconds: i64, value: i64) -> Row {
    Row {
        key: Some(key),
        time: Some(seconds * SECOND),
        value,
    }
}

fn schema(side: &str) -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Microsecond, None);
    Arc::new(Schema::new(vec![
        Field::new(format!("{side}k"), DataType::Int64, true),
        Field::new(format!("{side}t"), time, true),
        Field::new(format!("{side}v"), DataType::Int64, true),
    ]))
}

fn batch(side: &str, rows: &[Row]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| row.key).collect::<Int64Array>()),
        Arc::new(
            rows.iter()
                .map(|row| row.time)
                .collect::<TimestampMicrosecondArray>(),
        ),
        Arc::new(Int64Array::from_iter_values(
            rows.iter().map(|row| row.value),
        )),
    ];
    RecordBatch::try_new(schema(side), columns).unwrap()
}

fn seconds(count: i64) -> Expr {
    lit(ScalarValue::new_interval_mdn(0, 0, count * 1_000_000_000))
}

fn physical(expr: &Expr, schema: &DFSchema) -> Arc<dyn PhysicalExpr> {
    let context = PhysicalPlanningContext::default();
    create_physical_expr(expr, schema, &ExecutionProps::new(), &context).unwrap()
}

/// `rk = lk`, `rt` from two seconds before `lt` to five after it, and the values differ.
fn definition(join_type: JoinType) -> StreamJoin {
    let [left, right] = ["l", "r"].map(|side| DFSchema::try_from(schema(side)).unwrap());
    let both = left.join(&right).unwrap();
    let condition = col("rt")
        .gt_eq(col("lt") - seconds(2))
        .and(col("rt").lt_eq(col("lt") + seconds(5)))
        .and(col("lv").not_eq(col("rv")));
    let columns = (0..6).map(|column| ColumnIndex {
        index: column % 3,
        side: [JoinSide::Left, JoinSide::Right][column / 3],
    });
    let columns: Vec<ColumnIndex> = columns.collect();
    let filter = JoinFilter::new(
        physical(&condition, &both),
        columns.clone(),
        Arc::clone(both.inner()),
    );
    let input = |reach: i64| JoinInput {
        stored: 3,
        expiry: Some(Expiry {
            column: 1,
            extra_micros: reach * SECOND + 1_000,
        }),
        near: Some(Near {
            other: 1,
            from_micros: 1_000,
            to_micros: Some(7 * SECOND + 1_000),
        }),
        own: None,
        bucket_millis: 1_000,
    };
    let output = match join_type {
        JoinType::LeftSemi => columns[..3].to_vec(),
        _ => columns,
    };
    let joined = build_join_schema(&left, &right, &join_type).unwrap();
    StreamJoin {
        operator: "join-0".to_owned(),
        join_type,
        keys: 1,
        null_keys: NullKeys::Never,
        inputs: [input(5), input(2)],
        filter: Some(filter),
        output,
        schema: Arc::clone(joined.inner()),
        lag_millis: 0,
    }
}

fn at(seconds: i64) -> Watermark {
    Watermark::START.advanced(EventTime(seconds * 1_000), Delay(0))
}

/// A row that came out: left, right, or both.
type Pair = (Option<Row>, Option<Row>);

/// One partition of a join, driven by hand.
struct Driven {
    definition: StreamJoin,
    stores: Option<[RowStore; 2]>,
}

/// What an epoch gave.
struct Given {
    pairs: Vec<Pair>,
    updated: usize,
    removed: usize,
}

impl Driven {
    fn start(definition: StreamJoin) -> Self {
        let schemas = [schema("l"), schema("r")];
        definition.check([&schemas[0], &schemas[1]]).unwrap();
        let store = |side: usize| RowStore::new(definition.spec(side, &schemas[side])).unwrap();
        let stores = Some([store(0), store(1)]);
        Self { definition, stores }
    }

    fn epoch(&mut self, left: &[Row], right: &[Row], watermark: Watermark) -> Given {
        let stores = self.stores.take().unwrap();
        let mut epoch = JoinEpoch::new(&self.definition, stores, watermark);
        // Two batches of each side: what belongs together may come apart.
        let inputs = [("l", left), ("r", right)].map(|(name, rows)| {
            let (first, second) = rows.split_at(rows.len() / 2);
            vec![batch(name, first), batch(name, second)]
        });
        epoch.take_all(inputs).unwrap();
        let outcome = epoch.finish().unwrap();
        self.stores = Some(outcome.stores);
        let rows = concat_batches(&self.definition.schema, &outcome.output).unwrap();
        Given {
            pairs: pairs(&rows),
            updated: outcome.updated,
            removed: outcome.removed,
        }
    }

    fn stored(&self) -> usize {
        self.stores
            .as_ref()
            .unwrap()
            .iter()
            .map(RowStore::len)
            .sum()
    }

    fn work(&self) -> u64 {
        let stores = self.stores.as_ref().unwrap().iter();
        let sum = |work: Work| work.rows_indexed + work.rows_copied + work.rows_compared;
        stores.map(|store| sum(store.work())).sum()
    }
}

fn pairs(batch: &RecordBatch) -> Vec<Pair> {
    let side = |first: usize, row: usize| {
        let values = batch.columns().get(first + 2)?.as_primitive::<Int64Type>();
        let keys = batch.column(first).as_primitive::<Int64Type>();
        let times = batch
            .column(first + 1)
            .as_primitive::<TimestampMicrosecondType>();
        values.is_valid(row).then(|| Row {
            key: keys.is_valid(row).then(|| keys.value(row)),
            time: times.is_valid(row).then(|| times.value(row)),
            value: values.value(row),
        })
    };
    let mut pairs: Vec<Pair> = (0..batch.num_rows())
        .map(|row| (side(0, row), side(3, row)))
        .collect();
    pairs.sort();
    pairs
}

/// The loop over all pairs.
fn matches(left: &Row, right: &Row) -> bool {
    let (Some(left_time), Some(right_time)) = (left.time, right.time) else {
        return false;
    };
    let distance = right_time - left_time;
    left.key.is_some()
        && left.key == right.key
        && (-2 * SECOND..=5 * SECOND).contains(&distance)
        && left.value != right.value
}

/// The watermark in milliseconds at which a row of a side goes.
fn goes_at(side: usize, row: &Row) -> Option<i64> {
    let reach = [5, 2][side] * SECOND + 1_000;
    let micros = row.time? + reach;
    Some(micros.div_euclid(1_000) + i64::from(micros.rem_euclid(1_000) > 0))
}

/// All that has come so far, and what of it has been given out.
#[derive(Default)]
struct Model {
    rows: [Vec<Row>; 2],
    found: [BTreeSet<usize>; 2],
    gone: [BTreeSet<usize>; 2],
}

impl Model {
    fn epoch(
        &mut self,
        join_type: JoinType,
        left: &[Row],
        right: &[Row],
        watermark: Watermark,
    ) -> Vec<Pair> {
        let old = self.rows.each_ref().map(Vec::len);
        self.rows[0].extend(left);
        self.rows[1].extend(right);
        let mut given: Vec<Pair> = Vec::new();
        for (l, left) in self.rows[0].iter().enumerate() {
            for (r, right) in self.rows[1].iter().enumerate() {
                if (l < old[0] && r < old[1]) || !matches(left, right) {
                    continue;
                }
                let is_first = self.found[0].insert(l);
                self.found[1].insert(r);
                match join_type {
                    JoinType::LeftSemi if is_first => given.push((Some(*left), None)),
                    JoinType::LeftSemi => {}
                    _ => given.push((Some(*left), Some(*right))),
                }
            }
        }
        let kept = [
            matches!(join_type, JoinType::Left | JoinType::Full),
            matches!(join_type, JoinType::Right | JoinType::Full),
        ];
        for side in [0, 1] {
            for (number, row) in self.rows[side].iter().enumerate() {
                let goes = goes_at(side, row).is_some_and(|millis| millis <= watermark.millis());
                if goes && self.gone[side].insert(number) && kept[side] {
                    let is_alone = !self.found[side].contains(&number);
                    let pair = [(Some(*row), None), (None, Some(*row))][side];
                    given.extend(is_alone.then_some(pair));
                }
            }
        }
        given.sort();
        given
    }
}

/// Numbers that look random, from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: i64) -> i64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        ((self.0 >> 33) as i64) % limit
    }

    /// Rows around `now` seconds, none of them late at the watermark `late` in seconds.
    fn rows(&mut self, now: i64, late: i64) -> Vec<Row> {
        let count = self.below(12);
        let mut rows = Vec::new();
        for _ in 0..count {
            let micros = (now - 6 + self.below(12)) * SECOND + self.below(3) * 500;
            rows.push(Row {
                key: (self.below(12) > 0).then(|| self.below(4)),
                time: (self.below(12) > 0).then_some(micros.max(late * SECOND + 500)),
                value: self.below(5),
            });
        }
        rows
    }
}

#[test]
fn every_pair_comes_once_and_rows_without_a_match_when_they_go() {
    for join_type in [
        JoinType::Inner,
        JoinType::Left,
        JoinType::Right,
        JoinType::Full,
        JoinType::LeftSemi,
    ] {
        for seed in 0..30 {
            let mut dice = Dice(seed);
            let mut driven = Driven::start(definition(join_type));
            let mut model = Model::default();
            let (mut now, mut late) = (10, 0);
            for epoch in 0..12_u64 {
                let (left, right) = (dice.rows(now, late), dice.rows(now, late));
                // In force from now on, late from the next epoch on.
                let watermark = (now - 8 + dice.below(5)).max(late);
                let given = driven.epoch(&left, &right, at(watermark));
                let expected = model.epoch(join_type, &left, &right, at(watermark));
                assert_eq!(
                    given.pairs, expected,
                    "{join_type} join, seed {seed}, epoch {epoch}"
                );
                for store in driven.stores.as_mut().unwrap() {
                    store.commit(Epoch(epoch)).unwrap();
                }
                late = watermark;
                now += dice.below(6);
            }
        }
    }
}

#[test]
fn a_batch_that_finds_very_many_pairs_is_taken_in_pieces() {
    let many =
        |from: i64| -> Vec<Row> { (0..500).map(|number| row(1, 10, from + number)).collect() };
    let mut driven = Driven::start(definition(JoinType::Inner));
    let given = driven.epoch(&many(0), &many(1_000), at(0));
    assert_eq!(given.pairs.len(), 250_000);
    let unique: BTreeSet<Pair> = given.pairs.into_iter().collect();
    assert_eq!(unique.len(), 250_000);
}

#[test]
fn counts_are_as_recorded() {
    let mut driven = Driven::start(definition(JoinType::Inner));
    let given = driven.epoch(&[row(1, 10, 1)], &[row(9, 10, 2)], at(0));
    assert_eq!((given.updated, given.removed, driven.stored()), (2, 0, 2));
    // The new left row is stored for the right rows of the epoch and goes with it; the right row is not stored at all.
    let given = driven.epoch(&[row(1, 11, 3)], &[row(1, 12, 4)], at(50));
    assert_eq!(
        given.pairs.len(),
        2,
        "rows that go in this epoch still match"
    );
    assert_eq!((given.updated, given.removed, driven.stored()), (1, 3, 0));
}

#[test]
fn a_semi_join_does_not_keep_what_it_has_given_out() {
    let mut driven = Driven::start(definition(JoinType::LeftSemi));
    let left = [row(1, 10, 1), row(2, 10, 1)];
    let given = driven.epoch(&left, &[row(1, 11, 5), row(1, 12, 5)], at(0));
    assert_eq!(given.pairs, [(Some(left[0]), None)]);
    assert_eq!(
        (driven.stored(), given.updated, given.removed),
        (1 + 2, 3, 0)
    );
    let given = driven.epoch(&[row(1, 11, 2)], &[row(2, 11, 6), row(2, 11, 7)], at(0));
    assert_eq!(
        given.pairs,
        [(Some(row(1, 11, 2)), None), (Some(left[1]), None)]
    );
    assert_eq!((driven.stored(), given.removed), (2 + 2, 1));
}

#[test]
fn a_row_that_fails_the_condition_on_its_own_side_comes_at_once() {
    let mut definition = definition(JoinType::Full);
    let own = |side: &str, least: i64| {
        let schema = DFSchema::try_from(schema(side)).unwrap();
        Some(physical(&col(format!("{side}v")).gt(lit(least)), &schema))
    };
    definition.inputs[0].own = own("l", 0);
    definition.inputs[1].own = own("r", 0);
    let mut driven = Driven::start(definition);
    let (failing, passing) = (row(1, 10, 0), row(1, 10, 1));
    let given = driven.epoch(&[failing, passing], &[row(1, 10, -1)], at(0));
    assert_eq!(
        given.pairs,
        [(None, Some(row(1, 10, -1))), (Some(failing), None)]
    );
    assert_eq!(driven.stored(), 1);
}

#[test]
fn nulls_match_where_the_join_says_so() {
    let null = Row {
        key: None,
        ..row(0, 10, 1)
    };
    let other = Row { value: 2, ..null };
    let mut never = Driven::start(definition(JoinType::Inner));
    assert_eq!(never.epoch(&[null], &[other], at(0)).pairs, []);
    assert_eq!(never.stored(), 0, "nothing can ask for them");
    let mut matching = Driven::start(StreamJoin {
        null_keys: NullKeys::Match,
        ..definition(JoinType::Inner)
    });
    let given = matching.epoch(&[null], &[other], at(0));
    assert_eq!(given.pairs, [(Some(null), Some(other))]);
}

#[test]
fn the_cost_of_an_epoch_does_not_depend_on_untouched_state() {
    let cost = |rows: i64| {
        let mut driven = Driven::start(definition(JoinType::Left));
        let old: Vec<Row> = (0..rows).map(|key| row(key, 100 + key % 20, 1)).collect();
        driven.epoch(&old, &old, at(90));
        for store in driven.stores.as_mut().unwrap() {
            store.commit(Epoch::FIRST).unwrap();
        }
        let before = driven.work();
        // Some rows that match, some that expire.
        let given = driven.epoch(&[row(7, 120, 3)], &[row(8, 120, 4)], at(103));
        (driven.work() - before, given)
    };
    let (small, _) = cost(1_000);
    let (large, given) = cost(20_000);
    let expired = given.removed as u64;
    assert!(expired > 0);
    assert!(
        large <= small + 4 * expired,
        "{large} steps in a state 20 times as large, {small} before, {expired} rows expired"
    );
}

#[test]
fn definitions_that_do_not_fit_are_refused() {
    let schemas = [schema("l"), schema("r")];
    let check = |definition: StreamJoin| definition.check([&schemas[0], &schemas[1]]);
    assert!(check(definition(JoinType::Inner)).is_ok());
    assert!(check(definition(JoinType::LeftAnti)).is_err());
    let mut short = definition(JoinType::Inner);
    short.inputs[0].stored = 2;
    assert!(
        check(short).is_err(),
        "the filter needs a column that is not stored"
    );
    let mut wide = definition(JoinType::Inner);
    wide.inputs[1].near = Some(Near {
        other: 3,
        from_micros: 0,
        to_micros: None,
    });
    assert!(check(wide).is_err());
    let texts = StringArray::from(vec!["a"]);
    let other = Schema::new(vec![Field::new("rk", texts.data_type().clone(), true)]);
    let wrong = definition(JoinType::Inner).check([&schemas[0], &Arc::new(other)]);
    assert!(wrong.is_err());
}
