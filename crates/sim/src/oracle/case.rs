//! Random queries over random input, from one seed.

use headwater_core::OutputMode;
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};

use super::{
    duplicates::Duplicates,
    run::Interruption,
    shape::{Filter, Gap, QueryShape, Windows},
};

/// One row of the input.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Event time in microseconds since 1970.
    pub time: Option<i64>,
    /// A key of few values.
    pub key: Option<&'static str>,
    /// A small number.
    pub value: Option<i64>,
    /// A decimal with two digits behind the point, unscaled.
    pub price: Option<i128>,
    /// A truth value.
    pub flag: Option<bool>,
}

/// One step: maybe a restart, then blocks of rows, then triggers.
#[derive(Debug, Clone, PartialEq)]
pub struct CaseStep {
    /// What happens first.
    pub interruption: Interruption,
    /// Each is one block of the stream.
    pub blocks: Vec<Vec<Event>>,
    /// One trigger only, so that an epoch without data may stay due.
    pub single_trigger: bool,
}

/// A query and what it is fed.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// What the case was made from.
    pub seed: u64,
    /// The query.
    pub query: QueryShape,
    /// Partitions of its state.
    pub partitions: usize,
    /// Committed epochs whose records stay readable.
    pub batches_retained: u64,
    /// The first step before which the query may be started with a sink of late rows; none: it never has one.
    pub late_from: Option<usize>,
    /// Its input.
    pub steps: Vec<CaseStep>,
}

/// 2024-01-01T00:00:00Z.
const BASE_MICROS: i64 = 1_704_067_200_000_000;
const SECOND: i64 = 1_000_000;

/// Aggregates whose batch answer does not depend on how the input is cut into epochs.
const AGGREGATES: &[&str] = &[
    "count(*)",
    "count(v)",
    "sum(v)",
    "min(v)",
    "max(v)",
    "avg(v)",
    "sum(x)",
    "avg(x)",
    "min(x)",
    "max(k)",
    "min(ts)",
    "max(ts)",
    "count(DISTINCT v)",
    "sum(DISTINCT v)",
    "count(DISTINCT k)",
    "first_value(v)",
    "last_value(v)",
    "array_agg(v)",
    "array_agg(v ORDER BY v)",
    "first_value(v ORDER BY ts DESC, v)",
    "stddev(v)",
    "var_pop(v)",
    "median(v)",
    "bit_xor(v)",
    "bool_and(b)",
    "bool_or(b)",
    "approx_distinct(v)",
    "count(*) FILTER (WHERE b)",
    "sum(v) FILTER (WHERE v > 3)",
];

/// Those of them that depend on the order of arrival.
const BY_ARRIVAL: &[&str] = &["first_value(v)", "last_value(v)", "array_agg(v)"];

/// Those that do not depend on the order of arrival: parts of a session that merge later have none in common.
const UNORDERED_AGGREGATES: &[&str] = &[
    "count(*)",
    "count(v)",
    "sum(v)",
    "min(v)",
    "max(v)",
    "avg(x)",
    "max(k)",
    "min(ts)",
    "max(ts)",
    "count(DISTINCT v)",
    "sum(DISTINCT v)",
    "count(DISTINCT k)",
    "array_agg(v ORDER BY v)",
    "array_agg(DISTINCT v ORDER BY v)",
    "first_value(v ORDER BY ts, v)",
    "last_value(k ORDER BY ts, k)",
    "stddev(v)",
    "median(v)",
    "bit_xor(v)",
    "bool_or(b)",
    "approx_distinct(v)",
    "count(*) FILTER (WHERE b)",
    "sum(v) FILTER (WHERE v > 3)",
];

impl Case {
    /// The case of a seed: always the same.
    pub fn of(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let query = query(&mut random);
        let mut clock = 0;
        let steps: Vec<CaseStep> = (0..random.random_range(1..=6))
            .map(|number| step(&mut random, number, &mut clock))
            .collect();
        Self {
            seed,
            query,
            partitions: random.random_range(1..=4),
            batches_retained: random.random_range(2..=4),
            late_from: late_from(&mut random, steps.len()),
            steps,
        }
    }
}

/// From which step on late rows are wanted: mostly from the start, sometimes from a restart on.
pub(super) fn late_from(random: &mut StdRng, steps: usize) -> Option<usize> {
    match random.random_range(0..4) {
        0 => None,
        1 => Some(random.random_range(0..steps)),
        _ => Some(0),
    }
}

