//! What Spark writes and sqlparser cannot read, turned into what it can, token by token.
//!
//! * `<relation> WATERMARK <expr> DELAY OF INTERVAL ...` becomes a call of the table function
//!   [`WATERMARK_FUNCTION`], which the relation planner turns into a plan node.
//! * `TUMBLE(TABLE t, DESCRIPTOR(ts), …)`, `HOP` and `SESSION` become calls of table functions of the same kind.
//! * `FROM STREAM t` and `FROM STREAM(t)` lose their `STREAM`.
//! * `INTERVAL 1 MINUTE 30 SECONDS` becomes `INTERVAL '1 MINUTE 30 SECONDS'`.
//! * `EXISTS (xs, x -> ...)` becomes `array_any_match (xs, x -> ...)`.
//! * `5.0D`, `1e10` and the other typed numbers become casts of their text.
//!
//! Tokens keep their places in the text, so that later errors point at what the user wrote.

mod number;
mod watermark;
mod windowing;

use datafusion::common::Result;
use datafusion::sql::sqlparser::keywords::{Keyword, RESERVED_FOR_TABLE_ALIAS};
use datafusion::sql::sqlparser::tokenizer::{Span, Token, TokenWithSpan};

use crate::interval::{CalendarInterval, is_unit};
use crate::message::error_at;

pub(crate) use watermark::WATERMARK_FUNCTION;
pub(crate) use windowing::{HOP_FUNCTION, SESSION_FUNCTION, TUMBLE_FUNCTION};

/// Rewrites the tokens of one text; whitespace and comments are dropped.
pub(crate) fn rewrite(tokens: Vec<TokenWithSpan>) -> Result<Vec<TokenWithSpan>> {
    let input: Vec<TokenWithSpan> = tokens
        .into_iter()
        .filter(|t| !matches!(t.token, Token::Whitespace(_)))
        .collect();
    let mut rewriter = Rewriter {
        at: 0,
        out: Vec::with_capacity(input.len()),
        input,
    };
    while rewriter.at < rewriter.input.len() {
        rewriter.step()?;
    }
    Ok(rewriter.out)
}

struct Rewriter {
    input: Vec<TokenWithSpan>,
    at: usize,
    out: Vec<TokenWithSpan>,
}

impl Rewriter {
    fn step(&mut self) -> Result<()> {
        let token = &self.input[self.at];
        match &token.token {
            Token::Number(text, false) => self.number(text.clone(), token.span),
            Token::Word(word) if word.quote_style.is_none() => {
                if word.value.eq_ignore_ascii_case("watermark") {
                    return self.watermark();
                }
                if word.value.eq_ignore_ascii_case("stream") && self.is_stream_keyword() {
                    self.at += 1;
                    self.name_in_parentheses();
                    return Ok(());
                }
                if let Some(function) = self.windowing_function() {
                    return self.windowing(function);
                }
                // `EXISTS (` without a query behind it is the function over arrays.
                if word.keyword == Keyword::EXISTS && self.is_function_call() {
                    let span = token.span;
                    self.out.push(TokenWithSpan {
                        token: Token::make_word("array_any_match", None),
                        span,
                    });
                    self.at += 1;
                    return Ok(());
                }
                if word.keyword == Keyword::INTERVAL {
                    return self.interval();
                }
                self.copy();
            }
            _ => self.copy(),
        }
        Ok(())
    }

    fn copy(&mut self) {
        self.out.push(self.input[self.at].clone());
        self.at += 1;
    }

    fn peek(&self, ahead: usize) -> Option<&Token> {
        self.input.get(self.at + ahead).map(|t| &t.token)
    }

    fn span(&self, ahead: usize) -> Span {
        let last = self.input.len().saturating_sub(1);
        self.input
            .get((self.at + ahead).min(last))
            .map_or_else(Span::empty, |t| t.span)
    }

