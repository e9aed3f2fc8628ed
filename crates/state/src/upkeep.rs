//! When the files of an operator are worth rewriting: a pure decision over sizes.
//!
//! Deltas are written every epoch and must not pile up, yet nothing may be rewritten every epoch. A snapshot is due
//! when the deltas since the last one outweigh the state as it is now, twice, and there are some of them: so writing
//! snapshots adds at most half to what writing deltas costs, and a restore reads about three times the state at most, or
//! what a few epochs have written. The state counts and not the last snapshot, because a state that shrinks (windows
//! close, rows of a join expire) is cheapest to write when it is small. Small deltas are merged many at a time into one
//! of the next size.

use std::collections::{BTreeMap, BTreeSet};

use crate::manifest::{OperatorFiles, Section, StateFile};

/// Deltas of less than this are not worth a snapshot, however small the state: a restore reads them in no time. It is
/// what the checkpoint of a small state grows to before it shrinks again.
const SNAPSHOT_FLOOR: u64 = 256 << 10;

/// How many times the deltas must outweigh the state before a snapshot is due.
const OUTWEIGHS: f64 = 2.0;

/// Nor is one due before this many epochs have written deltas. Where rows live for an epoch or two the state is smaller
/// than the delta that comes next; to read a few of them takes less time than one epoch took.
const LEAST_EPOCHS: u64 = 8;

/// A section with fewer rows for each epoch in it says more about the frame of Arrow than about rows.
const TELLING_ROWS: u64 = 64;

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

/// How much the deltas outweigh the state: a snapshot is due above 1.
fn snapshot_need(files: &OperatorFiles) -> f64 {
    if files.deltas.iter().map(epochs).sum::<u64>() < LEAST_EPOCHS {
        return 0.0;
    }
    let deltas: u64 = files.deltas.iter().map(|file| file.size).sum();
    deltas as f64 / (OUTWEIGHS * expected_bytes(files)).max(SNAPSHOT_FLOOR as f64)
}

/// How many epochs may have written to a file.
fn epochs(file: &StateFile) -> u64 {
    file.epoch.0.saturating_sub(file.first_epoch().0) + 1
}

/// About what a snapshot of the newest version would take.
fn expected_bytes(files: &OperatorFiles) -> f64 {
    let sections = files.files().flat_map(|file| &file.sections);
    let stores: BTreeSet<&str> = sections.map(|section| section.store.as_str()).collect();
    let bytes = stores.into_iter().map(|store| {
        let last = files.snapshot.iter();
        let last = Weight::of(last.flat_map(|file| sections_of(file, store)));
        // Records of before it was counted do not say how many rows are left.
        let live = files.live.get(store).copied().unwrap_or(last.rows);
        match bytes_per_row(files, store) {
            Some(bytes) => live as f64 * bytes,
            None => last.bytes as f64,
        }
    });
    bytes.sum()
}

/// Bytes and rows of some sections.
#[derive(Debug, Clone, Copy, Default)]
struct Weight {
    bytes: u64,
    rows: u64,
}

impl Weight {
    fn of<'a>(sections: impl Iterator<Item = &'a Section>) -> Self {
        sections.fold(Self::default(), |sum, section| Self {
            bytes: sum.bytes + section.len,
            rows: sum.rows + section.rows,
        })
    }
}

/// What a row takes in the last snapshot or, if that does not tell, in the deltas; none if they do not tell either.
fn bytes_per_row(files: &OperatorFiles, store: &str) -> Option<f64> {
    let telling = |file: &StateFile| {
        let least = TELLING_ROWS.saturating_mul(epochs(file));
        let sections = sections_of(file, store);
        Weight::of(sections.filter(|section| section.rows >= least))
    };
    let sum = |files: &[StateFile]| {
        files
            .iter()
            .map(telling)
            .fold(Weight::default(), |sum, file| Weight {
                bytes: sum.bytes + file.bytes,
                rows: sum.rows + file.rows,
            })
    };
    let weights = [sum(files.snapshot.as_slice()), sum(&files.deltas)];
    let told = weights.into_iter().find(|weight| weight.rows > 0);
    told.map(|weight| weight.bytes as f64 / weight.rows as f64)
}

