//! The access log of a web server as it is written to disk, with two clients that ask for far too much.

use chrono::DateTime;

use super::{
    arrival::{DataFile, Files, Row, cut_by_arrival, usual_delay},
    random::Random,
    time::{MINUTE, SECOND},
};

/// 2026-03-14T22:00:00Z, in milliseconds since 1970.
const START: i64 = 1_773_525_600_000;
const LENGTH: i64 = 40 * MINUTE;

const REQUESTS: Files = Files {
    name: "requests/access",
    ending: "log",
    header: "",
    start: START,
    length: LENGTH,
    each: 5 * MINUTE,
};

/// Who asks too often: from which minute, for how many seconds, how many milliseconds apart, and for what.
const FLOODS: [(&str, i64, i64, i64, &str); 3] = [
    ("198.51.100.23", 11, 95, 700, "POST /login"),
    ("203.0.113.77", 24, 150, 900, "GET /search?q={n}"),
    ("198.51.100.23", 33, 40, 650, "POST /login"),
];

const PAGES: [(i64, &str); 6] = [
    (30, "GET /"),
    (25, "GET /products/{n}"),
    (15, "GET /search?q={n}"),
    (15, "GET /images/{n}.webp"),
    (10, "GET /cart"),
    (5, "POST /login"),
];

pub(super) fn files() -> Vec<DataFile> {
    let mut random = Random(20_260_322);
    let mut requests = Vec::new();
    let mut time = START;
    loop {
        time += random.below(4_600);
        if time >= START + LENGTH {
            break;
        }
        let client = format!("192.0.2.{}", 1 + random.below(120));
        let page = *random.pick(&PAGES);
        requests.push(request(time, &client, page, &mut random));
        if random.in_percent(1) {
            // Not everything that reaches a log is a request.
            requests.push(Row {
                time,
                arrival: time,
                line: format!(
                    "worker {} restarted after 10000 requests\n",
                    random.below(8)
                ),
            });
        }
    }
    for (client, minute, seconds, apart, page) in FLOODS {
        let begin = START + minute * MINUTE;
        let mut time = begin;
        while time < begin + seconds * SECOND {
            requests.push(request(time, client, page, &mut random));
            time += apart / 2 + random.below(apart);
        }
    }
    cut_by_arrival(&REQUESTS, requests)
}

fn request(time: i64, client: &str, page: &str, random: &mut Random) -> Row {
    let page = page.replace("{n}", &(1 + random.below(400)).to_string());
    let status = match page.as_str() {
        "POST /login" => *random.pick(&[(60, 401), (40, 200)]),
        _ => *random.pick(&[(94, 200), (4, 404), (2, 304)]),
    };
    let at = DateTime::from_timestamp_millis(time).expect("a year of four digits");
    Row {
        time,
        // A server writes a line when it has answered.
        arrival: time + usual_delay(random) / 4,
        line: format!(
            "{client} - - [{}] \"{page} HTTP/1.1\" {status} {}\n",
            at.format("%d/%b/%Y:%H:%M:%S %z"),
            200 + random.below(20_000)
        ),
    }
}
