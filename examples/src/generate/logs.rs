//! The log lines of a small web site, on a morning with a bad release and a slow database.

use super::{
    arrival::{DataFile, Files, Row, cut_by_arrival, usual_delay},
    random::Random,
    time::{HOUR, MINUTE, SECOND, daylight, iso},
};

/// 2026-03-14T09:00:00Z, in milliseconds since 1970.
const LOGS_START: i64 = 1_773_478_800_000;
const LOGS_LENGTH: i64 = 4 * HOUR;

const LOG: Files = Files {
    name: "logs/access",
    ending: "json",
    header: "",
    start: LOGS_START,
    length: LOGS_LENGTH,
    each: 30 * MINUTE,
};

const HOSTS: [(i64, &str); 5] = [
    (30, "www-1.example.org"),
    (30, "www-2.example.org"),
    (20, "www-3.example.org"),
    (12, "api-1.example.org"),
    (8, "static-1.example.org"),
];

const AGENTS: [(i64, &str); 7] = [
    (30, "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/134.0"),
    (20, "Mozilla/5.0 (iPhone; CPU iPhone OS 18_3) Safari/604.1"),
    (
        15,
        "Mozilla/5.0 (X11; Linux x86_64; rv:136.0) Firefox/136.0",
    ),
    (
        12,
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) Safari/605.1",
    ),
    (10, "Mozilla/5.0 (Linux; Android 15) Chrome/134.0 Mobile"),
    (8, "Googlebot/2.1 (+http://www.google.com/bot.html)"),
    (5, "curl/8.12.1"),
];

/// What is asked for: method, path, typical size of the answer in bytes.
const PAGES: [(i64, (&str, &str, i64)); 12] = [
    (20, ("GET", "/", 14_200)),
    (16, ("GET", "/products", 22_800)),
    (18, ("GET", "/products/{n}", 18_400)),
    (8, ("GET", "/search?q={n}", 9_600)),
    (10, ("GET", "/assets/site.css", 31_000)),
    (10, ("GET", "/assets/site.js", 88_000)),
    (6, ("GET", "/images/{n}.webp", 120_000)),
    (4, ("POST", "/cart", 420)),
    (2, ("POST", "/checkout", 610)),
    (3, ("POST", "/login", 380)),
    (2, ("GET", "/api/v1/stock/{n}", 240)),
    (1, ("DELETE", "/cart/{n}", 90)),
];

/// The log, cut into files by time of arrival.
pub(super) fn files() -> Vec<DataFile> {
    let mut random = Random(20_260_314);
    let mut requests = Vec::new();
    for second in 0..LOGS_LENGTH / SECOND {
        let start = LOGS_START + second * SECOND;
        // Busier towards noon: about one request in two seconds to one a second.
        let expected = 300 + daylight(start) * 7 / 10;
        let count = expected / 1_000 + i64::from(random.below(1_000) < expected % 1_000);
        for _ in 0..count {
            requests.push(request(start + random.below(SECOND), &mut random));
        }
    }
    cut_by_arrival(&LOG, requests)
}

fn request(time: i64, random: &mut Random) -> Row {
    let host = *random.pick(&HOSTS);
    let &(method, path, size) = random.pick(&PAGES);
    let path = path.replace("{n}", &(1 + random.below(400)).to_string());
    let status = status(time, host, method, random);
    let bytes = match status {
        200 => size / 2 + random.below(size),
        201 => 60 + random.below(200),
        204 | 304 => 0,
        _ => 150 + random.below(400),
    };
    let line = format!(
        "{{\"time\":\"{}\",\"host\":\"{host}\",\"method\":\"{method}\",\"path\":\"{path}\",\
         \"status\":{status},\"bytes\":{bytes},\"agent\":\"{}\"}}\n",
        iso(time),
        random.pick(&AGENTS)
    );
    Row {
        time,
        arrival: time + delay(time, host, random),
        line,
    }
}

fn status(time: i64, host: &str, method: &str, random: &mut Random) -> u16 {
    let minute = (time - LOGS_START) / MINUTE;
    // A bad release on one machine, rolled back after a while; a slow database behind the API a little later.
    let bad_release = host == "www-3.example.org" && (102..111).contains(&minute);
    let slow_database = host == "api-1.example.org" && (165..172).contains(&minute);
    if bad_release && random.in_percent(70) {
        return 500;
    }
    if slow_database && random.in_percent(50) {
        return *random.pick(&[(3, 500), (2, 503), (1, 504)]);
    }
    let usual: &[(i64, u16)] = match method {
        "POST" => &[(700, 200), (230, 201), (40, 400), (26, 401), (4, 500)],
        "DELETE" => &[(900, 204), (90, 404), (10, 500)],
        _ => &[(840, 200), (100, 304), (30, 301), (27, 404), (3, 500)],
    };
    *random.pick(usual)
}

/// How long a line takes to reach the file; for some minutes one machine ships its lines late.
fn delay(time: i64, host: &str, random: &mut Random) -> i64 {
    let minute = (time - LOGS_START) / MINUTE;
    if host == "www-2.example.org" && (70..76).contains(&minute) {
        return 60 * SECOND + random.below(120 * SECOND);
    }
    usual_delay(random)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_is_small_and_mildly_out_of_order() {
        let files = files();
        let size: usize = files.iter().map(|file| file.content.len()).sum();
        assert!(size < 3_500_000, "{size}");
        let mut newest = "";
        let mut overtaken = 0;
        for line in files.iter().flat_map(|file| file.content.lines()) {
            let time = line.split('"').nth(3).expect("a time");
            overtaken += i32::from(time < newest);
            newest = newest.max(time);
        }
        assert!((100..4_000).contains(&overtaken), "{overtaken}");
        assert_eq!(newest.len(), "2026-03-14T09:00:00.000Z".len());
    }
}
