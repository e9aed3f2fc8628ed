//! Times and spans as sentences show them.

use headwater_core::EventTime;

/// A time in UTC, `2026-11-21T12:07:30Z`; milliseconds only if there are any.
pub(super) fn time(millis: i64) -> String {
    EventTime(millis).to_string().replace(".000Z", "Z")
}

/// A span of time in its two largest units, `2 min 48 s`; a negative one counts as none.
pub(super) fn span(millis: i64) -> String {
    const UNITS: [(i64, &str); 5] = [
        (86_400_000, "d"),
        (3_600_000, "h"),
        (60_000, "min"),
        (1_000, "s"),
        (1, "ms"),
    ];
    let millis = millis.max(0);
    let Some(first) = UNITS.iter().position(|(length, _)| millis >= *length) else {
        return "0 s".to_owned();
    };
    let (length, unit) = UNITS[first];
    let mut text = format!("{} {unit}", millis / length);
    if let Some((next, unit)) = UNITS.get(first + 1)
        && millis % length >= *next
    {
        text.push_str(&format!(" {} {unit}", millis % length / next));
    }
    text
}

/// A number of things: `1 row`, `2 rows`.
pub(super) fn counted(count: u64, thing: &str) -> String {
    match count {
        1 => format!("1 {thing}"),
        count => format!("{count} {thing}s"),
    }
}

/// `1 row`, `2 rows`.
pub(super) fn rows(rows: u64) -> String {
    counted(rows, "row")
}

/// `a`, `a and b`, `a, b and c`.
pub(super) fn listed(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_told_in_their_two_largest_units() {
        for (millis, expected) in [
            (-5, "0 s"),
            (0, "0 s"),
            (17, "17 ms"),
            (1_000, "1 s"),
            (1_250, "1 s 250 ms"),
            (168_000, "2 min 48 s"),
            (3_600_000, "1 h"),
            (3_600_500, "1 h"),
            (90_000_000, "1 d 1 h"),
        ] {
            assert_eq!(span(millis), expected);
        }
    }

    #[test]
    fn times_leave_out_milliseconds_that_are_none() {
        assert_eq!(time(1_000), "1970-01-01T00:00:01Z");
        assert_eq!(time(1_250), "1970-01-01T00:00:01.250Z");
    }
}
