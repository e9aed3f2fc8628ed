//! `OPTIONS ('k' 'v', k = 'v', …)`: names in quotes or bare, values in quotes, numbers or truth values.

use std::collections::BTreeSet;

use datafusion::{
    common::Result,
    sql::sqlparser::tokenizer::{Span, Token},
};

use super::cursor::{Cursor, is_word};
use crate::message::error_at;

const FORM: &str = "write OPTIONS ('name' 'value', …)";

/// Options in the order in which they were written; no name comes twice.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StatementOptions {
    /// Name, value and where the name stands.
    pub entries: Vec<(String, String, Span)>,
}

impl StatementOptions {
    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let entries = self.entries.iter();
        entries.map(|(name, value, _)| (name.as_str(), value.as_str()))
    }
}

/// What stands behind `OPTIONS`.
pub(super) fn options(cursor: &mut Cursor<'_>) -> Result<StatementOptions> {
    cursor.expect_token(&Token::LParen, FORM)?;
    let mut options = StatementOptions::default();
    let mut taken = BTreeSet::new();
    if cursor.takes_token(&Token::RParen) {
        return Ok(options);
    }
    loop {
        let span = cursor.here();
        let name = option_name(cursor)?;
        // The form in which connectors compare names.
        if !taken.insert(name.replace('_', "").to_ascii_lowercase()) {
            return Err(error_at(
                span,
                format!("the option '{name}' is given twice: keep one of them"),
            ));
        }
        cursor.takes_token(&Token::Eq);
        let value = option_value(cursor, &name)?;
        options.entries.push((name, value, span));
        if !cursor.takes_token(&Token::Comma) {
            break;
        }
    }
    cursor.expect_token(&Token::RParen, FORM)?;
    Ok(options)
}

/// `'a.b'`, or `a.b` without quotes.
fn option_name(cursor: &mut Cursor<'_>) -> Result<String> {
    const WHAT: &str = "the name of an option";
    if !matches!(cursor.peek(), Token::Word(_)) {
        return cursor.text(WHAT, FORM);
    }
    let mut name = String::new();
    loop {
        match cursor.peek() {
            Token::Word(word) => name.push_str(&word.value),
            _ => return cursor.expected(WHAT, FORM),
        }
        cursor.next();
        if !cursor.takes_token(&Token::Period) {
            return Ok(name);
        }
        name.push('.');
    }
}

fn option_value(cursor: &mut Cursor<'_>, name: &str) -> Result<String> {
    let sign = if cursor.takes_token(&Token::Minus) {
        "-"
    } else {
        ""
    };
    let value = match cursor.peek() {
        Token::Number(number, _) => format!("{sign}{number}"),
        Token::SingleQuotedString(text) | Token::DoubleQuotedString(text) if sign.is_empty() => {
            text.clone()
        }
        token if sign.is_empty() && is_word(token, "true") => "true".to_owned(),
        token if sign.is_empty() && is_word(token, "false") => "false".to_owned(),
        _ => {
            return cursor.expected(
                &format!("the value of the option '{name}'"),
                &format!("write '{name}' 'value'; only numbers, true and false need no quotes"),
            );
        }
    };
    cursor.next();
    Ok(value)
}
