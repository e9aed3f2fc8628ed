//! The operator's pure part, epoch by epoch, and what an epoch costs; exchange, checkpoint and late filter are tested
//! elsewhere.

use datafusion::{
    arrow::{
        array::{AsArray, Float64Array, Int64Array, TimestampMillisecondArray},
        datatypes::{DataType, Int64Type, TimeUnit},
    },
    physical_plan::empty::EmptyExec,
};
use headwater_core::{Delay, EventTime};
use headwater_state::{KeyedState, RowStore, Work};

use super::*;
use crate::key_index_factory;

const TIME: usize = 0;
const KEY: usize = 1;

fn schema() -> Arc<Schema> {
    let time = DataType::Timestamp(TimeUnit::Millisecond, None);
    Arc::new(Schema::new(vec![
        Field::new("t", time, true),
        Field::new("k", DataType::Float64, true),
        Field::new("v", DataType::Int64, true),
    ]))
}

/// Rows of time, key and value.
fn rows(rows: &[(i64, f64, i64)]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampMillisecondArray::from_iter_values(
            rows.iter().map(|row| row.0),
        )),
        Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| row.1))),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.2))),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

/// One partition of the operator, driven by hand.
struct Driven {
    definition: Arc<Definition>,
    seen: Seen,
}

impl Driven {
    fn new(keys: &[usize], remember: Remember) -> Self {
        let input = Arc::new(EmptyExec::new(schema()));
        let exec = DedupExec::new(input, "dedup-0".to_owned(), keys.to_vec(), remember);
        let seen = match &exec.definition.spec {
            SeenSpec::ByKey(spec) => {
                Seen::ByKey(KeyedState::new(spec.clone(), key_index_factory()).unwrap())
            }
            SeenSpec::SinceFirst(spec) => Seen::SinceFirst(RowStore::new(spec.clone()).unwrap()),
        };
        Self {
            seen,
            definition: exec.definition,
        }
    }

    fn work(&self) -> Work {
        match &self.seen {
            Seen::ByKey(state) => state.work(),
            Seen::SinceFirst(rows) => rows.work(),
        }
    }

    fn epoch(&mut self, batches: Vec<RecordBatch>, watermark: i64) -> Outcome {
        let arrivals = Arrivals::new(batches, &schema(), false).unwrap();
        let watermark = Watermark::START.advanced(EventTime(watermark), Delay(0));
        let definition = Arc::clone(&self.definition);
        definition.run(&mut self.seen, arrivals, watermark).unwrap()
    }
}

/// The values that came out.
fn values(outcome: &Outcome) -> Vec<i64> {
    let columns = outcome.output.iter().map(|batch| batch.column(2));
    columns
        .flat_map(|column| column.as_primitive::<Int64Type>().values().to_vec())
        .collect()
}

#[test]
fn the_first_row_of_a_key_comes_out_and_no_other_ever() {
    let mut dedup = Driven::new(&[KEY], Remember::Forever);
    let first = dedup.epoch(
        vec![
            rows(&[(1, 1.0, 10), (2, 2.0, 20), (3, 1.0, 11)]),
            rows(&[]),
            rows(&[(4, 2.0, 21), (5, 3.0, 30)]),
        ],
        0,
    );
    assert_eq!(values(&first), [10, 20, 30]);
    assert_eq!((first.new_keys, first.duplicates), (3, 2));
    let second = dedup.epoch(vec![rows(&[(6, 3.0, 31), (7, 4.0, 40)])], 1_000_000);
    assert_eq!(values(&second), [40]);
    assert_eq!((second.removed, dedup.seen.len()), (0, 4));
}

