//! Sessions the slow way: rows of a key whose intervals meet take the same bounds, until nothing changes any more.

use super::{case::Event, model::Pair};

/// The group keys of a row beside its session.
fn key_of(event: &Event, keys: &[&str]) -> (Option<&'static str>, Option<i64>, Option<bool>) {
    (
        event.key.filter(|_| keys.contains(&"k")),
        event.value.filter(|_| keys.contains(&"v")),
        event.flag.filter(|_| keys.contains(&"b")),
    )
}

/// Takes the rows out whose session has ended at `watermark`, in milliseconds. In `open` each row has the interval that
/// it opens; what comes out has the bounds of its session.
pub(super) fn close_sessions(open: &mut Vec<Pair>, keys: &[&str], watermark: i64) -> Vec<Pair> {
    let mut bounds: Vec<(i64, i64)> = open.iter().filter_map(|pair| pair.window).collect();
    loop {
        let mut changed = false;
        for a in 0..open.len() {
            for b in 0..open.len() {
                let ((start, end), (other_start, other_end)) = (bounds[a], bounds[b]);
                let same_key = key_of(&open[a].event, keys) == key_of(&open[b].event, keys);
                if same_key && start <= other_end && other_start <= end {
                    bounds[a] = (start.min(other_start), end.max(other_end));
                    changed |= bounds[a] != (start, end);
                }
            }
        }
        if !changed {
            break;
        }
    }
    let mut closed = Vec::new();
    let mut left = Vec::new();
    for (pair, (start, end)) in open.drain(..).zip(bounds) {
        if end <= watermark.saturating_mul(1_000) {
            closed.push(Pair {
                window: Some((start, end)),
                closes_at: Some(end),
                ..pair
            });
        } else {
            left.push(pair);
        }
    }
    *open = left;
    closed
}
