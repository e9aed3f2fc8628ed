//! Queries over windows of time: tumbling, sliding, sessions, and windows of the clock.

use super::{SuiteQuery, named, same_text, updates};
use crate::{queries::Query, tables::Table};

const BID: &[Table] = &[Table::Bid];

pub(super) const Q5: SuiteQuery = SuiteQuery {
    query: Query {
        stream: "\
SELECT c.auction, c.num
FROM (SELECT window(date_time, '10 seconds', '2 seconds') AS w, auction, count(*) AS num
      FROM bid WATERMARK date_time DELAY OF INTERVAL 4 SECONDS
      GROUP BY window(date_time, '10 seconds', '2 seconds'), auction) AS c
JOIN (SELECT w, max(num) AS max_num
      FROM (SELECT window(date_time, '10 seconds', '2 seconds') AS w, auction, count(*) AS num
            FROM bid WATERMARK date_time DELAY OF INTERVAL 4 SECONDS
            GROUP BY window(date_time, '10 seconds', '2 seconds'), auction)
      GROUP BY w) AS m
ON c.w = m.w AND c.num >= m.max_num",
        batch: "\
WITH counts AS (
  SELECT w, auction, count(*) AS num
  FROM (SELECT date_bin(INTERVAL '10 seconds', date_time) AS w, auction FROM bid
        UNION ALL
        SELECT date_bin(INTERVAL '10 seconds', date_time, TIMESTAMP '1970-01-01 00:00:02'), auction FROM bid
        UNION ALL
        SELECT date_bin(INTERVAL '10 seconds', date_time, TIMESTAMP '1970-01-01 00:00:04'), auction FROM bid
        UNION ALL
        SELECT date_bin(INTERVAL '10 seconds', date_time, TIMESTAMP '1970-01-01 00:00:06'), auction FROM bid
        UNION ALL
        SELECT date_bin(INTERVAL '10 seconds', date_time, TIMESTAMP '1970-01-01 00:00:08'), auction FROM bid)
  GROUP BY w, auction)
SELECT c.auction, c.num
FROM counts AS c
JOIN (SELECT w, max(num) AS max_num FROM counts GROUP BY w) AS m ON c.w = m.w AND c.num >= m.max_num",
        ..named("q5", "the auctions with most bids in the last 10 seconds, every 2 seconds", BID)
    },
    differs: None,
};

// A row's window is told by its last instant, a microsecond before its end. The suite's range includes the end.
pub(super) const Q7: SuiteQuery = SuiteQuery {
    query: Query {
        stream: "\
SELECT b.auction, b.bidder, b.price, b.date_time, b.extra
FROM (SELECT * FROM bid) WATERMARK date_time DELAY OF INTERVAL 4 SECONDS AS b
JOIN (SELECT window_time(w) AS last_instant, max_price
      FROM (SELECT window(date_time, '10 seconds') AS w, max(price) AS max_price
            FROM bid WATERMARK date_time DELAY OF INTERVAL 4 SECONDS
            GROUP BY window(date_time, '10 seconds'))) AS m
ON b.price = m.max_price
AND b.date_time >= m.last_instant - INTERVAL '9999999 microseconds' AND b.date_time <= m.last_instant + INTERVAL '1 microsecond'",
        batch: "\
SELECT b.auction, b.bidder, b.price, b.date_time, b.extra
FROM bid AS b
JOIN (SELECT w, max(price) AS max_price
      FROM (SELECT date_bin(INTERVAL '10 seconds', date_time) AS w, price FROM bid)
      GROUP BY w) AS m
ON b.price = m.max_price AND b.date_time >= m.w AND b.date_time <= m.w + INTERVAL '10 seconds'",
        ..named("q7", "the highest bids of each 10 seconds", BID)
    },
    differs: None,
};

pub(super) const Q8: SuiteQuery = SuiteQuery {
    query: Query {
        stream: "\
SELECT p.id, p.name, p.w.start AS starttime
FROM (SELECT window(date_time, '10 seconds') AS w, id, name
      FROM person WATERMARK date_time DELAY OF INTERVAL 4 SECONDS
      GROUP BY window(date_time, '10 seconds'), id, name) AS p
JOIN (SELECT window(date_time, '10 seconds') AS w, seller
      FROM auction WATERMARK date_time DELAY OF INTERVAL 4 SECONDS
      GROUP BY window(date_time, '10 seconds'), seller) AS a
ON p.id = a.seller AND p.w = a.w",
        batch: "\
SELECT p.id, p.name, p.w AS starttime
FROM (SELECT DISTINCT date_bin(INTERVAL '10 seconds', date_time) AS w, id, name FROM person) AS p
JOIN (SELECT DISTINCT date_bin(INTERVAL '10 seconds', date_time) AS w, seller FROM auction) AS a
ON p.id = a.seller AND p.w = a.w",
        ..named(
            "q8",
            "who registered and opened an auction within the same 10 seconds",
            &[Table::Person, Table::Auction],
        )
    },
    differs: None,
};

pub(super) const Q11: SuiteQuery = SuiteQuery {
    query: Query {
        stream: "\
SELECT bidder, bid_count, w.start AS starttime, w.end AS endtime
FROM (SELECT session_window(date_time, '10 seconds') AS w, bidder, count(*) AS bid_count
      FROM bid WATERMARK date_time DELAY OF INTERVAL 4 SECONDS
      GROUP BY session_window(date_time, '10 seconds'), bidder)",
        batch: "\
SELECT bidder, count(*) AS bid_count, min(date_time) AS starttime, max(date_time) + INTERVAL '10 seconds' AS endtime
FROM (SELECT bidder, date_time,
             sum(opens) OVER (PARTITION BY bidder ORDER BY date_time ROWS UNBOUNDED PRECEDING) AS session
      FROM (SELECT bidder, date_time,
                   CASE WHEN date_time <= lag(date_time) OVER (PARTITION BY bidder ORDER BY date_time)
                                          + INTERVAL '10 seconds' THEN 0 ELSE 1 END AS opens
            FROM bid))
GROUP BY bidder, session",
        ..named("q11", "how many bids each bidder makes in a session", BID)
    },
    differs: None,
};

// Over finished tables the clock stands still, and there is one window.
pub(super) const Q12: SuiteQuery = SuiteQuery {
    query: updates(same_text(
        named(
            "q12",
            "how many bids each bidder makes in 10 seconds of the clock",
            BID,
        ),
        "\
SELECT bidder, date_bin(INTERVAL '10 seconds', now()) AS starttime, count(*) AS bid_count
FROM bid GROUP BY bidder, date_bin(INTERVAL '10 seconds', now())",
    )),
    differs: Some(
        "a row's time is its epoch's; the clock closes no window, so counts come as updates and stay in state",
    ),
};
