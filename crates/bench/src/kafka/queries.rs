//! What is asked of a topic of bids in JSON, in headwater's words; `crates/bench/spark/kafka.py` has Spark's.

use headwater_core::{Error, Result};

/// The fields of a message.
pub const BID: &str = "auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, url STRING, \
                       date_time TIMESTAMP, extra STRING";

/// Where an answer goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// A topic.
    Topic,
    /// Parquet files.
    Parquet,
}

/// A query over the view `bids`.
#[derive(Debug, Clone, Copy)]
pub struct Query {
    /// The name on the command line, and in the table.
    pub name: &'static str,
    /// What is asked.
    pub asks: &'static str,
    /// In SQL.
    pub sql: &'static str,
    /// Where the answer goes.
    pub target: Target,
}

/// All queries.
pub const QUERIES: [Query; 2] = [
    Query {
        name: "windows",
        asks: "topic → bids of each auction in ten seconds → topic",
        sql: "SELECT CAST(auction AS STRING) AS key,
                     to_json(named_struct('start', start, 'auction', auction, 'bids', bids,
                                          'highest', highest, 'total', total)) AS value
              FROM (
                  SELECT window.start AS start, auction, count(*) AS bids, max(price) AS highest,
                         sum(price) AS total
                  FROM (SELECT * FROM bids WATERMARK date_time DELAY OF INTERVAL 4 SECONDS) AS timed
                  GROUP BY window(date_time, '10 seconds'), auction
              ) AS windows",
        target: Target::Topic,
    },
    Query {
        name: "parquet",
        asks: "topic → all fields → Parquet",
        sql: "SELECT * FROM bids",
        target: Target::Parquet,
    },
];

/// The view `bids` over the messages of a view `messages`.
pub fn bids_view() -> String {
    format!(
        "SELECT bid.auction AS auction, bid.bidder AS bidder, bid.price AS price, bid.channel AS channel,
                bid.url AS url, bid.date_time AS date_time, bid.extra AS extra
         FROM (SELECT from_json(value, '{BID}') AS bid FROM messages) AS parsed"
    )
}

/// The query of a name.
///
/// # Errors
/// `Invalid` if there is none.
pub fn named(name: &str) -> Result<Query> {
    let found = QUERIES.into_iter().find(|query| query.name == name);
    found.ok_or_else(|| {
        let known = QUERIES.map(|query| query.name).join(", ");
        Error::invalid(format!(
            "no measurement over a topic is named {name}: use one of {known}, latency"
        ))
    })
}
