//! What is compared, and how fast headwater is to be.
//!
//! The targets are ratios for two cores, with 20 million events in 40 files a table and four files a trigger.

use headwater_core::{Error, Result};

/// The data that a comparison runs over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataSet {
    /// Some large files a trigger.
    Large,
    /// One file of about 1,000 bids a trigger.
    Small,
}

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Figure {
    /// Rows read per second.
    Throughput,
    /// Median duration of a trigger.
    TriggerTime,
}

/// A query, what of its runs is compared, and the targets.
#[derive(Debug, Clone, Copy)]
pub struct Comparison {
    /// Its name on the command line and in the table.
    pub name: &'static str,
    /// The query that runs.
    pub query: &'static str,
    /// The data that it reads.
    pub data: DataSet,
    /// What is compared.
    pub figure: Figure,
    /// How many times better than Spark with its better store it is to be.
    pub times_spark: Option<f64>,
    /// Which share of the batch's throughput it is to have, if it is compared with the batch.
    pub of_batch: Option<f64>,
    /// Whether the order of rows within a trigger, which differs between engines, decides what comes out.
    pub order_decides: bool,
}

const THROUGHPUT: Comparison = Comparison {
    name: "",
    query: "",
    data: DataSet::Large,
    figure: Figure::Throughput,
    times_spark: None,
    of_batch: None,
    order_decides: false,
};

const fn throughput(name: &'static str, times_spark: f64, of_batch: Option<f64>) -> Comparison {
    Comparison {
        name,
        query: name,
        times_spark: Some(times_spark),
        of_batch,
        ..THROUGHPUT
    }
}

/// The comparisons, in the order in which they run.
pub const COMPARISONS: [Comparison; 9] = [
    throughput("stateless", 5.5, Some(0.9)),
    throughput("tumbling", 12.0, Some(0.8)),
    // The batch counts each row in five windows; panes need one pass.
    throughput("sliding", 12.0, Some(3.0)),
    throughput("session", 8.0, None),
    throughput("running", 6.0, Some(0.4)),
    throughput("complete", 10.0, Some(0.6)),
    throughput("join", 12.0, Some(0.6)),
    Comparison {
        order_decides: true,
        ..throughput("dedup", 8.0, Some(1.0))
    },
    Comparison {
        name: "small",
        query: "tumbling",
        data: DataSet::Small,
        figure: Figure::TriggerTime,
        ..throughput("", 40.0, None)
    },
];

/// The comparisons named, in that order; if none is named, all that the data allows.
///
/// # Errors
/// `Invalid` if a name is unknown, or asks for small files that are not given.
pub fn select(names: &[String], has_small: bool) -> Result<Vec<Comparison>> {
    let possible = |c: &Comparison| has_small || c.data != DataSet::Small;
    if names.is_empty() {
        return Ok(COMPARISONS.into_iter().filter(possible).collect());
    }
    names
        .iter()
        .map(|name| {
            let found = COMPARISONS.into_iter().find(|c| c.name == name);
            let found = found.ok_or_else(|| {
                let known: Vec<_> = COMPARISONS.iter().map(|c| c.name).collect();
                Error::invalid(format!(
                    "no comparison is named {name}: use one of {}",
                    known.join(", ")
                ))
            })?;
            if possible(&found) {
                Ok(found)
            } else {
                Err(Error::invalid(format!(
                    "comparison {name} needs a folder of small files: give it with --small"
                )))
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queries;

    #[test]
    fn every_comparison_runs_a_query_that_there_is() {
        for comparison in COMPARISONS {
            queries::select(&[comparison.query.to_owned()]).unwrap();
            assert!(comparison.times_spark.is_some(), "{}", comparison.name);
        }
    }

    #[test]
    fn small_triggers_need_small_files() {
        assert_eq!(select(&[], true).unwrap().len(), 9);
        assert_eq!(select(&[], false).unwrap().len(), 8);
        let error = select(&["small".to_owned()], false).unwrap_err();
        assert!(error.message().contains("--small"), "{error}");
        let error = select(&["q5".to_owned()], true).unwrap_err();
        assert!(error.message().contains("tumbling"), "{error}");
    }
}
