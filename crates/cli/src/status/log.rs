//! What the engine logs, on standard error.

use std::io::{self, IsTerminal, Write};

use indicatif::MultiProgress;
use parking_lot::Mutex;
use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

/// The live status, while there is one: whatever else is written to the terminal goes above it.
static ABOVE: Mutex<Option<MultiProgress>> = Mutex::new(None);

/// From now on what is written here goes above this status; `None` ends that.
pub(crate) fn above(status: Option<MultiProgress>) {
    *ABOVE.lock() = status;
}

/// Does something to the terminal while the live status is out of the way.
pub(crate) fn aside<T>(write: impl FnOnce() -> T) -> T {
    let status = ABOVE.lock().clone();
    match status {
        Some(status) => status.suspend(write),
        None => write(),
    }
}

/// A stream of the process, written to while the live status is out of the way.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Aside {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

impl Write for Aside {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        aside(|| match self {
            Self::Out => io::stdout().write(bytes),
            Self::Err => io::stderr().write(bytes),
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Out => io::stdout().flush(),
            Self::Err => io::stderr().flush(),
        }
    }
}

impl<'a> MakeWriter<'a> for Aside {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        *self
    }
}

/// Logs what `filter` lets through, warnings and errors without one. Does nothing if somebody logs already.
pub(crate) fn start(filter: Option<&str>) {
    let filter =
        EnvFilter::try_new(filter.unwrap_or("warn")).unwrap_or_else(|_| EnvFilter::new("warn"));
    // A second subscriber is refused: the first goes on.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(Aside::Err)
        .with_ansi(colours_wanted())
        .with_target(false)
        .try_init();
}

/// Whether standard error is a terminal that shows colours, and nobody asked for none (<https://no-color.org>).
pub(crate) fn colours_wanted() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    !refused && !is_dumb && io::stderr().is_terminal()
}
