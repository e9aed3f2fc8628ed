//! Queries that answer row by row: bids projected, filtered, computed with, enriched.

use super::{SuiteQuery, named, same_text};
use crate::{
    queries::{Query, Target},
    tables::Table,
};

const BID: &[Table] = &[Table::Bid];

pub(super) const Q0: SuiteQuery = SuiteQuery {
    query: same_text(
        named("q0", "every bid as it is", BID),
        "SELECT auction, bidder, price, date_time, extra FROM bid",
    ),
    differs: None,
};

pub(super) const Q1: SuiteQuery = SuiteQuery {
    query: same_text(
        named("q1", "prices in another currency", BID),
        "SELECT auction, bidder, price * CAST(0.908 AS DECIMAL(3, 3)) AS price, date_time, extra FROM bid",
    ),
    differs: None,
};

pub(super) const Q2: SuiteQuery = SuiteQuery {
    query: same_text(
        named("q2", "the bids on some auctions", BID),
        "SELECT auction, price FROM bid WHERE auction % 123 = 0",
    ),
    differs: None,
};

pub(super) const Q10: SuiteQuery = SuiteQuery {
    query: Query {
        target: Target::PartitionedParquet(&["dt", "hm"]),
        ..same_text(
            named(
                "q10",
                "every bid into files, a folder for each day and minute",
                BID,
            ),
            "\
SELECT auction, bidder, price, date_time, extra,
       to_char(date_time, '%Y-%m-%d') AS dt, to_char(date_time, '%H:%M') AS hm
FROM bid",
        )
    },
    differs: Some(
        "the files are Parquet, not CSV, and are there with their epoch's commit, not when the minute has passed",
    ),
};

pub(super) const Q13: SuiteQuery = SuiteQuery {
    query: Query {
        side_input: true,
        ..same_text(
            named(
                "q13",
                "bids with a value from a static table of 10,000 keys",
                BID,
            ),
            "\
SELECT b.auction, b.bidder, b.price, b.date_time, s.value
FROM bid AS b JOIN side_input AS s ON b.auction % 10000 = s.key",
        )
    },
    differs: None,
};

// Counts the letter c by what its removal takes away.
pub(super) const Q14: SuiteQuery = SuiteQuery {
    query: same_text(
        named("q14", "bids between two prices, with the time of day and how many letters c they have", BID),
        "\
SELECT auction, bidder, price * CAST(0.908 AS DECIMAL(3, 3)) AS price,
       CASE WHEN date_part('hour', date_time) >= 8 AND date_part('hour', date_time) <= 18 THEN 'dayTime'
            WHEN date_part('hour', date_time) <= 6 OR date_part('hour', date_time) >= 20 THEN 'nightTime'
            ELSE 'otherTime' END AS bid_time_type,
       date_time, extra,
       character_length(extra) - character_length(replace(extra, 'c', '')) AS c_counts
FROM bid
WHERE price * CAST(0.908 AS DECIMAL(3, 3)) > 1000000 AND price * CAST(0.908 AS DECIMAL(3, 3)) < 50000000",
    ),
    differs: None,
};

pub(super) const Q21: SuiteQuery = SuiteQuery {
    query: same_text(
        named(
            "q21",
            "bids with the number of their channel, by name or from the address",
            BID,
        ),
        "\
SELECT auction, bidder, price, channel,
       CASE WHEN lower(channel) = 'apple' THEN '0'
            WHEN lower(channel) = 'google' THEN '1'
            WHEN lower(channel) = 'facebook' THEN '2'
            WHEN lower(channel) = 'baidu' THEN '3'
            ELSE array_element(regexp_match(url, '(&|^)channel_id=([^&]*)'), 2) END AS channel_id
FROM bid
WHERE regexp_match(url, '(&|^)channel_id=([^&]*)') IS NOT NULL
   OR lower(channel) IN ('apple', 'google', 'facebook', 'baidu')",
    ),
    differs: None,
};

pub(super) const Q22: SuiteQuery = SuiteQuery {
    query: same_text(
        named("q22", "the parts of the address of each bid", BID),
        "\
SELECT auction, bidder, price, channel,
       split_part(url, '/', 4) AS dir1, split_part(url, '/', 5) AS dir2, split_part(url, '/', 6) AS dir3
FROM bid",
    ),
    differs: None,
};
