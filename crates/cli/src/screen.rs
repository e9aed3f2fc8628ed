//! The part of the terminal that is drawn over: the prompt, or a live table. What else is printed goes above it.

use std::{
    io::{self, Write},
    sync::Arc,
};

use console::{Term, measure_text_width};
use parking_lot::Mutex;

const HIDE_CURSOR: &str = "\x1b[?25l";
const SHOW_CURSOR: &str = "\x1b[?25h";

/// Lines to draw, each of them narrower than the terminal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Frame {
    pub(crate) rows: Vec<String>,
    /// Row and column of the cursor, counted from 0; without one it is hidden.
    pub(crate) cursor: Option<(usize, usize)>,
}

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
    frame: Frame,
    size: Option<Size>,
}

impl Screen {
    /// Draws over what was drawn before, if it is something else.
    pub(crate) fn draw(&self, frame: Frame) {
        let mut drawn = self.drawn.lock();
        let size = Size::now();
        if drawn.frame == frame && drawn.size == Some(size) {
            return;
        }
        put(&format!(
            "{}{}",
            to_top(&drawn.frame, size),
            drawing(&frame)
        ));
        *drawn = Drawn {
            frame,
            size: Some(size),
        };
    }

    /// Lets what is drawn stay where it is: what comes next goes below it.
    pub(crate) fn leave(&self) {
        let mut drawn = self.drawn.lock();
        let frame = &drawn.frame;
        if frame.rows.is_empty() {
            return;
        }
        let down = frame
            .cursor
            .map_or(0, |(row, _)| frame.rows.len() - 1 - row);
        let down = match down {
            0 => String::new(),
            down => format!("\x1b[{down}B"),
        };
        put(&format!("{down}\r\n{SHOW_CURSOR}"));
        *drawn = Drawn::default();
    }

    /// Begins a clean screen.
    pub(crate) fn clear(&self) {
        let mut drawn = self.drawn.lock();
        put("\x1b[H\x1b[2J");
        *drawn = Drawn::default();
    }

    /// Writes something above what is drawn.
    pub(crate) fn above<T>(&self, write: impl FnOnce() -> T) -> T {
        let drawn = self.drawn.lock();
        if drawn.frame.rows.is_empty() {
            return write();
        }
        put(&format!("{}\x1b[J", to_top(&drawn.frame, Size::now())));
        let written = write();
        put(&drawing(&drawn.frame));
        written
    }
}

/// Moves to where the drawing begins.
fn to_top(drawn: &Frame, size: Size) -> String {
    // A terminal that has become narrower shows a row in several.
    let height = |row: &String| (measure_text_width(row).max(1) - 1) / size.columns + 1;
    let up: usize = match drawn.cursor {
        Some((row, column)) => {
            drawn.rows[..row].iter().map(height).sum::<usize>() + column / size.columns
        }
        None => drawn.rows.iter().map(height).sum::<usize>().max(1) - 1,
    };
    match up {
        0 => "\r".to_owned(),
        up => format!("\x1b[{up}A\r"),
    }
}

/// Writes the rows over others, and moves to the cursor.
fn drawing(frame: &Frame) -> String {
    let rows = frame.rows.join("\x1b[K\r\n");
    let mut text = format!("{HIDE_CURSOR}{rows}\x1b[J");
    if let Some((row, column)) = frame.cursor {
        let up = frame.rows.len() - 1 - row;
        if up > 0 {
            text.push_str(&format!("\x1b[{up}A"));
        }
        text.push('\r');
        if column > 0 {
            text.push_str(&format!("\x1b[{column}C"));
        }
        text.push_str(SHOW_CURSOR);
    }
    text
}

fn put(text: &str) {
    let mut out = io::stdout().lock();
    // A terminal that has gone away is noticed by whoever reads its keys.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(rows: &[&str], cursor: Option<(usize, usize)>) -> Frame {
        Frame {
            rows: rows.iter().map(|row| (*row).to_owned()).collect(),
            cursor,
        }
    }

    #[test]
    fn a_drawing_leaves_the_cursor_where_it_belongs() {
        let drawn = drawing(&frame(&["ab", "cd", "ef"], Some((1, 1))));
        assert_eq!(
            drawn,
            "\x1b[?25lab\x1b[K\r\ncd\x1b[K\r\nef\x1b[J\x1b[1A\r\x1b[1C\x1b[?25h"
        );
        assert_eq!(drawing(&frame(&["ab"], None)), "\x1b[?25lab\x1b[J");
    }

    #[test]
    fn the_top_is_found_though_the_terminal_became_narrower() {
        let size = |columns| Size { rows: 20, columns };
        let rows = frame(&["0123456789", "\x1b[1m0123456789\x1b[0m", "x"], None);
        assert_eq!(to_top(&rows, size(10)), "\x1b[2A\r");
        assert_eq!(to_top(&rows, size(5)), "\x1b[4A\r");
        let typed = frame(&["0123456789", "x"], Some((1, 1)));
        assert_eq!(to_top(&typed, size(10)), "\x1b[1A\r");
        assert_eq!(to_top(&frame(&[], None), size(10)), "\r");
    }
}
