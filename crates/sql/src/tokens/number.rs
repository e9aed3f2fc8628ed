//! Numbers that carry their type, as casts of their text: `5.0D`, `7S`, `1.50BD`, `1e10`.

use datafusion::sql::sqlparser::tokenizer::{Span, Token, TokenWithSpan};

use super::Rewriter;

impl Rewriter {
    /// A number with a type letter behind it or with an exponent. Plain numbers are left alone.
    pub(super) fn number(&mut self, text: String, span: Span) {
        let suffix = match self.input.get(self.at + 1) {
            Some(TokenWithSpan {
                token: Token::Word(word),
                span: next,
            }) if word.quote_style.is_none() && next.start == span.end => {
                number_suffix(&word.value)
            }
            _ => None,
        };
        let exponent = !text.starts_with("0x") && text.contains(['e', 'E']);
        let data_type = match (suffix, exponent) {
            (Some(data_type), _) => {
                self.at += 1;
                data_type
            }
            (None, true) => "DOUBLE",
            (None, false) => return self.copy(),
        };
        self.at += 1;
        let mut push = |token| self.out.push(TokenWithSpan { token, span });
        push(Token::make_keyword("CAST"));
        push(Token::LParen);
        push(Token::SingleQuotedString(text.clone()));
        push(Token::make_keyword("AS"));
        if data_type == "DECIMAL" {
            let (precision, scale) = decimal_shape(&text);
            push(Token::make_keyword("DECIMAL"));
            push(Token::LParen);
            push(Token::Number(precision.to_string(), false));
            push(Token::Comma);
            push(Token::Number(scale.to_string(), false));
            push(Token::RParen);
        } else {
            push(Token::make_keyword(data_type));
        }
        push(Token::RParen);
    }
}

fn number_suffix(word: &str) -> Option<&'static str> {
    match word.to_ascii_uppercase().as_str() {
        "D" => Some("DOUBLE"),
        "F" => Some("FLOAT"),
        "S" => Some("SMALLINT"),
        "Y" => Some("TINYINT"),
        "BD" => Some("DECIMAL"),
        _ => None,
    }
}

/// Precision and scale of a decimal as it is written.
fn decimal_shape(text: &str) -> (usize, usize) {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole = whole.trim_start_matches('0').len();
    ((whole + fraction.len()).max(1), fraction.len())
}

#[cfg(test)]
mod tests {
    use super::super::tests::rewritten;

    #[test]
    fn a_typed_number_becomes_a_cast_of_its_text() {
        let sql = "SELECT 5.0D, 1e308, 7S, 1.50BD, 3 D";
        let expected = "SELECT CAST ( '5.0' AS DOUBLE ) , CAST ( '1e308' AS DOUBLE ) , CAST ( '7' AS SMALLINT ) , CAST ( '1.50' AS DECIMAL ( 3 , 2 ) ) , 3 D";
        assert_eq!(rewritten(sql).expect(sql), expected);
    }
}
