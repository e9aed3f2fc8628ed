//! When the files of an operator are worth rewriting: a pure decision over sizes.
//!
//! Deltas are written every epoch and must not pile up, yet nothing may be rewritten every epoch. A snapshot is due
//! when the deltas since the last one outweigh it, so that writing snapshots costs no more than writing deltas did,
//! and a restore reads at most twice the state. Small deltas are merged many at a time into one of the next size.

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

/// What to do about these files; nothing most of the time.
pub(crate) fn upkeep(files: &OperatorFiles) -> Option<Upkeep> {
    let deltas: u64 = files.deltas.iter().map(|file| file.size).sum();
    let snapshot = files.snapshot.as_ref().map_or(0, |file| file.size);
    if deltas > snapshot.max(SNAPSHOT_FLOOR) {
        return Some(Upkeep::Snapshot);
    }
    let newest = class(files.deltas.last()?);
    let run = files
        .deltas
        .iter()
        .rev()
        .take_while(|file| class(file) <= newest)
        .count();
    (run >= FAN_OUT).then(|| Upkeep::Merge(files.deltas[files.deltas.len() - run..].to_vec()))
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
            let file = match upkeep(&manifest.operators["op"]) {
                None => continue,
                Some(Upkeep::Snapshot) => StateFile {
                    full: true,
                    ..delta(epoch, snapshot)
                },
                Some(Upkeep::Merge(deltas)) => StateFile {
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
}
