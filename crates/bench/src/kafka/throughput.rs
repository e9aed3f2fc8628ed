//! Who is how fast over a topic that is full.

use std::{fs::File, io::Write, path::Path, process::Command};

use headwater_core::{Error, Result};

use super::{
    KafkaArguments,
    queries::{Query, Target},
    stream::Run,
    topics::Topics,
};
use crate::{
    child::{self, Script},
    nexmark::parquet_rows,
    report::{Measurement, median},
    verdict::{self, Finding},
};

/// What Spark runs; `crates/bench/spark/kafka.py`.
const SPARK_SCRIPT: &str = include_str!("../../spark/kafka.py");
/// Times as fast as Spark.
const LEAST_RATIO: f64 = 4.0;

/// Who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Engine {
    Headwater,
    /// The same with a sink that is exactly once.
    ExactlyOnce,
    Spark,
}

/// Runs engines in turns.
pub(super) struct Throughput<'a> {
    arguments: &'a KafkaArguments,
    spark: Option<(Script, &'a Path)>,
    lines: Option<File>,
}

impl<'a> Throughput<'a> {
    pub(super) fn prepare(arguments: &'a KafkaArguments) -> Result<Self> {
        let spark = match (&arguments.spark, &arguments.spark_jars) {
            (Some(python), Some(jars)) => {
                let script = Script::prepare(python, "kafka.py", SPARK_SCRIPT)?;
                Some((script, jars.as_path()))
            }
            _ => None,
        };
        let lines = arguments.json.as_ref().map(|path| {
            File::create(path).map_err(|e| {
                Error::unavailable(format!("cannot create {}", path.display())).with_source(e)
            })
        });
        Ok(Self {
            arguments,
            spark,
            lines: lines.transpose()?,
        })
    }

    /// Lets every engine answer as often as is wanted, and compares them.
    pub(super) fn measure(
        &mut self,
        query: Query,
        topic: &str,
        topics: &mut Topics,
    ) -> Result<Vec<Finding>> {
        let mut engines = vec![Engine::Headwater];
        if query.target == Target::Topic {
            engines.push(Engine::ExactlyOnce);
        }
        if self.spark.is_some() {
            engines.push(Engine::Spark);
        }
        let mut runs = Vec::new();
        for _ in 0..self.arguments.repeat {
            for engine in &engines {
                let measured = self
                    .once(*engine, query, topic, topics)
                    .map_err(|e| e.context(format!("{} with {engine:?}", query.name)))?;
                self.write(&measured)?;
                runs.push((*engine, measured));
            }
        }
        agree(query, &runs)?;
        Ok(compare(&runs))
    }

    fn once(
        &self,
        engine: Engine,
        query: Query,
        topic: &str,
        topics: &mut Topics,
    ) -> Result<Measurement> {
        let folder = tempfile::tempdir()
            .map_err(|e| Error::unavailable("cannot create a folder").with_source(e))?;
        let mut place = |name: &str| match query.target {
            Target::Topic => topics.make(name),
            Target::Parquet => Ok(folder.path().join(name).display().to_string()),
        };
        let out = place("out")?;
        let mut measured = match (engine, &self.spark) {
            (Engine::Spark, Some((script, jars))) => {
                let warm = place("warm")?;
                let mut command = Command::new(&script.python);
                command.arg(&script.file).arg("--jars").arg(jars).args([
                    &self.arguments.bootstrap,
                    "--query",
                    query.name,
                    "--topic",
                    topic,
                    "--out",
                    &out,
                    "--warm-out",
                    &warm,
                    "--per-trigger",
                    &self.arguments.per_trigger.to_string(),
                    // As many as headwater takes.
                    "--cores",
                    &std::thread::available_parallelism()
                        .map_or(1, usize::from)
                        .to_string(),
                ]);
                child::measurement(&child::output(&mut command)?)?
            }
            _ => {
                let run = Run {
                    bootstrap: self.arguments.bootstrap.clone(),
                    topic: topic.to_owned(),
                    query: query.name.to_owned(),
                    out: out.clone(),
                    per_trigger: self.arguments.per_trigger,
                    exactly_once: engine == Engine::ExactlyOnce,
                };
                child::ask("kafka-part", &serde_json::to_string(&run)?)?
            }
        };
        measured.rows_out = match (query.target, engine) {
            (Target::Topic, _) => Some(topics.count(&out)?),
            (Target::Parquet, _) => Some(parquet_rows(Path::new(&out))?),
        };
        if engine == Engine::ExactlyOnce {
            measured.engine.push_str("-exactly-once");
        }
        Ok(measured)
    }

