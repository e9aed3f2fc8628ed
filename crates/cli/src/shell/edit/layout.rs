//! A text and its prompts as rows of the terminal.

use std::ops::Range;

use console::measure_text_width;

use crate::screen::{Frame, Size};

/// Ends a style.
const PLAIN: &str = "\x1b[0m";

/// What stands before the lines of a text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Prompts<'a> {
    pub(crate) first: &'a str,
    /// Before each line that goes on.
    pub(crate) more: &'a str,
}

/// A part of a text and the sequence that begins its style.
pub(crate) type Styled = (Range<usize>, &'static str);

/// The rows of a text: its lines, cut where the terminal ends. Of a text that is higher than the terminal, the part
/// around the cursor.
pub(crate) fn layout(
    prompts: Prompts<'_>,
    text: &str,
    cursor: usize,
    styles: &[Styled],
    size: Size,
) -> Frame {
    let mut rows = Rows {
        rows: vec![prompts.first.to_owned()],
        column: measure_text_width(prompts.first),
        // The last column stays free: terminals do not agree on what comes behind it.
        columns: size.columns - 1,
        style: None,
    };
    let mut styles = styles.iter().peekable();
    let mut place = (0, rows.column);
    let mut letter = [0; 4];
    for (at, c) in text.char_indices() {
        while styles.next_if(|(range, _)| range.end <= at).is_some() {}
        let style = styles.peek().filter(|(range, _)| range.start <= at);
        if at == cursor {
            place = rows.place();
        }
        if c == '\n' {
            rows.begin(prompts.more);
            continue;
        }
        let shown: &str = match c {
            '\t' => "  ",
            c if c.is_control() => "·",
            c => c.encode_utf8(&mut letter),
        };
        let wrapped = rows.put(shown, style.map(|(_, style)| *style));
        if at == cursor && wrapped {
            place = (rows.rows.len() - 1, 0);
        }
    }
    if cursor >= text.len() {
        place = rows.place();
    }
    rows.end_style();
    window(rows.rows, place, size.rows)
}

/// Rows on their way.
struct Rows {
    rows: Vec<String>,
    column: usize,
    columns: usize,
    style: Option<&'static str>,
}

impl Rows {
    fn place(&self) -> (usize, usize) {
        (self.rows.len() - 1, self.column)
    }

    fn begin(&mut self, with: &str) {
        self.end_style();
        self.rows.push(with.to_owned());
        self.column = measure_text_width(with);
    }

    /// Whether a row had to be begun for it.
    fn put(&mut self, shown: &str, style: Option<&'static str>) -> bool {
        let width = measure_text_width(shown);
        let wraps = self.column + width > self.columns;
        if wraps {
            self.begin("");
        }
        if self.style != style {
            self.end_style();
            self.push(style.unwrap_or_default());
            self.style = style;
        }
        self.push(shown);
        self.column += width;
        wraps
    }

    fn end_style(&mut self) {
        if self.style.take().is_some() {
            self.push(PLAIN);
        }
    }

    fn push(&mut self, text: &str) {
        if let Some(row) = self.rows.last_mut() {
            row.push_str(text);
        }
    }
}

fn window(mut rows: Vec<String>, (row, column): (usize, usize), height: usize) -> Frame {
    let first = (row + 1).saturating_sub(height);
    rows.drain(..first);
    rows.truncate(height);
    Frame {
        rows,
        cursor: Some((row - first, column)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROMPTS: Prompts<'_> = Prompts {
        first: "> ",
        more: ". ",
    };

    fn laid_out(text: &str, cursor: usize, rows: usize, columns: usize) -> Frame {
        layout(PROMPTS, text, cursor, &[], Size { rows, columns })
    }

    #[test]
    fn lines_have_prompts_and_are_cut_where_the_terminal_ends() {
        let frame = laid_out("abcdefgh\n日本語", 3, 10, 8);
        assert_eq!(frame.rows, ["> abcde", "fgh", ". 日本", "語"]);
        assert_eq!(frame.cursor, Some((0, 5)));
        assert_eq!(laid_out("abcdefgh", 5, 10, 8).cursor, Some((1, 0)));
        assert_eq!(laid_out("abcdefgh", 8, 10, 8).cursor, Some((1, 3)));
        assert_eq!(laid_out("ab\n", 3, 10, 8).cursor, Some((1, 2)));
        assert_eq!(laid_out("a\tb", 2, 10, 20).cursor, Some((0, 5)));
        assert_eq!(laid_out("", 0, 10, 8).cursor, Some((0, 2)));
    }

    #[test]
    fn of_a_high_text_the_part_around_the_cursor_is_shown() {
        let text = "a\nb\nc\nd\ne";
        let end = laid_out(text, text.len(), 3, 20);
        assert_eq!(end.rows, [". c", ". d", ". e"]);
        assert_eq!(end.cursor, Some((2, 3)));
        let start = laid_out(text, 0, 3, 20);
        assert_eq!(start.rows, ["> a", ". b", ". c"]);
        assert_eq!(start.cursor, Some((0, 2)));
    }

    #[test]
    fn styles_end_with_their_row() {
        let styles = [(0..6, "<b>"), (7..10, "<t>")];
        let size = Size {
            rows: 9,
            columns: 10,
        };
        let frame = layout(PROMPTS, "SELECT 'a\nb'", 0, &styles, size);
        assert_eq!(
            frame.rows,
            ["> <b>SELECT\u{1b}[0m ", "<t>'a\u{1b}[0m", ". b'"]
        );
    }
}
