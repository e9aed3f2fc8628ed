//! What a shop sells in the course of a day on which it begins to rain.

use super::{
    arrival::{DataFile, Files, Row, cut_by_arrival, usual_delay},
    random::Random,
    time::{HOUR, MINUTE, SECOND, iso},
};

/// 2026-03-14T09:00:00Z, in milliseconds since 1970.
const START: i64 = 1_773_478_800_000;
const LENGTH: i64 = 5 * HOUR;

const SALES: Files = Files {
    name: "sales/sales",
    ending: "csv",
    header: "time,order,product,quantity,price\n",
    start: START,
    length: LENGTH,
    each: 30 * MINUTE,
};

/// How often it is sold in the morning, how often once it rains, its name and its price in cents.
const PRODUCTS: [(i64, i64, &str, i64); 12] = [
    (20, 20, "oat biscuits", 289),
    (18, 12, "sun cream", 899),
    (16, 14, "espresso beans", 1_149),
    (14, 14, "notebook A5", 349),
    (12, 6, "sunglasses", 1_990),
    (12, 12, "lunch box", 1_290),
    (10, 10, "USB cable", 699),
    (9, 9, "bicycle light", 1_590),
    (8, 8, "thermos flask", 2_450),
    (7, 7, "water bottle", 990),
    (2, 55, "umbrella", 1_290),
    (1, 25, "rain jacket", 4_990),
];

/// When the rain begins.
const RAIN: i64 = START + 195 * MINUTE;

pub(super) fn files() -> Vec<DataFile> {
    let mut random = Random(20_260_318);
    let dry = PRODUCTS.map(|(often, _, name, price)| (often, (name, price)));
    let wet = PRODUCTS.map(|(_, often, name, price)| (often, (name, price)));
    let mut sales = Vec::new();
    let (mut time, mut order) = (START, 48_100);
    loop {
        time += SECOND + random.below(75 * SECOND);
        if time >= START + LENGTH {
            break;
        }
        order += 1;
        let arrival = time + usual_delay(&mut random);
        // One to three things an order.
        for _ in 0..*random.pick(&[(55, 1), (30, 2), (15, 3)]) {
            let (name, price) = random.pick(if time < RAIN { &dry } else { &wet });
            let quantity = random.pick(&[(80, 1), (15, 2), (5, 4)]);
            sales.push(Row {
                time,
                arrival,
                line: format!(
                    "{},{order},{name},{quantity},{}.{:02}\n",
                    iso(time),
                    price / 100,
                    price % 100
                ),
            });
        }
    }
    cut_by_arrival(&SALES, sales)
}
