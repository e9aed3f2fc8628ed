//! Payments as a card terminal sends them: again and again until it is told that one has arrived.

use super::{
    arrival::{DataFile, Files, Row, cut_by_arrival, usual_delay},
    random::Random,
    time::{HOUR, MINUTE, SECOND, iso},
};

/// 2026-03-14T09:00:00Z, in milliseconds since 1970.
const START: i64 = 1_773_478_800_000;
const LENGTH: i64 = 4 * HOUR;

const PAYMENTS: Files = Files {
    name: "payments/payments",
    ending: "csv",
    header: "sent_at,payment,merchant,amount,attempt\n",
    start: START,
    length: LENGTH,
    each: 30 * MINUTE,
};

/// How many pay there, its name, and what is usual to pay, in cents.
const MERCHANTS: [(i64, (&str, i64)); 5] = [
    (30, ("bakery-north", 640)),
    (25, ("cafe-quayside", 980)),
    (20, ("book-corner", 1_890)),
    (15, ("bike-works", 4_500)),
    (10, ("pharmacy-9", 1_450)),
];

/// How long a terminal waits for an answer before it sends once more.
const WAITS: [i64; 4] = [2 * SECOND, 8 * SECOND, 30 * SECOND, 2 * MINUTE];

pub(super) fn files() -> Vec<DataFile> {
    let mut random = Random(20_260_317);
    let mut payments = Vec::new();
    let mut time = START;
    loop {
        time += SECOND + random.below(40 * SECOND);
        if time >= START + LENGTH {
            break;
        }
        pay(time, &mut random, &mut payments);
    }
    cut_by_arrival(&PAYMENTS, payments)
}

fn pay(time: i64, random: &mut Random, payments: &mut Vec<Row>) {
    let minute = (time - START) / MINUTE;
    let &(merchant, usual) = random.pick(&MERCHANTS);
    let cents = usual / 3 + random.below(usual * 4 / 3);
    let id = random.below(0x1_0000_0000);
    // The network is bad in one street for a while.
    let lost = if merchant == "cafe-quayside" && (95..125).contains(&minute) {
        60
    } else {
        7
    };
    let mut sent = time;
    for attempt in 1.. {
        payments.push(Row {
            time: sent,
            arrival: sent + usual_delay(random),
            line: format!(
                "{},pay-{id:08x},{merchant},{}.{:02},{attempt}\n",
                iso(sent),
                cents / 100,
                cents % 100
            ),
        });
        match WAITS.get(attempt - 1) {
            Some(wait) if random.in_percent(lost) => sent += wait + random.below(SECOND),
            _ => break,
        }
    }
}
