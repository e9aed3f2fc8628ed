//! What a store must do whatever its key index and its storage: scripts of random work, checked against a plain map.
//!
//! A script drives all partitions of one operator through touches, puts, removals, expiries, commits, snapshots, merges
//! and restarts with other numbers of partitions, and compares with the model at every step; at the end it loads every
//! version that was committed. It can show that rows are lost, invented, out of order or in the wrong partition; it
//! says nothing about speed or about crashes in the middle of a write.

mod checkpoint;
mod keys;
mod model;
pub mod rows;
mod table;
mod world;

pub use keys::KeyKind;

use std::sync::Arc;

use headwater_core::{Result, Storage};

use crate::index::KeyIndexFactory;

/// What to do, step by step, with which kind of store.
#[derive(Debug, Clone)]
pub struct Script {
    /// Columns of the key.
    pub keys: KeyKind,
    /// Whether keys expire.
    pub expires: bool,
    /// Whether puts add rows instead of replacing them.
    pub chained: bool,
    /// Width of a time bucket.
    pub bucket_millis: i64,
    /// Distance between the expiries of neighbouring keys, in milliseconds.
    pub spread_millis: i64,
    /// Number of partitions at first.
    pub partitions: u32,
    /// The work.
    pub steps: Vec<Step>,
}

/// One step of a [`Script`]. Keys are given by number.
#[derive(Debug, Clone)]
pub enum Step {
    /// A batch of rows with these keys: touch, gather, put one row for each.
    Put(Vec<u16>),
    /// As `Put`, but only for keys that are new.
    PutNew(Vec<u16>),
    /// A batch of rows that is touched and nothing else.
    Touch(Vec<u16>),
    /// Removes these keys.
    Remove(Vec<u16>),
    /// Expires keys up to that of this number.
    Expire(u16),
    /// Ends the epoch: deltas are written and become the newest version.
    Commit,
    /// Captures the newest version; it is written and joins the manifest at the commit after the next.
    Snapshot,
    /// Merges this many of the newest deltas, if there are.
    Merge(u8),
    /// Forgets everything in memory and loads the newest version with this number of partitions.
    Restart(u32),
}

/// Runs a script against stores with this index in this storage.
///
/// # Errors
/// Any error of the store.
///
/// # Panics
/// If the store does not do what the model says.
pub async fn run(
    script: &Script,
    index: Arc<dyn KeyIndexFactory>,
    storage: Arc<dyn Storage>,
) -> Result<()> {
    let mut world = world::World::new(script, index, storage)?;
    for (number, step) in script.steps.iter().enumerate() {
        world
            .step(step)
            .await
            .map_err(|error| error.context(format!("step {number}, {step:?}")))?;
    }
    world.check_all_versions().await?;
    world.check_tables().await
}

/// A random script; the same for the same seed.
pub fn random_script(seed: u64) -> Script {
    let mut random = Random(seed);
    let kinds = KeyKind::ALL;
    let keys = kinds[random.below(kinds.len() as u64) as usize];
    let expires = random.below(3) > 0;
    let steps = 10 + random.below(60);
    Script {
        keys,
        expires,
        chained: random.below(3) == 0,
        bucket_millis: [1, 10, 1_000][random.below(3) as usize],
        spread_millis: [1, 7, 100_000][random.below(3) as usize],
        partitions: 1 + random.below(4) as u32,
        steps: (0..steps).map(|_| random.step()).collect(),
    }
}

/// SplitMix64: enough for choosing steps, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn keys(&mut self) -> Vec<u16> {
        if self.below(10) == 0 {
            // Enough neighbours to make more buckets than there may be segments.
            let first = self.below(3_000) as u16;
            return (first..first + 1_000).collect();
        }
        let rows = 1 << self.below(8);
        let range = 1 << (1 + self.below(11));
        (0..rows).map(|_| self.below(range) as u16).collect()
    }

    fn step(&mut self) -> Step {
        match self.below(20) {
            0..7 => Step::Put(self.keys()),
            7 => Step::PutNew(self.keys()),
            8 => Step::Touch(self.keys()),
            9 | 10 => Step::Remove(self.keys()),
            11 | 12 => {
                let bound = 1 << (1 + self.below(11));
                Step::Expire(self.below(bound) as u16)
            }
            13..16 => Step::Commit,
            16 => Step::Snapshot,
            17 => Step::Merge(2 + self.below(6) as u8),
            18 => Step::Restart(1 + self.below(5) as u32),
            _ => Step::Commit,
        }
    }
}

#[cfg(test)]
mod tests;