    /// `STREAM` is a keyword where a relation starts and another name follows it.
    fn is_stream_keyword(&self) -> bool {
        let starts_relation = self.out.last().is_some_and(|t| {
            is_keyword(&t.token, Keyword::FROM)
                || is_keyword(&t.token, Keyword::JOIN)
                || (t.token == Token::Comma && self.is_in_from())
        });
        starts_relation
            && match self.peek(1) {
                Some(Token::Word(next)) => {
                    !next.value.eq_ignore_ascii_case("watermark")
                        && (next.quote_style.is_some()
                            || !RESERVED_FOR_TABLE_ALIAS.contains(&next.keyword))
                        && next.keyword != Keyword::AS
                }
                Some(Token::LParen) => true,
                _ => false,
            }
    }

    /// `STREAM(t)`: takes the name out of its parentheses, if there is nothing else in them.
    fn name_in_parentheses(&mut self) {
        if self.peek(0) != Some(&Token::LParen) {
            return;
        }
        let inside = self.input[self.at + 1..].iter();
        let name: Vec<TokenWithSpan> = inside
            .take_while(|t| matches!(t.token, Token::Word(_) | Token::Period))
            .cloned()
            .collect();
        let is_query = name.first().is_some_and(|t| {
            let words = [
                Keyword::SELECT,
                Keyword::WITH,
                Keyword::VALUES,
                Keyword::FROM,
            ];
            words.iter().any(|keyword| is_keyword(&t.token, *keyword))
        });
        if !name.is_empty() && !is_query && self.peek(1 + name.len()) == Some(&Token::RParen) {
            self.at += name.len() + 2;
            self.out.extend(name);
        }
    }

    /// Whether the list that goes on here is that of `FROM`, not of columns.
    fn is_in_from(&self) -> bool {
        let mut depth = 0_usize;
        for before in self.out.iter().rev() {
            match &before.token {
                Token::RParen => depth += 1,
                Token::LParen if depth == 0 => return false,
                Token::LParen => depth -= 1,
                token if depth == 0 && is_keyword(token, Keyword::FROM) => return true,
                token if depth == 0 => {
                    let others = [Keyword::SELECT, Keyword::BY, Keyword::WHERE, Keyword::SET];
                    if others.iter().any(|other| is_keyword(token, *other)) {
                        return false;
                    }
                }
                _ => {}
            }
        }
        false
    }

    fn is_function_call(&self) -> bool {
        let query = [
            Keyword::SELECT,
            Keyword::WITH,
            Keyword::VALUES,
            Keyword::FROM,
            Keyword::TABLE,
        ];
        matches!(self.peek(1), Some(Token::LParen))
            && !matches!(self.peek(2), Some(Token::LParen))
            && !query
                .iter()
                .any(|keyword| self.peek(2).is_some_and(|t| is_keyword(t, *keyword)))
    }

    /// Joins `INTERVAL <n> <unit> [<n> <unit> ...]` or `INTERVAL '<fields>' <unit> TO <unit>` into one text.
    fn interval(&mut self) -> Result<()> {
        let span = self.span(0);
        self.copy();
        let text = match self.unit_to_unit()? {
            Some(interval) => Some(interval.literal()),
            None => self.counts_and_units(),
        };
        if let Some(text) = text {
            self.out.push(TokenWithSpan {
                token: Token::SingleQuotedString(text),
                span,
            });
        }
        Ok(())
    }

    fn counts_and_units(&mut self) -> Option<String> {
        let start = self.at;
        let mut text = String::new();
        while let Some((count, unit)) = self.count_and_unit(true) {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(&format!("{count} {unit}"));
        }
        (self.at > start).then_some(text)
    }

    /// Takes `[+|-] '<fields>' <unit> TO <unit>`, behind INTERVAL.
    fn unit_to_unit(&mut self) -> Result<Option<CalendarInterval>> {
        let (negative, ahead) = match self.peek(0) {
            Some(Token::Minus) => (true, 1),
            Some(Token::Plus) => (false, 1),
            _ => (false, 0),
        };
        let (Some(Token::SingleQuotedString(text)), Some(Token::Word(from)), Some(to_word)) =
            (self.peek(ahead), self.peek(ahead + 1), self.peek(ahead + 2))
        else {
            return Ok(None);
        };
        let Some(Token::Word(to)) = self.peek(ahead + 3) else {
            return Ok(None);
        };
        if !is_unit(&from.value) || !is_keyword(to_word, Keyword::TO) || !is_unit(&to.value) {
            return Ok(None);
        }
        let parsed = CalendarInterval::parse_range(text, &from.value, &to.value);
        let signed = parsed.and_then(|it| if negative { it.negated() } else { Ok(it) });
        let interval = signed.map_err(|e| error_at(self.span(ahead), e.strip_backtrace()))?;
        self.at += ahead + 4;
        Ok(Some(interval))
    }

