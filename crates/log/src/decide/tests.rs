//! Every combination of what a crash, a rival or a damaged disk can leave behind.

use serde_json::Value;
use uuid::Uuid;

use super::*;
use crate::record::WatermarkRecord;

const OWN: RunId = RunId(Uuid::from_u128(1));
const OTHER: RunId = RunId(Uuid::from_u128(2));

fn planned(epoch: u64) -> Planned {
    Planned {
        epoch: Epoch(epoch),
        run: OTHER,
        time_millis: 0,
        watermark: WatermarkRecord::default(),
        sources: Vec::new(),
        has_data: true,
    }
}

fn committed(epoch: u64) -> Committed {
    Committed {
        epoch: Epoch(epoch),
        run: OTHER,
        next: WatermarkRecord::default(),
        state: Value::Null,
        parts: Vec::new(),
        late: None,
        stats: Value::Null,
    }
}

fn epochs(range: impl IntoIterator<Item = u64>) -> Vec<Epoch> {
    range.into_iter().map(Epoch).collect()
}

/// Facts with these records listed and readable.
fn facts(
    plans: impl IntoIterator<Item = u64>,
    commits: impl IntoIterator<Item = u64>,
) -> RecoveryFacts {
    let (plans, commits) = (epochs(plans), epochs(commits));
    RecoveryFacts {
        own_run: OWN,
        newest_run: OWN,
        floor: Epoch(0),
        newest_plan: plans.last().map(|e| Stored::Readable(planned(e.0))),
        newest_commit: commits.last().map(|e| Stored::Readable(committed(e.0))),
        plans,
        commits,
    }
}

fn with_floor(facts: RecoveryFacts, floor: u64) -> RecoveryFacts {
    RecoveryFacts {
        floor: Epoch(floor),
        ..facts
    }
}

/// A decision in a few words.
fn words(decision: &Decision) -> String {
    match decision {
        Decision::Fresh => "fresh".to_owned(),
        Decision::Resume(it) => format!("resume {} after {}", it.next, it.committed.epoch),
        Decision::Replay(it) => {
            let previous = it.previous.as_ref().map(|previous| previous.epoch.0);
            format!("replay {} on {previous:?}", it.planned.epoch)
        }
        Decision::Fenced { by } => format!("fenced by {}", by.0.as_u128()),
        Decision::Corrupt { file, why } => format!("corrupt {file}: {why}"),
    }
}

#[test]
fn the_newest_records_decide() {
    let cases = [
        (facts([], []), "fresh"),
        (facts([0], []), "replay 0 on None"),
        (facts([0], [0]), "resume 1 after 0"),
        (facts([0, 1], [0]), "replay 1 on Some(0)"),
        (facts(0..8, 0..8), "resume 8 after 7"),
        (facts(0..9, 0..8), "replay 8 on Some(7)"),
        (with_floor(facts(5..9, 5..8), 5), "replay 8 on Some(7)"),
        (with_floor(facts(5..8, 5..8), 5), "resume 8 after 7"),
    ];
    for (facts, expected) in cases {
        assert_eq!(words(&decide(facts.clone())), expected, "{facts:?}");
    }
}

#[test]
fn remains_below_the_floor_are_ignored() {
    // A crash may bring back what garbage collection had deleted, in any selection.
    let found = facts([1, 3, 5, 6], [0, 2, 5, 6]);
    assert_eq!(words(&decide(with_floor(found, 5))), "resume 7 after 6");
}

#[test]
fn a_missing_file_is_named() {
    let cases = [
        (
            facts([], [0]),
            "plans/00000000000000000000: it is missing, though epoch 0 is committed",
        ),
        (
            facts([0, 1], [0, 1, 2]),
            "plans/00000000000000000002: it is missing, though epoch 2 is committed",
        ),
        (
            facts([0, 1, 2], [0]),
            "commits/00000000000000000001: it is missing, though epoch 2 is planned",
        ),
        (
            facts([0, 1, 2], []),
            "commits/00000000000000000000: it is missing, though epoch 2 is planned",
        ),
        (
            facts([0, 2], [0, 1, 2]),
            "plans/00000000000000000001: it is missing, though there is 'plans/00000000000000000002'",
        ),
        (
            facts([0, 1, 2], [0, 2]),
            "commits/00000000000000000001: it is missing, though there is 'commits/00000000000000000002'",
        ),
        (
            facts([1], [1]),
            "plans/00000000000000000000: it is missing, though there is 'plans/00000000000000000001'",
        ),
        (
            with_floor(facts(0..3, 0..3), 5),
            "plans/00000000000000000005: it is missing, though garbage collection has left it",
        ),
        (
            with_floor(facts(5..6, 0..3), 5),
            "commits/00000000000000000005: it is missing, though garbage collection has left it",
        ),
    ];
    for (facts, expected) in cases {
        let decision = words(&decide(facts.clone()));
        assert!(
            decision.starts_with("corrupt ") && decision.contains(expected),
            "{decision}\n{facts:?}"
        );
    }
}

