//! What Spark writes and sqlparser cannot read, turned into what it can, token by token.
//!
//! * `<relation> WATERMARK <expr> DELAY OF INTERVAL ...` becomes a call of the table function
//!   [`WATERMARK_FUNCTION`], which the relation planner turns into a plan node.
//! * `FROM STREAM t` loses its `STREAM`.
//! * `INTERVAL 1 MINUTE 30 SECONDS` becomes `INTERVAL '1 MINUTE 30 SECONDS'`.
//! * `EXISTS (xs, x -> ...)` becomes `array_any_match (xs, x -> ...)`.
//! * `5.0D`, `1e10` and the other typed numbers become casts of their text.
//!
//! Tokens keep their places in the text, so that later errors point at what the user wrote.

use datafusion::common::{DataFusionError, Result};
use datafusion::sql::sqlparser::ast::SelectItem;
use datafusion::sql::sqlparser::keywords::{Keyword, RESERVED_FOR_TABLE_ALIAS};
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Span, Token, TokenWithSpan};

use crate::dialect::SparkDialect;
use crate::interval::{CalendarInterval, is_unit};

/// Name of the table function that stands for a `WATERMARK` clause between the parser and the planner. Its arguments:
/// `(SELECT * FROM relation)`, the event time, the name it gets (empty: none), the delay's months and microseconds.
pub(crate) const WATERMARK_FUNCTION: &str = "__headwater_watermark";

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

