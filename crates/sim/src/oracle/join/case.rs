//! Random joins over random input, from one seed.

use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};

use super::{
    super::{case::late_from, run::Interruption},
    shape::{Condition, JoinKind, JoinShape, Range},
};

/// One row of either stream.
#[derive(Debug, Clone, PartialEq)]
pub struct JoinRow {
    /// Different for every row of a stream.
    pub id: i64,
    /// Event time in microseconds since 1970.
    pub time: Option<i64>,
    /// A key of few values.
    pub key: Option<&'static str>,
    /// A small number.
    pub value: Option<i64>,
}

/// One step: maybe a restart, then blocks of rows of either stream, then triggers.
#[derive(Debug, Clone, PartialEq)]
pub struct JoinStep {
    /// What happens first.
    pub interruption: Interruption,
    /// The blocks of the left and the right stream.
    pub blocks: [Vec<Vec<JoinRow>>; 2],
    /// One trigger only, so that an epoch without data may stay due.
    pub single_trigger: bool,
}

/// A join and what it is fed.
#[derive(Debug, Clone, PartialEq)]
pub struct JoinCase {
    /// What the case was made from.
    pub seed: u64,
    /// The query.
    pub shape: JoinShape,
    /// Partitions of its state.
    pub partitions: usize,
    /// Committed epochs whose records stay readable.
    pub batches_retained: u64,
    /// The first step before which the query may be started with a sink of late rows; none: it never has one.
    pub late_from: Option<usize>,
    /// Its input.
    pub steps: Vec<JoinStep>,
}

/// 2024-01-01T00:00:00Z.
const BASE_MICROS: i64 = 1_704_067_200_000_000;
const SECOND: i64 = 1_000_000;

impl JoinCase {
    /// The case of a seed: always the same.
    pub fn of(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let shape = shape(&mut random);
        // Behind another operator late rows need columns that it would not have stored: they are wanted from the start.
        let is_chained = shape.windows.is_some();
        let (mut clock, mut ids) = (0, 0);
        let steps: Vec<JoinStep> = (0..random.random_range(2..=7))
            .map(|number| step(&mut random, number, &mut clock, &mut ids))
            .collect();
        Self {
            seed,
            shape,
            partitions: random.random_range(1..=4),
            batches_retained: random.random_range(2..=4),
            late_from: late_from(&mut random, steps.len())
                .map(|from| from * usize::from(!is_chained)),
            steps,
        }
    }
}

fn shape(random: &mut StdRng) -> JoinShape {
    use JoinKind::{Full, Inner, Left, LeftSemi, Right};
    let kind = *[Inner, Inner, Left, Right, Full, LeftSemi]
        .choose(random)
        .expect("some kinds");
    let delay = |random: &mut StdRng| *[0, 3, 8].choose(random).expect("three delays");
    let mut delays = [Some(delay(random)), Some(delay(random))];
    let low = random.random_range(-6..3);
    let high = low + random.random_range(1..10);
    let mut ranges = vec![
        Range::Between(low, high, true),
        Range::Between(low, high, false),
        Range::Equal,
        Range::SameWindow(random.random_range(2..8)),
    ];
    // What else bounds the rows that come out without a match.
    match kind {
        Inner => {
            ranges.extend([Range::Any, Range::UpTo(high)]);
            for delay in &mut delays {
                if random.random_bool(0.2) {
                    *delay = None;
                }
            }
        }
        Left | LeftSemi => {
            ranges.push(Range::UpTo(high));
            if random.random_bool(0.2) {
                delays[0] = None;
            }
        }
        Right if random.random_bool(0.2) => delays[1] = None,
        Right | Full => {}
    }
    let range = *ranges.choose(random).expect("some ranges");
    let condition = match random.random_range(0..6) {
        0 => Some(Condition::Left),
        1 => Some(Condition::Right),
        2 => Some(Condition::Both),
        _ => None,
    };
    let is_bounded = !matches!(range, Range::Any | Range::UpTo(_)) && !delays.contains(&None);
    let windows = (is_bounded && random.random_bool(0.4)).then(|| random.random_range(2..9));
    JoinShape {
        kind,
        delays,
        range,
        condition,
        windows,
    }
}

fn step(random: &mut StdRng, number: usize, clock: &mut i64, ids: &mut i64) -> JoinStep {
    let interruption = Interruption::random(random, number);
    *clock += random.random_range(0..12) * SECOND;
    let mut blocks = || {
        let count = random.random_range(0..=2);
        let blocks = (0..count).map(|_| {
            let count = random.random_range(0..=6);
            let rows = (0..count).map(|_| row(random, *clock, ids));
            rows.collect()
        });
        blocks.collect()
    };
    let blocks = [blocks(), blocks()];
    JoinStep {
        interruption,
        blocks,
        single_trigger: random.random_bool(0.3),
    }
}

fn row(random: &mut StdRng, clock: i64, ids: &mut i64) -> JoinRow {
    *ids += 1;
    let present = |random: &mut StdRng| random.random_bool(0.92);
    let fraction = match random.random_range(0..4) {
        0 => random.random_range(0..SECOND),
        1 => random.random_range(0..3) * 500,
        _ => 0,
    };
    let time = BASE_MICROS + clock + random.random_range(-12..8) * SECOND + fraction;
    JoinRow {
        id: *ids,
        time: present(random).then_some(time),
        key: present(random).then(|| *["a", "b", "c"].choose(random).expect("three keys")),
        value: present(random).then(|| random.random_range(0..6)),
    }
}
