//! The restaurants of a town, and people who walk through it at noon.

use super::{
    arrival::{DataFile, Files, Row, cut_by_arrival, usual_delay},
    random::Random,
    time::{MINUTE, SECOND, iso},
};

/// 2026-03-14T11:30:00Z, in milliseconds since 1970.
const START: i64 = 1_773_487_800_000;
const LENGTH: i64 = 60 * MINUTE;
const CUSTOMERS: usize = 24;
/// How often a telephone says where it is.
const INTERVAL: i64 = MINUTE;

const POSITIONS: Files = Files {
    name: "positions/positions",
    ending: "csv",
    header: "time,customer,lat,lon\n",
    start: START,
    length: LENGTH,
    each: 10 * MINUTE,
};

/// The town's south-west corner and its size, in hundred-thousandths of a degree (about 1.1 m north, 0.66 m east).
const SOUTH: i64 = 5_354_000;
const WEST: i64 = 995_000;
const HEIGHT: i64 = 2_500;
const WIDTH: i64 = 5_000;

const NAMES: [&str; 16] = [
    "Old Harbour",
    "Blue Door",
    "Garden",
    "Corner",
    "Red Lantern",
    "Mill",
    "Station",
    "Lighthouse",
    "Golden Fork",
    "River",
    "Market",
    "Three Oaks",
    "Captain's",
    "Clock Tower",
    "Bridge",
    "Rose",
];

const KITCHENS: [(i64, (&str, &str)); 6] = [
    (25, ("Pizzeria", "italian")),
    (20, ("Grill", "turkish")),
    (15, ("Kitchen", "vietnamese")),
    (15, ("Inn", "german")),
    (15, ("Bistro", "vegetarian")),
    (10, ("Sushi", "japanese")),
];

pub(super) fn files() -> Vec<DataFile> {
    let mut files = positions();
    files.push(restaurants());
    files
}

fn restaurants() -> DataFile {
    let mut random = Random(20_260_320);
    let mut content = "id,name,kitchen,lat,lon\n".to_owned();
    for id in 1..=90 {
        let name = NAMES[random.below(NAMES.len() as i64) as usize];
        let (kind, kitchen) = random.pick(&KITCHENS);
        let (lat, lon) = (SOUTH + random.below(HEIGHT), WEST + random.below(WIDTH));
        content.push_str(&format!(
            "{id},{name} {kind},{kitchen},{},{}\n",
            degrees(lat),
            degrees(lon)
        ));
    }
    DataFile {
        name: "restaurants/restaurants.csv".to_owned(),
        content,
    }
}

fn positions() -> Vec<DataFile> {
    let mut random = Random(20_260_321);
    let mut positions = Vec::new();
    for customer in 1..=CUSTOMERS {
        let (mut lat, mut lon) = (SOUTH + random.below(HEIGHT), WEST + random.below(WIDTH));
        // A direction of walking, which changes at corners: about 70 m a minute.
        let (mut north, mut east) = (0, 0);
        for step in 0..LENGTH / INTERVAL {
            if step % 6 == 0 {
                (north, east) = *random.pick(&[
                    (1, (60, 0)),
                    (1, (-60, 0)),
                    (1, (0, 100)),
                    (1, (0, -100)),
                    (1, (0, 0)),
                ]);
            }
            lat = (lat + north + random.below(15) - 7).clamp(SOUTH, SOUTH + HEIGHT);
            lon = (lon + east + random.below(21) - 10).clamp(WEST, WEST + WIDTH);
            let time = START + step * INTERVAL + random.below(20 * SECOND);
            positions.push(Row {
                time,
                arrival: time + usual_delay(&mut random),
                line: format!(
                    "{},c{customer:02},{},{}\n",
                    iso(time),
                    degrees(lat),
                    degrees(lon)
                ),
            });
        }
    }
    cut_by_arrival(&POSITIONS, positions)
}

fn degrees(hundred_thousandths: i64) -> String {
    format!(
        "{}.{:05}",
        hundred_thousandths / 100_000,
        hundred_thousandths % 100_000
    )
}
