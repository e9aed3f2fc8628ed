//! When the files of an operator are worth rewriting: a pure decision over sizes.
//!
//! Deltas are written every epoch and must not pile up, yet nothing may be rewritten every epoch. A snapshot is due
//! when the deltas since the last one outweigh it, so that writing snapshots costs no more than writing deltas did,
//! and a restore reads at most twice the state. Small deltas are merged many at a time into one of the next size.

use std::collections::BTreeMap;

use crate::manifest::{OperatorFiles, StateFile};

/// Deltas of less than this are not worth a snapshot, however small the state: a restore reads them in no time. It is
/// what the checkpoint of a small state grows to before it shrinks again.
const SNAPSHOT_FLOOR: u64 = 256 << 10;

/// How many deltas of one size class are merged into one of the next.
const FAN_OUT: usize = 32;

/// Deltas up to this are in the smallest size class.
const SMALL: u64 = 4 << 10;

/// What to do about the files of an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upkeep {
    /// Capture all stores of all partitions and write them: [`crate::StateBackend::write_snapshot`].
    Snapshot,
    /// Merge these deltas into one: [`crate::StateBackend::merge_deltas`].
    Merge(Vec<StateFile>),
}

/// What to do about the files of each operator; nothing most of the time. No two snapshots at once, however many are
/// due: each is large, and the bytes that an epoch writes beside its own work must not depend on chance.
pub(crate) fn upkeep(operators: &BTreeMap<String, OperatorFiles>) -> Vec<(String, Upkeep)> {
    let (due, others): (Vec<_>, Vec<_>) = operators
        .iter()
        .partition(|(_, files)| snapshot_need(files) > 1.0);
    let neediest = due
        .into_iter()
        .max_by(|(_, a), (_, b)| snapshot_need(a).total_cmp(&snapshot_need(b)));
    let snapshot = neediest.map(|(operator, _)| (operator.clone(), Upkeep::Snapshot));
    let merges = others
        .into_iter()
        .filter_map(|(operator, files)| Some((operator.clone(), Upkeep::Merge(mergeable(files)?))));
    snapshot.into_iter().chain(merges).collect()
}

/// How much the deltas outweigh the snapshot before them: one is due above 1.
fn snapshot_need(files: &OperatorFiles) -> f64 {
    let deltas: u64 = files.deltas.iter().map(|file| file.size).sum();
    let snapshot = files.snapshot.as_ref().map_or(0, |file| file.size);
    deltas as f64 / snapshot.max(SNAPSHOT_FLOOR) as f64
}

/// The newest deltas of one size class, once there are enough of them.
fn mergeable(files: &OperatorFiles) -> Option<Vec<StateFile>> {
    let newest = class(files.deltas.last()?);
    let run = files
        .deltas
        .iter()
        .rev()
        .take_while(|file| class(file) <= newest)
        .count();
    (run >= FAN_OUT).then(|| files.deltas[files.deltas.len() - run..].to_vec())
}

/// Size class: each is [`FAN_OUT`] times the one before.
fn class(file: &StateFile) -> u32 {
    (file.size / SMALL)
        .checked_ilog(FAN_OUT as u64)
        .map_or(0, |class| class + 1)
}

#[cfg(test)]
mod tests {
    use headwater_core::{Epoch, Result};

    use super::*;
    use crate::manifest::StateManifest;

    fn delta(epoch: u64, size: u64) -> StateFile {
        StateFile {
            path: format!("{epoch}"),
            epoch: Epoch(epoch),
            size,
            partitions: 1,
            full: false,
            since: None,
            sections: vec![],
            live: Default::default(),
        }
    }

    /// Runs epochs with deltas of `size` bytes over a state of `snapshot` bytes; the most files a manifest named and
    /// all bytes that upkeep wrote.
    fn run(epochs: u64, size: u64, snapshot: u64) -> Result<(usize, u64)> {
        let mut manifest = StateManifest::default();
        let (mut files, mut written) = (0, 0);
        for epoch in 0..epochs {
            manifest = manifest.with([("op".to_owned(), delta(epoch, size))])?;
            let file = match upkeep(&manifest.operators).pop() {
                None => continue,
                Some((_, Upkeep::Snapshot)) => StateFile {
                    full: true,
                    ..delta(epoch, snapshot)
                },
                Some((_, Upkeep::Merge(deltas))) => StateFile {
                    since: Some(deltas[0].first_epoch()),
                    ..delta(epoch, deltas.iter().map(|delta| delta.size).sum())
                },
            };
            written += file.size;
            manifest = manifest.with([("op".to_owned(), file)])?;
            files = files.max(manifest.operators["op"].files().count());
        }
        Ok((files, written))
    }

    #[test]
    fn upkeep_writes_a_small_multiple_of_the_deltas_and_keeps_manifests_short() -> Result<()> {
        for (size, snapshot) in [
            (100, 1 << 30),
            (100, 1_000),
            (50_000, 1 << 26),
            (1 << 20, 1 << 28),
        ] {
            let epochs = 5_000;
            let (files, written) = run(epochs, size, snapshot)?;
            assert!(files < 4 * FAN_OUT, "{files} files of {size} bytes");
            let limit = 5 * epochs * size + snapshot;
            assert!(
                written < limit,
                "{written} bytes written for deltas of {size}, limit {limit}"
            );
        }
        Ok(())
    }

    #[test]
    fn snapshots_come_one_at_a_time_the_most_needed_first() -> Result<()> {
        let mut manifest = StateManifest::default();
        for (operator, size) in [("a", 2), ("b", 5), ("c", 3), ("idle", 0)] {
            let file = delta(0, size * SNAPSHOT_FLOOR);
            manifest = manifest.with([(operator.to_owned(), file)])?;
        }
        let mut order = Vec::new();
        for epoch in 1..10 {
            let mut due = upkeep(&manifest.operators);
            assert!(due.len() <= 1, "{due:?}");
            let Some((operator, what)) = due.pop() else {
                break;
            };
            assert_eq!(what, Upkeep::Snapshot);
            let file = StateFile {
                full: true,
                ..delta(epoch, SNAPSHOT_FLOOR)
            };
            manifest = manifest.with([(operator.clone(), file)])?;
            order.push(operator);
        }
        assert_eq!(order, ["b", "c", "a"]);
        Ok(())
    }
}
