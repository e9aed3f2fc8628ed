//! How the command ends, for people and for scripts.

use std::io::{self, Write};

use headwater::{Error, ErrorKind};

use crate::script::{Script, Values};

/// A query or a test failed.
pub(crate) const FAILED: u8 = 1;
/// The command line or the pipeline is wrong; nothing was started.
pub(crate) const WRONG: u8 = 2;
/// Stopped at once, as a shell shows a process that Ctrl-C ended.
pub(crate) const INTERRUPTED: u8 = 130;

/// Why the command did not do what it was asked to.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    /// What was asked for was begun and failed.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self {
            code: FAILED,
            message: message.into(),
        }
    }

    /// What was asked for cannot be done.
    pub(crate) fn wrong(message: impl Into<String>) -> Self {
        Self {
            code: WRONG,
            message: message.into(),
        }
    }

    /// Stopped in the middle.
    pub(crate) fn interrupted() -> Self {
        Self {
            code: INTERRUPTED,
            message: "stopped at once; the next run goes on from the last commit".to_owned(),
        }
    }

    /// Stopped in good order before everything was done.
    pub(crate) fn broken_off() -> Self {
        Self {
            code: INTERRUPTED,
            message: "interrupted: the statements that were left are not carried out".to_owned(),
        }
    }

    /// An error of planning: the pipeline's fault if it is `Invalid`.
    pub(crate) fn of_planning(error: &Error) -> Self {
        match error.kind() {
            ErrorKind::Invalid => Self::wrong(error.to_string()),
            _ => Self::failed(error.to_string()),
        }
    }

    /// The same, of a pipeline: with its file, and without its secrets.
    pub(crate) fn of(self, script: &Script) -> Self {
        let message = script.without_secrets(&self.message);
        Self {
            message: format!("{}: {message}", script.origin),
            ..self
        }
    }

    /// The same, of a text of statements: a file, or standard input.
    pub(crate) fn of_text(self, origin: &str) -> Self {
        Self {
            message: format!("{origin}: {}", self.message),
            ..self
        }
    }

    /// The same without the values of secret variables.
    pub(crate) fn without_secrets(self, values: &Values) -> Self {
        Self {
            message: values.without_secrets(&self.message),
            ..self
        }
    }

    /// The same, about a line of a pipeline.
    pub(crate) fn in_line(self, line: u64) -> Self {
        Self {
            message: format!("line {line}: {}", self.message),
            ..self
        }
    }

    pub(crate) fn code(&self) -> u8 {
        self.code
    }

    /// Prints it to standard error. Messages do not end with a full stop and may have several lines.
    pub(crate) fn print(&self) {
        // There is nobody left to tell.
        let _ = writeln!(io::stderr(), "error: {}", self.message);
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

/// Whoever reads standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader {
    /// Goes on reading.
    Listens,
    /// Has gone away (`| head`): there is nothing more to do.
    Gone,
}

/// Prints to standard output, and tells whether somebody still reads it.
///
/// # Errors
/// `Failed` if it cannot be written.
pub(crate) fn print_on(text: &str) -> Result<Reader, Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(Reader::Listens),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(error) => Err(Failure::failed(format!(
            "cannot write to standard output: {error}"
        ))),
    }
}

/// Prints to standard output. A reader that has gone away (`| head`) is no failure: there is nothing more to do.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    print_on(text).map(drop)
}
