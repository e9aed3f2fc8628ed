//! Where in a statement the thing stands that a message is about.
//!
//! Plans do not know their place in the text. But messages name the construct that they refuse, and quote names: the
//! first such construct of the statement is shown.

use datafusion::sql::sqlparser::tokenizer::{Span, Token, TokenWithSpan, Tokenizer};

use crate::dialect::SparkDialect;

/// What a message contains, and the words (and parentheses) of the construct that it is about, in order of preference.
const CONSTRUCTS: &[(&str, &[&[&str]])] = &[
    ("ORDER BY over a stream", &[&["ORDER", "BY"]]),
    ("functions with OVER", &[&["OVER"]]),
    ("LIMIT is not possible", &[&["LIMIT"]]),
    ("OFFSET over a stream", &[&["OFFSET"]]),
    ("SELECT DISTINCT", &[&["DISTINCT"]]),
    ("DISTINCT ON", &[&["DISTINCT"]]),
    ("DISTINCT aggregates", &[&["DISTINCT"]]),
    ("UNION", &[&["UNION"]]),
    ("INTERSECT", &[&["INTERSECT"]]),
    (
        "ROLLUP and CUBE",
        &[&["ROLLUP"], &["CUBE"], &["GROUPING", "SETS"]],
    ),
    ("session", &[&["session_window", "("], &["SESSION", "("]]),
    ("SORT BY", &[&["SORT", "BY"]]),
    ("CLUSTER BY", &[&["CLUSTER", "BY"], &["DISTRIBUTE", "BY"]]),
    ("PIVOT", &[&["PIVOT"], &["UNPIVOT"]]),
    ("TABLESAMPLE", &[&["TABLESAMPLE"]]),
    ("AS OF join", &[&["as_of", "("]]),
    ("a subquery inside", &[&["IN"], &["EXISTS"], &["SELECT"]]),
    (
        "an anti join",
        &[&["ANTI"], &["EXCEPT"], &["EXISTS"], &["IN"]],
    ),
    ("IN and EXISTS", &[&["EXISTS"], &["IN"]]),
    ("a recursive query", &[&["RECURSIVE"]]),
    ("join of two streams", &[&["JOIN"]]),
    ("join keeps rows of the table", &[&["JOIN"]]),
    ("already a watermark", &[&["WATERMARK"]]),
    ("event time of a watermark", &[&["WATERMARK"]]),
    ("the delay of the watermark", &[&["WATERMARK"]]),
    ("the window slide", &[&["window", "("], &["HOP", "("]]),
    (
        "the window length",
        &[&["window", "("], &["TUMBLE", "("], &["HOP", "("]],
    ),
    ("groups never end", &[&["GROUP", "BY"]]),
    ("WHERE needs a condition", &[&["WHERE"]]),
];

/// The tokens of the statement that `place` is in, without white space. None if the text cannot be read.
pub(super) fn tokens_of(text: &str, place: Span) -> Vec<TokenWithSpan> {
    let Ok(tokens) = Tokenizer::new(&SparkDialect, text).tokenize_with_location() else {
        return Vec::new();
    };
    let tokens: Vec<TokenWithSpan> = tokens
        .into_iter()
        .filter(|t| !matches!(t.token, Token::Whitespace(_) | Token::EOF))
        .collect();
    let mut statements = tokens.split(|t| t.token == Token::SemiColon);
    let begun = statements.rfind(|statement| {
        let first = statement.first();
        first.is_some_and(|first| first.span.start <= place.start)
    });
    begun.unwrap_or_default().to_vec()
}

/// All of the token that begins at a place of no width.
pub(super) fn whole_token(place: Span, tokens: &[TokenWithSpan]) -> Span {
    if place.start != place.end {
        return place;
    }
    let found = tokens.iter().find(|token| token.span.start == place.start);
    found.map_or(place, |token| token.span)
}

/// Where the construct stands that the message names, or the name that it quotes.
pub(super) fn place_of(message: &str, tokens: &[TokenWithSpan]) -> Option<Span> {
    let constructs = CONSTRUCTS
        .iter()
        .filter(|(named, _)| message.contains(named));
    let mut alternatives = constructs.flat_map(|(_, alternatives)| alternatives.iter());
    let construct = alternatives.find_map(|words| sequence(tokens, words));
    construct.or_else(|| {
        let quoted = quoted(message);
        quoted.iter().find_map(|name| named(tokens, name))
    })
}

fn sequence(tokens: &[TokenWithSpan], words: &[&str]) -> Option<Span> {
    let found = tokens.windows(words.len()).find(|window| {
        window
            .iter()
            .zip(words)
            .all(|(token, word)| match &token.token {
                Token::Word(found) => found.value.eq_ignore_ascii_case(word),
                Token::LParen => *word == "(",
                _ => false,
            })
    })?;
    let mut words = found.iter().filter(|token| token.token != Token::LParen);
    let first = words.next()?.span;
    Some(Span {
        start: first.start,
        end: words.next_back().map_or(first, |last| last.span).end,
    })
}

/// What stands in quotes in a message, in order; of a name with dots, its last part.
fn quoted(message: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for quote in ['\'', '`'] {
        let pieces: Vec<&str> = message.split(quote).collect();
        let inside = pieces.iter().skip(1).step_by(2);
        found.extend(inside.map(|name| name.rsplit('.').next().unwrap_or(name)));
    }
    found.retain(|name| !name.is_empty());
    found
}

fn named(tokens: &[TokenWithSpan], name: &str) -> Option<Span> {
    let found = tokens.iter().find(|token| match &token.token {
        Token::Word(word) => word.value.eq_ignore_ascii_case(name),
        Token::SingleQuotedString(text) | Token::DoubleQuotedString(text) => text == name,
        _ => false,
    });
    found.map(|token| token.span)
}
