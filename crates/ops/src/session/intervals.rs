//! Sessions as intervals: which rows, and which intervals, make one session.
//!
//! An interval is half-open, `[start, end)`, and never empty. Intervals of one key that overlap or touch are one
//! session: from the smallest start to the largest end. Times are plain numbers here, in any unit; keys are numbers
//! from zero. Nothing is made per session: positions are dealt out by key, sorted by start within it and swept once.

use std::ops::Range;

/// Intervals by key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Intervals {
    pub(crate) keys: Vec<usize>,
    pub(crate) starts: Vec<i64>,
    pub(crate) ends: Vec<i64>,
}

impl Intervals {
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }
}

/// Sessions that new intervals make, with what was stored before. Sessions have numbers; those that hold something
/// stored come first.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Merged {
    /// Key, start and end of each session.
    pub(crate) sessions: Intervals,
    /// How many of the sessions hold something stored.
    pub(crate) grown: usize,
    /// The session of each new interval.
    pub(crate) of_new: Vec<usize>,
    /// Positions of the stored intervals that sessions take up; within a session by start.
    pub(crate) taken: Vec<u32>,
    /// The session of each of those.
    pub(crate) of_taken: Vec<usize>,
    /// How many of those began at a time at which their session no longer does.
    pub(crate) restarted: usize,
}

/// For each interval the bounds of the session that it is part of.
///
/// `key_count` is larger than every key.
pub(crate) fn sessions_of_rows(intervals: &Intervals, key_count: usize) -> (Vec<i64>, Vec<i64>) {
    let order = by_key_and_start(&[intervals], key_count);
    let (mut starts, mut ends) = (vec![0; intervals.len()], vec![0; intervals.len()]);
    sweep(&order, &[intervals], |run, start, end| {
        for position in &order[run] {
            starts[*position as usize] = start;
            ends[*position as usize] = end;
        }
    });
    (starts, ends)
}

/// Merges new intervals with each other and with the stored ones of the same keys that they reach.
///
/// Stored intervals of a key neither overlap nor touch each other. Those that no new interval reaches take no part.
pub(crate) fn merge(stored: &Intervals, new: &Intervals, key_count: usize) -> Merged {
    let parts = [stored, new];
    let order = by_key_and_start(&parts, key_count);
    let is_stored = |position: &u32| (*position as usize) < stored.len();
    let mut runs: Vec<(Range<usize>, i64, i64)> = Vec::new();
    let mut fresh: Vec<(Range<usize>, i64, i64)> = Vec::new();
    sweep(&order, &parts, |run, start, end| {
        let holds = order[run.clone()].iter().filter(|p| is_stored(p)).count();
        if holds == 0 {
            fresh.push((run, start, end));
        } else if holds < run.len() {
            runs.push((run, start, end));
        }
    });
    let grown = runs.len();
    runs.append(&mut fresh);
    let mut merged = Merged {
        grown,
        of_new: vec![0; new.len()],
        ..Merged::default()
    };
    for (session, (run, start, end)) in runs.into_iter().enumerate() {
        let (part, row) = place(&parts, order[run.start]);
        merged.sessions.keys.push(part.keys[row]);
        merged.sessions.starts.push(start);
        merged.sessions.ends.push(end);
        for position in &order[run] {
            if is_stored(position) {
                merged.taken.push(*position);
                merged.of_taken.push(session);
                merged.restarted += usize::from(stored.starts[*position as usize] != start);
            } else {
                merged.of_new[*position as usize - stored.len()] = session;
            }
        }
    }
    merged
}

/// The interval at a position of several lists in a row.
#[inline]
fn place<'a>(parts: &[&'a Intervals], position: u32) -> (&'a Intervals, usize) {
    let mut row = position as usize;
    let mut parts = parts.iter();
    let mut part = parts.next().expect("there is a list of intervals");
    while row >= part.len() {
        row -= part.len();
        part = parts.next().expect("a position lies in some list");
    }
    (part, row)
}

