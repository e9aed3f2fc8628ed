//! How far an epoch reads: pure decisions about offsets.

use std::time::Duration;

use super::positions::Positions;

/// What limits an epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    /// `maxOffsetsPerTrigger`.
    pub(crate) max_offsets: Option<u64>,
    /// `maxBytesPerTrigger`.
    pub(crate) max_bytes: Option<u64>,
    /// `minOffsetsPerTrigger` and `maxTriggerDelay`.
    pub(crate) min: Option<AtLeast>,
}

/// An epoch is put off until so much has come, but not for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AtLeast {
    pub(crate) offsets: u64,
    pub(crate) max_delay: Duration,
}

/// What a message is taken to weigh before any was seen.
pub(crate) const GUESSED_BYTES: u64 = 1024;

impl Limits {
    /// How many offsets an epoch may take. Bytes become offsets by the mean weight of an offset so far.
    pub(crate) fn offsets(&self, bytes_per_offset: Option<u64>) -> Option<u64> {
        let mean = bytes_per_offset.unwrap_or(GUESSED_BYTES).max(1);
        let by_bytes = self.max_bytes.map(|bytes| (bytes / mean).max(1));
        match (self.max_offsets, by_bytes) {
            (Some(offsets), Some(by_bytes)) => Some(offsets.min(by_bytes)),
            (offsets, by_bytes) => offsets.or(by_bytes),
        }
    }
}

impl AtLeast {
    /// Whether to wait for more. `since_last` is the time since an epoch last ran; none has in this run if it is `None`,
    /// and then there is no waiting.
    pub(crate) fn waits(&self, available: u64, since_last: Option<Duration>) -> bool {
        match since_last {
            Some(passed) => available < self.offsets && passed < self.max_delay,
            None => false,
        }
    }
}

/// Where an epoch ends that begins at `begin` and may take `limit` offsets of what there is up to `latest`.
///
/// A limit is shared out in proportion to what waits in each partition, so that none is left behind; where something
/// waits, at least one offset is taken.
pub(crate) fn ends(begin: &Positions, latest: &Positions, limit: Option<u64>) -> Positions {
    let total = u128::from(begin.distance(latest));
    let ends = begin.iter().map(|(partition, begin)| {
        let latest = latest.get(partition).unwrap_or(begin).max(begin);
        let waiting = latest.abs_diff(begin);
        let share = match limit {
            Some(limit) if u128::from(limit) < total => {
                let share = u128::from(limit) * u128::from(waiting) / total;
                u64::try_from(share).unwrap_or(u64::MAX).max(1).min(waiting)
            }
            _ => waiting,
        };
        (partition.clone(), begin.saturating_add_unsigned(share))
    });
    ends.collect()
}

