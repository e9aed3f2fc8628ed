//! Each case by itself, and whole lives of a query with crashes between any two steps, against what Kafka then holds.

use std::collections::BTreeMap;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;

fn run(number: u128) -> RunId {
    RunId(Uuid::from_u128(number))
}

fn mark(next: u64, by: u128) -> Option<Mark> {
    Some(Mark {
        next: Epoch(next),
        by: Some(Author {
            run: run(by),
            rows: 1,
        }),
    })
}

fn facts(epoch: u64, mark: Option<Mark>) -> Facts {
    Facts {
        epoch: Epoch(epoch),
        run: run(2),
        mark,
        was_marked: true,
        is_first_attempt: false,
        when_unknown: WhenUnknown::Fail,
    }
}

#[test]
fn an_epoch_that_is_not_in_kafka_is_written() {
    for next in [0, 3, 5] {
        assert_eq!(decide(&facts(5, mark(next, 1))), Decision::Write, "{next}");
    }
}

#[test]
fn a_replay_of_an_epoch_that_is_there_is_adopted() {
    assert_eq!(decide(&facts(5, mark(6, 1))), Decision::Adopt);
    let set_by_hand = Mark {
        next: Epoch(6),
        by: None,
    };
    assert_eq!(decide(&facts(5, Some(set_by_hand))), Decision::Adopt);
}

#[test]
fn what_the_checkpoint_has_never_heard_of_is_refused() {
    let ahead = mark(6, 1).expect("a mark");
    let first_attempt = Facts {
        is_first_attempt: true,
        ..facts(5, Some(ahead))
    };
    assert_eq!(decide(&first_attempt), Decision::Ahead(ahead));
    let never_marked = Facts {
        was_marked: false,
        ..facts(5, Some(ahead))
    };
    assert_eq!(decide(&never_marked), Decision::Ahead(ahead));
    let far = mark(9, 1).expect("a mark");
    assert_eq!(decide(&facts(5, Some(far))), Decision::Ahead(far));
}

#[test]
fn a_run_that_tries_again_adopts_what_it_wrote() {
    let again = Facts {
        is_first_attempt: true,
        ..facts(5, mark(6, 2))
    };
    assert_eq!(decide(&again), Decision::Adopt);
}

#[test]
fn without_a_mark_only_a_replay_is_unknown() {
    assert_eq!(decide(&facts(5, None)), Decision::Unknown);
    for (when_unknown, decision) in [
        (WhenUnknown::Write, Decision::Write),
        (WhenUnknown::Skip, Decision::Adopt),
    ] {
        let told = Facts {
            when_unknown,
            ..facts(5, None)
        };
        assert_eq!(decide(&told), decision);
    }
    let first_attempt = Facts {
        is_first_attempt: true,
        when_unknown: WhenUnknown::Skip,
        ..facts(5, None)
    };
    assert_eq!(decide(&first_attempt), Decision::Write);
    let never_marked = Facts {
        was_marked: false,
        ..facts(0, None)
    };
    assert_eq!(decide(&never_marked), Decision::Write);
}

/// The checkpoint and Kafka, as far as they matter here.
#[derive(Debug, Clone, Default)]
struct World {
    planned: Option<u64>,
    committed: Option<u64>,
    noted: bool,
    mark: Option<Mark>,
    /// How often the rows of an epoch are in the topic.
    delivered: BTreeMap<u64, usize>,
}

/// Steps that are left before the power fails.
struct Power(usize);

impl Power {
    /// Whether one more step is done.
    fn step(&mut self) -> bool {
        let is_on = self.0 > 0;
        self.0 = self.0.saturating_sub(1);
        is_on
    }
}

fn has_rows(epoch: u64) -> bool {
    epoch % 3 != 1
}

