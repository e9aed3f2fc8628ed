//! What the benchmark asks: each query once over streams and once over finished tables.
//!
//! Both texts give the same columns of the same types. Over a finished table every window is closed, so the batch
//! answer of an append query has the rows that the stream still holds back when it ends, besides those it emitted.

use headwater_core::{Error, OutputMode, Result};

use crate::tables::Table;

/// Where a query's result goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Parquet files.
    Parquet,
    /// Nowhere: the rows are made and dropped.
    Noop,
}

/// One query of the benchmark.
#[derive(Debug, Clone, Copy)]
pub struct Query {
    /// The name on the command line and in the report.
    pub name: &'static str,
    /// The tables it reads.
    pub inputs: &'static [Table],
    /// The output mode of the streaming query.
    pub output_mode: OutputMode,
    /// Where the result goes.
    pub target: Target,
    /// SQL over streams named as the tables.
    pub stream: &'static str,
    /// What SQL cannot say: the rows of `stream` are dropped where these columns repeat within the watermark's delay.
    pub distinct_within_watermark: &'static [&'static str],
    /// SQL over finished tables.
    pub batch: &'static str,
}

/// The queries, in the order in which they run.
pub const QUERIES: [Query; 8] = [
    STATELESS, TUMBLING, SLIDING, SESSION, RUNNING, COMPLETE, JOIN, DEDUP,
];

/// The queries named, in that order; all of them if none is named.
///
/// # Errors
/// `Invalid` if there is no query of a name.
pub fn select(names: &[String]) -> Result<Vec<Query>> {
    if names.is_empty() {
        return Ok(QUERIES.to_vec());
    }
    names.iter().map(|name| find(name)).collect()
}

fn find(name: &str) -> Result<Query> {
    let found = QUERIES.into_iter().find(|query| query.name == name);
    found.ok_or_else(|| {
        let known: Vec<_> = QUERIES.iter().map(|query| query.name).collect();
        Error::invalid(format!(
            "no query is named {name}: use one of {}",
            known.join(", ")
        ))
    })
}

const BIDS_TO_FILES: Query = Query {
    name: "",
    inputs: &[Table::Bid],
    output_mode: OutputMode::Append,
    target: Target::Parquet,
    stream: "",
    distinct_within_watermark: &[],
    batch: "",
};

// The decimal is spelt out because a bare 0.908 is a decimal in Spark and a double in DataFusion.
const STATELESS_SQL: &str = "\
SELECT auction, bidder, price * CAST(0.908 AS DECIMAL(3, 3)) AS price_eur, date_time
FROM bid WHERE price > 1000";

const STATELESS: Query = Query {
    name: "stateless",
    stream: STATELESS_SQL,
    batch: STATELESS_SQL,
    ..BIDS_TO_FILES
};

const TUMBLING: Query = Query {
    name: "tumbling",
    stream: "\
SELECT window(date_time, '10 seconds') AS window, auction,
       count(*) AS bids, max(price) AS max_price, avg(price) AS avg_price
FROM bid WATERMARK date_time DELAY OF INTERVAL 4 SECONDS
GROUP BY window(date_time, '10 seconds'), auction",
    batch: "\
SELECT named_struct('start', w, 'end', w + INTERVAL '10 seconds') AS window, auction,
       count(*) AS bids, max(price) AS max_price, avg(price) AS avg_price
FROM (SELECT date_bin(INTERVAL '10 seconds', date_time) AS w, auction, price FROM bid)
GROUP BY w, auction",
    ..BIDS_TO_FILES
};

// Five passes with an origin each: subtracting intervals from the start of one window takes four times as long.
const SLIDING: Query = Query {
    name: "sliding",
    stream: "\
SELECT window(date_time, '10 seconds', '2 seconds') AS window, auction, count(*) AS bids
FROM bid WATERMARK date_time DELAY OF INTERVAL 4 SECONDS
GROUP BY window(date_time, '10 seconds', '2 seconds'), auction",
    batch: "\
SELECT named_struct('start', w, 'end', w + INTERVAL '10 seconds') AS window, auction, count(*) AS bids
FROM (SELECT date_bin(INTERVAL '10 seconds', date_time) AS w, auction FROM bid
      UNION ALL
      SELECT date_bin(INTERVAL '10 seconds', date_time, TIMESTAMP '1970-01-01 00:00:02'), auction FROM bid
      UNION ALL
      SELECT date_bin(INTERVAL '10 seconds', date_time, TIMESTAMP '1970-01-01 00:00:04'), auction FROM bid
      UNION ALL
      SELECT date_bin(INTERVAL '10 seconds', date_time, TIMESTAMP '1970-01-01 00:00:06'), auction FROM bid
      UNION ALL
      SELECT date_bin(INTERVAL '10 seconds', date_time, TIMESTAMP '1970-01-01 00:00:08'), auction FROM bid)
GROUP BY w, auction",
    ..BIDS_TO_FILES
};

