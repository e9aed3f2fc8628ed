//! What the engine logs, on standard error.

use std::{
    io::{self, IsTerminal, Write},
    sync::Arc,
};

use headwater::{
    Session,
    connect::{console::ConsoleSinkProvider, registry::SinkRequest},
};
use indicatif::MultiProgress;
use parking_lot::Mutex;
use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

use crate::screen::Screen;

/// What is drawn over and over on the terminal, while there is such a thing: whatever else is written goes above it.
static ABOVE: Mutex<Option<Drawn>> = Mutex::new(None);

/// A part of the terminal that is drawn over.
#[derive(Debug, Clone)]
pub(crate) enum Drawn {
    /// The live status of a run.
    Status(MultiProgress),
    /// The prompt of the shell, or a live table.
    Screen(Screen),
}

/// From now on what is written here goes above this; `None` ends that.
pub(crate) fn above(drawn: Option<Drawn>) {
    *ABOVE.lock() = drawn;
}

/// Does something to the terminal while what is drawn there is out of the way.
pub(crate) fn aside<T>(write: impl FnOnce() -> T) -> T {
    let drawn = ABOVE.lock().clone();
    match drawn {
        Some(Drawn::Status(status)) => status.suspend(write),
        Some(Drawn::Screen(screen)) => screen.above(write),
        None => write(),
    }
}

/// Tables of the console sink do not get into what is drawn.
pub(crate) fn print_tables_aside(session: &Session, out: Aside) {
    session
        .connectors()
        .register_sink("console", move |request: &SinkRequest| {
            let sink = ConsoleSinkProvider::try_with_output(&request.options, out)?;
            Ok(Arc::new(sink))
        });
}

/// A stream of the process, written to while what is drawn there is out of the way.
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
    colours_allowed() && io::stderr().is_terminal()
}

/// Whether nobody asked for no colours.
pub(crate) fn colours_allowed() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    !refused && !is_dumb
}