impl World {
    /// One run of the query, until its power fails; what stopped it otherwise.
    fn live(&mut self, number: u128, mut power: Power) -> Option<Decision> {
        // A commit without a later plan is published again at the start.
        let mut published = self.committed.filter(|_| self.planned == self.committed);
        loop {
            let epoch = match (self.planned, self.committed) {
                (Some(planned), committed) if committed < Some(planned) => planned,
                (_, committed) => committed.map_or(0, |committed| committed + 1),
            };
            if !power.step() {
                return None;
            }
            self.planned = Some(epoch);
            let decision = decide(&Facts {
                epoch: Epoch(epoch),
                run: run(number),
                mark: self.mark,
                was_marked: self.noted,
                is_first_attempt: epoch.checked_sub(1).is_some_and(|it| published == Some(it)),
                when_unknown: WhenUnknown::Fail,
            });
            match decision {
                Decision::Write if has_rows(epoch) => {
                    if !self.write(epoch, number, &mut power) {
                        return None;
                    }
                }
                Decision::Write | Decision::Adopt => {}
                refused => return Some(refused),
            }
            if !power.step() {
                return None;
            }
            self.committed = Some(epoch);
            published = Some(epoch);
        }
    }

    fn write(&mut self, epoch: u64, number: u128, power: &mut Power) -> bool {
        if self.mark.is_none() {
            if !power.step() {
                return false;
            }
            self.mark = mark(epoch, number);
        }
        if !self.noted {
            if !power.step() {
                return false;
            }
            self.noted = true;
        }
        if !power.step() {
            return false;
        }
        *self.delivered.entry(epoch).or_default() += 1;
        self.mark = mark(epoch + 1, number);
        true
    }

    fn is_exactly_once(&self) -> bool {
        let committed = 0..self.committed.map_or(0, |it| it + 1);
        let never_twice = self.delivered.values().all(|times| *times == 1);
        let never_lost = committed
            .filter(|epoch| has_rows(*epoch))
            .all(|epoch| self.delivered.contains_key(&epoch));
        never_twice && never_lost
    }
}

proptest! {
    #[test]
    fn whatever_is_interrupted_each_epoch_is_there_once(lives in prop::collection::vec(0_usize..12, 1..20)) {
        let mut world = World::default();
        for (number, steps) in lives.into_iter().enumerate() {
            prop_assert_eq!(world.live(number as u128, Power(steps)), None);
            prop_assert!(world.is_exactly_once(), "{:?}", world);
        }
    }

    #[test]
    fn a_mark_that_the_broker_forgets_never_doubles_or_loses_anything(
        lives in prop::collection::vec((0_usize..12, any::<bool>()), 1..20),
    ) {
        let (mut world, mut forgot) = (World::default(), false);
        for (number, (steps, forgets)) in lives.into_iter().enumerate() {
            if forgets {
                world.mark = None;
                // What is forgotten stays so, however many runs end before they look.
                forgot = true;
            }
            let is_open = world.planned > world.committed;
            let refused = world.live(number as u128, Power(steps));
            prop_assert!(world.is_exactly_once(), "{:?}", world);
            if refused.is_some() {
                // Only an epoch that an earlier run had begun can be unknown.
                prop_assert!(forgot && world.mark.is_none() && is_open, "{:?}", world);
                prop_assert_eq!(refused, Some(Decision::Unknown));
                break;
            }
        }
    }

    #[test]
    fn an_older_checkpoint_never_doubles_anything(
        before in 0_usize..30, after in 0_usize..30, last in 0_usize..30,
    ) {
        let mut world = World::default();
        world.live(1, Power(before));
        let copy = world.clone();
        world.live(2, Power(after));
        let kafka = (world.mark, world.delivered);
        world = World { mark: kafka.0, delivered: kafka.1, ..copy };
        let refused = world.live(3, Power(last));
        let never_twice = world.delivered.values().all(|times| *times == 1);
        prop_assert!(never_twice, "{:?} {:?}", refused, world);
    }
}

#[test]
fn of_two_places_the_larger_number_counts_unless_the_noted_one_is_lost() {
    let at = |next| {
        Some(Mark {
            next: Epoch(next),
            by: None,
        })
    };
    assert_eq!(newest(at(5), None), at(5), "it moves for the first time");
    assert_eq!(newest(at(6), at(3)), at(6), "it moves back");
    // The checkpoint is older than the topic, or a version before the notes has moved it.
    assert_eq!(newest(at(5), at(10)), at(10));
    assert_eq!(newest(None, at(3)), None, "3 may be left from long ago");
}
