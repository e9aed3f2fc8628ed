//! Colours of what is typed.

use headwater::sql::statement::{LexemeKind, Lexer};

use super::{edit::layout::Styled, vocabulary::is_keyword};

const KEYWORD: &str = "\x1b[1m";
const TEXT: &str = "\x1b[32m";
const COMMENT: &str = "\x1b[2m";
const UNKNOWN: &str = "\x1b[31m";

/// The styles of the parts of a text.
pub(crate) fn styles(text: &str, lexer: Lexer) -> Vec<Styled> {
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
        assert_eq!(styles("'open", Lexer::default()), [(0..5, TEXT)]);
    }
}
