//! A text taken apart into words and signs, whole or not: for whoever edits a text that is not finished yet.

use std::ops::Range;

use datafusion::sql::sqlparser::{
    dialect::Dialect,
    tokenizer::{Location, Token, Tokenizer, Whitespace},
};

use crate::{
    dialect::{SparkDialect, StandardQuotes},
    rewrite::Flavour,
};

/// What closes what the tokenizer may find open.
const CLOSERS: [&str; 4] = ["'", "\"", "`", "*/"];

/// What a piece of a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LexemeKind {
    /// A word without quotes: a keyword or a name.
    Word,
    /// A name between backticks.
    QuotedName,
    /// A literal text.
    Text,
    /// A number.
    Number,
    /// A comment.
    Comment,
    /// Blanks and line ends.
    Blank,
    /// The semicolon that ends a statement.
    Semicolon,
    /// Any other sign.
    Sign,
    /// A text, a quoted name or a comment whose end has not been written yet; the last of all.
    Open,
    /// What begins no word and no sign, and whatever stands behind it; the last of all.
    Unknown,
}

/// A piece of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lexeme {
    /// What it is.
    pub kind: LexemeKind,
    /// Its bytes.
    pub range: Range<usize>,
}

/// Takes texts apart, with names and texts quoted as a session has them.
#[derive(Debug, Clone, Copy)]
pub struct Lexer {
    flavour: Flavour,
}

impl Default for Lexer {
    /// As a session without Spark's words quotes.
    fn default() -> Self {
        Self::of(Flavour::DataFusion)
    }
}

impl Lexer {
    /// As a session with Spark's words quotes.
    pub fn spark() -> Self {
        Self::of(Flavour::Spark)
    }

    pub(crate) fn of(flavour: Flavour) -> Self {
        Self { flavour }
    }

    /// Takes a text apart, the way statements are: each byte is in one lexeme, in order.
    pub fn lexemes(self, text: &str) -> Vec<Lexeme> {
        let mut tokens = Vec::new();
        let failed = Tokenizer::new(self.dialect(), text)
            .tokenize_with_location_into_buf(&mut tokens)
            .is_err();
        let mut places = Places::new(text);
        let mut lexemes = Vec::with_capacity(tokens.len() + 1);
        for token in &tokens {
            let start = places.at;
            let end = places.advance(token.span.end);
            lexemes.push(Lexeme {
                kind: kind(&token.token),
                range: start..end,
            });
        }
        if places.at < text.len() {
            let kind = match failed && self.can_be_closed(text) {
                true => LexemeKind::Open,
                false => LexemeKind::Unknown,
            };
            lexemes.push(Lexeme {
                kind,
                range: places.at..text.len(),
            });
        }
        lexemes
    }

    /// Whether the tokenizer would be content with the text, were what is open closed.
    fn can_be_closed(self, text: &str) -> bool {
        CLOSERS.iter().any(|closer| {
            let closed = format!("{text}{closer}");
            Tokenizer::new(self.dialect(), &closed).tokenize().is_ok()
        })
    }

    fn dialect(self) -> &'static dyn Dialect {
        match self.flavour {
            Flavour::Spark => &SparkDialect,
            Flavour::DataFusion => &StandardQuotes,
        }
    }
}

fn kind(token: &Token) -> LexemeKind {
    match token {
        Token::Word(word) if word.quote_style.is_some() => LexemeKind::QuotedName,
        Token::Word(_) => LexemeKind::Word,
        Token::Number(..) => LexemeKind::Number,
        Token::SemiColon => LexemeKind::Semicolon,
        Token::Whitespace(
            Whitespace::SingleLineComment { .. } | Whitespace::MultiLineComment(_),
        ) => LexemeKind::Comment,
        Token::Whitespace(_) => LexemeKind::Blank,
        Token::SingleQuotedString(_)
        | Token::DoubleQuotedString(_)
        | Token::EscapedStringLiteral(_)
        | Token::HexStringLiteral(_)
        | Token::NationalStringLiteral(_)
        | Token::SingleQuotedRawStringLiteral(_)
        | Token::DoubleQuotedRawStringLiteral(_) => LexemeKind::Text,
        _ => LexemeKind::Sign,
    }
}

/// Goes through a text, counting lines and columns as the tokenizer does.
struct Places<'a> {
    text: &'a str,
    at: usize,
    line: u64,
    column: u64,
}

impl<'a> Places<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            text,
            at: 0,
            line: 1,
            column: 1,
        }
    }

    /// The byte at a place that is not before the last one.
    fn advance(&mut self, to: Location) -> usize {
        for c in self.text[self.at..].chars() {
            if (self.line, self.column) >= (to.line, to.column) {
                break;
            }
            self.at += c.len_utf8();
            if c == '\n' {
                self.line += 1;
                self.column = 1;
            } else {
                self.column += 1;
            }
        }
        self.at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<(LexemeKind, &str)> {
        let lexemes = Lexer::spark().lexemes(text).into_iter();
        let shown = lexemes.map(|lexeme| (lexeme.kind, &text[lexeme.range]));
        shown
            .filter(|(kind, _)| *kind != LexemeKind::Blank)
            .collect()
    }

    #[test]
    fn each_piece_of_a_text_is_known() {
        use LexemeKind::{Comment, Number, QuotedName, Semicolon, Sign, Text, Word};
        let text = "SELECT `größe;`, 'a;\nb' -- c;\nFROM t /* ; */ WHERE n >= 1.5;";
        let expected = [
            (Word, "SELECT"),
            (QuotedName, "`größe;`"),
            (Sign, ","),
            (Text, "'a;\nb'"),
            (Comment, "-- c;\n"),
            (Word, "FROM"),
            (Word, "t"),
            (Comment, "/* ; */"),
            (Word, "WHERE"),
            (Word, "n"),
            (Sign, ">="),
            (Number, "1.5"),
            (Semicolon, ";"),
        ];
        assert_eq!(shown(text), expected);
        let all: String = Lexer::default()
            .lexemes(text)
            .into_iter()
            .map(|lexeme| &text[lexeme.range])
            .collect();
        assert_eq!(all, text);
    }

    #[test]
    fn what_is_open_is_told_from_what_can_never_be_closed() {
        for text in [
            "'a;",
            "SELECT 'it''s",
            "SELECT 'it\\'s;",
            "SELECT `a",
            "a; /* b; -- c",
            "\"x",
        ] {
            let last = Lexer::spark().lexemes(text).pop().expect("a lexeme");
            assert_eq!(last.kind, LexemeKind::Open, "{text}");
        }
        for text in ["", "SELECT 1", "SELECT 1; -- open?", "é 'x' 日本"] {
            let last = Lexer::spark().lexemes(text).pop().map(|lexeme| lexeme.kind);
            assert_ne!(last, Some(LexemeKind::Open), "{text}");
        }
    }

    #[test]
    fn quotes_mean_what_they_mean_in_the_session() {
        let last = |lexer: Lexer, text| lexer.lexemes(text).pop().map(|lexeme| lexeme.kind);
        let (spark, standard) = (Lexer::spark(), Lexer::default());
        assert_eq!(last(spark, "\"a\""), Some(LexemeKind::Text));
        assert_eq!(last(standard, "\"a\""), Some(LexemeKind::QuotedName));
        assert_eq!(last(spark, "'\\';"), Some(LexemeKind::Open));
        assert_eq!(last(standard, "'\\';"), Some(LexemeKind::Semicolon));
    }
}
