//! Queries that join bids or people to auctions.
//!
//! The suite's winning bid of an auction is the highest until it expires. A stream must know when it has seen the last
//! one: the joins say that it comes within 20 seconds of the opening, which holds for all generated auctions, and the
//! watermark behind the window of the opening tells when it is final.

use super::{SuiteQuery, named, same_text};
use crate::{queries::Query, tables::Table};

const AUCTION_PERSON: &[Table] = &[Table::Auction, Table::Person];
const AUCTION_BID: &[Table] = &[Table::Auction, Table::Bid];

pub(super) const Q3: SuiteQuery = SuiteQuery {
    query: same_text(
        named(
            "q3",
            "who sells in three states in a category",
            AUCTION_PERSON,
        ),
        "\
SELECT p.name, p.city, p.state, a.id
FROM auction AS a JOIN person AS p ON a.seller = p.id
WHERE a.category = 10 AND upper(p.state) IN ('OR', 'ID', 'CA')",
    ),
    differs: None,
};

pub(super) const Q4: SuiteQuery = SuiteQuery {
    query: Query {
        stream: "\
SELECT category, avg(final) AS final
FROM (SELECT window(a_time, '10 seconds') AS w, id, category, max(price) AS final
      FROM (SELECT a.id, a.category, a.date_time AS a_time, b.price
            FROM (SELECT * FROM auction) WATERMARK date_time DELAY OF INTERVAL 4 SECONDS AS a
            JOIN (SELECT * FROM bid) WATERMARK date_time DELAY OF INTERVAL 4 SECONDS AS b
            ON a.id = b.auction AND b.date_time >= a.date_time AND b.date_time <= a.date_time + INTERVAL 20 SECONDS
               AND b.date_time <= a.expires)
      GROUP BY window(a_time, '10 seconds'), id, category)
GROUP BY w, category",
        batch: "\
SELECT category, avg(final) AS final
FROM (SELECT date_bin(INTERVAL '10 seconds', a.date_time) AS w, a.id, a.category, max(b.price) AS final
      FROM auction AS a JOIN bid AS b
      ON a.id = b.auction AND b.date_time >= a.date_time AND b.date_time <= a.expires
      GROUP BY date_bin(INTERVAL '10 seconds', a.date_time), a.id, a.category)
GROUP BY w, category",
        ..named("q4", "the average winning bid of each category", AUCTION_BID)
    },
    differs: Some(
        "one average for the auctions opened in each 10 seconds: an average of maxima that still grow would have to be corrected",
    ),
};

pub(super) const Q6: SuiteQuery = SuiteQuery {
    query: Query {
        stream: "\
SELECT seller, avg(final) AS avg_price
FROM (SELECT window(a_time, '10 seconds') AS w, id, seller, max(price) AS final
      FROM (SELECT a.id, a.seller, a.date_time AS a_time, b.price
            FROM (SELECT * FROM auction) WATERMARK date_time DELAY OF INTERVAL 4 SECONDS AS a
            JOIN (SELECT * FROM bid) WATERMARK date_time DELAY OF INTERVAL 4 SECONDS AS b
            ON a.id = b.auction AND b.date_time >= a.date_time AND b.date_time <= a.date_time + INTERVAL 20 SECONDS
               AND b.date_time <= a.expires)
      GROUP BY window(a_time, '10 seconds'), id, seller)
GROUP BY w, seller",
        batch: "\
SELECT seller, avg(final) AS avg_price
FROM (SELECT date_bin(INTERVAL '10 seconds', a.date_time) AS w, a.id, a.seller, max(b.price) AS final
      FROM auction AS a JOIN bid AS b
      ON a.id = b.auction AND b.date_time >= a.date_time AND b.date_time <= a.expires
      GROUP BY date_bin(INTERVAL '10 seconds', a.date_time), a.id, a.seller)
GROUP BY w, seller",
        ..named("q6", "the average winning bid of each seller's last ten auctions", AUCTION_BID)
    },
    differs: Some(
        "over the auctions that the seller opened in each 10 seconds: the last ten rows of a key are no window of time",
    ),
};

pub(super) const Q9: SuiteQuery = SuiteQuery {
    query: Query {
        stream: "\
SELECT id, item_name, description, initial_bid, reserve, a_time AS date_time, expires, seller, category, extra,
       won['bidder'] AS bidder, won['price'] AS price, won['b_time'] AS bid_date_time, won['b_extra'] AS bid_extra
FROM (SELECT id, item_name, description, initial_bid, reserve, a_time, expires, seller, category, extra,
             first_value(named_struct('bidder', bidder, 'price', price, 'b_time', b_time, 'b_extra', b_extra)
                         ORDER BY price DESC, b_time, bidder) AS won
      FROM (SELECT a.id, a.item_name, a.description, a.initial_bid, a.reserve, a.date_time AS a_time, a.expires,
                   a.seller, a.category, a.extra, b.bidder, b.price, b.date_time AS b_time, b.extra AS b_extra
            FROM (SELECT * FROM auction) WATERMARK date_time DELAY OF INTERVAL 4 SECONDS AS a
            JOIN (SELECT * FROM bid) WATERMARK date_time DELAY OF INTERVAL 4 SECONDS AS b
            ON a.id = b.auction AND b.date_time >= a.date_time AND b.date_time <= a.date_time + INTERVAL 20 SECONDS
               AND b.date_time <= a.expires)
      GROUP BY window(a_time, '10 seconds'),
               id, item_name, description, initial_bid, reserve, a_time, expires, seller, category, extra)",
        batch: "\
SELECT id, item_name, description, initial_bid, reserve, date_time, expires, seller, category, extra,
       bidder, price, bid_date_time, bid_extra
FROM (SELECT a.*, b.bidder, b.price, b.date_time AS bid_date_time, b.extra AS bid_extra,
             row_number() OVER (PARTITION BY a.id ORDER BY b.price DESC, b.date_time, b.bidder) AS place
      FROM auction AS a JOIN bid AS b
      ON a.id = b.auction AND b.date_time >= a.date_time AND b.date_time <= a.expires)
WHERE place = 1",
        ..named("q9", "the winning bid of each auction", AUCTION_BID)
    },
    differs: Some(
        "each winner comes once, when the auction is over, where the suite gives out every leader",
    ),
};

pub(super) const Q20: SuiteQuery = SuiteQuery {
    query: same_text(
        named("q20", "bids with their auctions, in a category", AUCTION_BID),
        "\
SELECT b.auction, b.bidder, b.price, b.channel, b.url, b.date_time AS bid_date_time, b.extra AS bid_extra,
       a.item_name, a.description, a.initial_bid, a.reserve, a.date_time AS auction_date_time, a.expires, a.seller,
       a.category, a.extra AS auction_extra
FROM bid AS b JOIN auction AS a ON b.auction = a.id
WHERE a.category = 10",
    ),
    differs: None,
};