/// An error about the SQL text at a place in it.
pub(crate) fn error_at(span: Span, message: impl std::fmt::Display) -> DataFusionError {
    let start = span.start;
    if start.line == 0 {
        return DataFusionError::Plan(message.to_string());
    }
    DataFusionError::Plan(format!(
        "line {}, column {}: {message}",
        start.line, start.column
    ))
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
                    return Ok(());
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
                || t.token == Token::Comma
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

    /// A number with a type letter behind it or with an exponent. Plain numbers are left alone.
    fn number(&mut self, text: String, span: Span) {
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

    /// Joins `INTERVAL <n> <unit> [<n> <unit> ...]` into one text.
    fn interval(&mut self) -> Result<()> {
        let span = self.span(0);
        self.copy();
        let start = self.at;
        let mut text = String::new();
        while let Some((count, unit)) = self.count_and_unit(false) {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(&format!("{count} {unit}"));
        }
        if self.at > start {
            self.out.push(TokenWithSpan {
                token: Token::SingleQuotedString(text),
                span,
            });
        }
        Ok(())
    }

    /// Takes `[+|-] <number> <unit>`; the number may be a text where `quoted` says so.
    fn count_and_unit(&mut self, quoted: bool) -> Option<(String, String)> {
        let (sign, ahead) = match self.peek(0)? {
            Token::Minus => ("-", 1),
            Token::Plus => ("", 1),
            _ => ("", 0),
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
        Some((format!("{sign}{count}"), unit))
    }

    /// The `WATERMARK` clause, or a column or table of that name.
    fn watermark(&mut self) -> Result<()> {
        let Some(factor) = self.factor_start() else {
            self.copy();
            return Ok(());
        };
        let span = self.span(0);
        let Some(delay_at) = self.delay_of() else {
            let next_is_name = matches!(self.peek(1), Some(Token::Word(w))
                if w.quote_style.is_some() || !RESERVED_FOR_TABLE_ALIAS.contains(&w.keyword));
            if factor.certain && next_is_name {
                return Err(error_at(
                    span,
                    "WATERMARK has no delay: write `WATERMARK <column> DELAY OF INTERVAL 10 SECONDS`",
                ));
            }
            self.copy();
            return Ok(());
        };
        self.check_factor(&factor, span)?;
        let (expr, name) = self.event_time(delay_at)?;
        self.at = delay_at + 2;
        let delay = self.delay()?;
        self.emit_watermark(factor.start, span, expr, &name, delay);
        Ok(())
    }

    /// Where the relation before the clause starts in `out`; `None` if no relation can end here.
    fn factor_start(&self) -> Option<Factor> {
        let mut start = self.out.len().checked_sub(1)?;
        match &self.out[start].token {
            Token::RParen => {
                let mut depth = 0usize;
                loop {
                    match &self.out[start].token {
                        Token::RParen => depth += 1,
                        Token::LParen => depth -= 1,
                        _ => {}
                    }
                    if depth == 0 {
                        break;
                    }
                    start = start.checked_sub(1)?;
                }
                // A name before the parenthesis makes it a table function.
                if start > 0
                    && matches!(&self.out[start - 1].token, Token::Word(w) if w.keyword == Keyword::NoKeyword)
                {
                    start -= 1;
                }
            }
            Token::Word(_) => {
                while start >= 2
                    && self.out[start - 1].token == Token::Period
                    && matches!(self.out[start - 2].token, Token::Word(_))
                {
                    start -= 2;
                }
            }
            _ => return None,
        }
        let before = start.checked_sub(1).map(|i| &self.out[i].token)?;
        let certain = is_keyword(before, Keyword::FROM) || is_keyword(before, Keyword::JOIN);
        Some(Factor {
            start,
            certain,
            may_start: certain || matches!(before, Token::Comma | Token::LParen),
        })
    }

    fn check_factor(&self, factor: &Factor, span: Span) -> Result<()> {
        if !factor.may_start {
            return Err(error_at(
                span,
                "WATERMARK stands directly behind the relation, the alias behind the clause: write `FROM t WATERMARK ts DELAY OF INTERVAL 10 SECONDS AS a`",
            ));
        }
        if matches!(&self.out[factor.start].token, Token::Word(w) if w.value == WATERMARK_FUNCTION)
        {
            return Err(error_at(
                span,
                "a relation has one WATERMARK clause, this one has two: remove one of them",
            ));
        }
        Ok(())
    }

    /// Index of the `DELAY` that belongs to the clause starting here.
    fn delay_of(&self) -> Option<usize> {
        let mut depth = 0i32;
        for (i, token) in self.input.iter().enumerate().skip(self.at + 1) {
            match &token.token {
                Token::LParen => depth += 1,
                Token::RParen if depth == 0 => return None,
                Token::RParen => depth -= 1,
                Token::Comma | Token::SemiColon if depth == 0 => return None,
                Token::Word(word) if depth == 0 && word.quote_style.is_none() => {
                    let next_is_of = self
                        .input
                        .get(i + 1)
                        .is_some_and(|t| is_keyword(&t.token, Keyword::OF));
                    if word.value.eq_ignore_ascii_case("delay") && next_is_of {
                        return Some(i);
                    }
                    if matches!(
                        word.keyword,
                        Keyword::FROM | Keyword::WHERE | Keyword::SELECT | Keyword::JOIN
                    ) || word.value.eq_ignore_ascii_case("watermark")
                    {
                        return None;
                    }
                }
                _ => {}
            }
        }
        None
    }

    /// The tokens of the event time expression and the name it is given, empty for a plain column.
    fn event_time(&self, delay_at: usize) -> Result<(Vec<TokenWithSpan>, String)> {
        let slice = &self.input[self.at + 1..delay_at];
        let span = self.span(1);
        if slice.is_empty() {
            return Err(error_at(
                span,
                "WATERMARK names no event time column: write `WATERMARK ts DELAY OF ...`",
            ));
        }
        let dialect = SparkDialect;
        let mut parser = Parser::new(&dialect).with_tokens_with_locations(slice.to_vec());
        let item = parser
            .parse_select_item()
            .map_err(|e| error_at(span, format!("event time of WATERMARK: {e}")))?;
        if !matches!(parser.peek_token_ref().token, Token::EOF) {
            return Err(error_at(
                parser.peek_token_ref().span,
                format!(
                    "expected DELAY OF behind the event time, found {}",
                    parser.peek_token_ref().token
                ),
            ));
        }
        match item {
            SelectItem::UnnamedExpr(expr) => {
                use datafusion::sql::sqlparser::ast::Expr;
                if !matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_)) {
                    return Err(error_at(
                        span,
                        format!(
                            "an event time that is computed needs a name: write `WATERMARK {expr} AS event_time DELAY OF ...`"
                        ),
                    ));
                }
                Ok((rewrite(slice.to_vec())?, String::new()))
            }
            SelectItem::ExprWithAlias { alias, .. } => {
                let mut end = slice.len() - 1;
                if end > 0 && is_keyword(&slice[end - 1].token, Keyword::AS) {
                    end -= 1;
                }
                Ok((rewrite(slice[..end].to_vec())?, alias.value))
            }
            other => Err(error_at(
                span,
                format!("the event time of WATERMARK is one expression, found `{other}`"),
            )),
        }
    }

    fn delay(&mut self) -> Result<CalendarInterval> {
        const FORM: &str = "write `DELAY OF INTERVAL 10 SECONDS`";
        if !self
            .peek(0)
            .is_some_and(|t| is_keyword(t, Keyword::INTERVAL))
        {
            return Err(error_at(
                self.span(0),
                format!("expected INTERVAL behind DELAY OF: {FORM}"),
            ));
        }
        self.at += 1;
        let span = self.span(0);
        let mut delay = CalendarInterval::default();
        let mut any = false;
        while let Some((count, unit)) = self.count_and_unit(true) {
            delay = delay
                .plus(&count, &unit)
                .map_err(|e| error_at(span, e.strip_backtrace()))?;
            any = true;
        }
        if !any {
            let found = self
                .peek(0)
                .map_or("the end of the text".to_owned(), |t| format!("`{t}`"));
            return Err(error_at(
                span,
                format!("expected a number and a unit behind INTERVAL, found {found}: {FORM}"),
            ));
        }
        if delay.is_negative() {
            return Err(error_at(
                span,
                "the delay of a watermark cannot be negative",
            ));
        }
        Ok(delay)
    }

    fn emit_watermark(
        &mut self,
        factor: usize,
        span: Span,
        expr: Vec<TokenWithSpan>,
        name: &str,
        delay: CalendarInterval,
    ) {
        let relation = self.out.split_off(factor);
        let place = relation.first().map_or(span, |t| t.span);
        let mut push = |token| self.out.push(TokenWithSpan { token, span: place });
        push(Token::make_word(WATERMARK_FUNCTION, None));
        push(Token::LParen);
        push(Token::LParen);
        push(Token::make_keyword("SELECT"));
        push(Token::Mul);
        push(Token::make_keyword("FROM"));
        self.out.extend(relation);
        let mut push = |token| self.out.push(TokenWithSpan { token, span });
        push(Token::RParen);
        push(Token::Comma);
        self.out.extend(expr);
        let mut push = |token| self.out.push(TokenWithSpan { token, span });
        push(Token::Comma);
        push(Token::SingleQuotedString(name.to_owned()));
        push(Token::Comma);
        push(Token::Number(delay.months.to_string(), false));
        push(Token::Comma);
        push(Token::Number(delay.micros.to_string(), false));
        push(Token::RParen);
    }
}