// A bid that comes exactly at the end of a session still belongs to it.
const SESSION: Query = Query {
    name: "session",
    stream: "\
SELECT session_window(date_time, '10 seconds') AS session_window, bidder, count(*) AS bids
FROM bid WATERMARK date_time DELAY OF INTERVAL 4 SECONDS
GROUP BY session_window(date_time, '10 seconds'), bidder",
    batch: "\
SELECT named_struct('start', min(date_time), 'end', max(date_time) + INTERVAL '10 seconds') AS session_window,
       bidder, count(*) AS bids
FROM (SELECT bidder, date_time,
             sum(opens) OVER (PARTITION BY bidder ORDER BY date_time ROWS UNBOUNDED PRECEDING) AS session
      FROM (SELECT bidder, date_time,
                   CASE WHEN date_time <= lag(date_time) OVER (PARTITION BY bidder ORDER BY date_time)
                                          + INTERVAL '10 seconds' THEN 0 ELSE 1 END AS opens
            FROM bid))
GROUP BY bidder, session",
    ..BIDS_TO_FILES
};

const RUNNING_SQL: &str = "\
SELECT bidder, count(*) AS bids, sum(price) AS spent, max(price) AS max_price FROM bid GROUP BY bidder";

const RUNNING: Query = Query {
    name: "running",
    output_mode: OutputMode::Update,
    target: Target::Noop,
    stream: RUNNING_SQL,
    batch: RUNNING_SQL,
    ..BIDS_TO_FILES
};

const COMPLETE_SQL: &str =
    "SELECT channel, count(*) AS bids, avg(price) AS avg_price FROM bid GROUP BY channel";

const COMPLETE: Query = Query {
    name: "complete",
    output_mode: OutputMode::Complete,
    target: Target::Noop,
    stream: COMPLETE_SQL,
    batch: COMPLETE_SQL,
    ..BIDS_TO_FILES
};

const JOIN: Query = Query {
    name: "join",
    inputs: &[Table::Auction, Table::Bid],
    stream: "\
SELECT * FROM
  (SELECT id, category, date_time AS a_time, expires
   FROM auction WATERMARK date_time DELAY OF INTERVAL 4 SECONDS) AS a
JOIN
  (SELECT auction, price, date_time AS b_time
   FROM bid WATERMARK date_time DELAY OF INTERVAL 4 SECONDS) AS b
ON a.id = b.auction AND b_time >= a_time AND b_time <= a_time + INTERVAL 20 SECONDS",
    batch: "\
SELECT * FROM
  (SELECT id, category, date_time AS a_time, expires FROM auction) AS a
JOIN
  (SELECT auction, price, date_time AS b_time FROM bid) AS b
ON a.id = b.auction AND b_time >= a_time AND b_time <= a_time + INTERVAL '20 seconds'",
    ..BIDS_TO_FILES
};

// A finished table has no watermark to forget a key by, so the batch keeps one bid of each key for good.
// DISTINCT ON says the same, but aggregates row by row.
const DEDUP: Query = Query {
    name: "dedup",
    stream: "\
SELECT auction, bidder, price, date_time FROM bid WATERMARK date_time DELAY OF INTERVAL 4 SECONDS",
    distinct_within_watermark: &["auction", "bidder"],
    batch: "\
SELECT auction, bidder, first_value(price ORDER BY date_time) AS price, min(date_time) AS date_time
FROM bid GROUP BY auction, bidder",
    ..BIDS_TO_FILES
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_query_has_a_name_of_its_own_and_both_texts() {
        for query in QUERIES {
            assert_eq!(find(query.name).unwrap().stream, query.stream);
            assert!(!query.stream.is_empty() && !query.batch.is_empty());
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let error = select(&["q5".to_owned()]).unwrap_err();
        assert!(error.message().contains("tumbling"), "{error}");
    }
}
