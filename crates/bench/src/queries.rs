//! What the benchmark asks: each query once over streams and once over finished tables.
//!
//! Eight queries are compared with other engines, one of each kind of operator; [`suite`] has those of the public suite.
//!
//! Both texts give the same columns of the same types. Over a finished table every window is closed, so the batch
//! answer of an append query has the rows that the stream still holds back when it ends, besides those it emitted.

pub mod suite;

use headwater_core::{Error, OutputMode, Result};

use crate::tables::Table;

/// Where a query's result goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Parquet files.
    Parquet,
    /// Parquet files, a folder for each value of the columns.
    PartitionedParquet(&'static [&'static str]),
    /// Nowhere: the rows are made and dropped.
    Noop,
}

/// One query of the benchmark.
#[derive(Debug, Clone, Copy)]
pub struct Query {
    /// The name on the command line and in the report.
    pub name: &'static str,
    /// What it asks.
    pub asks: &'static str,
    /// The tables it reads.
    pub inputs: &'static [Table],
    /// Whether it reads the static table [`side_input`](crate::side_input) too.
    pub side_input: bool,
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

/// The queries that are compared with other engines, in the order in which they run.
pub const QUERIES: [Query; 8] = [
    STATELESS, TUMBLING, SLIDING, SESSION, RUNNING, COMPLETE, JOIN, DEDUP,
];

/// Stands for all queries of the public suite.
const ALL_OF_SUITE: &str = "suite";

/// The queries named, in that order; those that are compared with other engines if none is named.
///
/// # Errors
/// `Invalid` if there is no query of a name.
pub fn select(names: &[String]) -> Result<Vec<Query>> {
    if names.is_empty() {
        return Ok(QUERIES.to_vec());
    }
    let mut selected = Vec::new();
    for name in names {
        if name == ALL_OF_SUITE {
            selected.extend(suite::SUITE.iter().map(|query| query.query));
        } else {
            selected.push(find(name)?);
        }
    }
    Ok(selected)
}

fn find(name: &str) -> Result<Query> {
    let found = all().find(|query| query.name == name);
    found.ok_or_else(|| {
        let known: Vec<_> = all().map(|query| query.name).collect();
        Error::invalid(format!(
            "no query is named {name}: use one of {}, or {ALL_OF_SUITE}",
            known.join(", ")
        ))
    })
}

/// Every query there is.
fn all() -> impl Iterator<Item = Query> {
    let suite = suite::SUITE.iter().map(|query| query.query);
    QUERIES.into_iter().chain(suite)
}

/// The queries and what they ask as a table of Markdown, with what differs from the public suite.
pub fn list() -> String {
    let mut lines = vec![
        "| query | asks | differs from the suite |".to_owned(),
        "| --- | --- | --- |".to_owned(),
    ];
    let own = QUERIES.iter().map(|query| (query, ""));
    let suite = suite::SUITE
        .iter()
        .map(|query| (&query.query, query.differs.unwrap_or("")));
    lines.extend(
        own.chain(suite)
            .map(|(query, differs)| format!("| {} | {} | {differs} |", query.name, query.asks)),
    );
    lines.join("\n")
}

const BIDS_TO_FILES: Query = Query {
    name: "",
    asks: "",
    inputs: &[Table::Bid],
    side_input: false,
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
    asks: "bids above a price, in another currency",
    stream: STATELESS_SQL,
    batch: STATELESS_SQL,
    ..BIDS_TO_FILES
};

const TUMBLING: Query = Query {
    name: "tumbling",
    asks: "bids on each auction in each 10 seconds, with the highest and the average price",
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

// Each row is expanded into its five windows, as engines without slices do. Durations, because intervals are slow to
// subtract. Five passes over the table, each with windows of another origin, are answered twice as fast.
const SLIDING: Query = Query {
    name: "sliding",
    asks: "bids on each auction in the last 10 seconds, every 2 seconds",
    stream: "\
SELECT window(date_time, '10 seconds', '2 seconds') AS window, auction, count(*) AS bids
FROM bid WATERMARK date_time DELAY OF INTERVAL 4 SECONDS
GROUP BY window(date_time, '10 seconds', '2 seconds'), auction",
    batch: "\
SELECT named_struct('start', w, 'end', w + INTERVAL '10 seconds') AS window, auction, count(*) AS bids
FROM (SELECT date_bin(INTERVAL '2 seconds', date_time) - arrow_cast(back * 1000000, 'Duration(Microsecond)') AS w, auction
      FROM (VALUES (0), (2), (4), (6), (8)) AS earlier (back) CROSS JOIN bid)
GROUP BY w, auction",
    ..BIDS_TO_FILES
};

// A bid that comes exactly at the end of a session still belongs to it.
const SESSION: Query = Query {
    name: "session",
    asks: "bids of each bidder in each session",
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
    asks: "bids, total and highest price of each bidder, whenever they change",
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
    asks: "bids and average price of each channel, all of them each time",
    output_mode: OutputMode::Complete,
    target: Target::Noop,
    stream: COMPLETE_SQL,
    batch: COMPLETE_SQL,
    ..BIDS_TO_FILES
};

const JOIN: Query = Query {
    name: "join",
    asks: "auctions with the bids of their first 20 seconds",
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

// A finished table has no watermark to forget a key by, and no order of arrival: the batch has a row for each key, with
// the least of the other columns in place of the first bid's. It is the least that a batch can do for as many rows of the
// same columns, and a limit rather than an answer; that the stream's rows are the first bids is tested.
const DEDUP: Query = Query {
    name: "dedup",
    asks: "the first bid of each bidder on each auction within the watermark's delay",
    stream: "\
SELECT auction, bidder, price, date_time FROM bid WATERMARK date_time DELAY OF INTERVAL 4 SECONDS",
    distinct_within_watermark: &["auction", "bidder"],
    batch: "\
SELECT auction, bidder, min(price) AS price, min(date_time) AS date_time
FROM bid GROUP BY auction, bidder",
    ..BIDS_TO_FILES
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_query_has_a_name_of_its_own_and_both_texts() {
        for query in all() {
            assert_eq!(find(query.name).unwrap().stream, query.stream);
            assert!(!query.stream.is_empty() && !query.batch.is_empty());
            assert!(!query.asks.is_empty(), "{}", query.name);
        }
    }

    #[test]
    fn the_suite_is_selected_by_its_queries_or_as_a_whole() {
        let names = |selected: &[&str]| {
            let selected: Vec<_> = selected.iter().map(|name| (*name).to_owned()).collect();
            let queries = select(&selected).unwrap();
            queries.iter().map(|query| query.name).collect::<Vec<_>>()
        };
        assert_eq!(names(&["q7", "join"]), ["q7", "join"]);
        let suite: Vec<_> = (0..23).map(|i| format!("q{i}")).collect();
        assert_eq!(names(&["suite"]), suite);
        assert_eq!(names(&[]).len(), 8);
    }

    #[test]
    fn the_page_about_measurements_has_the_list() {
        let page = include_str!("../../../docs/benchmarks.md");
        assert!(page.contains(&list()), "put this in:\n{}", list());
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let error = select(&["q23".to_owned()]).unwrap_err();
        assert!(error.message().contains("tumbling"), "{error}");
    }
}
