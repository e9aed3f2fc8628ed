//! Reads the tokens of one statement from left to right: our words ourselves, the rest with sqlparser.

use datafusion::{
    common::Result,
    sql::{
        parser::{DFParserBuilder, Statement as DfStatement},
        sqlparser::{
            ast::{DataType, Expr, Query},
            parser::{Parser, ParserError},
            tokenizer::{Span, Token, TokenWithSpan},
        },
    },
};

use super::Name;
use crate::{dialect::SparkDialect, message::error_at};

pub(super) struct Cursor<'a> {
    parser: Parser<'a>,
    tokens: Vec<TokenWithSpan>,
    /// Right behind the last token.
    end: Span,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(tokens: Vec<TokenWithSpan>) -> Self {
        let end = tokens.last().map_or_else(Span::empty, |last| Span {
            start: last.span.end,
            end: last.span.end,
        });
        Self {
            parser: Parser::new(&SparkDialect).with_tokens_with_locations(tokens.clone()),
            tokens,
            end,
        }
    }

    pub(super) fn peek(&self) -> &Token {
        &self.parser.peek_token_ref().token
    }

    pub(super) fn next(&mut self) -> Token {
        self.parser.next_token().token
    }

    /// Where the next token stands; behind the last one if there is none.
    pub(super) fn here(&self) -> Span {
        match self.parser.peek_token_ref() {
            TokenWithSpan {
                token: Token::EOF, ..
            } => self.end,
            next => next.span,
        }
    }

    pub(super) fn is_at_end(&self) -> bool {
        matches!(self.peek(), Token::EOF)
    }

    /// Whether these words come next.
    pub(super) fn sees(&self, words: &[&str]) -> bool {
        let at = self.parser.index();
        words.iter().enumerate().all(|(i, word)| {
            self.tokens
                .get(at + i)
                .is_some_and(|next| is_word(&next.token, word))
        })
    }

    /// Whether these words are all that is left.
    pub(super) fn sees_last(&self, words: &[&str]) -> bool {
        self.sees(words) && self.tokens.len() == self.parser.index() + words.len()
    }

    /// Whether these words come later, before the next comma or the end of the list.
    pub(super) fn sees_before_comma(&self, words: &[&str]) -> bool {
        let mut depth = 0_usize;
        let ahead = self.tokens.get(self.parser.index()..).unwrap_or_default();
        for (i, next) in ahead.iter().enumerate() {
            match &next.token {
                Token::LParen => depth += 1,
                Token::RParen if depth == 0 => return false,
                Token::RParen => depth -= 1,
                Token::Comma if depth == 0 => return false,
                _ => {}
            }
            let mut following = ahead[i..].iter();
            if words
                .iter()
                .all(|word| following.next().is_some_and(|t| is_word(&t.token, word)))
            {
                return true;
            }
        }
        false
    }

    /// Takes these words, if they come next.
    pub(super) fn takes(&mut self, words: &[&str]) -> bool {
        let seen = self.sees(words);
        if seen {
            for _ in words {
                self.parser.next_token();
            }
        }
        seen
    }

    /// Takes this token, if it comes next.
    pub(super) fn takes_token(&mut self, token: &Token) -> bool {
        self.parser.consume_token(token)
    }

    /// An error at the next token: `expected … behind …, found …: write …`.
    pub(super) fn expected<T>(&self, what: &str, advice: &str) -> Result<T> {
        let found = match self.peek() {
            Token::EOF => "the end of the statement".to_owned(),
            token => format!("`{token}`"),
        };
        Err(error_at(
            self.here(),
            format!("expected {what}, found {found}: {advice}"),
        ))
    }

    pub(super) fn expect_words(&mut self, words: &[&str], advice: &str) -> Result<()> {
        if self.takes(words) {
            return Ok(());
        }
        self.expected(&words.join(" "), advice)
    }

    pub(super) fn expect_token(&mut self, token: &Token, advice: &str) -> Result<()> {
        if self.takes_token(token) {
            return Ok(());
        }
        self.expected(&format!("`{token}`"), advice)
    }

    pub(super) fn expect_end(&self, advice: &str) -> Result<()> {
        if self.is_at_end() {
            return Ok(());
        }
        self.expected("the end of the statement", advice)
    }

    /// A single name.
    pub(super) fn name(&mut self, what: &str, advice: &str) -> Result<Name> {
        if !matches!(self.peek(), Token::Word(_)) {
            return self.expected(what, advice);
        }
        let start = self.here();
        let ident = self.parse(Parser::parse_identifier)?;
        if *self.peek() == Token::Period {
            return Err(error_at(
                start,
                format!("{what} is one word without dots: {advice}"),
            ));
        }
        Ok(ident.into())
    }

    /// `(a, b, …)`
    pub(super) fn names(&mut self, what: &str, advice: &str) -> Result<Vec<Name>> {
        self.expect_token(&Token::LParen, advice)?;
        let mut names = vec![self.name(what, advice)?];
        while self.takes_token(&Token::Comma) {
            names.push(self.name(what, advice)?);
        }
        self.expect_token(&Token::RParen, advice)?;
        Ok(names)
    }

    pub(super) fn text(&mut self, what: &str, advice: &str) -> Result<String> {
        match self.peek() {
            Token::SingleQuotedString(text) | Token::DoubleQuotedString(text) => {
                let text = text.clone();
                self.next();
                Ok(text)
            }
            _ => self.expected(what, advice),
        }
    }

    pub(super) fn data_type(&mut self) -> Result<DataType> {
        self.parse(Parser::parse_data_type)
    }

    pub(super) fn expr(&mut self) -> Result<Expr> {
        self.parse(Parser::parse_expr)
    }

    /// The query that is all that is left.
    pub(super) fn query(&mut self, advice: &str) -> Result<Box<Query>> {
        let query = self.parse(Parser::parse_query)?;
        self.expect_end(advice)?;
        Ok(query)
    }

    /// The statement that is all that is left, as DataFusion reads it.
    pub(super) fn statement(&mut self) -> Result<DfStatement> {
        let tokens = self.tokens.split_off(self.parser.index());
        let mut parser = DFParserBuilder::new(with_end(tokens, self.end))
            .with_dialect(&SparkDialect)
            .build()?;
        let statement = parser.parse_statement()?;
        let next = parser.parser.peek_token();
        if next.token == Token::EOF {
            return Ok(statement);
        }
        Err(error_at(
            next.span,
            format!(
                "expected the end of the statement, found `{}`: put a semicolon between statements",
                next.token
            ),
        ))
    }

    fn parse<T>(
        &mut self,
        parse: impl FnOnce(&mut Parser<'a>) -> Result<T, ParserError>,
    ) -> Result<T> {
        parse(&mut self.parser).map_err(Into::into)
    }
}

/// The tokens with an end that has a place, so that errors there say where it is.
fn with_end(mut tokens: Vec<TokenWithSpan>, end: Span) -> Vec<TokenWithSpan> {
    tokens.push(TokenWithSpan {
        token: Token::EOF,
        span: end,
    });
    tokens
}

/// Whether `token` is this word, unquoted and in any case.
pub(super) fn is_word(token: &Token, word: &str) -> bool {
    matches!(token, Token::Word(found)
        if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word))
}
