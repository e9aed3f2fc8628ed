//! What may be deleted, and deleting it.
//!
//! Kept are the newest committed epochs, as many as `minBatchesToRetain` says, any plan after them, and the state files
//! that commits of kept epochs refer to. The floor is raised before anything below it is deleted, so that a restart
//! never takes a deleted record for a lost one. Deletion is never in the way of an epoch: whoever calls [`collect`]
//! does so beside the loop, and a failure harms nobody.

use std::{collections::HashSet, num::NonZeroU64};

use headwater_core::{Epoch, Result};

use crate::{layout, log::EpochLog};

/// How many committed epochs stay restorable unless a query says otherwise (`minBatchesToRetain`).
pub const DEFAULT_RETAINED: NonZeroU64 = NonZeroU64::new(100).expect("it is not zero");

/// An object of the state layer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StateFile {
    /// Its path in the checkpoint.
    pub path: String,
    /// The epoch whose state it holds, or the last one if there are several.
    pub epoch: Epoch,
}

/// What garbage collection finds.
#[derive(Debug, Clone, Default)]
pub struct Inventory {
    /// Epochs that have a plan, in order.
    pub plans: Vec<Epoch>,
    /// Epochs that have a commit, in order.
    pub commits: Vec<Epoch>,
    /// The state layer's part.
    pub state: StateInventory,
}

/// The objects of the state layer.
#[derive(Debug, Clone, Default)]
pub struct StateInventory {
    /// All of them, as listed.
    pub files: Vec<StateFile>,
    /// Paths that must stay: those that commits at or above the floor refer to, and those that a later commit may
    /// refer to (a snapshot that is being written).
    pub referenced: HashSet<String>,
}

/// The oldest epoch to keep when `newest` is committed.
pub fn floor_below(newest: Epoch, retained: NonZeroU64) -> Epoch {
    Epoch((newest.0 + 1).saturating_sub(retained.get()))
}

/// Paths of what may be deleted when everything from `floor` on is kept, oldest records first.
///
/// The newest committed epoch is kept whatever the floor, so that there is always something to restart from; so is a
/// state file of an epoch at or above the floor, referred to or not: its epoch may be about to be committed.
pub fn garbage(inventory: &Inventory, floor: Epoch) -> Vec<String> {
    let Some(newest) = inventory.commits.iter().max() else {
        return Vec::new();
    };
    let floor = floor.min(*newest);
    let below = |epochs: &[Epoch], file: fn(Epoch) -> String| -> Vec<String> {
        let passed = epochs.iter().filter(|epoch| **epoch < floor);
        passed.map(|epoch| file(*epoch)).collect()
    };
    let mut paths = below(&inventory.plans, layout::plan);
    paths.extend(below(&inventory.commits, layout::commit));
    let state = &inventory.state;
    let unused = state
        .files
        .iter()
        .filter(|file| file.epoch < floor && !state.referenced.contains(&file.path));
    paths.extend(unused.map(|file| file.path.clone()));
    paths
}

/// Deletes what is not needed any more once `newest` is committed and published. `state` gives the state layer's
/// inventory for the floor it is called with. Gives the number of deleted objects.
///
/// # Errors
/// Those of the log and of `state`; whatever was deleted until then was garbage.
pub async fn collect<F>(
    log: &EpochLog,
    newest: Epoch,
    retained: NonZeroU64,
    state: impl FnOnce(Epoch) -> F,
) -> Result<usize>
where
    F: Future<Output = Result<StateInventory>>,
{
    let commits = log.committed_epochs().await?;
    let Some(last) = commits.last() else {
        return Ok(0);
    };
    let floor = floor_below(newest.min(*last), retained).max(log.floor().await?);
    let inventory = Inventory {
        plans: log.planned_epochs().await?,
        commits,
        state: state(floor).await?,
    };
    let paths = garbage(&inventory, floor);
    if paths.is_empty() {
        return Ok(0);
    }
    log.raise_floor(floor).await?;
    log.storage().delete(&paths).await?;
    Ok(paths.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn epochs(range: impl IntoIterator<Item = u64>) -> Vec<Epoch> {
        range.into_iter().map(Epoch).collect()
    }

    fn file(name: &str, epoch: u64) -> StateFile {
        StateFile {
            path: name.to_owned(),
            epoch: Epoch(epoch),
        }
    }

    #[test]
    fn as_many_epochs_as_asked_for_stay() {
        for (newest, retained, floor) in
            [(0, 1, 0), (5, 1, 5), (5, 2, 4), (5, 100, 0), (100, 100, 1)]
        {
            let retained = NonZeroU64::new(retained).unwrap();
            assert_eq!(floor_below(Epoch(newest), retained), Epoch(floor));
        }
    }

    #[test]
    fn records_below_the_floor_and_unused_state_go() {
        let inventory = Inventory {
            plans: epochs(0..4),
            commits: epochs(0..3),
            state: StateInventory {
                files: vec![
                    file("old delta", 0),
                    file("snapshot", 1),
                    file("kept delta", 2),
                    file("of the epoch in flight", 3),
                ],
                referenced: ["snapshot".to_owned(), "kept delta".to_owned()].into(),
            },
        };
        assert_eq!(
            garbage(&inventory, Epoch(2)),
            [
                layout::plan(Epoch(0)),
                layout::plan(Epoch(1)),
                layout::commit(Epoch(0)),
                layout::commit(Epoch(1)),
                "old delta".to_owned(),
            ]
        );
    }

    proptest! {
        #[test]
        fn a_restart_finds_what_it_needs(
            done in 1_u64..50,
            is_planned in any::<bool>(),
            floor in 0_u64..100,
            references in prop::collection::vec(0_u64..50, 0..20),
        ) {
            let files: Vec<StateFile> = (0..=done).map(|n| file(&format!("s{n}"), n)).collect();
            let inventory = Inventory {
                plans: epochs(0..done + u64::from(is_planned)),
                commits: epochs(0..done),
                state: StateInventory {
                    files,
                    referenced: references.iter().map(|n| format!("s{n}")).collect(),
                },
            };
            let gone: HashSet<String> = garbage(&inventory, Epoch(floor)).into_iter().collect();
            let newest = Epoch(done - 1);
            prop_assert!(!gone.contains(&layout::plan(newest)));
            prop_assert!(!gone.contains(&layout::commit(newest)));
            prop_assert!(!gone.contains(&layout::plan(newest.next())), "its commit is missing");
            for n in references.iter().chain([&(done - 1), &done]) {
                let name = format!("s{n}");
                prop_assert!(!gone.contains(&name), "{} is needed", name);
            }
        }
    }
}
