//! The readings of some weather stations over two days of March.

use std::fmt::Write as _;

use super::{
    arrival::{DataFile, Files, Row, cut_by_arrival},
    random::Random,
    time::{HOUR, MINUTE, SECOND, daylight, iso},
};

/// 2026-03-13T00:00:00Z.
const WEATHER_START: i64 = 1_773_360_000_000;
const WEATHER_DAYS: i64 = 2;
const READING_INTERVAL: i64 = 5 * MINUTE;

const READINGS: Files = Files {
    name: "weather/readings",
    ending: "csv",
    header: "time,station,temperature,humidity,pressure,wind\n",
    start: WEATHER_START,
    length: WEATHER_DAYS * 24 * HOUR,
    each: 6 * HOUR,
};

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
pub(super) fn files() -> Vec<DataFile> {
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
            readings.push(Row {
                time,
                arrival: time + random.below(delay),
                line: reading(station, time, *drift, &mut random),
            });
        }
    }
    cut_by_arrival(&READINGS, readings)
}

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