/// Whether an epoch can still end where it was said to: the partitions are the same, and have as much.
pub(crate) fn is_reachable(end: &Positions, latest: &Positions) -> bool {
    end.0.len() == latest.0.len()
        && end
            .iter()
            .all(|(partition, end)| latest.get(partition).is_some_and(|latest| end <= latest))
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::{super::positions::positions, *};

    fn both(waiting: &[u64]) -> (Positions, Positions) {
        let numbers = 0..i32::try_from(waiting.len()).expect("few");
        let begin: Vec<_> = numbers.clone().map(|n| ("t", n, i64::from(n))).collect();
        let latest: Vec<_> = numbers
            .zip(waiting)
            .map(|(n, more)| ("t", n, i64::from(n).saturating_add_unsigned(*more)))
            .collect();
        (positions(&begin), positions(&latest))
    }

    #[test]
    fn a_limit_is_shared_out_in_proportion() {
        for (waiting, limit, expected) in [
            (&[100, 300][..], Some(40), &[10, 30][..]),
            (&[100, 300], None, &[100, 300]),
            (&[100, 300], Some(400), &[100, 300]),
            (&[1, 0, 999], Some(10), &[1, 0, 9]),
            (&[5, 5, 5], Some(1), &[1, 1, 1]),
        ] {
            let (begin, latest) = both(waiting);
            let ends = ends(&begin, &latest, limit);
            let taken: Vec<u64> = ends
                .iter()
                .map(|(partition, end)| end.abs_diff(begin.get(partition).expect("begun")))
                .collect();
            assert_eq!(taken, expected, "{waiting:?} {limit:?}");
        }
    }

    #[test]
    fn an_end_is_reachable_while_the_partitions_are_the_same_and_have_as_much() {
        let end = positions(&[("t", 0, 5), ("t", 1, 7)]);
        for (latest, expected) in [
            (&[("t", 0, 5), ("t", 1, 7)][..], true),
            (&[("t", 0, 50), ("t", 1, 8)], true),
            (&[("t", 0, 5), ("t", 1, 6)], false),
            (&[("t", 0, 5)], false),
            (&[("t", 0, 5), ("t", 1, 7), ("t", 2, 0)], false),
            (&[("t", 0, 5), ("u", 1, 7)], false),
        ] {
            assert_eq!(
                is_reachable(&end, &positions(latest)),
                expected,
                "{latest:?}"
            );
        }
    }

    #[test]
    fn a_partition_that_the_cluster_does_not_know_stays_where_it_is() {
        let begin = positions(&[("t", 0, 7), ("t", 1, 7)]);
        let ends = ends(&begin, &positions(&[("t", 0, 9)]), None);
        assert_eq!(ends, positions(&[("t", 0, 9), ("t", 1, 7)]));
    }

    #[test]
    fn bytes_become_offsets_by_what_was_seen() {
        let limits = |max_offsets, max_bytes| Limits {
            max_offsets,
            max_bytes,
            min: None,
        };
        assert_eq!(limits(None, None).offsets(Some(10)), None);
        assert_eq!(limits(Some(7), None).offsets(None), Some(7));
        assert_eq!(limits(None, Some(1 << 20)).offsets(None), Some(1024));
        assert_eq!(limits(None, Some(1_000)).offsets(Some(10)), Some(100));
        assert_eq!(limits(Some(50), Some(1_000)).offsets(Some(10)), Some(50));
        assert_eq!(limits(None, Some(5)).offsets(Some(10)), Some(1));
        assert_eq!(limits(None, Some(5)).offsets(Some(0)), Some(5));
    }

    #[test]
    fn an_epoch_waits_for_enough_but_not_too_long_and_never_the_first() {
        let least = AtLeast {
            offsets: 100,
            max_delay: Duration::from_secs(60),
        };
        for (available, since_last, waits) in [
            (99, Some(0), true),
            (100, Some(0), false),
            (1, Some(60), false),
            (1, None, false),
        ] {
            let since_last = since_last.map(Duration::from_secs);
            assert_eq!(least.waits(available, since_last), waits);
        }
    }

    proptest! {
        #[test]
        fn an_epoch_takes_what_it_may_and_leaves_nobody_out(
            waiting in vec(prop_oneof![Just(0), 0..10_u64, 0..u64::from(u32::MAX)], 1..20),
            limit in prop::option::of(1..1_000_000_u64),
        ) {
            let (begin, latest) = both(&waiting);
            let ends = ends(&begin, &latest, limit);
            let total: u64 = waiting.iter().sum();
            let taken = begin.distance(&ends);
            let nonempty = waiting.iter().filter(|n| **n > 0).count() as u64;
            for ((partition, end), waiting) in ends.iter().zip(&waiting) {
                let begin = begin.get(partition).expect("begun");
                prop_assert!(end >= begin && end <= latest.get(partition).expect("known"));
                prop_assert_eq!(end > begin, *waiting > 0, "whoever waits gets on");
            }
            match limit {
                Some(limit) if limit < total => {
                    // One for each partition at least, and no more than the limit but for that.
                    prop_assert!(taken <= limit.saturating_add(nonempty));
                    prop_assert!(taken >= limit.saturating_sub(nonempty).min(total).max(nonempty.min(total)));
                }
                _ => prop_assert_eq!(taken, total),
            }
        }

        #[test]
        fn epoch_after_epoch_reads_everything(
            waiting in vec(0..5_000_u64, 1..8), limit in 1..2_000_u64
        ) {
            let (mut begin, latest) = both(&waiting);
            let mut epochs = 0;
            while begin != latest {
                begin = ends(&begin, &latest, Some(limit));
                epochs += 1;
                prop_assert!(epochs < 100_000);
            }
        }
    }
}