#[test]
fn a_damaged_record_is_named() {
    let mut plan = facts([0, 1], [0]);
    plan.newest_plan = Some(Stored::Damaged("its checksum differs".to_owned()));
    assert_eq!(
        words(&decide(plan)),
        "corrupt plans/00000000000000000001: its checksum differs"
    );
    let mut commit = facts([0, 1], [0]);
    commit.newest_commit = Some(Stored::Damaged("it is truncated".to_owned()));
    assert_eq!(
        words(&decide(commit)),
        "corrupt commits/00000000000000000000: it is truncated"
    );
    let mut swapped = facts([0, 1], [0]);
    swapped.newest_plan = Some(Stored::Readable(planned(7)));
    assert_eq!(
        words(&decide(swapped)),
        "corrupt plans/00000000000000000001: it holds the record of epoch 7"
    );
    let mut vanished = facts([0, 1], [0]);
    vanished.newest_plan = None;
    assert_eq!(
        words(&decide(vanished)),
        "corrupt plans/00000000000000000001: it was listed and cannot be found"
    );
}

#[test]
fn a_later_run_fences_whatever_else_is_there() {
    for mut facts in [facts([], []), facts([0], [0]), facts([], [3])] {
        facts.newest_run = OTHER;
        assert_eq!(decide(facts), Decision::Fenced { by: OTHER });
    }
}

#[test]
fn of_two_creators_the_first_owns_the_record() {
    use CreateOutcome::{AlreadyExists, Created};
    assert_eq!(after_create(Created, OWN, OWN), Ownership::Won);
    assert_eq!(
        after_create(AlreadyExists, OWN, OWN),
        Ownership::OursAlready
    );
    assert_eq!(
        after_create(AlreadyExists, OTHER, OWN),
        Ownership::FencedBy(OTHER)
    );
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    /// The log as it is after `done` epochs, one more planned or not, garbage collected up to a floor.
    fn log() -> impl Strategy<Value = (RecoveryFacts, u64, bool)> {
        (1_u64..40, any::<bool>()).prop_flat_map(|(done, is_planned)| {
            (0..done).prop_map(move |floor| {
                let facts = facts(floor..done + u64::from(is_planned), floor..done);
                (with_floor(facts, floor), done, is_planned)
            })
        })
    }

    proptest! {
        #[test]
        fn an_intact_log_goes_on_where_it_stopped((facts, done, is_planned) in log()) {
            match decide(facts) {
                Decision::Replay(it) if is_planned => {
                    prop_assert_eq!(it.planned.epoch, Epoch(done));
                    prop_assert_eq!(it.previous.map(|c| c.epoch), Some(Epoch(done - 1)));
                }
                Decision::Resume(it) if !is_planned => prop_assert_eq!(it.next, Epoch(done)),
                other => prop_assert!(false, "{:?}", other),
            }
        }

        #[test]
        fn a_lost_file_is_noticed_unless_the_log_is_as_before_it_was_written(
            (mut facts, done, is_planned) in log(),
            at in any::<prop::sample::Index>(),
        ) {
            let total = facts.plans.len() + facts.commits.len();
            let at = at.index(total);
            let lost = if at < facts.plans.len() {
                let epoch = facts.plans.remove(at);
                facts.newest_plan = facts.plans.last().map(|e| Stored::Readable(planned(e.0)));
                layout::plan(epoch)
            } else {
                let epoch = facts.commits.remove(at - facts.plans.len());
                facts.newest_commit = facts.commits.last().map(|e| Stored::Readable(committed(e.0)));
                layout::commit(epoch)
            };
            let newest = Epoch(if is_planned { done } else { done - 1 });
            let was_last = lost == if is_planned { layout::plan(newest) } else { layout::commit(newest) };
            match decide(facts) {
                Decision::Corrupt { file, .. } => prop_assert_eq!(file, lost),
                _ => prop_assert!(was_last, "{} was lost unnoticed", lost),
            }
        }
    }
}
