//! Colours of what is typed.

use std::ops::Range;

use headwater::sql::statement::{LexemeKind, Lexer};

use super::vocabulary::is_keyword;

const KEYWORD: &str = "\x1b[1m";
const TEXT: &str = "\x1b[32m";
const COMMENT: &str = "\x1b[2m";
const UNKNOWN: &str = "\x1b[31m";

/// Ends a style.
const PLAIN: &str = "\x1b[0m";

/// A part of a text and the sequence that begins its style.
type Styled = (Range<usize>, &'static str);

/// A text with its styles.
pub(crate) fn highlighted(text: &str, lexer: Lexer) -> String {
    let mut shown = String::with_capacity(text.len() + 64);
    let mut at = 0;
    for (range, style) in styles(text, lexer) {
        shown.push_str(&text[at..range.start]);
        shown.push_str(style);
        shown.push_str(&text[range.clone()]);
        shown.push_str(PLAIN);
        at = range.end;
    }
    shown.push_str(&text[at..]);
    shown
}

/// The styles of the parts of a text.
fn styles(text: &str, lexer: Lexer) -> Vec<Styled> {
    let styled = lexer.lexemes(text).into_iter().filter_map(|lexeme| {
        let found = &text[lexeme.range.clone()];
        let style = match lexeme.kind {
            LexemeKind::Word if is_keyword(found) => KEYWORD,
            LexemeKind::Text => TEXT,
            LexemeKind::Open if found.starts_with("/*") => COMMENT,
            LexemeKind::Open => TEXT,
            LexemeKind::Comment => COMMENT,
            LexemeKind::Unknown => UNKNOWN,
            _ => return None,
        };
        Some((lexeme.range, style))
    });
    styled.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_grammar_texts_and_comments_stand_out() {
        let text = "select host, 'a' FROM t -- c";
        let found = styles(text, Lexer::default());
        let found: Vec<_> = found
            .iter()
            .map(|(range, style)| (&text[range.clone()], *style))
            .collect();
        assert_eq!(
            found,
            [
                ("select", KEYWORD),
                ("'a'", TEXT),
                ("FROM", KEYWORD),
                ("-- c", COMMENT)
            ]
        );
        assert_eq!(
            highlighted("SELECT 'a' ;", Lexer::default()),
            format!("{KEYWORD}SELECT{PLAIN} {TEXT}'a'{PLAIN} ;")
        );
        assert_eq!(styles("'open", Lexer::default()), [(0..5, TEXT)]);
    }
}