/// Positions of all intervals by key, then by start; those of equal key and start as they came.
///
/// Keys are dense, so positions are dealt out by key instead of compared; rows that come in order of time, as most do,
/// are then sorted already.
fn by_key_and_start(parts: &[&Intervals], key_count: usize) -> Vec<u32> {
    let rows = parts.iter().map(|part| part.len()).sum();
    let mut bounds = vec![0_u32; key_count + 1];
    for key in parts.iter().flat_map(|part| &part.keys) {
        bounds[key + 1] += 1;
    }
    for key in 0..key_count {
        bounds[key + 1] += bounds[key];
    }
    let mut next = bounds.clone();
    let mut dealt = vec![(0_i64, 0_u32); rows];
    let intervals = parts
        .iter()
        .flat_map(|part| part.keys.iter().zip(&part.starts));
    for (position, (key, start)) in (0_u32..).zip(intervals) {
        dealt[next[*key] as usize] = (*start, position);
        next[*key] += 1;
    }
    for of_key in bounds.windows(2) {
        let of_key = &mut dealt[of_key[0] as usize..of_key[1] as usize];
        if !of_key.is_sorted() {
            // Positions are part of what is compared, so equal starts stay as they came.
            of_key.sort_unstable();
        }
    }
    dealt.into_iter().map(|(_, position)| position).collect()
}

