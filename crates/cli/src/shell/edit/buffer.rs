//! A text and a cursor in it.

use std::ops::Range;

/// What is being typed. The cursor is a byte at the beginning of a character, or the end.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Buffer {
    text: String,
    cursor: usize,
}

impl Buffer {
    /// This text, the cursor behind it.
    pub(crate) fn of(text: impl Into<String>) -> Self {
        let text = text.into();
        Self {
            cursor: text.len(),
            text,
        }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn cursor(&self) -> usize {
        self.cursor
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Puts a text where the cursor is, and the cursor behind it.
    pub(crate) fn insert(&mut self, text: &str) {
        self.text.insert_str(self.cursor, text);
        self.cursor += text.len();
    }

    /// Puts a text in the place of another, and the cursor behind it.
    pub(crate) fn replace(&mut self, range: Range<usize>, text: &str) {
        self.cursor = range.start + text.len();
        self.text.replace_range(range, text);
    }

    /// Takes a piece out; the cursor is where it was.
    pub(crate) fn cut(&mut self, range: Range<usize>) -> String {
        self.cursor = range.start;
        self.text.drain(range).collect()
    }

    pub(crate) fn move_to(&mut self, place: usize) {
        self.cursor = place;
    }

    /// The character before the cursor begins here.
    pub(crate) fn left(&self) -> usize {
        let before = self.text[..self.cursor].chars().next_back();
        self.cursor - before.map_or(0, char::len_utf8)
    }

    /// The character at the cursor ends here.
    pub(crate) fn right(&self) -> usize {
        let at = self.text[self.cursor..].chars().next();
        self.cursor + at.map_or(0, char::len_utf8)
    }

    /// Where the word before the cursor begins.
    pub(crate) fn word_left(&self) -> usize {
        let before = self.text[..self.cursor].trim_end_matches(|c| !is_of_word(c));
        before.trim_end_matches(is_of_word).len()
    }

    /// Where the word behind the cursor ends.
    pub(crate) fn word_right(&self) -> usize {
        let behind = self.text[self.cursor..].trim_start_matches(|c| !is_of_word(c));
        self.text.len() - behind.trim_start_matches(is_of_word).len()
    }

    pub(crate) fn line_start(&self) -> usize {
        self.text[..self.cursor].rfind('\n').map_or(0, |at| at + 1)
    }

    pub(crate) fn line_end(&self) -> usize {
        let end = self.text[self.cursor..].find('\n');
        end.map_or(self.text.len(), |at| self.cursor + at)
    }

    /// The same column of the line above, if there is one.
    pub(crate) fn up(&self) -> Option<usize> {
        let start = self.line_start();
        let column = self.text[start..self.cursor].chars().count();
        let end = start.checked_sub(1)?;
        let above = self.text[..end].rfind('\n').map_or(0, |at| at + 1);
        Some(self.at_column(above, end, column))
    }

    /// The same column of the line below, if there is one.
    pub(crate) fn down(&self) -> Option<usize> {
        let column = self.text[self.line_start()..self.cursor].chars().count();
        let below = self.line_end() + 1;
        let rest = self.text.get(below..)?;
        let end = rest.find('\n').map_or(self.text.len(), |at| below + at);
        Some(self.at_column(below, end, column))
    }

    fn at_column(&self, start: usize, end: usize, column: usize) -> usize {
        let mut places = self.text[start..end].char_indices();
        places.nth(column).map_or(end, |(at, _)| start + at)
    }
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cursor_goes_by_characters_words_and_lines() {
        let mut buffer = Buffer::of("größe 日本\n  b_c, d");
        assert_eq!(buffer.left(), buffer.text().len() - 1);
        assert_eq!(&buffer.text()[buffer.word_left()..], "d");
        buffer.move_to(buffer.word_left());
        assert_eq!(&buffer.text()[buffer.word_left()..], "b_c, d");
        assert_eq!(&buffer.text()[..buffer.line_start()], "größe 日本\n");
        // Column 7 of the first line.
        assert_eq!(
            &buffer.text()[buffer.up().expect("a line")..],
            "本\n  b_c, d"
        );
        buffer.move_to(0);
        assert_eq!(buffer.up(), None);
        assert_eq!(&buffer.text()[buffer.word_right()..], " 日本\n  b_c, d");
        assert_eq!(&buffer.text()[..buffer.right()], "g");
        buffer.move_to(buffer.line_end());
        assert_eq!(&buffer.text()[buffer.down().expect("a line")..], "");
        buffer.move_to(buffer.text().len());
        assert_eq!(buffer.down(), None);
        assert_eq!(Buffer::default().left(), 0);
        assert_eq!(Buffer::default().right(), 0);
    }

    #[test]
    fn pieces_are_put_in_and_taken_out() {
        let mut buffer = Buffer::of("SELECT b");
        buffer.move_to(7);
        buffer.insert("a, ");
        assert_eq!((buffer.text(), buffer.cursor()), ("SELECT a, b", 10));
        assert_eq!(buffer.cut(buffer.word_left()..10), "a, ");
        assert_eq!((buffer.text(), buffer.cursor()), ("SELECT b", 7));
        buffer.replace(7..8, "count(");
        assert_eq!((buffer.text(), buffer.cursor()), ("SELECT count(", 13));
    }
}
