//! A text cut into statements without reading them: what a semicolon has ended, and what goes on.

use std::ops::Range;

use headwater::sql::statement::{LexemeKind, Lexer};

/// The statements of a text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Pieces {
    /// Statements that a semicolon has ended.
    pub(crate) complete: Vec<Piece>,
    /// What stands behind the last semicolon, if there is more than blanks and comments.
    pub(crate) rest: Option<Piece>,
    /// Where the last complete statement ends, its semicolon included.
    pub(crate) end: usize,
    /// Whether the rest can be ended by writing on: nothing in it is beyond understanding.
    pub(crate) can_go_on: bool,
}

/// A statement and its place in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Its bytes, from its first word on, without the semicolon.
    pub(crate) range: Range<usize>,
    /// Where it begins, counted from one.
    pub(crate) place: Place,
}

/// A line and a column, counted from one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl Place {
    /// The beginning of a text.
    pub(crate) const START: Self = Self { line: 1, column: 1 };

    /// The place behind this text, which begins here.
    pub(crate) fn after(self, text: &str) -> Self {
        text.chars().fold(self, |at, c| match c {
            '\n' => Self {
                line: at.line + 1,
                column: 1,
            },
            _ => Self {
                line: at.line,
                column: at.column + 1,
            },
        })
    }
}

/// Cuts a text that begins at `start`.
pub(crate) fn pieces(text: &str, start: Place, lexer: Lexer) -> Pieces {
    let mut cut = Pieces {
        can_go_on: true,
        ..Pieces::default()
    };
    let (mut begin, mut last): (Option<usize>, usize) = (None, 0);
    let (mut place, mut placed) = (start, 0);
    let mut piece = |range: Range<usize>| {
        place = place.after(&text[placed..range.start]);
        placed = range.start;
        Piece { range, place }
    };
    for lexeme in lexer.lexemes(text) {
        match lexeme.kind {
            LexemeKind::Semicolon => {
                if let Some(begin) = begin.take() {
                    cut.complete.push(piece(begin..last));
                }
                cut.end = lexeme.range.end;
            }
            LexemeKind::Blank | LexemeKind::Comment => {}
            kind => {
                cut.can_go_on &= kind != LexemeKind::Unknown;
                begin.get_or_insert(lexeme.range.start);
                last = lexeme.range.end;
            }
        }
    }
    cut.rest = begin.map(|begin| piece(begin..last));
    cut
}

/// A statement as it stands in its text, with blanks for what is before it: so errors in it tell the right place.
pub(crate) fn in_place(text: &str, piece: &Piece) -> String {
    let Place { line, column } = piece.place;
    format!(
        "{}{}{}",
        "\n".repeat(line - 1),
        " ".repeat(column - 1),
        &text[piece.range.clone()]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> (Vec<&str>, Option<&str>) {
        let cut = pieces(text, Place::START, Lexer::default());
        let of = |piece: &Piece| &text[piece.range.clone()];
        let complete = cut.complete.iter().map(of).collect();
        (complete, cut.rest.as_ref().map(of))
    }

    #[test]
    fn a_statement_goes_on_until_its_semicolon() {
        for (text, complete, rest) in [
            ("", &[][..], None),
            ("  -- nothing;\n", &[], None),
            ("SELECT 1", &[], Some("SELECT 1")),
            ("SELECT 1;", &["SELECT 1"], None),
            (";; SELECT 1 ;;", &["SELECT 1"], None),
            ("SELECT ';' AS a; b", &["SELECT ';' AS a"], Some("b")),
            ("SELECT 'a;\nb", &[], Some("SELECT 'a;\nb")),
            ("DROP SINK `a;b", &[], Some("DROP SINK `a;b")),
            ("a; /* b; */ c -- d;", &["a"], Some("c")),
            ("a /* ; */ b;\n c;", &["a /* ; */ b", "c"], None),
            ("/* a;", &[], Some("/* a;")),
        ] {
            assert_eq!(texts(text), (complete.to_vec(), rest), "{text}");
        }
    }

    #[test]
    fn statements_know_their_place() {
        let text = "a;\n  -- c\n  größe 'x\ny' ; b";
        let cut = pieces(text, Place { line: 7, column: 5 }, Lexer::default());
        let places: Vec<_> = cut.complete.iter().chain(&cut.rest).collect();
        let found: Vec<_> = places
            .iter()
            .map(|piece| (piece.place.line, piece.place.column))
            .collect();
        assert_eq!(found, [(7, 5), (9, 3), (10, 6)]);
        assert_eq!(&text[cut.end..], " b");
        let shown = in_place(
            text,
            &pieces(text, Place::START, Lexer::default()).complete[1],
        );
        assert_eq!(shown, "\n\n  größe 'x\ny'");
    }
}
