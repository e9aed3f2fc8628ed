//! Writes the input of the examples, `examples/data`: the log lines of a small web site and the readings of some
//! weather stations.
//!
//! ```text
//! cargo run -p headwater-examples --bin generate_data [DIR]
//! ```
//!
//! The same program always writes the same bytes: it has its own random numbers, and uses only arithmetic that is
//! the same on every machine (no sines, no wall clock). A test compares the files in the repository with it.

use std::{fmt::Write as _, fs, io, path::Path};

use chrono::{DateTime, SecondsFormat};

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

/// 2026-03-14T09:00:00Z, in milliseconds since 1970.
const LOGS_START: i64 = 1_773_478_800_000;
const LOGS_LENGTH: i64 = 4 * HOUR;
/// A file of the log is closed after this time.
const LOG_FILE_LENGTH: i64 = 30 * MINUTE;
/// 2026-03-13T00:00:00Z.
const WEATHER_START: i64 = 1_773_360_000_000;
const WEATHER_DAYS: i64 = 2;
const READING_INTERVAL: i64 = 5 * MINUTE;

fn main() -> io::Result<()> {
    let folder = std::env::args().nth(1).unwrap_or("examples/data".into());
    for (name, content) in log_files().into_iter().chain(weather_files()) {
        let path = Path::new(&folder).join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, content)?;
    }
    Ok(())
}

/// SplitMix64: a seeded stream of numbers, the same for ever.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number in `0..end`.
    fn below(&mut self, end: i64) -> i64 {
        (self.next() % end.unsigned_abs()) as i64
    }

    fn in_percent(&mut self, percent: i64) -> bool {
        self.below(100) < percent
    }

    /// One of the items, as often as its weight says.
    fn pick<'a, T>(&mut self, items: &'a [(i64, T)]) -> &'a T {
        let total = items.iter().map(|(weight, _)| weight).sum();
        let mut ticket = self.below(total);
        for (weight, item) in items {
            if ticket < *weight {
                return item;
            }
            ticket -= weight;
        }
        unreachable!("the ticket is below the sum of the weights")
    }
}

