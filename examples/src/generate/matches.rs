//! An afternoon of football: what reporters send from eight matches. One match is broken off by a storm.

use super::{
    arrival::{DataFile, Files, Row, cut_by_arrival},
    random::Random,
    time::{HOUR, MINUTE, SECOND, iso},
};

/// 2026-03-14T14:30:00Z, in milliseconds since 1970.
const START: i64 = 1_773_498_600_000;

const FILES: Files = Files {
    name: "matches/events",
    ending: "json",
    header: "",
    start: START,
    length: 6 * HOUR,
    each: HOUR,
};

const MATCHES: [&str; 8] = [
    "Arbor - Brook",
    "Cliff - Dune",
    "Elm - Fjord",
    "Glade - Heath",
    "Isle - Juniper",
    "Knoll - Lagoon",
    "Marsh - North",
    "Oak - Prairie",
];

/// The match that nobody hears of any more after its first half.
const BROKEN_OFF: &str = "Knoll - Lagoon";

/// What happened in all matches, cut into files by time of arrival.
pub(super) fn files() -> Vec<DataFile> {
    let mut random = Random(20_260_315);
    let mut rows = Vec::new();
    for (number, name) in (0..).zip(MATCHES) {
        let start = START + number * 10 * MINUTE;
        let mut tell = |minute: i64, event: &str, side: &str| {
            let time = start + minute * MINUTE + random.below(MINUTE);
            rows.push(Row {
                time,
                arrival: time + random.below(40 * SECOND),
                line: format!(
                    "{{\"time\":\"{}\",\"match\":\"{name}\",\"event\":\"{event}\",\"side\":\"{side}\"}}\n",
                    iso(time)
                ),
            });
            random.below(100)
        };
        tell(0, "kick-off", "");
        for minute in 1..106 {
            // The break, and the storm.
            if (46..61).contains(&minute) || (name == BROKEN_OFF && minute > 46) {
                continue;
            }
            let side = if (minute * 7 + number) % 5 < 3 {
                "home"
            } else {
                "away"
            };
            match tell(minute, "attack", side) {
                0..3 => tell(minute + 1, "goal", side),
                3..8 => tell(minute + 1, "yellow card", side),
                8..15 => tell(minute + 1, "corner", side),
                _ => 0,
            };
        }
        if name != BROKEN_OFF {
            tell(108, "final whistle", "");
        }
    }
    cut_by_arrival(&FILES, rows)
}
