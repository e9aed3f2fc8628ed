//! Who is how fast, measured in one run: headwater, DataFusion over the same files as one batch, and Spark.
//!
//! Times on a shared machine say little, ratios within a run more: so the runs of the engines take turns, and each is a
//! process of its own, which begins with the same memory and caches as any other ([`mod@fetch`]). [`targets`] says what
//! is compared and what is wanted, [`schedule`] in which order, [`summary`] what follows from the measurements,
//! [`table`] how that is shown; these are pure. [`children`] runs the processes.

pub mod children;
pub mod fetch;
pub mod schedule;
pub mod summary;
pub mod table;
pub mod targets;

use std::{fs::File, io::Write, path::PathBuf};

use clap::Args;
use headwater_core::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::{report::Measurement, tables::Table};
use children::Children;
use schedule::Store;
use summary::Summary;
use targets::{Comparison, DataSet};

/// How to run Spark, for whoever has not.
const WITHOUT_SPARK: &str =
    "Spark was not measured: give its Python, `--spark $(scripts/spark-env)` (needs Java 17).";
/// The cores that the targets are for.
const CORES: usize = 2;

/// What to compare, and how often.
#[derive(Debug, Args)]
pub struct CompareArguments {
    /// A folder written by `data`: `--events 20000000 --files 40` is what the targets were set for.
    #[arg(long)]
    data: PathBuf,
    /// A folder with small files, for the time of small triggers: `--events 217400 --files 200`.
    #[arg(long)]
    small: Option<PathBuf>,
    /// A Python with pyspark, as `scripts/spark-env` prints; without it Spark is left out.
    #[arg(long, value_name = "PYTHON")]
    spark: Option<PathBuf>,
    /// Spark's state stores, separated by commas; the better one counts.
    #[arg(long, value_delimiter = ',', default_values_t = Store::ALL)]
    store: Vec<Store>,
    /// What to compare, separated by commas; everything if not given.
    #[arg(long, value_delimiter = ',')]
    query: Vec<String>,
    /// Files of each table that an epoch reads; of `--small` it is always one.
    #[arg(long, default_value_t = 4)]
    files_per_trigger: u32,
    /// Runs of headwater and of the batch.
    #[arg(long, default_value_t = 3)]
    repeat: usize,
    /// Runs of Spark with each store, each after a warm-up that is not counted.
    #[arg(long, default_value_t = 1)]
    spark_repeat: usize,
    /// Where to write the measurements, a line of JSON each; otherwise they go to standard error.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Print the table as Markdown.
    #[arg(long)]
    markdown: bool,
}

/// A measurement, and what it was made for: two comparisons may run the same query.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Line {
    /// The name of the comparison.
    pub comparison: String,
    /// What a run printed.
    #[serde(flatten)]
    pub measurement: Measurement,
}

/// Measures what `arguments` ask for and hands the table, line by line, to `print`.
///
/// # Errors
/// `Invalid` for unknown names and missing folders, before anything runs. A run that fails leaves its cells empty; the
/// table is printed all the same, and the failures are the error.
pub fn run(arguments: &CompareArguments, print: &mut dyn FnMut(&str)) -> Result<()> {
    let comparisons = targets::select(&arguments.query, arguments.small.is_some())?;
    let stores = match &arguments.spark {
        Some(_) => arguments.store.as_slice(),
        None => &[],
    };
    for comparison in &comparisons {
        data_of(comparison, arguments)?;
    }
    let mut log = Log::open(arguments)?;
    let children = Children::prepare(arguments.spark.as_deref())?;
    let (mut summaries, mut failures) = (Vec::new(), Vec::new());
    for comparison in &comparisons {
        let engines = schedule::engines(comparison, stores);
        let mut lines = Vec::new();
        for engine in schedule::turns(&engines, arguments.repeat, arguments.spark_repeat) {
            let input = data_of(comparison, arguments)?;
            let measured = children
                .fetch(comparison, &input)
                .and_then(|()| children.measure(engine, comparison, &input));
            match measured {
                Ok(measurement) => {
                    let line = Line {
                        comparison: comparison.name.to_owned(),
                        measurement,
                    };
                    log.write(&line)?;
                    lines.push(line.measurement);
                }
                Err(error) => {
                    log.failed(&error);
                    failures.push(error.to_string());
                }
            }
        }
        summaries.push(Summary::of(comparison, &lines));
    }
    let rows = table::cells(&summaries);
    let text = if arguments.markdown {
        table::markdown(&rows)
    } else {
        table::aligned(&rows)
    };
    print(&text);
    for note in notes(arguments, &comparisons) {
        print(&note);
    }
    if failures.is_empty() {
        Ok(())
    } else {
        Err(Error::unavailable(failures.join("\n")))
    }
}

