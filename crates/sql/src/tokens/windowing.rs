//! `TUMBLE(TABLE t, DESCRIPTOR(ts), size)`, `HOP(TABLE t, DESCRIPTOR(ts), slide, size)` and
//! `SESSION(TABLE t, DESCRIPTOR(ts), gap)`, in `TABLE(…)` or without: tables with windows, as the SQL standard's polymorphic
//! table functions write them.

use datafusion::common::Result;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Span, Token, TokenWithSpan};

use super::{Rewriter, is_keyword, rewrite};
use crate::message::error_at;

/// Names of the table functions between the parser and the planner. Their arguments: `(SELECT * FROM relation)`, the
/// event time, and what the user wrote behind it.
pub(crate) const TUMBLE_FUNCTION: &str = "__headwater_tumble";
pub(crate) const HOP_FUNCTION: &str = "__headwater_hop";
pub(crate) const SESSION_FUNCTION: &str = "__headwater_session";

/// A windowing function: its name here, and how it is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Windowing {
    name: &'static str,
    word: &'static str,
    form: &'static str,
}

const FUNCTIONS: [Windowing; 3] = [
    Windowing {
        name: TUMBLE_FUNCTION,
        word: "TUMBLE",
        form: "TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL 10 MINUTES)",
    },
    Windowing {
        name: HOP_FUNCTION,
        word: "HOP",
        form: "HOP(TABLE t, DESCRIPTOR(ts), INTERVAL 5 MINUTES, INTERVAL 10 MINUTES)",
    },
    Windowing {
        name: SESSION_FUNCTION,
        word: "SESSION",
        form: "SESSION(TABLE t, DESCRIPTOR(ts), INTERVAL 5 MINUTES)",
    },
];

impl Rewriter {
    /// The windowing function that begins here: only with `TABLE` in its parentheses, so that others may have its name.
    pub(super) fn windowing_function(&self) -> Option<Windowing> {
        let Some(Token::Word(word)) = self.peek(0) else {
            return None;
        };
        let is_call = matches!(self.peek(1), Some(Token::LParen))
            && self.peek(2).is_some_and(|t| is_keyword(t, Keyword::TABLE));
        let mut functions = FUNCTIONS.into_iter().filter(|_| is_call);
        functions.find(|function| word.value.eq_ignore_ascii_case(function.word))
    }

    pub(super) fn windowing(&mut self, function: Windowing) -> Result<()> {
        let span = self.span(0);
        // `TABLE(TUMBLE(…))` is `TUMBLE(…)`.
        let is_wrapped = self.out.len() >= 2
            && self.out[self.out.len() - 1].token == Token::LParen
            && is_keyword(&self.out[self.out.len() - 2].token, Keyword::TABLE);
        if is_wrapped {
            self.out.truncate(self.out.len() - 2);
        }
        self.at += 3;
        let relation = self.argument();
        if let Some(partition) = relation
            .iter()
            .find(|t| is_keyword(&t.token, Keyword::PARTITION))
        {
            return Err(error_at(
                partition.span,
                format!(
                    "{} takes no PARTITION BY, the keys stand in GROUP BY: write {}",
                    function.word, function.form
                ),
            ));
        }
        let time = self.descriptor(function)?;
        let mut arguments = Vec::new();
        while self.peek(0) == Some(&Token::Comma) {
            self.at += 1;
            arguments.push(self.argument());
        }
        if relation.is_empty() || self.peek(0) != Some(&Token::RParen) {
            return Err(error_at(
                self.span(0),
                format!("{} is not complete: write {}", function.word, function.form),
            ));
        }
        self.at += 1;
        if is_wrapped && self.peek(0) == Some(&Token::RParen) {
            self.at += 1;
        }
        self.call(function, span, rewrite(relation)?, time);
        for argument in arguments {
            self.put(Token::Comma, span);
            self.out.extend(rewrite(argument)?);
        }
        self.put(Token::RParen, span);
        Ok(())
    }

