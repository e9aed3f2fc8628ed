//! A day of card payments of forty accounts. Three of the cards are used by somebody else for a while.

use super::{
    arrival::{DataFile, Files, Row, cut_by_arrival},
    random::Random,
    time::{HOUR, MINUTE, SECOND, daylight, iso},
};

/// 2026-03-14T06:00:00Z, in milliseconds since 1970.
const START: i64 = 1_773_468_000_000;
const LENGTH: i64 = 16 * HOUR;

const FILES: Files = Files {
    name: "bank/transactions",
    ending: "json",
    header: "",
    start: START,
    length: LENGTH,
    each: 2 * HOUR,
};

/// Accounts of which a card was stolen, and the hour after the start in which it is used.
const STOLEN: [(i64, i64); 3] = [(7, 5), (19, 9), (33, 12)];

const PLACES: [(i64, &str); 5] = [
    (40, "grocery"),
    (25, "cafe"),
    (15, "transport"),
    (12, "pharmacy"),
    (8, "book shop"),
];

/// The payments, cut into files by time of arrival.
pub(super) fn files() -> Vec<DataFile> {
    let mut random = Random(20_260_316);
    let mut rows = Vec::new();
    for account in 0..40 {
        // What this household usually spends at once, in cents.
        let usual = 800 + random.below(2_500);
        for slot in 0..LENGTH / (20 * MINUTE) {
            let time = START + slot * 20 * MINUTE + random.below(20 * MINUTE);
            if random.below(1_000) < daylight(time) {
                let amount = usual / 2 + random.below(usual);
                let place = *random.pick(&PLACES);
                rows.push(payment(time, account, amount, place, &mut random));
            }
        }
        if let Some((_, hour)) = STOLEN.iter().find(|(stolen, _)| *stolen == account) {
            for n in 0..6 {
                let time = START + hour * HOUR + n * 2 * MINUTE;
                let amount = usual * (12 + random.below(8));
                rows.push(payment(time, account, amount, "jeweller", &mut random));
            }
        }
    }
    cut_by_arrival(&FILES, rows)
}

fn payment(time: i64, account: i64, amount: i64, place: &str, random: &mut Random) -> Row {
    Row {
        time,
        arrival: time + random.below(20 * SECOND),
        line: format!(
            "{{\"time\":\"{}\",\"account\":\"DE{account:04}\",\"cents\":{amount},\"place\":\"{place}\"}}\n",
            iso(time)
        ),
    }
}
