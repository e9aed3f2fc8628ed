//! From Kafka to Kafka and to Parquet, beside Spark on the same broker, and how long a message is on its way.
//!
//! `messages` says what is in the topic, [`queries`] what is asked. Each run of each engine is a process of its own
//! ([`stream`], and Spark's script); the engines take turns, and must come to the same number of rows.

mod latency;
mod messages;
pub mod queries;
pub mod stream;
mod throughput;
mod topics;

use std::path::PathBuf;

use clap::Args;
use headwater_core::{Clock, Error, Result};

use crate::{child, verdict};
use latency::Load;
use queries::{QUERIES, Query};
use throughput::Throughput;
use topics::Topics;

/// What `--query` calls the measurement of single messages.
const LATENCY: &str = "latency";

/// What to measure, against which broker.
#[derive(Debug, Args)]
pub struct KafkaArguments {
    /// The broker, as `scripts/kafka start` prints it.
    #[arg(long)]
    bootstrap: String,
    /// Messages in the topic.
    #[arg(long, default_value_t = 1_000_000)]
    messages: usize,
    /// Bytes of a message.
    #[arg(long, default_value_t = 1_000)]
    bytes: usize,
    /// Partitions of each topic.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(i32).range(1..))]
    partitions: i32,
    /// Messages of a trigger.
    #[arg(long, default_value_t = 100_000)]
    per_trigger: u64,
    /// What to measure, separated by commas: windows, parquet, latency; everything if not given.
    #[arg(long, value_delimiter = ',')]
    query: Vec<String>,
    /// Runs of each engine.
    #[arg(long, default_value_t = 3)]
    repeat: usize,
    /// A Python with pyspark, as `scripts/spark-env` prints; without it Spark is left out.
    #[arg(long, value_name = "PYTHON", requires = "spark_jars")]
    spark: Option<PathBuf>,
    /// A folder with Spark's connector, as `scripts/spark-kafka` prints.
    #[arg(long, value_name = "FOLDER")]
    spark_jars: Option<PathBuf>,
    /// Messages a second while single messages are timed.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// For how many seconds.
    #[arg(long, default_value_t = 30)]
    seconds: usize,
    /// The `headwater` command; the one beside this program if not given.
    #[arg(long)]
    headwater: Option<PathBuf>,
    /// Where to write the measurements, a line of JSON each; otherwise they go to standard error.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Measures what `arguments` ask for; the table of what was found.
///
/// # Errors
/// `Invalid` for a name that is none; `Unavailable` if broker, Spark or the command are not there; `Data` if the
/// engines disagree.
pub fn run(arguments: &KafkaArguments, clock: &dyn Clock) -> Result<String> {
    let (queries, with_latency) = select(&arguments.query)?;
    let headwater = match &arguments.headwater {
        Some(command) => command.clone(),
        None => child::beside_this("headwater")?,
    };
    let mut throughput = Throughput::prepare(arguments)?;
    let mut topics = Topics::on(&arguments.bootstrap, arguments.partitions, clock)?;
    let mut findings = Vec::new();
    if !queries.is_empty() {
        let topic = topics.make("bids")?;
        let bids = messages::bids(arguments.bytes).take(arguments.messages);
        topics.fill(&topic, bids)?;
        let found = topics.count(&topic)?;
        if found != arguments.messages as u64 {
            return Err(Error::data(format!(
                "topic {topic} was to have {} messages, and has {found}",
                arguments.messages
            )));
        }
        for query in queries {
            let found = throughput.measure(query, &topic, &mut topics)?;
            findings.extend(found.into_iter().map(|finding| (query.name, finding)));
        }
    }
    if with_latency {
        for exactly_once in [false, true] {
            let load = Load {
                rate: arguments.rate,
                messages: arguments.rate as usize * arguments.seconds,
                bytes: arguments.bytes,
                exactly_once,
            };
            let millis = latency::measure(&mut topics, &headwater, load, clock)?;
            let found = latency::judge(millis, exactly_once);
            findings.extend(found.into_iter().map(|finding| (LATENCY, finding)));
        }
    }
    Ok(verdict::table(
        "query",
        findings.iter().map(|(name, finding)| (*name, finding)),
    ))
}

/// The queries of these names, and whether the latency is to be measured; all if none is named.
fn select(names: &[String]) -> Result<(Vec<Query>, bool)> {
    if names.is_empty() {
        return Ok((QUERIES.to_vec(), true));
    }
    let queries = names.iter().filter(|name| *name != LATENCY);
    let queries: Result<Vec<Query>> = queries.map(|name| queries::named(name)).collect();
    Ok((queries?, names.iter().any(|name| name == LATENCY)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_measured_is_chosen_by_name() {
        let names = |names: &[&str]| {
            let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
            select(&names).map(|(queries, latency)| {
                let queries: Vec<_> = queries.iter().map(|query| query.name).collect();
                (queries, latency)
            })
        };
        assert_eq!(names(&[]).unwrap(), (vec!["windows", "parquet"], true));
        assert_eq!(names(&["parquet"]).unwrap(), (vec!["parquet"], false));
        assert_eq!(names(&["latency"]).unwrap(), (vec![], true));
        let error = names(&["window"]).unwrap_err().to_string();
        assert!(error.contains("windows, parquet, latency"), "{error}");
    }
}
