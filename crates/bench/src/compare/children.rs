//! The processes that measure: this program again, and Python with Spark.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use headwater_core::{Error, Result};

use super::{CORES, Input, fetch, schedule::Engine, targets::Comparison};
use crate::{
    child::{self, Script},
    queries,
    report::Measurement,
};

/// What Spark runs; `crates/bench/spark/nexmark.py`.
const SPARK_SCRIPT: &str = include_str!("../../spark/nexmark.py");

/// How to start a run of each engine.
pub struct Children {
    program: PathBuf,
    spark: Option<Script>,
}

impl Children {
    /// Finds this program, and writes Spark's script into a temporary folder if there is a `python` for it.
    ///
    /// # Errors
    /// `Unavailable` if the program is not known or the script cannot be written.
    pub fn prepare(python: Option<&Path>) -> Result<Self> {
        let script = python.map(|it| Script::prepare(it, "nexmark.py", SPARK_SCRIPT));
        Ok(Self {
            program: child::this_program()?,
            spark: script.transpose()?,
        })
    }

    /// Reads what a run of the comparison's query reads, this program included.
    ///
    /// # Errors
    /// `Unavailable` if a file cannot be read.
    pub fn fetch(&self, comparison: &Comparison, input: &Input) -> Result<()> {
        let query = queries::select(&[comparison.query.to_owned()])?[0];
        let tables = query.inputs.iter();
        let tables = tables.map(|table| input.folder.join(table.name()));
        let paths: Vec<PathBuf> = tables.chain([self.program.clone()]).collect();
        fetch::read_all(&paths).map(drop)
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
        child::output(Command::new(&program).args(arguments))
            .and_then(|printed| child::measurement(&printed))
            .map_err(|e| e.context(subject))
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
                arguments.insert(0, spark.file.clone().into_os_string());
                (spark.python.clone(), arguments)
            }
        })
    }
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
}
