//! Page views of a small shop's web site: who looks at which page, and where a visit began.

use super::{
    arrival::{DataFile, Files, Row, cut_by_arrival, usual_delay},
    random::Random,
    time::{HOUR, MINUTE, SECOND, iso},
};

/// 2026-03-14T08:00:00Z, in milliseconds since 1970.
const START: i64 = 1_773_475_200_000;
const LENGTH: i64 = 6 * HOUR;
const VISITORS: i64 = 130;

const VIEWS: Files = Files {
    name: "page_views/views",
    ending: "json",
    header: "",
    start: START,
    length: LENGTH,
    each: 45 * MINUTE,
};

/// Where a visit comes from, and on which page it begins.
const ENTRIES: [(i64, (&str, Page)); 6] = [
    (35, ("https://search.example/", Page::Product)),
    (20, ("", Page::Home)),
    (15, ("https://search.example/", Page::Home)),
    (12, ("https://mail.example/newsletter", Page::Offers)),
    (10, ("https://prices.example/", Page::Product)),
    (8, ("https://friends.example/", Page::Product)),
];

#[derive(Clone, Copy)]
enum Page {
    Home,
    Offers,
    List,
    Product,
    Cart,
    Checkout,
    Thanks,
    Gone,
}

impl Page {
    fn path(self, random: &mut Random) -> String {
        match self {
            Self::Home => "/".to_owned(),
            Self::Offers => "/offers".to_owned(),
            Self::List => "/products".to_owned(),
            Self::Product => format!("/products/{}", 1 + random.below(60)),
            Self::Cart => "/cart".to_owned(),
            Self::Checkout => "/checkout".to_owned(),
            Self::Thanks | Self::Gone => "/thanks".to_owned(),
        }
    }

    /// What people look at next.
    fn next(self, random: &mut Random) -> Self {
        *match self {
            Self::Home => random.pick(&[
                (30, Self::List),
                (25, Self::Product),
                (20, Self::Offers),
                (25, Self::Gone),
            ]),
            Self::Offers => random.pick(&[(60, Self::Product), (10, Self::List), (30, Self::Gone)]),
            Self::List => random.pick(&[(70, Self::Product), (10, Self::Home), (20, Self::Gone)]),
            Self::Product => random.pick(&[
                (40, Self::Product),
                (16, Self::List),
                (18, Self::Cart),
                (26, Self::Gone),
            ]),
            Self::Cart => {
                random.pick(&[(50, Self::Checkout), (30, Self::Product), (20, Self::Gone)])
            }
            Self::Checkout => random.pick(&[(80, Self::Thanks), (8, Self::Cart), (12, Self::Gone)]),
            Self::Thanks => random.pick(&[(20, Self::Home), (80, Self::Gone)]),
            Self::Gone => &Self::Gone,
        }
    }
}

pub(super) fn files() -> Vec<DataFile> {
    let mut random = Random(20_260_315);
    let mut views = Vec::new();
    for visitor in 1..=VISITORS {
        let mut time = START + random.below(LENGTH);
        while time < START + LENGTH {
            time = visit(visitor, time, &mut random, &mut views);
            // Some come back the same day, a few of them soon.
            time += *random.pick(&[(20, 40 * MINUTE), (40, 2 * HOUR), (40, LENGTH)])
                + random.below(HOUR);
        }
    }
    cut_by_arrival(&VIEWS, views)
}

/// One visit; the time at which it ends.
fn visit(visitor: i64, begin: i64, random: &mut Random, views: &mut Vec<Row>) -> i64 {
    let &(referrer, mut page) = random.pick(&ENTRIES);
    let (mut time, mut referrer) = (begin, referrer.to_owned());
    while !matches!(page, Page::Gone) && time < START + LENGTH {
        let path = page.path(random);
        views.push(Row {
            time,
            arrival: time + usual_delay(random),
            line: format!(
                "{{\"time\":\"{}\",\"visitor\":\"v-{visitor:03}\",\"page\":\"{path}\",\"referrer\":\"{referrer}\"}}\n",
                iso(time)
            ),
        });
        referrer = path;
        // Most look at a page for a minute or so; now and then someone is called away.
        time += *random.pick(&[(92, 4 * SECOND), (8, 9 * MINUTE)]);
        time += random.below(90 * SECOND);
        page = page.next(random);
    }
    time
}