fn query(random: &mut StdRng) -> QueryShape {
    let filter = match random.random_range(0..5) {
        0 => Filter::ValueAbove(random.random_range(0..6)),
        1 => Filter::KeyIsNot("b"),
        2 => Filter::TimeBefore(BASE_MICROS + random.random_range(10..60) * SECOND),
        _ => Filter::None,
    };
    if random.random_range(0..5) == 0 {
        return without_duplicates(random, filter);
    }
    if random.random_range(0..8) == 0 {
        return QueryShape {
            filter,
            ..QueryShape::default()
        };
    }
    let delay = random
        .random_bool(0.7)
        .then(|| *[0, 5, 10].choose(random).expect("three delays"));
    let window = random.random_bool(0.7).then(|| {
        let size = *[4, 5, 10].choose(random).expect("three sizes");
        let slide = *[size, size, 2, 3].choose(random).expect("four slides");
        Windows {
            size,
            slide,
            start: *[0, 0, 1, -1].choose(random).expect("four starts"),
        }
    });
    let mut keys: Vec<&'static str> = Vec::new();
    for key in ["k", "v", "b"] {
        if random.random_bool(0.3) {
            keys.push(key);
        }
    }
    if random.random_range(0..3) == 0 {
        return sessions(random, filter, delay, keys);
    }
    let by_time = window.is_none() && random.random_bool(0.4);
    let has_time = window.is_some() || by_time;
    let mut modes = vec![OutputMode::Complete, OutputMode::Update];
    if has_time && delay.is_some() {
        modes.extend([OutputMode::Append; 3]);
    }
    let mode = *modes.choose(random).expect("two modes at least");
    let count = random.random_range(1..=4);
    let mut aggregates: Vec<&str> = AGGREGATES.choose_multiple(random, count).copied().collect();
    // Beside an aggregate with an order of its own nobody says in which order the others get their rows.
    if aggregates.iter().any(|text| BY_ARRIVAL.contains(text)) {
        aggregates.retain(|text| !text.contains("ORDER BY"));
    }
    // What HAVING lets out in update mode depends on the epochs by definition.
    let having = (mode != OutputMode::Update && random.random_bool(0.2)).then_some("count(*) > 1");
    QueryShape {
        filter,
        delay,
        window,
        by_time,
        keys,
        aggregates,
        of_windows: window.is_some() && random.random_bool(0.2),
        having,
        mode,
        ..QueryShape::default()
    }
}

/// Rows without duplicates, and maybe windows over them.
fn without_duplicates(random: &mut StdRng, filter: Filter) -> QueryShape {
    let delay = random
        .random_bool(0.8)
        .then(|| *[0, 5, 10].choose(random).expect("three delays"));
    let count = random.random_range(0..=3);
    let columns = ["ts", "k", "v", "b"];
    let duplicates = Duplicates {
        columns: columns.choose_multiple(random, count).copied().collect(),
        within_watermark: delay.is_some() && random.random_bool(0.4),
    };
    let rows = QueryShape {
        filter,
        delay,
        duplicates: Some(duplicates),
        ..QueryShape::default()
    };
    if delay.is_none() || random.random_bool(0.5) {
        return rows;
    }
    let size = *[4, 5, 10].choose(random).expect("three sizes");
    let count = random.random_range(1..=3);
    QueryShape {
        window: Some(Windows {
            size,
            slide: *[size, 2].choose(random).expect("two slides"),
            start: 0,
        }),
        keys: vec!["k"],
        // Rows come out by key: the order of their arrival is gone.
        aggregates: UNORDERED_AGGREGATES
            .choose_multiple(random, count)
            .copied()
            .collect(),
        mode: *[OutputMode::Append, OutputMode::Append, OutputMode::Update]
            .choose(random)
            .expect("two modes"),
        ..rows
    }
}

fn sessions(
    random: &mut StdRng,
    filter: Filter,
    delay: Option<i64>,
    mut keys: Vec<&'static str>,
) -> QueryShape {
    if keys.is_empty() {
        keys.push("k");
    }
    let gap = match random.random_range(0..3) {
        0 => Gap::ByValue,
        _ => Gap::Fixed(*[1, 3, 5, 8].choose(random).expect("four gaps")),
    };
    let mode = match delay {
        Some(_) if random.random_bool(0.7) => OutputMode::Append,
        _ => OutputMode::Complete,
    };
    let count = random.random_range(1..=4);
    QueryShape {
        filter,
        delay,
        sessions: Some(gap),
        keys,
        aggregates: UNORDERED_AGGREGATES
            .choose_multiple(random, count)
            .copied()
            .collect(),
        having: random.random_bool(0.2).then_some("count(*) > 1"),
        mode,
        ..QueryShape::default()
    }
}

fn step(random: &mut StdRng, number: usize, clock: &mut i64) -> CaseStep {
    let interruption = Interruption::random(random, number);
    *clock += random.random_range(0..20) * SECOND;
    let blocks = (0..random.random_range(0..=3))
        .map(|_| {
            (0..random.random_range(0..=8))
                .map(|_| event(random, *clock))
                .collect()
        })
        .collect();
    CaseStep {
        interruption,
        blocks,
        single_trigger: random.random_bool(0.3),
    }
}

fn event(random: &mut StdRng, clock: i64) -> Event {
    let present = |random: &mut StdRng| random.random_bool(0.9);
    let fraction = if random.random_bool(0.3) {
        random.random_range(0..SECOND)
    } else {
        0
    };
    let time = BASE_MICROS + clock + random.random_range(-15..10) * SECOND + fraction;
    Event {
        time: present(random).then_some(time),
        key: present(random).then(|| *["a", "b", "c"].choose(random).expect("three keys")),
        value: present(random).then(|| random.random_range(-3..8)),
        price: present(random).then(|| random.random_range(-500..2_000)),
        flag: present(random).then(|| random.random_bool(0.5)),
    }
}
