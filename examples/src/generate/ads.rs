//! Advertisements that were shown, and the clicks on them: two streams that belong together.

use super::{
    arrival::{DataFile, Files, Row, cut_by_arrival, usual_delay},
    random::Random,
    time::{HOUR, MINUTE, SECOND, iso},
};

/// 2026-03-14T18:00:00Z, in milliseconds since 1970.
const START: i64 = 1_773_511_200_000;
const LENGTH: i64 = 2 * HOUR;

const IMPRESSIONS: Files = Files {
    name: "ads/impressions/impressions",
    ending: "csv",
    header: "shown_at,impression,campaign,site\n",
    start: START,
    length: LENGTH,
    each: 20 * MINUTE,
};

const CLICKS: Files = Files {
    name: "ads/clicks/clicks",
    ending: "csv",
    header: "clicked_at,clicked,button\n",
    ..IMPRESSIONS
};

/// How often a campaign is shown, its name, and how many of a thousand who see it click.
const CAMPAIGNS: [(i64, (&str, i64)); 4] = [
    (35, ("city-breaks", 110)),
    (30, ("phone-plans", 60)),
    (20, ("spring-shoes", 180)),
    (15, ("garden-tools", 90)),
];

const SITES: [(i64, &str); 4] = [
    (40, "news.example"),
    (25, "weather.example"),
    (20, "recipes.example"),
    (15, "chess.example"),
];

pub(super) fn files() -> Vec<DataFile> {
    let mut random = Random(20_260_316);
    let (mut impressions, mut clicks) = (Vec::new(), Vec::new());
    let mut time = START;
    let mut id = random.below(1_000_000);
    loop {
        time += 500 + random.below(13 * SECOND);
        id += 1 + random.below(40);
        if time >= START + LENGTH {
            break;
        }
        let &(campaign, rate) = random.pick(&CAMPAIGNS);
        let site = *random.pick(&SITES);
        // People who look up a recipe do not want to go elsewhere.
        let rate = if site == "recipes.example" {
            rate / 3
        } else {
            rate
        };
        impressions.push(Row {
            time,
            arrival: time + usual_delay(&mut random),
            line: format!("{},i{id:07},{campaign},{site}\n", iso(time)),
        });
        if random.below(1_000) < rate {
            clicks.push(click(time, id, &mut random));
        }
        if random.in_percent(1) {
            // A robot makes up numbers of impressions.
            let guess = id + 1 + random.below(1_000_000);
            clicks.push(click(time, guess, &mut random));
        }
    }
    let mut files = cut_by_arrival(&IMPRESSIONS, impressions);
    files.extend(cut_by_arrival(&CLICKS, clicks));
    files
}

fn click(shown: i64, id: i64, random: &mut Random) -> Row {
    // Most click within seconds; a few come back to the page, some of them after a quarter of an hour.
    let thought = match random.below(100) {
        0..75 => 2 * SECOND + random.below(40 * SECOND),
        75..95 => MINUTE + random.below(9 * MINUTE),
        _ => 15 * MINUTE + random.below(10 * MINUTE),
    };
    let time = shown + thought;
    let button = *random.pick(&[(80, "picture"), (20, "more")]);
    Row {
        time,
        arrival: time + usual_delay(random),
        line: format!("{},i{id:07},{button}\n", iso(time)),
    }
}
