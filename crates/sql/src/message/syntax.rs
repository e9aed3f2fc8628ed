//! Errors of syntax: what was expected, what stands there, and what was probably meant.

use datafusion::sql::sqlparser::tokenizer::{Span, Token, TokenWithSpan};
use headwater_core::nearest;

use super::complaint::Complaint;

/// Words that statements are made of, to recognise misspellings.
const WORDS: &[&str] = &[
    "AVAILABLE",
    "CREATE",
    "DELAY",
    "DESCRIBE",
    "DISTINCT",
    "DROP",
    "EVERY",
    "EXPLAIN",
    "FROM",
    "GROUP",
    "HAVING",
    "INSERT",
    "INTERVAL",
    "INTO",
    "JOIN",
    "LIMIT",
    "OPTIONS",
    "ORDER",
    "OUTPUT",
    "QUERIES",
    "QUERY",
    "REPLACE",
    "SELECT",
    "SHOW",
    "SINK",
    "SINKS",
    "STOP",
    "STREAM",
    "STREAMING",
    "STREAMS",
    "TABLE",
    "TABLES",
    "TRIGGER",
    "UNION",
    "USING",
    "VALUES",
    "VIEW",
    "WATERMARK",
    "WHERE",
    "WINDOW",
    "WITH",
];

/// The complaint with what was probably meant, seen the tokens of its statement.
pub(super) fn reworded(complaint: Complaint, tokens: &[TokenWithSpan]) -> Complaint {
    let Complaint { message, span } = complaint;
    if message.contains("Unterminated string literal") {
        let message =
            "the text that begins here does not end: close it with a quote (')".to_owned();
        return Complaint { message, span };
    }
    let is_ours = message.starts_with("expected ");
    let expected = message
        .strip_prefix("Expected: ")
        .or(message.strip_prefix("Expected "));
    let at = span.and_then(|span| tokens.iter().position(|t| t.span.start == span.start));
    // Some errors have the place of the token behind the one that they are about.
    let found = expected.and_then(|expected| expected.split_once(", found: "));
    let is_found = |at: usize| {
        let token = tokens.get(at).map(|token| token.token.to_string());
        found.is_some() && token.as_deref() == found.map(|(_, found)| found)
    };
    let at = match at {
        Some(at) if at > 0 && !is_found(at) && is_found(at - 1) => Some(at - 1),
        at => at,
    };
    let span = at.map(|at| tokens[at].span).or(span);
    let before = match (at, span) {
        (Some(at), _) => at.checked_sub(1).map(|before| &tokens[before]),
        (None, Some(_)) => tokens.last(),
        (None, None) => None,
    };
    let here = at.map(|at| &tokens[at]);
    let meant = here
        .and_then(misspelt)
        .or_else(|| before.and_then(misspelt));
    match (expected, meant) {
        (_, Some((written, meant, place))) if is_ours || expected.is_some() => Complaint {
            message: format!("'{written}' is not understood here: did you mean {meant}?"),
            span: Some(place),
        },
        (Some(expected), _) => {
            let (what, found) = expected.split_once(", found: ").unwrap_or((expected, ""));
            Complaint {
                message: format!(
                    "expected {}, found {}: {}",
                    shown(what),
                    found_words(found),
                    advice(what, found, before)
                ),
                span,
            }
        }
        (None, _) => Complaint { message, span },
    }
}

/// A word that is none of SQL's, but nearly: as written, as meant, and where.
fn misspelt(token: &TokenWithSpan) -> Option<(String, &'static str, Span)> {
    let Token::Word(word) = &token.token else {
        return None;
    };
    let is_word = WORDS
        .iter()
        .any(|known| known.eq_ignore_ascii_case(&word.value));
    if word.quote_style.is_some() || is_word || word.value.len() < 4 {
        return None;
    }
    let meant = nearest(&word.value, WORDS.iter().copied())?;
    Some((word.value.clone(), meant, token.span))
}

fn shown(what: &str) -> String {
    match what {
        "an SQL statement" => "a statement".to_owned(),
        what if what.chars().all(|c| c.is_ascii_punctuation()) => format!("`{what}`"),
        what => what.to_owned(),
    }
}

fn found_words(found: &str) -> String {
    match found {
        "" | "EOF" => "the end of the statement".to_owned(),
        found => format!("`{found}`"),
    }
}

fn advice(what: &str, found: &str, before: Option<&TokenWithSpan>) -> &'static str {
    let is_behind_comma = before.is_some_and(|before| before.token == Token::Comma);
    match (what, found) {
        (")", _) => "close the parenthesis before it with `)`",
        ("an SQL statement", _) => {
            "write a statement such as SELECT, INSERT INTO, CREATE STREAM or SHOW STREAMS"
        }
        _ if is_behind_comma => "remove the comma before it",
        (_, "EOF" | "") => "write the rest of the statement",
        _ => "look at what stands before it, and quote a name that is a word of SQL with backticks",
    }
}
