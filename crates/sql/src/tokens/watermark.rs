//! The clause `<relation> WATERMARK <event time> DELAY OF INTERVAL ...`: where it is one, and where `watermark` is the name
//! of a column or a table; which tokens before it are its relation; its event time and its delay.

use datafusion::common::Result;
use datafusion::sql::sqlparser::ast::{Expr, SelectItem};
use datafusion::sql::sqlparser::keywords::{Keyword, RESERVED_FOR_TABLE_ALIAS};
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Span, Token, TokenWithSpan};

use super::{Rewriter, is_keyword, rewrite};
use crate::dialect::SparkDialect;
use crate::interval::CalendarInterval;
use crate::message::error_at;

/// Name of the table function that stands for a `WATERMARK` clause between the parser and the planner. Its arguments:
/// `(SELECT * FROM relation)`, the event time, the name it gets (empty: none), the delay's months and microseconds.
pub(crate) const WATERMARK_FUNCTION: &str = "__headwater_watermark";

/// What ends where a clause may begin, and whether that is a relation.
struct Factor {
    /// Index in `out` of its first token.
    start: usize,
    /// `FROM` or `JOIN` stands before it: it is a relation and nothing else.
    certain: bool,
    /// It may be a relation by what stands before it.
    may_start: bool,
}

impl Rewriter {
    /// The `WATERMARK` clause, or a column or table of that name.
    pub(super) fn watermark(&mut self) -> Result<()> {
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
        if let Some(range) = self.unit_to_unit()? {
            delay = range;
            any = true;
        }
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
                "the delay of a watermark cannot be negative: write an interval of zero or more",
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

#[cfg(test)]
mod tests {
    use super::super::tests::rewritten;

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
            "SELECT a , stream x FROM t",
            "SELECT f ( a , stream x ) FROM t",
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
}
