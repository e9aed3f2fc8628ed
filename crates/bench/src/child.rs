//! The processes that this program starts: itself, the `headwater` command, Python with Spark.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use headwater_core::{Error, Result};
use serde::de::DeserializeOwned;
use tempfile::TempDir;

use crate::report::Measurement;

/// Lines of a failed process's messages that are shown: a stack trace of Java ends with its cause.
const SHOWN: usize = 20;

/// The file of this program.
///
/// # Errors
/// `Unavailable` if the system does not tell.
pub fn this_program() -> Result<PathBuf> {
    std::env::current_exe()
        .map_err(|e| Error::unavailable("cannot tell where this program is").with_source(e))
}

/// A program that was built with this one.
///
/// # Errors
/// `Invalid` if there is none of this name, with how to build it.
pub fn beside_this(name: &str) -> Result<PathBuf> {
    let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    let beside = this_program()?.with_file_name(file);
    if beside.is_file() {
        return Ok(beside);
    }
    Err(Error::invalid(format!(
        "there is no {}: build it with `cargo build --bin {name}`, or name it with --{name}",
        beside.display()
    )))
}

/// A process that is ended when this goes out of scope, whatever happens in between.
#[derive(Debug)]
pub struct Running(pub Child);

impl Running {
    /// Starts it.
    ///
    /// # Errors
    /// `Unavailable` if it cannot be started.
    pub fn start(command: &mut Command) -> Result<Self> {
        let child = command.spawn();
        Ok(Self(child.map_err(|e| cannot_start(command, e))?))
    }

    /// Nothing while it runs.
    ///
    /// # Errors
    /// `Unavailable` if it has ended, which it should not have done.
    pub fn expect_alive(&mut self, until: &str) -> Result<()> {
        match self.0.try_wait() {
            Ok(Some(ended)) => Err(Error::unavailable(format!(
                "the process ended with {ended} before {until}"
            ))),
            Ok(None) | Err(_) => Ok(()),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a process prints until it ends.
///
/// # Errors
/// `Unavailable` if it cannot be started or fails, with the end of its messages.
pub fn output(command: &mut Command) -> Result<String> {
    let ended = command.output().map_err(|e| cannot_start(command, e))?;
    if ended.status.success() {
        return Ok(String::from_utf8_lossy(&ended.stdout).into_owned());
    }
    let messages = String::from_utf8_lossy(&ended.stderr);
    Err(Error::unavailable(format!(
        "{} failed ({}):\n{}",
        Path::new(command.get_program()).display(),
        ended.status,
        last_lines(&messages)
    )))
}

/// What this program answers to a request, a line of JSON, under one of its hidden commands.
///
/// # Errors
/// As for [`output`], but messages go where those of this process go; `Data` if the answer is another than expected.
pub fn ask<A: DeserializeOwned>(command: &str, request: &str) -> Result<A> {
    let mut child = Command::new(this_program()?);
    child.args([command, request]).stderr(Stdio::inherit());
    Ok(serde_json::from_str(&output(&mut child)?)?)
}

/// The measurement among what a process printed.
///
/// # Errors
/// `Data` if there is none, or more than one.
pub fn measurement(output: &str) -> Result<Measurement> {
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

/// A Python with a script for it, in a temporary folder.
#[derive(Debug)]
pub struct Script {
    /// The interpreter.
    pub python: PathBuf,
    /// The script's file.
    pub file: PathBuf,
    // Holds the script.
    _folder: TempDir,
}

impl Script {
    /// Writes the script.
    ///
    /// # Errors
    /// `Unavailable` if it cannot be written.
    pub fn prepare(python: &Path, name: &str, text: &str) -> Result<Self> {
        let failed = |e| Error::unavailable("cannot write the script for Spark").with_source(e);
        let folder = tempfile::tempdir().map_err(failed)?;
        let file = folder.path().join(name);
        fs::write(&file, text).map_err(failed)?;
        Ok(Self {
            python: python.to_owned(),
            file,
            _folder: folder,
        })
    }
}

fn cannot_start(command: &Command, error: std::io::Error) -> Error {
    let program = Path::new(command.get_program()).display();
    Error::unavailable(format!("cannot start {program}")).with_source(error)
}

fn last_lines(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(SHOWN)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_measurement_is_expected() {
        let line =
            r#"{"engine": "spark-4.3.0-hdfs", "rows": 7, "trigger_ms_p50": 12, "rows_out": null}"#;
        let measured = measurement(&format!("WARN something\n{line}\n")).unwrap();
        assert_eq!(measured.rows, 7);
        assert_eq!(measured.trigger_ms_p50, Some(12.0));
        assert_eq!(measured.rows_out, None);
        assert!(measurement("").is_err());
        assert!(measurement(&format!("{line}\n{line}")).is_err());
        assert!(measurement("{}x").is_err());
    }

    #[test]
    fn what_cannot_be_started_is_named() {
        let error = output(&mut Command::new("/no/such/program")).unwrap_err();
        assert!(error.to_string().contains("/no/such/program"), "{error}");
    }

    #[test]
    fn of_long_messages_the_end_is_shown() {
        let text: Vec<_> = (0..100).map(|i| i.to_string()).collect();
        let shown = last_lines(&text.join("\n"));
        assert_eq!(shown.lines().count(), SHOWN);
        assert!(shown.ends_with("99"));
    }
}