#[test]
fn floats_that_are_equal_are_one_key_and_come_out_as_they_are() {
    let mut dedup = Driven::new(&[KEY], Remember::Forever);
    let odd_nan = f64::from_bits(f64::NAN.to_bits() | 1);
    let batch = rows(&[(1, -0.0, 1), (1, 0.0, 2), (1, odd_nan, 3), (1, f64::NAN, 4)]);
    let outcome = dedup.epoch(vec![batch], 0);
    assert_eq!(values(&outcome), [1, 3]);
    let key = outcome.output[0].column(KEY);
    let first = key.as_primitive::<datafusion::arrow::datatypes::Float64Type>();
    assert!(first.value(0).is_sign_negative(), "the row is not changed");
}

#[test]
fn a_key_with_the_event_time_is_forgotten_exactly_when_the_watermark_reaches_it() {
    let expiry = Expiry {
        column: TIME,
        extra_micros: 0,
    };
    let mut dedup = Driven::new(&[TIME, KEY], Remember::WhileInTime(expiry));
    dedup.epoch(vec![rows(&[(5_000, 1.0, 1), (5_001, 1.0, 2)])], 0);
    assert_eq!(dedup.epoch(vec![], 4_999).removed, 0);
    assert_eq!(dedup.epoch(vec![], 5_000).removed, 1);
    assert_eq!(dedup.seen.len(), 1);
}

/// Keys are forgotten 10 s after the time of their first row.
fn ten_seconds() -> Remember {
    Remember::SinceFirst(Expiry {
        column: TIME,
        extra_micros: 10_000_000,
    })
}

#[test]
fn within_the_watermark_a_key_is_free_again_when_the_watermark_reaches_its_first_time_and_the_delay()
 {
    let mut dedup = Driven::new(&[KEY], ten_seconds());
    let first = dedup.epoch(vec![rows(&[(5_000, 1.0, 1), (4_000, 1.0, 2)])], 0);
    assert_eq!(values(&first), [1]);
    let again = dedup.epoch(vec![rows(&[(14_000, 1.0, 3)])], 14_999);
    assert_eq!(
        (again.duplicates, again.removed),
        (1, 0),
        "a later row moves nothing"
    );
    let gone = dedup.epoch(vec![rows(&[(15_000, 1.0, 4)])], 15_000);
    assert_eq!(
        (gone.duplicates, gone.removed),
        (1, 1),
        "it goes after the rows have come"
    );
    let free = dedup.epoch(vec![rows(&[(20_000, 1.0, 5), (21_000, 1.0, 6)])], 15_000);
    assert_eq!(values(&free), [5]);
    assert_eq!(dedup.seen.len(), 1);
}

#[test]
fn known_keys_and_new_ones_in_one_batch_are_told_apart() {
    let mut dedup = Driven::new(&[KEY], ten_seconds());
    dedup.epoch(vec![rows(&[(1, 2.0, 0), (1, 4.0, 0)])], 0);
    let batch = [1.0, 2.0, 1.0, 3.0, 4.0, 4.0, 3.0, 5.0];
    let batch: Vec<_> = (1..).zip(batch).map(|(v, key)| (2, key, v)).collect();
    let outcome = dedup.epoch(vec![rows(&batch)], 0);
    assert_eq!(values(&outcome), [1, 4, 8]);
    assert_eq!((outcome.new_keys, outcome.duplicates), (3, 5));
}

#[test]
fn an_epoch_costs_its_rows_and_not_the_keys_that_are_kept() {
    for remember in [Remember::Forever, ten_seconds()] {
        let mut costs = Vec::new();
        for kept in [100, 10_000] {
            let mut dedup = Driven::new(&[KEY], remember);
            let many: Vec<_> = (0..kept).map(|key| (1, f64::from(key), 1)).collect();
            dedup.epoch(vec![rows(&many)], 0);
            let before = dedup.work();
            dedup.epoch(vec![rows(&[(2, 1.0, 2), (2, -1.0, 3)])], 0);
            let after = dedup.work();
            costs.push((
                after.rows_indexed - before.rows_indexed,
                after.rows_copied - before.rows_copied,
                after.rows_compared - before.rows_compared,
            ));
        }
        assert_eq!(costs[0], costs[1], "{remember:?}");
        assert!(costs[0] <= (3, 1, 1), "{costs:?}");
    }
}
