//! What a store of rows by key must do: scripts of random work, checked against a plain list of rows.
//!
//! A script drives all partitions of one operator through appends, probes, marks, removals, expiries, commits, snapshots,
//! merges and restarts with other numbers of partitions, and compares with the list at every step; at the end it loads
//! every version that was committed. It can show that rows or marks are lost, invented, out of order or in the wrong
//! partition; it says nothing about speed or about crashes in the middle of a write.

mod world;

use std::sync::Arc;

use headwater_core::{Result, Storage};

use self::world::World;
use super::KeyKind;
use crate::{Emit, NullKeys};

/// What to do, step by step, with which kind of store.
#[derive(Debug, Clone)]
pub struct Script {
    /// Columns of the key.
    pub keys: KeyKind,
    /// Whether rows expire.
    pub expires: bool,
    /// Whether rows carry marks.
    pub marks: bool,
    /// Width of a time bucket.
    pub bucket_millis: i64,
    /// What a unit of time is worth, in milliseconds.
    pub unit_millis: i64,
    /// Number of partitions at first.
    pub partitions: u32,
    /// The work.
    pub steps: Vec<Step>,
}

/// One step of a [`Script`]. Keys are given by number; times in units, and none is never.
#[derive(Debug, Clone)]
pub enum Step {
    /// Adds rows with these keys and expiries; every third row is marked.
    Append(Vec<(u16, Option<i16>)>),
    /// Looks keys up.
    Probe(Look),
    /// Looks keys up and marks every other row that is found.
    Mark(Look),
    /// Looks keys up and removes all but every third row that is found.
    Remove(Look),
    /// Removes what expires up to this time.
    Expire(i16, Emit),
    /// Ends the epoch: deltas are written and become the newest version.
    Commit,
    /// Captures the newest version; it is written and joins the manifest at the commit after the next.
    Snapshot,
    /// Merges this many of the newest deltas, if there are.
    Merge(u8),
    /// Forgets everything in memory and loads the newest version with this number of partitions.
    Restart(u32),
}

/// What to look up.
#[derive(Debug, Clone)]
pub struct Look {
    /// Keys.
    pub keys: Vec<u16>,
    /// Bounds of the expiry for all keys; each shifts them by its place.
    pub within: Option<(Option<i16>, Option<i16>)>,
    /// Whether NULL equals NULL.
    pub null_keys: NullKeys,
    /// Rows after which a probe pauses.
    pub at_most: usize,
}

/// Runs a script in this storage.
///
/// # Errors
/// Any error of the store.
///
/// # Panics
/// If the store does not do what the list says.
pub async fn run(script: &Script, storage: Arc<dyn Storage>) -> Result<()> {
    let mut world = World::new(script, storage)?;
    for (number, step) in script.steps.iter().enumerate() {
        let done = world.step(step).await;
        done.map_err(|error| error.context(format!("step {number}, {step:?}")))?;
    }
    world.check_tables(Arc::new(crate::RowIndexFactory)).await?;
    world.check_all_versions().await
}
