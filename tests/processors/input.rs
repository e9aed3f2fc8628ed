//! Rows of time, key and value.

use std::sync::Arc;

use datafusion::arrow::{
    array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray},
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
};
use headwater::{DataFrame, OutputMode, Session, prelude::Result, processor::TimeMode};
use headwater_sim::{
    cell::{Row, display_row},
    processors::{Played, ProcessorCase, ProcessorStep, register},
};
use rand::{Rng, SeedableRng, rngs::StdRng};

/// Second, key and value.
pub(super) type Event<'a> = (i64, Option<&'a str>, i64);

pub(super) fn schema() -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        Field::new("ts", time, true),
        Field::new("k", DataType::Utf8, true),
        Field::new("v", DataType::Int64, true),
    ]))
}

pub(super) fn block(rows: &[Event<'_>]) -> RecordBatch {
    let times = rows.iter().map(|row| row.0 * 1_000_000);
    let times = TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC");
    let columns: Vec<ArrayRef> = vec![
        Arc::new(times),
        Arc::new(rows.iter().map(|row| row.1).collect::<StringArray>()),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.2))),
    ];
    RecordBatch::try_new(schema(), columns).expect("the columns fit")
}

/// One block a step, a second of the clock apart.
pub(super) fn step(rows: &[Event<'_>]) -> ProcessorStep {
    ProcessorStep {
        clock_millis: 1_000,
        blocks: vec![block(rows)],
    }
}

/// Only time passes.
pub(super) fn pause(clock_millis: i64) -> ProcessorStep {
    ProcessorStep {
        clock_millis,
        blocks: Vec::new(),
    }
}

/// Steps with up to six keys, one of them null, over rising seconds, some of them late.
pub(super) fn random_steps(seed: u64, steps: usize) -> Vec<ProcessorStep> {
    const KEYS: [Option<&str>; 6] = [Some("a"), Some("b"), Some("c"), Some("d"), Some(""), None];
    let mut random = StdRng::seed_from_u64(seed);
    let mut second = 1_000;
    let mut all = Vec::new();
    for _ in 0..steps {
        second += random.random_range(0..8);
        let mut blocks = Vec::new();
        for _ in 0..random.random_range(0..3) {
            let rows: Vec<Event<'_>> = (0..random.random_range(0..8))
                .map(|_| {
                    let key = KEYS[random.random_range(0..KEYS.len())];
                    (
                        second - random.random_range(0..12),
                        key,
                        random.random_range(0..4),
                    )
                })
                .collect();
            blocks.push(block(&rows));
        }
        all.push(ProcessorStep {
            clock_millis: random.random_range(0..4) * 1_000,
            blocks,
        });
    }
    all
}

/// A case over a processor of `headwater-sim`, called `name`.
pub(super) fn case(
    name: &'static str,
    mode: OutputMode,
    steps: Vec<ProcessorStep>,
    query: impl Fn(&Session, DataFrame) -> Result<DataFrame> + Send + Sync + 'static,
) -> ProcessorCase {
    ProcessorCase {
        name: name.to_owned(),
        schema: schema(),
        register: Box::new(register),
        with_other_state: None,
        query: Box::new(query),
        mode,
        steps,
    }
}

/// A case that transforms `events` by key with a watermark of `delay`.
pub(super) fn transform(
    processor: &'static str,
    time_mode: TimeMode,
    delay: &'static str,
    steps: Vec<ProcessorStep>,
) -> ProcessorCase {
    case(processor, OutputMode::Update, steps, move |_, events| {
        events
            .with_watermark("ts", delay)?
            .group_by_key(["k"])?
            .transform_with_state(processor, time_mode)
    })
}

/// A case that calls a group function for `events` by key with a watermark of `delay`.
pub(super) fn groups(
    function: &'static str,
    time_mode: TimeMode,
    delay: &'static str,
    steps: Vec<ProcessorStep>,
) -> ProcessorCase {
    case(function, OutputMode::Update, steps, move |_, events| {
        events
            .with_watermark("ts", delay)?
            .group_by_key(["k"])?
            .flat_map_groups_with_state(function, time_mode)
    })
}

/// The rows of each step as text, sorted.
pub(super) fn shown(played: &Played) -> Vec<Vec<String>> {
    let of_step = |rows: &Vec<Row>| {
        let mut rows: Vec<String> = rows.iter().map(display_row).collect();
        rows.sort();
        rows
    };
    played.steps.iter().map(of_step).collect()
}
