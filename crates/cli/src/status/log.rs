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
use rustyline::ExternalPrinter;
use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

use crate::screen::Screen;

/// What is drawn over and over on the terminal, while there is such a thing: whatever else is written goes above it.
static ABOVE: Mutex<Option<Drawn>> = Mutex::new(None);

/// A part of the terminal that is drawn over.
#[derive(Debug, Clone)]
pub(crate) enum Drawn {
    /// The live status of a run.
    Status(MultiProgress),
    /// A live table of the shell.
    Screen(Screen),
    /// The prompt of the shell.
    Prompt(AbovePrompt),
}

/// Prints above what somebody is typing, line by line.
#[derive(Clone)]
pub(crate) struct AbovePrompt(Arc<Mutex<Lines>>);

struct Lines {
    printer: Box<dyn ExternalPrinter + Send>,
    /// A line whose end has not come yet.
    begun: Vec<u8>,
}

impl std::fmt::Debug for AbovePrompt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AbovePrompt")
    }
}

impl AbovePrompt {
    /// Through this printer.
    pub(crate) fn new(printer: Box<dyn ExternalPrinter + Send>) -> Self {
        let begun = Vec::new();
        Self(Arc::new(Mutex::new(Lines { printer, begun })))
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut lines = self.0.lock();
        lines.begun.extend_from_slice(bytes);
        if let Some(end) = lines.begun.iter().rposition(|byte| *byte == b'\n') {
            let rest = lines.begun.split_off(end + 1);
            let whole = std::mem::replace(&mut lines.begun, rest);
            let whole = String::from_utf8_lossy(&whole).into_owned();
            lines.printer.print(whole).map_err(io::Error::other)?;
        }
        Ok(bytes.len())
    }
}

/// From now on what is written here goes above this; `None` ends that. Gives what was above which it went before.
pub(crate) fn above(drawn: Option<Drawn>) -> Option<Drawn> {
    std::mem::replace(&mut *ABOVE.lock(), drawn)
}

/// Does something to the terminal while what is drawn there is out of the way.
pub(crate) fn aside<T>(write: impl FnOnce() -> T) -> T {
    let drawn = ABOVE.lock().clone();
    match drawn {
        Some(Drawn::Status(status)) => status.suspend(write),
        Some(Drawn::Screen(screen)) => screen.above(write),
        Some(Drawn::Prompt(_)) | None => write(),
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
        if let Some(Drawn::Prompt(prompt)) = ABOVE.lock().clone() {
            return prompt.write(bytes);
        }
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