/// Where a comparison reads and how much at once.
#[derive(Debug)]
pub struct Input {
    folder: PathBuf,
    files_per_trigger: u32,
}

fn data_of(comparison: &Comparison, arguments: &CompareArguments) -> Result<Input> {
    let input = match comparison.data {
        DataSet::Large => Input {
            folder: arguments.data.clone(),
            files_per_trigger: arguments.files_per_trigger,
        },
        DataSet::Small => Input {
            folder: arguments.small.clone().ok_or_else(|| {
                Error::invalid(format!(
                    "comparison {} needs small files: give --small DIR",
                    comparison.name
                ))
            })?,
            files_per_trigger: 1,
        },
    };
    if input.folder.join(Table::Bid.name()).is_dir() {
        Ok(input)
    } else {
        Err(Error::invalid(format!(
            "{} has no folder {}: write a data set with `headwater-bench data`",
            input.folder.display(),
            Table::Bid
        )))
    }
}

/// Under which conditions the table holds, and how to fill what is empty.
fn notes(arguments: &CompareArguments, comparisons: &[Comparison]) -> Vec<String> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut notes = vec![format!(
        "headwater {}, DataFusion {}; {cores} cores; medians of {} runs, of {} with Spark; {} files a trigger.",
        env!("CARGO_PKG_VERSION"),
        datafusion::DATAFUSION_VERSION,
        arguments.repeat,
        arguments.spark_repeat,
        arguments.files_per_trigger,
    )];
    if cores != CORES {
        notes.push(format!(
            "The targets are for {CORES} cores, and Spark and the batch use as many: run under `taskset -c 0,1`."
        ));
    }
    if arguments.spark.is_none() {
        notes.push(WITHOUT_SPARK.to_owned());
    }
    if arguments.query.is_empty() && comparisons.iter().all(|c| c.data != DataSet::Small) {
        notes.push(
            "Small triggers were not measured: give --small with a folder of small files."
                .to_owned(),
        );
    }
    notes
}

/// Where the measurements go as they come.
struct Log {
    file: Option<File>,
}

impl Log {
    fn open(arguments: &CompareArguments) -> Result<Self> {
        let open = |path: &PathBuf| {
            File::create(path).map_err(|e| {
                Error::unavailable(format!("cannot create {}", path.display())).with_source(e)
            })
        };
        Ok(Self {
            file: arguments.json.as_ref().map(open).transpose()?,
        })
    }

    fn write(&mut self, line: &Line) -> Result<()> {
        let text = serde_json::to_string(line)?;
        let Some(file) = &mut self.file else {
            eprintln!("{text}");
            return Ok(());
        };
        eprintln!(
            "{}: {} took {} s",
            line.comparison, line.measurement.engine, line.measurement.seconds
        );
        writeln!(file, "{text}")
            .map_err(|e| Error::unavailable("cannot write the measurements").with_source(e))
    }

    fn failed(&self, error: &Error) {
        eprintln!("{error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_it_was_measured_for_and_can_be_read_again() {
        let line = Line {
            comparison: "small".to_owned(),
            measurement: Measurement {
                engine: "headwater-0".to_owned(),
                rows_out: Some(3),
                ..Measurement::default()
            },
        };
        let text = serde_json::to_string(&line).unwrap();
        assert!(text.starts_with("{\"comparison\":\"small\",\"engine\":\"headwater-0\""));
        let again: Line = serde_json::from_str(&text).unwrap();
        assert_eq!(again.measurement.rows_out, Some(3));
    }
}
