//! Totals for ever, given out whenever they change. Their first columns are the key.

use super::{SuiteQuery, named, same_text, updates};
use crate::{queries::Query, tables::Table};

const BID: &[Table] = &[Table::Bid];

pub(super) const Q15: SuiteQuery = SuiteQuery {
    query: updates(same_text(
        named(
            "q15",
            "bids, bidders and auctions of each day, by price",
            BID,
        ),
        "\
SELECT to_char(date_time, '%Y-%m-%d') AS day,
       count(*) AS total_bids,
       count(*) FILTER (WHERE price < 10000) AS rank1_bids,
       count(*) FILTER (WHERE price >= 10000 AND price < 1000000) AS rank2_bids,
       count(*) FILTER (WHERE price >= 1000000) AS rank3_bids,
       count(DISTINCT bidder) AS total_bidders,
       count(DISTINCT bidder) FILTER (WHERE price < 10000) AS rank1_bidders,
       count(DISTINCT bidder) FILTER (WHERE price >= 10000 AND price < 1000000) AS rank2_bidders,
       count(DISTINCT bidder) FILTER (WHERE price >= 1000000) AS rank3_bidders,
       count(DISTINCT auction) AS total_auctions,
       count(DISTINCT auction) FILTER (WHERE price < 10000) AS rank1_auctions,
       count(DISTINCT auction) FILTER (WHERE price >= 10000 AND price < 1000000) AS rank2_auctions,
       count(DISTINCT auction) FILTER (WHERE price >= 1000000) AS rank3_auctions
FROM bid GROUP BY to_char(date_time, '%Y-%m-%d')",
    )),
    differs: None,
};

pub(super) const Q16: SuiteQuery = SuiteQuery {
    query: updates(same_text(
        named(
            "q16",
            "bids, bidders and auctions of each channel and day, by price",
            BID,
        ),
        "\
SELECT channel, to_char(date_time, '%Y-%m-%d') AS day,
       max(to_char(date_time, '%H:%M')) AS minute,
       count(*) AS total_bids,
       count(*) FILTER (WHERE price < 10000) AS rank1_bids,
       count(*) FILTER (WHERE price >= 10000 AND price < 1000000) AS rank2_bids,
       count(*) FILTER (WHERE price >= 1000000) AS rank3_bids,
       count(DISTINCT bidder) AS total_bidders,
       count(DISTINCT bidder) FILTER (WHERE price < 10000) AS rank1_bidders,
       count(DISTINCT bidder) FILTER (WHERE price >= 10000 AND price < 1000000) AS rank2_bidders,
       count(DISTINCT bidder) FILTER (WHERE price >= 1000000) AS rank3_bidders,
       count(DISTINCT auction) AS total_auctions,
       count(DISTINCT auction) FILTER (WHERE price < 10000) AS rank1_auctions,
       count(DISTINCT auction) FILTER (WHERE price >= 10000 AND price < 1000000) AS rank2_auctions,
       count(DISTINCT auction) FILTER (WHERE price >= 1000000) AS rank3_auctions
FROM bid GROUP BY channel, to_char(date_time, '%Y-%m-%d')",
    )),
    differs: None,
};

pub(super) const Q17: SuiteQuery = SuiteQuery {
    query: updates(same_text(
        named("q17", "bids and prices of each auction and day", BID),
        "\
SELECT auction, to_char(date_time, '%Y-%m-%d') AS day,
       count(*) AS total_bids,
       count(*) FILTER (WHERE price < 10000) AS rank1_bids,
       count(*) FILTER (WHERE price >= 10000 AND price < 1000000) AS rank2_bids,
       count(*) FILTER (WHERE price >= 1000000) AS rank3_bids,
       min(price) AS min_price, max(price) AS max_price, avg(price) AS avg_price, sum(price) AS sum_price
FROM bid GROUP BY auction, to_char(date_time, '%Y-%m-%d')",
    )),
    differs: None,
};

// Bids of the same millisecond are told apart by their price, then by the rest.
pub(super) const Q18: SuiteQuery = SuiteQuery {
    query: updates(Query {
        stream: "\
SELECT bidder, auction, latest['price'] AS price, latest['channel'] AS channel, latest['url'] AS url,
       latest['date_time'] AS date_time, latest['extra'] AS extra
FROM (SELECT bidder, auction,
             max(named_struct('date_time', date_time, 'price', price, 'channel', channel, 'url', url, 'extra', extra))
               AS latest
      FROM bid GROUP BY bidder, auction)",
        batch: "\
SELECT bidder, auction, price, channel, url, date_time, extra
FROM (SELECT *, row_number() OVER (PARTITION BY bidder, auction
                                   ORDER BY date_time DESC, price DESC, channel DESC, url DESC, extra DESC) AS place
      FROM bid)
WHERE place = 1",
        ..named("q18", "the last bid of each bidder on each auction", BID)
    }),
    differs: None,
};

pub(super) const Q19: SuiteQuery = SuiteQuery {
    query: updates(same_text(
        named("q19", "the ten highest bids on each auction", BID),
        "\
SELECT auction, array_slice(array_sort(prices, 'DESC'), 1, 10) AS prices
FROM (SELECT auction, array_agg(price) AS prices FROM bid GROUP BY auction)",
    )),
    differs: Some(
        "their prices as a list, one row an auction, with all prices in state: ranks within a key are no aggregate",
    ),
};