    /// Takes `[+|-] <number> <unit>`; the number may be a text where `quoted` says so.
    fn count_and_unit(&mut self, quoted: bool) -> Option<(String, String)> {
        let (negative, ahead) = match self.peek(0)? {
            Token::Minus => (true, 1),
            Token::Plus => (false, 1),
            _ => (false, 0),
        };
        let count = match self.peek(ahead)? {
            Token::Number(n, false) => n.clone(),
            Token::SingleQuotedString(n) if quoted && n.trim().parse::<f64>().is_ok() => {
                n.trim().to_owned()
            }
            _ => return None,
        };
        let Token::Word(unit) = self.peek(ahead + 1)? else {
            return None;
        };
        if unit.quote_style.is_some() || !is_unit(&unit.value) {
            return None;
        }
        let unit = unit.value.clone();
        self.at += ahead + 2;
        let count = match (negative, count.strip_prefix('-')) {
            (true, Some(positive)) => positive.to_owned(),
            (true, None) => format!("-{count}"),
            (false, _) => count,
        };
        Some((count, unit))
    }
}

fn is_keyword(token: &Token, keyword: Keyword) -> bool {
    matches!(token, Token::Word(word) if word.quote_style.is_none() && word.keyword == keyword)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::SparkDialect;
    use datafusion::sql::sqlparser::tokenizer::Tokenizer;

    pub(super) fn rewritten(sql: &str) -> Result<String> {
        let tokens = Tokenizer::new(&SparkDialect, sql)
            .tokenize_with_location()
            .expect(sql);
        let out = rewrite(tokens)?;
        Ok(out
            .iter()
            .map(|t| t.token.to_string())
            .collect::<Vec<_>>()
            .join(" "))
    }

    #[test]
    fn stream_is_a_word_before_a_relation_and_a_name_elsewhere() {
        let cases = [
            ("SELECT * FROM STREAM t", "SELECT * FROM t"),
            ("SELECT * FROM STREAM(t) AS x", "SELECT * FROM t AS x"),
            (
                "SELECT * FROM a, stream ( a.`b` )",
                "SELECT * FROM a , a . `b`",
            ),
            ("FROM a JOIN STREAM(b) ON k", "FROM a JOIN b ON k"),
            ("FROM STREAM (SELECT 1) t", "FROM ( SELECT 1 ) t"),
            ("SELECT stream FROM stream", "SELECT stream FROM stream"),
        ];
        for (sql, expected) in cases {
            assert_eq!(rewritten(sql).expect(sql), expected);
        }
    }

    #[test]
    fn the_words_of_an_interval_become_one_text() {
        let cases = [
            (
                "ts + INTERVAL 1 HOUR -5 SECONDS",
                "ts + INTERVAL '1 HOUR -5 SECONDS'",
            ),
            ("INTERVAL '1' DAYS", "INTERVAL '1 DAYS'"),
            (
                "INTERVAL -'1' DAY '2.5' SECOND",
                "INTERVAL '-1 DAY 2.5 SECOND'",
            ),
            (
                "INTERVAL '0 00:00:10' DAY TO SECOND",
                "INTERVAL '0 months 10000000 microseconds'",
            ),
            (
                "ts - INTERVAL -'1-2' YEAR TO MONTH",
                "ts - INTERVAL '-14 months 0 microseconds'",
            ),
            ("INTERVAL '10 seconds'", "INTERVAL '10 seconds'"),
        ];
        for (sql, expected) in cases {
            assert_eq!(rewritten(sql).expect(sql), expected);
        }
    }
}