/// Calls `session` with each longest run of `order` that is one session, its start and its end.
fn sweep(order: &[u32], parts: &[&Intervals], mut session: impl FnMut(Range<usize>, i64, i64)) {
    let interval = |position: u32| {
        let (part, row) = place(parts, position);
        (part.keys[row], part.starts[row], part.ends[row])
    };
    let mut order = order.iter().copied().enumerate();
    let Some((_, first)) = order.next() else {
        return;
    };
    let (mut open, mut begins) = (interval(first), 0);
    let mut seen = 1;
    for (at, position) in order {
        let (key, start, end) = interval(position);
        if key == open.0 && start <= open.2 {
            open.2 = open.2.max(end);
        } else {
            session(begins..at, open.1, open.2);
            (open, begins) = ((key, start, end), at);
        }
        seen = at + 1;
    }
    session(begins..seen, open.1, open.2);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn intervals(rows: &[(usize, i64, i64)]) -> Intervals {
        Intervals {
            keys: rows.iter().map(|row| row.0).collect(),
            starts: rows.iter().map(|row| row.1).collect(),
            ends: rows.iter().map(|row| row.2).collect(),
        }
    }

    /// Sessions the slow way: any two that meet become one, until none do.
    fn naive(rows: &[(usize, i64, i64)]) -> BTreeSet<(usize, i64, i64)> {
        let mut sessions: Vec<(usize, i64, i64)> = rows.to_vec();
        loop {
            let pairs = (0..sessions.len()).flat_map(|a| (0..a).map(move |b| (b, a)));
            let meet = |(b, a): &(usize, usize)| {
                let (b, a) = (sessions[*b], sessions[*a]);
                a.0 == b.0 && a.1 <= b.2 && b.1 <= a.2
            };
            let Some((b, a)) = pairs.into_iter().find(meet) else {
                return sessions.into_iter().collect();
            };
            let (key, start, end) = sessions.swap_remove(a);
            sessions[b] = (key, start.min(sessions[b].1), end.max(sessions[b].2));
        }
    }

    struct Random(u64);

    impl Random {
        fn below(&mut self, bound: u64) -> u64 {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % bound
        }

        fn rows(&mut self, most: u64) -> Vec<(usize, i64, i64)> {
            (0..self.below(most))
                .map(|_| {
                    let start = self.below(60) as i64 - 20;
                    (
                        self.below(3) as usize,
                        start,
                        start + 1 + self.below(6) as i64,
                    )
                })
                .collect()
        }
    }

    #[test]
    fn intervals_that_touch_are_one_session_and_others_are_not() {
        let rows = intervals(&[(0, 10, 15), (0, 5, 10), (1, 0, 5), (0, 16, 20), (1, 2, 3)]);
        let (starts, ends) = sessions_of_rows(&rows, 2);
        assert_eq!(starts, [5, 5, 0, 16, 0]);
        assert_eq!(ends, [15, 15, 5, 20, 5]);
    }

    #[test]
    fn a_long_interval_holds_what_comes_after_a_short_one() {
        let rows = intervals(&[(0, 0, 100), (0, 1, 2), (0, 50, 51)]);
        let (starts, ends) = sessions_of_rows(&rows, 1);
        assert_eq!((starts, ends), (vec![0; 3], vec![100; 3]));
    }

    #[test]
    fn rows_find_the_sessions_that_a_naive_model_finds() {
        let mut random = Random(1);
        for case in 0..2_000 {
            let rows = random.rows(20);
            let (starts, ends) = sessions_of_rows(&intervals(&rows), 3);
            let found: BTreeSet<_> = rows
                .iter()
                .zip(starts.iter().zip(&ends))
                .map(|(row, (start, end))| (row.0, *start, *end))
                .collect();
            assert_eq!(found, naive(&rows), "case {case}: {rows:?}");
            for (row, (start, end)) in rows.iter().zip(starts.iter().zip(&ends)) {
                assert!(*start <= row.1 && row.2 <= *end, "case {case}: {rows:?}");
            }
        }
    }

    #[test]
    fn merging_in_any_number_of_steps_gives_what_one_step_gives() {
        let mut random = Random(2);
        for case in 0..2_000 {
            let mut stored: Vec<(usize, i64, i64)> = Vec::new();
            let mut all = Vec::new();
            for _ in 0..4 {
                let new = random.rows(8);
                let before = intervals(&stored);
                let merged = merge(&before, &intervals(&new), 3);
                check(&before, &new, &merged);
                let taken: BTreeSet<u32> = merged.taken.iter().copied().collect();
                assert_eq!(taken.len(), merged.taken.len(), "taken up twice");
                stored = (0_u32..)
                    .zip(stored)
                    .filter(|(position, _)| !taken.contains(position))
                    .map(|(_, session)| session)
                    .collect();
                let sessions = &merged.sessions;
                stored.extend((0..sessions.len()).map(|session| {
                    (
                        sessions.keys[session],
                        sessions.starts[session],
                        sessions.ends[session],
                    )
                }));
                all.extend(new);
                let found: BTreeSet<_> = stored.iter().copied().collect();
                assert_eq!(found.len(), stored.len(), "case {case}: a session twice");
                assert_eq!(found, naive(&all), "case {case}");
            }
        }
    }

    /// What every merge keeps to.
    fn check(stored: &Intervals, new: &[(usize, i64, i64)], merged: &Merged) {
        let sessions = &merged.sessions;
        let inside = |session: usize, (key, start, end): (usize, i64, i64)| {
            sessions.keys[session] == key
                && sessions.starts[session] <= start
                && end <= sessions.ends[session]
        };
        assert_eq!(merged.of_new.len(), new.len());
        for (row, session) in new.iter().zip(&merged.of_new) {
            assert!(inside(*session, *row));
        }
        let mut restarted = 0;
        for (position, session) in merged.taken.iter().zip(&merged.of_taken) {
            let row = *position as usize;
            let interval = (stored.keys[row], stored.starts[row], stored.ends[row]);
            assert!(inside(*session, interval));
            restarted += usize::from(interval.1 != sessions.starts[*session]);
        }
        assert_eq!(merged.restarted, restarted);
        let grown: BTreeSet<usize> = merged.of_taken.iter().copied().collect();
        assert!(grown.into_iter().eq(0..merged.grown), "grown ones first");
        let touched: BTreeSet<usize> = merged.of_new.iter().copied().collect();
        assert!(
            touched.into_iter().eq(0..sessions.len()),
            "each has news in it"
        );
        let by_start = merged.taken.iter().zip(&merged.of_taken);
        let mut by_start = by_start.map(|(p, session)| (*session, stored.starts[*p as usize]));
        assert!(by_start.by_ref().is_sorted());
    }
}
