//! Increments that the list of files read does not name yet, and when it is time that it does: bookkeeping without any
//! I/O.
//!
//! An object of the list costs a journal commit of the file system whether it names one increment or many, and as long
//! as the query's log holds the plan records of some, a restart learns of them from there. So they are listed several at
//! a time, and early enough that a record which the log deletes is never the only one that names its files.

use std::{collections::VecDeque, num::NonZeroU64};

use super::seen_log::Names;

/// The most increments that one object of the list names.
const MOST: u64 = 16;

/// The increments that are listed at once, for a log that keeps the records of its newest `retained` epochs. While so
/// many are written as many again may be acknowledged, and the log has to hold the records of all of them.
pub(crate) fn listed_at_once(retained: NonZeroU64) -> NonZeroU64 {
    NonZeroU64::new((retained.get() / 2).min(MOST)).unwrap_or(NonZeroU64::MIN)
}

#[derive(Debug)]
struct Numbered {
    end: u64,
    names: Names,
}

/// What an object of the list is to name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Due {
    /// The number of the first file.
    pub(crate) start: u64,
    pub(crate) names: Names,
    /// More increments than are listed at once, as earlier runs left them: the log may not hold the records of as many
    /// more, so it must be written before another increment is acknowledged.
    pub(crate) is_urgent: bool,
}

/// Increments without gaps from the end of the list on, each either acknowledged or planned by an earlier run.
#[derive(Debug)]
pub(crate) struct Unlisted {
    /// Number of files that the list names, or is being made to.
    listed: u64,
    increments: VecDeque<Numbered>,
    /// Number of files acknowledged.
    acknowledged: u64,
    at_once: NonZeroU64,
}

impl Unlisted {
    /// After `listed` files.
    pub(crate) fn after(listed: u64, at_once: NonZeroU64) -> Self {
        Self {
            listed,
            increments: VecDeque::new(),
            acknowledged: listed,
            at_once,
        }
    }

    /// Number of files that are listed, or remembered here.
    fn known(&self) -> u64 {
        self.increments.back().map_or(self.listed, |last| last.end)
    }

    /// Learns of the increment of the files numbered from `start`; of none that it knows. False if some are missing
    /// before it.
    #[must_use]
    pub(crate) fn remember(&mut self, start: u64, names: Names) -> bool {
        let end = start + names.len() as u64;
        if end <= self.known() {
            return true;
        }
        let follows = start == self.known();
        if follows {
            self.increments.push_back(Numbered { end, names });
        }
        follows
    }

    /// Every file numbered below `end` belongs to an increment that is committed and published.
    pub(crate) fn acknowledge(&mut self, end: u64) {
        self.acknowledged = self.acknowledged.max(end);
    }

    /// How many acknowledged increments there are.
    fn due(&self) -> usize {
        self.increments
            .partition_point(|increment| increment.end <= self.acknowledged)
    }

    /// Whether acknowledged increments are enough to be listed.
    pub(crate) fn is_due(&self) -> bool {
        self.due() as u64 >= self.at_once.get()
    }

    /// What the list has to be given now: all acknowledged increments, once they are enough or if `all` are wanted.
    pub(crate) fn take_due(&mut self, all: bool) -> Option<Due> {
        let due = self.due();
        if due == 0 || !(all || self.is_due()) {
            return None;
        }
        let start = self.listed;
        let mut names = Names::new();
        for increment in self.increments.drain(..due) {
            self.listed = increment.end;
            names.extend(increment.names);
        }
        Some(Due {
            start,
            names,
            is_urgent: due as u64 > self.at_once.get(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn many(number: u64) -> NonZeroU64 {
        NonZeroU64::new(number).expect("more than none")
    }

    fn name(number: u64) -> Names {
        vec![(number.to_string(), 0)]
    }

    /// What a run lists that acknowledges files `range`, one an increment.
    fn listed(unlisted: &mut Unlisted, range: std::ops::Range<u64>) -> Vec<std::ops::Range<u64>> {
        let mut objects = Vec::new();
        for number in range {
            assert!(unlisted.remember(number, name(number)));
            unlisted.acknowledge(number + 1);
            if let Some(due) = unlisted.take_due(false) {
                assert!(!due.is_urgent);
                objects.push(due.start..due.start + due.names.len() as u64);
            }
        }
        objects
    }

    #[test]
    fn so_many_are_listed_at_once_as_the_log_can_hold_twice() {
        for (retained, at_once) in [
            (1, 1),
            (2, 1),
            (3, 1),
            (4, 2),
            (31, 15),
            (32, 16),
            (100, 16),
        ] {
            assert_eq!(listed_at_once(many(retained)), many(at_once), "{retained}");
        }
    }

    #[test]
    fn increments_are_listed_when_they_are_enough() {
        let mut unlisted = Unlisted::after(5, many(3));
        assert_eq!(listed(&mut unlisted, 5..13), [5..8, 8..11]);
        assert_eq!(unlisted.take_due(true).map(|due| due.start), Some(11));
        assert_eq!(unlisted.take_due(true), None);
    }

    #[test]
    fn what_an_earlier_run_planned_is_listed_once_it_is_acknowledged() {
        let mut unlisted = Unlisted::after(2, many(4));
        for number in 0..6 {
            assert!(unlisted.remember(number, name(number)));
        }
        assert_eq!(unlisted.take_due(true), None);
        // The last of them is not committed.
        unlisted.acknowledge(5);
        assert_eq!(unlisted.take_due(false), None);
        let due = |start, names: &[Names], is_urgent| {
            let names = names.concat();
            Some(Due {
                start,
                names,
                is_urgent,
            })
        };
        let names = [name(2), name(3), name(4)];
        assert_eq!(unlisted.take_due(true), due(2, &names, false));
        unlisted.acknowledge(6);
        assert_eq!(unlisted.take_due(true), due(5, &[name(5)], false));
        for number in 6..11 {
            assert!(unlisted.remember(number, name(number)));
        }
        unlisted.acknowledge(11);
        let more: Vec<Names> = (6..11).map(name).collect();
        assert_eq!(unlisted.take_due(false), due(6, &more, true));
    }

    #[test]
    fn a_gap_is_told() {
        let mut unlisted = Unlisted::after(2, many(1));
        assert!(!unlisted.remember(3, name(3)));
        assert!(unlisted.remember(2, name(2)));
        assert!(unlisted.remember(3, name(3)));
    }
}
