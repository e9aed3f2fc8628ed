//! The part of the terminal that is drawn over: a live table. What else is printed goes above it.

use std::{
    io::{self, Write},
    sync::Arc,
};

use console::{Term, measure_text_width};
use parking_lot::Mutex;

const HIDE_CURSOR: &str = "\x1b[?25l";
const SHOW_CURSOR: &str = "\x1b[?25h";

/// Rows and columns of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
}

impl Size {
    /// That of the terminal of standard output; usual ones if it does not say.
    pub(crate) fn now() -> Self {
        let (rows, columns) = Term::stdout().size();
        Self {
            rows: usize::from(rows).max(4),
            columns: usize::from(columns).max(20),
        }
    }
}

/// What is drawn now. Clones are the same screen.
#[derive(Debug, Clone, Default)]
pub(crate) struct Screen {
    // Held while the terminal is written to, so that nothing gets between.
    drawn: Arc<Mutex<Drawn>>,
}

/// What was drawn last, and on a terminal of which size.
#[derive(Debug, Default)]
struct Drawn {
    /// Each narrower than the terminal.
    rows: Vec<String>,
    size: Option<Size>,
}

impl Screen {
    /// Draws over what was drawn before, if it is something else. Each row is narrower than the terminal.
    pub(crate) fn draw(&self, rows: Vec<String>) {
        let mut drawn = self.drawn.lock();
        let size = Size::now();
        if drawn.rows == rows && drawn.size == Some(size) {
            return;
        }
        put(&format!("{}{}", to_top(&drawn.rows, size), drawing(&rows)));
        *drawn = Drawn {
            rows,
            size: Some(size),
        };
    }

    /// Lets what is drawn stay where it is: what comes next goes below it.
    pub(crate) fn leave(&self) {
        let mut drawn = self.drawn.lock();
        if !drawn.rows.is_empty() {
            put(&format!("\r\n{SHOW_CURSOR}"));
            *drawn = Drawn::default();
        }
    }

    /// Writes something above what is drawn.
    pub(crate) fn above<T>(&self, write: impl FnOnce() -> T) -> T {
        let drawn = self.drawn.lock();
        if drawn.rows.is_empty() {
            return write();
        }
        put(&format!("{}\x1b[J", to_top(&drawn.rows, Size::now())));
        let written = write();
        put(&drawing(&drawn.rows));
        written
    }
}

/// Moves to where the drawing begins.
fn to_top(drawn: &[String], size: Size) -> String {
    // A terminal that has become narrower shows a row in several.
    let height = |row: &String| (measure_text_width(row).max(1) - 1) / size.columns + 1;
    match drawn.iter().map(height).sum::<usize>().max(1) - 1 {
        0 => "\r".to_owned(),
        up => format!("\x1b[{up}A\r"),
    }
}

/// Writes the rows over others.
fn drawing(rows: &[String]) -> String {
    format!("{HIDE_CURSOR}{}\x1b[J", rows.join("\x1b[K\r\n"))
}

fn put(text: &str) {
    let mut out = io::stdout().lock();
    // A terminal that has gone away is noticed by whoever reads its keys.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &[&str]) -> Vec<String> {
        rows.iter().map(|row| (*row).to_owned()).collect()
    }

    #[test]
    fn rows_are_written_over_what_was_there() {
        assert_eq!(
            drawing(&rows(&["ab", "cd"])),
            "\x1b[?25lab\x1b[K\r\ncd\x1b[J"
        );
    }

    #[test]
    fn the_top_is_found_though_the_terminal_became_narrower() {
        let size = |columns| Size { rows: 20, columns };
        let drawn = rows(&["0123456789", "\x1b[1m0123456789\x1b[0m", "x"]);
        assert_eq!(to_top(&drawn, size(10)), "\x1b[2A\r");
        assert_eq!(to_top(&drawn, size(5)), "\x1b[4A\r");
        assert_eq!(to_top(&[], size(10)), "\r");
    }
}