fn sections_of<'a>(file: &'a StateFile, store: &str) -> impl Iterator<Item = &'a Section> {
    file.sections
        .iter()
        .filter(move |section| section.store == store)
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

    /// What a row of the state takes, in a snapshot and in a delta.
    const ROW: u64 = 32;

    /// A delta of this many bytes, all of them rows put; `live` rows are there after it.
    fn delta(epoch: u64, size: u64, live: u64) -> StateFile {
        let section = Section {
            store: "rows".to_owned(),
            partition: 0,
            offset: 0,
            len: size,
            crc32: 0,
            rows: size / ROW,
        };
        StateFile {
            path: format!("{epoch}"),
            epoch: Epoch(epoch),
            size,
            partitions: 1,
            full: false,
            since: None,
            sections: vec![section],
            live: [("rows".to_owned(), live)].into(),
        }
    }

    /// What came of running some epochs.
    #[derive(Debug, Default)]
    struct Run {
        /// The most files that a manifest named.
        files: usize,
        /// All bytes that upkeep wrote.
        written: u64,
        /// The most bytes that a restore read, for each byte of the state but at least for a megabyte.
        read: f64,
    }

    /// Runs epochs with deltas of `size` bytes over a state of `state(epoch)` bytes.
    fn run(epochs: u64, size: u64, state: impl Fn(u64) -> u64) -> Result<Run> {
        let mut manifest = StateManifest::default();
        let mut run = Run::default();
        for epoch in 0..epochs {
            let (state, live) = (state(epoch), state(epoch) / ROW);
            manifest = manifest.with([("op".to_owned(), delta(epoch, size, live))])?;
            let files = &manifest.operators["op"];
            let read = files.bytes() as f64 / state.max(1 << 20) as f64;
            run.read = run.read.max(read);
            let file = match upkeep(&manifest.operators).pop() {
                None => continue,
                Some((_, Upkeep::Snapshot)) => StateFile {
                    full: true,
                    ..delta(epoch, state, live)
                },
                Some((_, Upkeep::Merge(deltas))) => StateFile {
                    since: Some(deltas[0].first_epoch()),
                    ..delta(epoch, deltas.iter().map(|delta| delta.size).sum(), live)
                },
            };
            run.written += file.size;
            manifest = manifest.with([("op".to_owned(), file)])?;
            run.files = run.files.max(manifest.operators["op"].files().count());
        }
        Ok(run)
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
            let run = run(epochs, size, |epoch| snapshot.min((epoch + 1) * size))?;
            assert!(run.files < 4 * FAN_OUT, "{run:?}, {size} bytes an epoch");
            let limit = 5 * epochs * size + snapshot;
            assert!(
                run.written < limit,
                "{run:?} for deltas of {size}, limit {limit}"
            );
            let few_epochs = (LEAST_EPOCHS + 1) as f64 * size as f64 / (1 << 20) as f64;
            assert!(
                run.read <= few_epochs.max(3.5),
                "{run:?}, {size} bytes an epoch"
            );
        }
        Ok(())
    }

    #[test]
    fn a_state_that_turns_over_is_written_again_for_half_of_its_changes_at_most() -> Result<()> {
        let (epochs, size) = (1_000, 10 << 20);
        // Rows that live for some epochs, in quarters of an epoch.
        for lives in [1, 3, 8, 40] {
            let run = run(epochs, size, |_| size * lives / 4)?;
            let share = run.written as f64 / (epochs * size) as f64;
            let most = (lives as f64 / 4.0 / LEAST_EPOCHS as f64).min(0.5);
            assert!(share <= most, "{share} for rows that live {lives} quarters");
            let few_epochs = 1.0 + LEAST_EPOCHS as f64 / (lives as f64 / 4.0);
            assert!(run.read <= few_epochs.max(3.1), "{run:?}");
        }
        Ok(())
    }

    #[test]
    fn a_state_that_only_grows_is_never_written_again() -> Result<()> {
        let (epochs, size) = (30, 10 << 20);
        let run = run(epochs, size, |epoch| (epoch + 1) * size)?;
        assert_eq!(run.written, 0, "{run:?}");
        Ok(())
    }

    #[test]
    fn a_state_that_is_emptied_now_and_then_is_written_when_it_is_small() -> Result<()> {
        // Windows of ten epochs.
        let (epochs, size) = (1_000, 10 << 20);
        let run = run(epochs, size, |epoch| epoch % 10 * size)?;
        assert!(run.written < epochs * size / 20, "{run:?}");
        Ok(())
    }

    #[test]
    fn small_deltas_do_not_hide_how_small_the_state_is() -> Result<()> {
        // A new key an epoch: what its section takes says nothing about the state.
        let mut manifest = StateManifest::default();
        let (epochs, frame, mut written) = (10_000u64, 1_600, 0);
        for epoch in 0..epochs {
            let mut file = delta(epoch, frame, epoch + 1);
            file.sections[0].rows = 1;
            manifest = manifest.with([("op".to_owned(), file)])?;
            let due = upkeep(&manifest.operators).pop();
            if let Some((_, Upkeep::Snapshot)) = due {
                let size = frame + (epoch + 1) * ROW;
                written += size;
                let full = StateFile {
                    full: true,
                    ..delta(epoch, size, epoch + 1)
                };
                manifest = manifest.with([("op".to_owned(), full)])?;
            }
            let most = 3 * (frame + epoch * ROW) + 2 * SNAPSHOT_FLOOR;
            assert!(manifest.operators["op"].bytes() < most, "epoch {epoch}");
        }
        assert!(written < epochs * frame, "{written} bytes");
        Ok(())
    }

    #[test]
    fn records_that_do_not_count_rows_go_by_the_last_snapshot() -> Result<()> {
        let snapshot = StateFile {
            full: true,
            ..delta(0, 8 << 20, 0)
        };
        let mut manifest = StateManifest::default().with([("op".to_owned(), snapshot)])?;
        for epoch in 1.. {
            let mut file = delta(epoch, 1 << 20, 0);
            file.live.clear();
            manifest = manifest.with([("op".to_owned(), file)])?;
            if !upkeep(&manifest.operators).is_empty() {
                assert_eq!(epoch, 17);
                break;
            }
        }
        Ok(())
    }

    #[test]
    fn snapshots_come_one_at_a_time_the_most_needed_first() -> Result<()> {
        let (mut manifest, mut all) = (StateManifest::default(), BTreeMap::new());
        for (operator, size) in [("a", 2), ("b", 5), ("c", 3), ("idle", 0)] {
            for epoch in 0..LEAST_EPOCHS {
                assert_eq!(upkeep(&manifest.operators), []);
                let file = delta(epoch, size * SNAPSHOT_FLOOR / LEAST_EPOCHS, 0);
                manifest = manifest.with([(operator.to_owned(), file)])?;
            }
            all.extend(std::mem::take(&mut manifest.operators));
        }
        manifest.operators = all;
        let mut order = Vec::new();
        for epoch in LEAST_EPOCHS..20 {
            let mut due = upkeep(&manifest.operators);
            assert!(due.len() <= 1, "{due:?}");
            let Some((operator, what)) = due.pop() else {
                break;
            };
            assert_eq!(what, Upkeep::Snapshot);
            let file = StateFile {
                full: true,
                ..delta(epoch, SNAPSHOT_FLOOR, 0)
            };
            manifest = manifest.with([(operator.clone(), file)])?;
            order.push(operator);
        }
        assert_eq!(order, ["b", "c", "a"]);
        Ok(())
    }
}