    fn write(&mut self, measured: &Measurement) -> Result<()> {
        let line = measured.to_line()?;
        let Some(file) = &mut self.lines else {
            eprintln!("{line}");
            return Ok(());
        };
        eprintln!(
            "{}: {} took {} s",
            measured.query, measured.engine, measured.seconds
        );
        writeln!(file, "{line}")
            .map_err(|e| Error::unavailable("cannot write the measurements").with_source(e))
    }
}

/// Whether all have read the same and written as much.
fn agree(query: Query, runs: &[(Engine, Measurement)]) -> Result<()> {
    let told = |runs: &mut dyn Iterator<Item = (&str, u64)>| {
        let mut runs = runs.peekable();
        let Some(&(first, rows)) = runs.peek() else {
            return Ok(());
        };
        match runs.find(|(_, other)| *other != rows) {
            None => Ok(()),
            Some((other, found)) => Err(format!("{rows} with {first}, {found} with {other}")),
        }
    };
    let read = told(&mut runs.iter().map(|(_, run)| (run.engine.as_str(), run.rows)));
    let written = told(
        &mut runs
            .iter()
            .filter_map(|(_, run)| Some((run.engine.as_str(), run.rows_out?))),
    );
    let outcome = read
        .map_err(|found| format!("messages read: {found}"))
        .and_then(|()| written.map_err(|found| format!("rows written: {found}")));
    outcome
        .map_err(|found| Error::data(format!("the engines disagree over {}: {found}", query.name)))
}

/// Messages a second, in the median of each engine's runs, and how many times Spark's that is.
fn compare(runs: &[(Engine, Measurement)]) -> Vec<Finding> {
    let of = |engine: Engine| {
        let rates: Vec<f64> = runs
            .iter()
            .filter(|(by, _)| *by == engine)
            .map(|(_, run)| run.rows_per_s as f64)
            .collect();
        (!rates.is_empty()).then(|| median(rates))
    };
    let told = |name: &str, rate: Option<f64>| {
        rate.map(|rate| {
            Finding::new(
                name,
                rate / 1e3,
                "thousand messages/s",
                verdict::Target::Told,
            )
        })
    };
    let times = |name: &str, rate: Option<f64>, target| {
        let (ours, spark) = (rate?, of(Engine::Spark)?);
        Some(Finding::new(name, ours / spark, "×", target))
    };
    let (plain, exactly_once) = (of(Engine::Headwater), of(Engine::ExactlyOnce));
    let findings = [
        told("headwater", plain),
        told("headwater, exactly once", exactly_once),
        told("Spark", of(Engine::Spark)),
        times(
            "headwater against Spark",
            plain,
            verdict::Target::AtLeast(LEAST_RATIO),
        ),
        times(
            "headwater, exactly once, against Spark",
            exactly_once,
            verdict::Target::Told,
        ),
    ];
    findings.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::queries::QUERIES;

    fn run(engine: Engine, rows_per_s: u64, rows_out: Option<u64>) -> (Engine, Measurement) {
        let measured = Measurement {
            engine: format!("{engine:?}"),
            rows: 1_000,
            rows_per_s,
            rows_out,
            ..Measurement::default()
        };
        (engine, measured)
    }

    #[test]
    fn medians_are_held_against_spark() {
        let runs = [
            run(Engine::Headwater, 400_000, Some(7)),
            run(Engine::Headwater, 900_000, Some(7)),
            run(Engine::Headwater, 100_000, Some(7)),
            run(Engine::ExactlyOnce, 300_000, None),
            run(Engine::Spark, 100_000, Some(7)),
        ];
        let found = compare(&runs);
        let measured: Vec<_> = found.iter().map(|finding| finding.measured).collect();
        assert_eq!(measured, [400.0, 300.0, 100.0, 4.0, 3.0]);
        assert_eq!(found[3].is_met(), Some(true));
        // Without Spark there is nothing to hold them against.
        assert_eq!(compare(&runs[..3]).len(), 1);
    }

    #[test]
    fn engines_that_disagree_are_an_error() {
        let same = [
            run(Engine::Headwater, 1, Some(7)),
            run(Engine::ExactlyOnce, 1, None),
            run(Engine::Spark, 1, Some(7)),
        ];
        agree(QUERIES[0], &same).unwrap();
        let other = [
            run(Engine::Headwater, 1, Some(7)),
            run(Engine::Spark, 1, Some(8)),
        ];
        let error = agree(QUERIES[0], &other).unwrap_err().to_string();
        assert!(error.contains("7 with Headwater, 8 with Spark"), "{error}");
    }
}