    fn call(
        &mut self,
        function: Windowing,
        span: Span,
        relation: Vec<TokenWithSpan>,
        time: Vec<TokenWithSpan>,
    ) {
        self.put(Token::make_word(function.name, None), span);
        self.put(Token::LParen, span);
        self.put(Token::LParen, span);
        self.put(Token::make_keyword("SELECT"), span);
        self.put(Token::Mul, span);
        self.put(Token::make_keyword("FROM"), span);
        self.out.extend(relation);
        self.put(Token::RParen, span);
        self.put(Token::Comma, span);
        self.out.extend(time);
    }

    fn put(&mut self, token: Token, span: Span) {
        self.out.push(TokenWithSpan { token, span });
    }

    /// `, DESCRIPTOR(ts)`: the tokens of the column.
    fn descriptor(&mut self, function: Windowing) -> Result<Vec<TokenWithSpan>> {
        let is_descriptor = self.peek(0) == Some(&Token::Comma)
            && matches!(self.peek(1), Some(Token::Word(w)) if w.value.eq_ignore_ascii_case("descriptor"))
            && self.peek(2) == Some(&Token::LParen);
        if !is_descriptor {
            return Err(error_at(
                self.span(1),
                format!(
                    "expected the event time as DESCRIPTOR(column): write {}",
                    function.form
                ),
            ));
        }
        self.at += 3;
        let time = self.argument();
        if time.is_empty() || self.peek(0) != Some(&Token::RParen) {
            return Err(error_at(
                self.span(0),
                format!(
                    "DESCRIPTOR names one column, the event time: write {}",
                    function.form
                ),
            ));
        }
        self.at += 1;
        rewrite(time)
    }

    /// The tokens up to the next comma or the end of the list.
    fn argument(&mut self) -> Vec<TokenWithSpan> {
        let mut depth = 0_usize;
        let start = self.at;
        while let Some(token) = self.peek(0) {
            match token {
                Token::LParen => depth += 1,
                Token::RParen | Token::Comma if depth == 0 => break,
                Token::RParen => depth -= 1,
                Token::SemiColon => break,
                _ => {}
            }
            self.at += 1;
        }
        self.input[start..self.at].to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::rewritten;

    #[test]
    fn windowing_functions_become_table_functions() {
        let cases = [
            (
                "SELECT * FROM TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' MINUTES) AS w",
                "SELECT * FROM __headwater_tumble ( ( SELECT * FROM t ) , ts , INTERVAL '10 MINUTES' ) AS w",
            ),
            (
                "SELECT * FROM TABLE(HOP(TABLE a.b, DESCRIPTOR(x.ts), INTERVAL 5 MINUTES, INTERVAL 10 MINUTES)) WHERE k",
                "SELECT * FROM __headwater_hop ( ( SELECT * FROM a . b ) , x . ts , INTERVAL '5 MINUTES' , INTERVAL '10 MINUTES' ) WHERE k",
            ),
            (
                "SELECT * FROM SESSION(TABLE (SELECT * FROM STREAM t), DESCRIPTOR(ts), INTERVAL 5 MINUTES)",
                "SELECT * FROM __headwater_session ( ( SELECT * FROM ( SELECT * FROM t ) ) , ts , INTERVAL '5 MINUTES' )",
            ),
            (
                "SELECT hop ( a ) FROM session",
                "SELECT hop ( a ) FROM session",
            ),
        ];
        for (sql, expected) in cases {
            assert_eq!(rewritten(sql).expect(sql), expected);
        }
    }

    #[test]
    fn what_is_missing_is_said() {
        for (sql, expected) in [
            (
                "SELECT * FROM TUMBLE(TABLE t, ts, INTERVAL 1 MINUTE)",
                "DESCRIPTOR(column)",
            ),
            (
                "SELECT * FROM TUMBLE(TABLE t, DESCRIPTOR(a, b), INTERVAL 1 MINUTE)",
                "one column",
            ),
            (
                "SELECT * FROM SESSION(TABLE t PARTITION BY k, DESCRIPTOR(a), INTERVAL 1 MINUTE)",
                "GROUP BY",
            ),
            ("SELECT * FROM TUMBLE(TABLE", "DESCRIPTOR(column)"),
        ] {
            let error = rewritten(sql).expect_err(sql).to_string();
            assert!(error.contains(expected), "{sql}: {error}");
        }
    }
}
