//! A status that is drawn again and again on a terminal.

use std::{io::IsTerminal, time::Duration};

use console::{Term, measure_text_width, truncate_str};
use headwater::StreamingQuery;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Board, lines, log, terminal::WithoutControls};

/// How often it is drawn.
pub(crate) const EVERY: Duration = Duration::from_millis(100);

/// Columns that a line leaves free beside its message: the spinner and two blanks.
const SPARE: usize = 3;

/// Columns before the second line of a query.
const INDENT: usize = 4;

/// The lines of the queries, at the bottom of the terminal. They are wiped away when it is dropped.
#[derive(Debug)]
pub(crate) struct Live {
    status: MultiProgress,
    queries: Vec<(StreamingQuery, ProgressBar)>,
    _terminal: WithoutControls,
}

/// Whether standard error is a terminal that a status can be drawn on.
pub(crate) fn is_possible() -> bool {
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    std::io::stderr().is_terminal() && !is_dumb
}

impl Live {
    /// A status without lines.
    pub(crate) fn new() -> Self {
        let status = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(15));
        log::above(Some(log::Drawn::Status(status.clone())));
        Self {
            status,
            queries: Vec::new(),
            _terminal: WithoutControls::begin(),
        }
    }

    /// Adds a query.
    pub(crate) fn add(&mut self, query: &StreamingQuery) {
        let colour = if log::colours_wanted() {
            "{prefix:.bold}"
        } else {
            "{prefix}"
        };
        let style = ProgressStyle::with_template(&format!("{{spinner}} {colour} {{msg}}"));
        let style = style.unwrap_or_else(|_| ProgressStyle::default_spinner());
        let line = self
            .status
            .add(ProgressBar::new_spinner().with_style(style));
        line.set_prefix(query.name().unwrap_or("query").to_owned());
        self.queries.push((query.clone(), line));
    }

    /// Draws what the board says.
    pub(crate) fn draw(&self, board: &Board) {
        let now = board.now();
        let columns = usize::from(Term::stderr().size().1);
        for (query, line) in &self.queries {
            let name = query.name().unwrap_or_default();
            let totals = board.totals(name);
            if query.is_active() {
                let mut status = lines::status(&totals, totals.rates(now));
                // Rows that come out need no explanation.
                if totals.rates(now).1 == 0.0 {
                    let why = query.diagnose().summary();
                    let why = truncate_str(&why, columns.saturating_sub(INDENT), "…");
                    status = format!("{}\n{:INDENT$}{why}", cut(&status, name, columns), "");
                } else {
                    status = cut(&status, name, columns);
                }
                line.set_message(status);
                line.tick();
            } else if !line.is_finished() {
                let ended = match query.exception() {
                    Some(_) => "failed".to_owned(),
                    None => format!("done: {}", lines::summary(&totals)),
                };
                line.finish_with_message(ended);
            }
        }
    }
}

/// What fits beside the spinner and the name.
fn cut(status: &str, name: &str, columns: usize) -> String {
    let space = columns.saturating_sub(measure_text_width(name) + SPARE);
    truncate_str(status, space, "…").into_owned()
}

impl Drop for Live {
    fn drop(&mut self) {
        log::above(None);
        // A terminal that cannot be written to shows nothing anyway.
        let _ = self.status.clear();
    }
}
