//! The suite, run on the plain row index, packed keys where they are numbers, and storage in memory.

use arrow::datatypes::SchemaRef;
use headwater_log::store::MemoryStorage;
use proptest::{collection::vec, option, prelude::*, sample::select};

use super::*;
use crate::{Emit, KeyIndex, NullKeys, RowIndexFactory, packed_index};

#[derive(Debug)]
struct Packed;

impl KeyIndexFactory for Packed {
    fn create(&self, keys: &SchemaRef) -> Result<Box<dyn KeyIndex>> {
        packed_index(keys).map_or_else(|| RowIndexFactory.create(keys), Ok)
    }
}

fn check(script: &Script) {
    check_with(script, Arc::new(RowIndexFactory));
    if matches!(script.keys, KeyKind::Int | KeyKind::NullableInt) {
        check_with(script, Arc::new(Packed));
    }
}

fn check_with(script: &Script, index: Arc<dyn KeyIndexFactory>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let storage = Arc::new(MemoryStorage::new());
    runtime.block_on(run(script, index, storage)).unwrap();
}

fn keys() -> impl Strategy<Value = Vec<u16>> {
    prop_oneof![
        vec(0..8u16, 0..40),
        vec(0..300u16, 0..300),
        vec(any::<u16>(), 0..50),
        // Enough neighbours to make more buckets than there may be segments.
        (0..3_000u16, 0..1_500u16).prop_map(|(first, len)| (first..first + len).collect()),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => keys().prop_map(Step::Put),
        1 => keys().prop_map(Step::PutNew),
        1 => keys().prop_map(Step::Touch),
        2 => keys().prop_map(Step::Remove),
        2 => (0..500u16).prop_map(Step::Expire),
        4 => Just(Step::Commit),
        1 => Just(Step::Snapshot),
        1 => (2..8u8).prop_map(Step::Merge),
        1 => (1..6u32).prop_map(Step::Restart),
    ]
}

fn script() -> impl Strategy<Value = Script> {
    let shape = (
        select(&KeyKind::ALL[..]),
        any::<(bool, bool)>(),
        select(&[1, 10, 1_000][..]),
        select(&[1, 7, 100_000][..]),
        1..5u32,
    );
    (shape, vec(step(), 1..40)).prop_map(|(shape, steps)| {
        let (keys, (expires, chained), bucket_millis, spread_millis, partitions) = shape;
        Script {
            keys,
            expires,
            chained,
            bucket_millis,
            spread_millis,
            partitions,
            steps,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn state_does_what_a_map_does_and_every_version_can_be_restored(script in script()) {
        check(&script);
    }
}

fn check_rows(script: &rows::Script) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let done = runtime.block_on(rows::run(script, Arc::new(MemoryStorage::new())));
    done.unwrap();
}

fn new_rows() -> impl Strategy<Value = Vec<(u16, Option<i16>)>> {
    let time = || prop_oneof![4 => (-20..400i16).prop_map(Some), 1 => Just(None)];
    prop_oneof![
        vec((0..6u16, time()), 0..40),
        vec((0..300u16, time()), 0..300),
        vec((any::<u16>(), time()), 0..50),
        // Many rows of a few keys at the same time.
        (0..3u16, time(), 0..400usize).prop_map(|(key, time, rows)| vec![(key, time); rows]),
        // More buckets than there may be segments.
        (0..3u16, 0..1_500i16).prop_map(|(key, n)| (0..n).map(|t| (key, Some(t))).collect()),
    ]
}

fn look() -> impl Strategy<Value = rows::Look> {
    let bound = || option::of(-50..1_000i16);
    let keys = prop_oneof![
        vec(0..6u16, 0..8),
        vec(0..300u16, 0..100),
        vec(any::<u16>(), 0..20)
    ];
    let nulls = select(&[NullKeys::Match, NullKeys::Never][..]);
    let at_most = select(&[1, 100, usize::MAX][..]);
    (keys, option::of((bound(), bound())), nulls, at_most).prop_map(
        |(keys, within, null_keys, at_most)| rows::Look {
            keys,
            within,
            null_keys,
            at_most,
        },
    )
}

fn rows_step() -> impl Strategy<Value = rows::Step> {
    use rows::Step;
    let emit = select(&[Emit::Nothing, Emit::All, Emit::Unmarked][..]);
    prop_oneof![
        5 => new_rows().prop_map(Step::Append),
        2 => look().prop_map(Step::Probe),
        2 => look().prop_map(Step::Mark),
        2 => look().prop_map(Step::Remove),
        2 => (-20..500i16, emit).prop_map(|(limit, emit)| Step::Expire(limit, emit)),
        5 => Just(Step::Commit),
        1 => Just(Step::Snapshot),
        1 => (2..8u8).prop_map(Step::Merge),
        1 => (1..6u32).prop_map(Step::Restart),
    ]
}

fn rows_script() -> impl Strategy<Value = rows::Script> {
    let shape = (
        select(&KeyKind::ALL[..]),
        any::<(bool, bool)>(),
        select(&[1, 10, 1_000][..]),
        select(&[1, 7, 100_000][..]),
        1..5u32,
    );
    (shape, vec(rows_step(), 1..40)).prop_map(|(shape, steps)| {
        let (keys, (expires, marks), bucket_millis, unit_millis, partitions) = shape;
        rows::Script {
            keys,
            expires,
            marks,
            bucket_millis,
            unit_millis,
            partitions,
            steps,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn rows_are_what_a_list_of_rows_is_and_every_version_can_be_restored(script in rows_script()) {
        check_rows(&script);
    }
}

#[test]
fn random_scripts_pass() {
    for seed in 0..24 {
        check(&random_script(seed));
    }
}

/// Many puts of the same keys and of neighbours, so that blocks are merged, become sparse and are rewritten.
#[test]
fn upkeep_of_blocks_and_indexes_loses_nothing() {
    for chained in [false, true] {
        let mut steps = vec![];
        for round in 0..30u16 {
            steps.push(Step::Put(
                (0..200).map(|i| (i * 7 + round * 13) % 900).collect(),
            ));
            steps.push(Step::Remove((0..30).map(|i| i * 3 + round).collect()));
            steps.push(Step::Expire(round * 5));
            steps.push(Step::Commit);
            if round % 10 == 9 {
                steps.push(Step::Merge(8));
            }
        }
        steps.push(Step::Restart(3));
        check(&Script {
            keys: KeyKind::Pair,
            expires: true,
            chained,
            bucket_millis: 1_000,
            spread_millis: 7,
            partitions: 2,
            steps,
        });
    }
}
