//! Which records of a checkpoint are missing, by those that were listed: a pure decision.
//!
//! It asks what [`crate::decide`] asks of the newest records of all that are kept: from the floor on, every epoch up to
//! the newest has a plan, and every epoch that another was planned after has a commit.

use headwater_core::Epoch;

use crate::layout;

/// What was listed in a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Whether there is a record of the query's identity.
    pub metadata: bool,
    /// Numbers of runs, ascending.
    pub runs: Vec<u64>,
    /// Epochs with a plan, ascending.
    pub plans: Vec<Epoch>,
    /// Epochs with a commit, ascending.
    pub commits: Vec<Epoch>,
    /// The oldest epoch whose records are all there; read after the others were listed.
    pub floor: Epoch,
}

/// Records that must be there and are not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingRecord {
    /// The path of the first of them.
    pub path: String,
    /// Why it must be there, and how many follow it.
    pub why: String,
}

impl Listed {
    /// Whether there is anything at all.
    pub fn is_empty(&self) -> bool {
        !self.metadata && self.runs.is_empty() && self.plans.is_empty() && self.commits.is_empty()
    }

    /// Whether the records of an epoch are kept.
    pub fn is_kept(&self, epoch: Epoch) -> bool {
        epoch >= self.floor
    }

    /// The records that are missing.
    pub fn missing(&self) -> Vec<MissingRecord> {
        if self.is_empty() {
            return Vec::new();
        }
        let mut missing = Vec::new();
        let mut lacks = |path: &str, why: &str| {
            missing.push(MissingRecord {
                path: path.to_owned(),
                why: why.to_owned(),
            });
        };
        if !self.metadata {
            lacks(
                layout::METADATA,
                "it is missing, and nothing else says whose checkpoint this is",
            );
        }
        let newest_plan = self.plans.last().copied();
        let newest_commit = self.commits.last().copied();
        if self.runs.is_empty() {
            lacks(
                layout::RUNS,
                "no record of a start is there, and the newest is never deleted",
            );
        }
        // The epoch of the floor was committed before anything below it was deleted.
        let floor_committed = (self.floor > Epoch::FIRST).then_some(self.floor);
        let committed = newest_plan.and_then(Epoch::previous);
        let committed = committed.max(newest_commit).max(floor_committed);
        let planned = newest_plan.max(committed);
        missing.extend(gaps(&self.plans, self.floor, planned, layout::plan));
        missing.extend(gaps(&self.commits, self.floor, committed, layout::commit));
        missing
    }
}

/// The gaps among the epochs from the floor to `last`.
fn gaps(
    listed: &[Epoch],
    floor: Epoch,
    last: Option<Epoch>,
    file: fn(Epoch) -> String,
) -> Vec<MissingRecord> {
    let Some(last) = last else {
        return Vec::new();
    };
    let mut gaps = Vec::new();
    let mut expected = floor;
    let kept = listed.iter().copied().filter(|epoch| *epoch >= floor);
    for epoch in kept.chain([last.next()]) {
        if epoch > expected {
            let why = match epoch.0 - expected.0 {
                1 => "it is missing".to_owned(),
                records => format!("it is missing, and so are those after it, {records} in all"),
            };
            let why = match expected == Epoch::FIRST && floor == Epoch::FIRST && epoch <= last {
                true => format!("{why}, or the record of the floor below which they may be"),
                false => why,
            };
            gaps.push(MissingRecord {
                path: file(expected),
                why,
            });
        }
        expected = epoch.next();
    }
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(plans: std::ops::Range<u64>, commits: std::ops::Range<u64>, floor: u64) -> Listed {
        Listed {
            metadata: true,
            runs: vec![3],
            plans: plans.map(Epoch).collect(),
            commits: commits.map(Epoch).collect(),
            floor: Epoch(floor),
        }
    }

    fn missing(listed: &Listed) -> Vec<String> {
        let missing = listed.missing().into_iter();
        let short = |path: String| path.replace("00000000000000000", "");
        missing.map(|missing| short(missing.path)).collect()
    }

    #[test]
    fn whatever_a_crash_leaves_behind_lacks_nothing() {
        for (plans, commits, floor) in [
            (0..0, 0..0, 0),
            (0..1, 0..0, 0),
            (0..1, 0..1, 0),
            (0..5, 0..4, 0),
            (0..5, 0..5, 0),
            // Garbage collection has deleted some, or not yet, or what it deleted came back.
            (3..6, 3..5, 3),
            (0..6, 1..5, 3),
        ] {
            let listed = listed(plans, commits, floor);
            assert_eq!(missing(&listed), [""; 0], "{listed:?}");
        }
        let mut nothing = listed(0..0, 0..0, 0);
        nothing.metadata = false;
        nothing.runs.clear();
        assert_eq!(nothing.missing(), []);
    }

    #[test]
    fn each_record_that_is_deleted_is_named() {
        for (plans, commits, floor) in [
            (0..5, 0..4, 0),
            (0..5, 0..5, 0),
            (3..8, 3..8, 3),
            (0..8, 0..7, 3),
        ] {
            let whole = listed(plans.clone(), commits.clone(), floor);
            for epoch in (floor..plans.end).map(Epoch) {
                let mut without = whole.clone();
                without.plans.retain(|plan| *plan != epoch);
                // The plan of the epoch that runs is the last trace of it.
                let is_trace = epoch.next() == Epoch(plans.end) && commits.end < plans.end;
                let expected: &[&str] = &[&layout::plan(epoch).replace("00000000000000000", "")];
                assert_eq!(
                    missing(&without),
                    if is_trace { &[] } else { expected },
                    "{epoch}"
                );
            }
            for epoch in (floor..commits.end).map(Epoch) {
                let mut without = whole.clone();
                without.commits.retain(|commit| *commit != epoch);
                // As if the newest epoch had not ended.
                let is_newest = epoch.next() == Epoch(plans.end);
                let expected: &[&str] = &[&layout::commit(epoch).replace("00000000000000000", "")];
                assert_eq!(
                    missing(&without),
                    if is_newest { &[] } else { expected },
                    "{epoch}"
                );
            }
        }
    }

    #[test]
    fn whole_folders_that_are_gone_are_named_by_their_first_file() {
        let mut gone = listed(0..0, 0..0, 5);
        gone.metadata = false;
        gone.runs.clear();
        gone.plans = vec![Epoch(7)];
        assert_eq!(
            missing(&gone),
            ["metadata", "runs", "plans/005", "commits/005"]
        );
        // Without the record of the floor, what was deleted in good order looks lost.
        let lost = listed(5..8, 5..8, 0).missing();
        assert_eq!(lost.len(), 2);
        assert!(
            lost[0].why.contains("5 in all, or the record of the floor"),
            "{}",
            lost[0].why
        );
    }
}