fn iso(millis: i64) -> String {
    let time = DateTime::from_timestamp_millis(millis).expect("a year of four digits");
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// 0 at the start and the end of a day, 1000 at noon, smooth in between.
fn daylight(millis: i64) -> i64 {
    let of_day = millis.rem_euclid(24 * HOUR);
    let x = (of_day.min(24 * HOUR - of_day)) * 1000 / (12 * HOUR);
    x * x * (3_000 - 2 * x) / 1_000_000
}

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

struct Request {
    time: i64,
    /// When the line reached the file; files are in this order.
    arrival: i64,
    line: String,
}

/// The log, cut into files by time of arrival.
fn log_files() -> Vec<(String, String)> {
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
    requests.sort_by_key(|request| (request.arrival, request.time));
    let mut files: Vec<(String, String)> = Vec::new();
    for request in requests {
        let number =
            (request.arrival.min(LOGS_START + LOGS_LENGTH - 1) - LOGS_START) / LOG_FILE_LENGTH;
        let name = format!("logs/access-{number:02}.json");
        match files.last_mut() {
            Some((last, content)) if *last == name => content.push_str(&request.line),
            _ => files.push((name, request.line)),
        }
    }
    files
}

fn request(time: i64, random: &mut Random) -> Request {
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
    Request {
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

/// How long a line takes to reach the file: most come at once, a few are overtaken, and for some minutes one machine
/// ships its lines late.
fn delay(time: i64, host: &str, random: &mut Random) -> i64 {
    let minute = (time - LOGS_START) / MINUTE;
    if host == "www-2.example.org" && (70..76).contains(&minute) {
        return 60 * SECOND + random.below(120 * SECOND);
    }
    match random.below(100) {
        0..90 => random.below(SECOND / 2),
        90..98 => random.below(5 * SECOND),
        _ => random.below(45 * SECOND),
    }
}

/// Name, height in metres, temperature at night and by how much noon is warmer, in tenths of a degree.
const STATIONS: [(&str, i64, i64, i64); 10] = [
    ("berlin", 48, 21, 84),
    ("bremen", 4, 30, 62),
    ("brocken", 1134, -52, 40),
    ("freiburg", 269, 38, 98),
    ("hamburg", 11, 28, 66),
    ("helgoland", 4, 46, 22),
    ("leipzig", 131, 18, 88),
    ("munich", 515, 2, 92),
    ("sylt", 26, 35, 30),
    ("zugspitze", 2964, -128, 36),
];

/// The readings of all stations, one file for each six hours; stations report in turn, some a little late.
fn weather_files() -> Vec<(String, String)> {
    let mut random = Random(19_741_221);
    let mut drift = [0_i64; STATIONS.len()];
    let mut readings = Vec::new();
    for step in 0..WEATHER_DAYS * 24 * HOUR / READING_INTERVAL {
        let due = WEATHER_START + step * READING_INTERVAL;
        for (station, drift) in STATIONS.iter().zip(&mut drift) {
            *drift = (*drift + random.below(5) - 2).clamp(-30, 30);
            let delay = if random.in_percent(3) {
                10 * MINUTE
            } else {
                MINUTE
            };
            let time = due + random.below(10) * SECOND;
            let arrival = time + random.below(delay);
            readings.push((arrival, reading(station, time, *drift, &mut random)));
        }
    }
    readings.sort_by_key(|(arrival, _)| *arrival);
    let mut files: Vec<(String, String)> = Vec::new();
    for (arrival, line) in readings {
        let last = WEATHER_START + WEATHER_DAYS * 24 * HOUR - 1;
        let number = (arrival.min(last) - WEATHER_START) / (6 * HOUR);
        let name = format!("weather/readings-{number:02}.csv");
        if files.last().is_none_or(|(last, _)| *last != name) {
            files.push((name, CSV_HEADER.to_owned()));
        }
        if let Some((_, content)) = files.last_mut() {
            content.push_str(&line);
        }
    }
    files
}

const CSV_HEADER: &str = "time,station,temperature,humidity,pressure,wind\n";

/// One line: degrees Celsius, percent, hectopascal, metres a second; now and then a sensor gives nothing.
fn reading(
    &(station, height, night, warming): &(&str, i64, i64, i64),
    time: i64,
    drift: i64,
    random: &mut Random,
) -> String {
    let light = daylight(time);
    let temperature = night + warming * light / 1000 + drift + random.below(5) - 2;
    let humidity = (92 - light * 38 / 1000 - drift / 3 + random.below(5) - 2).clamp(20, 100);
    // Pressure falls by about 1 hPa in 8.4 metres, less further up.
    let pressure = 10_163 - height * 119 / 100 + height * height / 21_000 + drift / 2;
    let wind = 12 + height / 40 + random.below(30) + light / 50;
    let mut line = format!("{},{station},", iso(time));
    if !random.in_percent(1) {
        push_tenths(&mut line, temperature);
    }
    line.push_str(&format!(",{humidity},"));
    push_tenths(&mut line, pressure);
    line.push(',');
    push_tenths(&mut line, wind);
    line.push('\n');
    line
}

fn push_tenths(line: &mut String, tenths: i64) {
    let sign = if tenths < 0 { "-" } else { "" };
    let tenths = tenths.abs();
    write!(line, "{sign}{}.{}", tenths / 10, tenths % 10).expect("writing to a string cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_in_the_repository_are_what_this_program_writes() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data");
        for (name, content) in log_files().into_iter().chain(weather_files()) {
            let stored = fs::read_to_string(folder.join(&name)).expect("a file in the repository");
            assert!(
                stored == content,
                "{name} differs: run `cargo run -p headwater-examples --bin generate_data`"
            );
        }
    }

    #[test]
    fn the_data_is_small_and_mildly_out_of_order() {
        let files = log_files();
        let size: usize = files.iter().map(|(_, content)| content.len()).sum();
        assert!(size < 3_500_000, "{size}");
        let mut newest = "";
        let mut overtaken = 0;
        for line in files.iter().flat_map(|(_, content)| content.lines()) {
            let time = line.split('"').nth(3).expect("a time");
            overtaken += i32::from(time < newest);
            newest = newest.max(time);
        }
        assert!((100..4_000).contains(&overtaken), "{overtaken}");
        assert_eq!(newest.len(), "2026-03-14T09:00:00.000Z".len());
    }
}
