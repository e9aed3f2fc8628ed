//! The processes that measure: this program again, and Python with Spark.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use headwater_core::{Error, Result};
use tempfile::TempDir;

use super::{CORES, Input, schedule::Engine, targets::Comparison};
use crate::report::Measurement;

/// What Spark runs; `crates/bench/spark/nexmark.py`.
const SPARK_SCRIPT: &str = include_str!("../../spark/nexmark.py");
/// Lines of a failed process's messages that are shown: a stack trace of Java ends with its cause.
const SHOWN: usize = 20;

/// How to start a run of each engine.
pub struct Children {
    program: PathBuf,
    spark: Option<Spark>,
}

struct Spark {
    python: PathBuf,
    script: PathBuf,
    // Holds the script.
    _folder: TempDir,
}

impl Children {
    /// Finds this program, and writes Spark's script into a temporary folder if there is a `python` for it.
    ///
    /// # Errors
    /// `Unavailable` if the program is not known or the script cannot be written.
    pub fn prepare(python: Option<&Path>) -> Result<Self> {
        let program = std::env::current_exe()
            .map_err(|e| Error::unavailable("cannot find this program's file").with_source(e))?;
        Ok(Self {
            program,
            spark: python.map(Spark::prepare).transpose()?,
        })
    }

    /// Runs the comparison's query once, in a process of its own.
    ///
    /// # Errors
    /// `Unavailable` if the process cannot be started or fails, with the end of its messages; `Data` if it does not
    /// print one measurement.
    pub fn measure(
        &self,
        engine: Engine,
        comparison: &Comparison,
        input: &Input,
    ) -> Result<Measurement> {
        let subject = format!("{} with {engine}", comparison.name);
        let (program, arguments) = self.command(engine, comparison.query, input)?;
        let ended = Command::new(&program)
            .args(arguments)
            .output()
            .map_err(|e| {
                Error::unavailable(format!("{subject}: cannot start {}", program.display()))
                    .with_source(e)
            })?;
        if !ended.status.success() {
            let messages = String::from_utf8_lossy(&ended.stderr);
            return Err(Error::unavailable(format!(
                "{subject} failed ({}):\n{}",
                ended.status,
                last_lines(&messages)
            )));
        }
        parse(&String::from_utf8_lossy(&ended.stdout)).map_err(|e| e.context(subject))
    }

    fn command(
        &self,
        engine: Engine,
        query: &str,
        input: &Input,
    ) -> Result<(PathBuf, Vec<OsString>)> {
        let folder = input.folder.clone().into_os_string();
        let files = input.files_per_trigger.to_string();
        let own = |first: &[&str], rest: &[&str]| {
            let mut arguments: Vec<OsString> = first.iter().map(OsString::from).collect();
            arguments.push(folder.clone());
            arguments.extend(rest.iter().map(OsString::from));
            arguments
        };
        Ok(match engine {
            Engine::Headwater => (
                self.program.clone(),
                own(
                    &["nexmark", "--data"],
                    &["--query", query, "--files-per-trigger", &files],
                ),
            ),
            Engine::Batch => (
                self.program.clone(),
                own(&["batch", "--data"], &["--query", query]),
            ),
            Engine::Spark(store) => {
                let spark = self.spark.as_ref().ok_or_else(|| {
                    Error::internal("Spark is to run, and nobody said with which Python")
                })?;
                let mut arguments = own(
                    &[],
                    &[
                        "--query",
                        query,
                        "--files-per-trigger",
                        &files,
                        "--store",
                        store.name(),
                        "--cores",
                        &CORES.to_string(),
                    ],
                );
                arguments.insert(0, spark.script.clone().into_os_string());
                (spark.python.clone(), arguments)
            }
        })
    }
}

impl Spark {
    fn prepare(python: &Path) -> Result<Self> {
        let failed = |e| Error::unavailable("cannot write the script for Spark").with_source(e);
        let folder = tempfile::tempdir().map_err(failed)?;
        let script = folder.path().join("nexmark.py");
        fs::write(&script, SPARK_SCRIPT).map_err(failed)?;
        Ok(Self {
            python: python.to_owned(),
            script,
            _folder: folder,
        })
    }
}

/// The measurement among what a process printed.
fn parse(output: &str) -> Result<Measurement> {
    let mut lines = output.lines().filter(|line| line.starts_with('{'));
    let line = lines
        .next()
        .ok_or_else(|| Error::data("expected a line of JSON, found none"))?;
    if lines.next().is_some() {
        return Err(Error::data("expected one line of JSON, found more"));
    }
    serde_json::from_str(line)
        .map_err(|e| Error::data(format!("expected a measurement, found {line}")).with_source(e))
}

fn last_lines(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(SHOWN)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::{schedule::Store, targets::COMPARISONS};

    fn input() -> Input {
        Input {
            folder: PathBuf::from("data set"),
            files_per_trigger: 4,
        }
    }

    #[test]
    fn one_measurement_is_expected() {
        let line =
            r#"{"engine": "spark-4.3.0-hdfs", "rows": 7, "trigger_ms_p50": 12, "rows_out": null}"#;
        let measured = parse(&format!("WARN something\n{line}\n")).unwrap();
        assert_eq!(measured.rows, 7);
        assert_eq!(measured.trigger_ms_p50, Some(12.0));
        assert_eq!(measured.rows_out, None);
        assert!(parse("").is_err());
        assert!(parse(&format!("{line}\n{line}")).is_err());
        assert!(parse("{}x").is_err());
    }

    #[test]
    fn a_process_is_told_what_to_run() {
        let children = Children::prepare(Some(Path::new("python3"))).unwrap();
        let words = |engine| {
            let (_, arguments) = children.command(engine, "join", &input()).unwrap();
            let words: Vec<_> = arguments
                .iter()
                .map(|word| word.to_str().unwrap().to_owned())
                .collect();
            words
        };
        assert_eq!(
            words(Engine::Headwater),
            [
                "nexmark",
                "--data",
                "data set",
                "--query",
                "join",
                "--files-per-trigger",
                "4"
            ]
        );
        assert_eq!(
            words(Engine::Batch),
            ["batch", "--data", "data set", "--query", "join"]
        );
        let spark = words(Engine::Spark(Store::RocksDb));
        assert!(Path::new(&spark[0]).is_file());
        assert_eq!(spark[1], "data set");
        assert!(spark.windows(2).any(|pair| pair == ["--store", "rocksdb"]));
    }

    #[test]
    fn a_process_that_cannot_run_is_named() {
        let missing = Path::new("/nobody/has/this/python");
        let children = Children::prepare(Some(missing)).unwrap();
        let error = children
            .measure(Engine::Spark(Store::Hdfs), &COMPARISONS[0], &input())
            .unwrap_err();
        assert!(
            error.message().contains("stateless with Spark (hdfs)"),
            "{error}"
        );
        assert!(error.message().contains("/nobody/has"), "{error}");
    }

    #[test]
    fn of_long_messages_the_end_is_shown() {
        let text: Vec<_> = (0..100).map(|i| i.to_string()).collect();
        let shown = last_lines(&text.join("\n"));
        assert_eq!(shown.lines().count(), SHOWN);
        assert!(shown.ends_with("99"));
    }
}
