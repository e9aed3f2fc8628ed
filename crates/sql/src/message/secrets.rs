//! Values of options that are secrets, so that no excerpt of a text shows them.

use datafusion::sql::sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer};
use headwater_core::secret::is_secret;

use crate::dialect::SparkDialect;

/// A line of a text, the first being 1, with `*` for each character of a secret.
pub(super) fn without_secrets(text: &str, number: u64, line: &str) -> Vec<char> {
    let tokens = Tokenizer::new(&SparkDialect, text).tokenize_with_location();
    let chars = line.chars().enumerate();
    match tokens {
        Ok(tokens) => {
            let secrets = values_of_secrets(&tokens);
            let is_hidden = |column: usize| {
                let here = Location::new(number, column as u64 + 1);
                secrets
                    .iter()
                    .any(|span| span.start <= here && here < span.end)
            };
            let hidden = |(column, c)| if is_hidden(column) { '*' } else { c };
            chars.map(hidden).collect()
        }
        // Which value belongs to which option is not known: whatever stands behind such a name is hidden.
        Err(_) => {
            let from = end_of_secret_name(line).unwrap_or(usize::MAX);
            let hidden = |(column, c): (usize, char)| match column >= from && !c.is_whitespace() {
                true => '*',
                false => c,
            };
            chars.map(hidden).collect()
        }
    }
}

/// Where values of secret options stand in the lists behind OPTIONS.
fn values_of_secrets(tokens: &[TokenWithSpan]) -> Vec<Span> {
    let tokens: Vec<&TokenWithSpan> = tokens
        .iter()
        .filter(|t| !matches!(t.token, Token::Whitespace(_)))
        .collect();
    let mut found = Vec::new();
    let mut in_options = false;
    for (at, token) in tokens.iter().enumerate() {
        match &token.token {
            Token::LParen => {
                let before = at.checked_sub(1).map(|before| &tokens[before].token);
                in_options |= matches!(before, Some(Token::Word(word)) if word.value.eq_ignore_ascii_case("options"));
            }
            Token::RParen => in_options = false,
            name if in_options && text_of(name).is_some_and(|name| is_secret(&name)) => {
                let behind = tokens[at + 1..]
                    .iter()
                    .find(|t| !matches!(t.token, Token::Eq | Token::DoubleEq | Token::RArrow));
                found.extend(
                    behind
                        .filter(|value| text_of(&value.token).is_some())
                        .map(|value| value.span),
                );
            }
            _ => {}
        }
    }
    found
}

/// What a name or a value of an option says.
fn text_of(token: &Token) -> Option<String> {
    match token {
        Token::SingleQuotedString(text) | Token::DoubleQuotedString(text) => Some(text.clone()),
        Token::Number(digits, _) => Some(digits.clone()),
        Token::Word(word) => Some(word.value.clone()),
        _ => None,
    }
}

/// The column behind the first word of a line that names a secret.
fn end_of_secret_name(line: &str) -> Option<usize> {
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-');
    let mut word = String::new();
    for (column, c) in line.chars().chain([' ']).enumerate() {
        if is_part(c) {
            word.push(c);
        } else if is_secret(&std::mem::take(&mut word)) {
            return Some(column);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, number: u64) -> String {
        let line = text.lines().nth(number as usize - 1).unwrap_or_default();
        without_secrets(text, number, line).into_iter().collect()
    }

    #[test]
    fn values_of_secret_options_are_stars_and_nothing_else_is() {
        for (text, expected) in [
            (
                "USING x OPTIONS ('path' 'a', 'password' 'hunter2', 'b' 'c')",
                "USING x OPTIONS ('path' 'a', 'password' *********, 'b' 'c')",
            ),
            (
                "OPTIONS (kafka.sasl.password = hunter2, token 12)",
                "OPTIONS (kafka.sasl.password = *******, token **)",
            ),
            (
                "SELECT token AS t FROM secrets",
                "SELECT token AS t FROM secrets",
            ),
            ("OPTIONS ('token')", "OPTIONS ('token')"),
        ] {
            assert_eq!(shown(text, 1), expected);
        }
        let text = "OPTIONS (\n  'password'\n  'hunter\n2' , 'a' 'b')";
        assert_eq!(shown(text, 3), "  *******");
        assert_eq!(shown(text, 4), "** , 'a' 'b')");
    }

    #[test]
    fn a_text_that_cannot_be_read_hides_what_stands_behind_such_a_name() {
        let text = "OPTIONS ('password' 'hunter2', 'path 'x')";
        assert_eq!(shown(text, 1), "OPTIONS ('password* ********** ***** ****");
        assert_eq!(shown("SELECT 'x", 1), "SELECT 'x");
    }
}