struct Factor {
    /// Index in `out` of its first token.
    start: usize,
    /// `FROM` or `JOIN` stands before it: it is a relation and nothing else.
    certain: bool,
    /// It may be a relation by what stands before it.
    may_start: bool,
}

fn is_keyword(token: &Token, keyword: Keyword) -> bool {
    matches!(token, Token::Word(word) if word.quote_style.is_none() && word.keyword == keyword)
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
    use super::*;
    use datafusion::sql::sqlparser::tokenizer::Tokenizer;

    fn rewritten(sql: &str) -> Result<String> {
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
    fn a_watermark_clause_becomes_a_table_function() {
        let cases = [
            (
                "SELECT k FROM events WATERMARK ts DELAY OF INTERVAL 10 SECONDS AS e",
                "SELECT k FROM __headwater_watermark ( ( SELECT * FROM events ) , ts , '' , 0 , 10000000 ) AS e",
            ),
            (
                "SELECT * FROM a.b WATERMARK to_timestamp(t) AS et DELAY OF INTERVAL 1 MINUTE 30 SECONDS",
                "SELECT * FROM __headwater_watermark ( ( SELECT * FROM a . b ) , to_timestamp ( t ) , 'et' , 0 , 90000000 )",
            ),
            (
                "SELECT * FROM l JOIN (SELECT x FROM r) WATERMARK x DELAY OF INTERVAL 1 MONTH b ON l.k = b.x",
                "SELECT * FROM l JOIN __headwater_watermark ( ( SELECT * FROM ( SELECT x FROM r ) ) , x , '' , 1 , 0 ) b ON l . k = b . x",
            ),
            (
                "SELECT * FROM STREAM t WATERMARK t.ts DELAY OF INTERVAL '5' SECONDS",
                "SELECT * FROM __headwater_watermark ( ( SELECT * FROM t ) , t . ts , '' , 0 , 5000000 )",
            ),
        ];
        for (sql, expected) in cases {
            assert_eq!(rewritten(sql).expect(sql), expected);
        }
    }

    #[test]
    fn watermark_stays_a_name_where_it_is_one() {
        for sql in [
            "SELECT watermark FROM t",
            "SELECT a watermark , b FROM t",
            "SELECT * FROM t watermark WHERE watermark . a = 1",
            "SELECT * FROM watermark",
            "SELECT * FROM stream",
            "SELECT * FROM stream AS s",
        ] {
            assert_eq!(rewritten(sql).expect(sql), sql);
        }
    }

    #[test]
    fn wrong_clauses_say_where_and_what_to_write() {
        let cases = [
            (
                "SELECT k\nFROM t WATERMARK ts",
                "line 2, column 8: WATERMARK has no delay",
            ),
            (
                "SELECT k FROM t WATERMARK ts DELAY OF INTERVAL '10 seconds'",
                "DELAY OF INTERVAL 10 SECONDS",
            ),
            (
                "SELECT k FROM t WATERMARK ts DELAY OF INTERVAL -5 SECONDS",
                "cannot be negative",
            ),
            (
                "SELECT k FROM t WATERMARK ts DELAY OF 5 SECONDS",
                "expected INTERVAL",
            ),
            (
                "SELECT k FROM t e WATERMARK ts DELAY OF INTERVAL 5 SECONDS",
                "alias behind the clause",
            ),
            (
                "SELECT k FROM t AS e WATERMARK ts DELAY OF INTERVAL 5 SECONDS",
                "alias behind the clause",
            ),
            (
                "SELECT k FROM t WATERMARK upper(k) DELAY OF INTERVAL 5 SECONDS",
                "needs a name",
            ),
            (
                "SELECT k FROM t WATERMARK a DELAY OF INTERVAL 5 SECONDS WATERMARK b DELAY OF INTERVAL 5 SECONDS",
                "one WATERMARK clause",
            ),
        ];
        for (sql, expected) in cases {
            let error = rewritten(sql).expect_err(sql).to_string();
            assert!(error.contains(expected), "{sql}: {error}");
        }
    }

    #[test]
    fn numbers_and_intervals_become_texts() {
        let cases = [
            (
                "SELECT 5.0D, 1e308, 7S, 1.50BD, 3 D",
                "SELECT CAST ( '5.0' AS DOUBLE ) , CAST ( '1e308' AS DOUBLE ) , CAST ( '7' AS SMALLINT ) , CAST ( '1.50' AS DECIMAL ( 3 , 2 ) ) , 3 D",
            ),
            (
                "ts + INTERVAL 1 HOUR -5 SECONDS",
                "ts + INTERVAL '1 HOUR -5 SECONDS'",
            ),
            ("INTERVAL '1' DAY", "INTERVAL '1' DAY"),
        ];
        for (sql, expected) in cases {
            assert_eq!(rewritten(sql).expect(sql), expected);
        }
    }
}
