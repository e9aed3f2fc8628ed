//! A text of statements, cut at the semicolons between them.

use datafusion::{
    common::Result,
    sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan},
};

use super::{Statement, parse::parse};
use crate::{parser::tokenize, rewrite::Flavour};

/// Statements of one text, in order. Comments, and statements without words, are left out.
#[derive(Debug, Clone)]
pub struct Script {
    /// The statements.
    pub statements: Vec<ScriptStatement>,
}

/// A statement and where it begins.
#[derive(Debug, Clone)]
pub struct ScriptStatement {
    /// What was written.
    pub statement: Statement,
    /// Line and column of its first word.
    pub start: Location,
}

impl Script {
    /// Reads a text with Spark's quotes; [`SqlFrontEnd::script`](crate::SqlFrontEnd::script) reads one with those of a
    /// session.
    ///
    /// # Errors
    /// With line and column of what cannot be read.
    pub fn parse(text: &str) -> Result<Self> {
        Self::parse_as(text, Flavour::Spark)
    }

    pub(crate) fn parse_as(text: &str, flavour: Flavour) -> Result<Self> {
        let pieces = cut(tokenize(text, flavour)?);
        let statements = pieces.into_iter().map(|tokens| {
            let start = tokens.first().map_or(Location::empty(), |t| t.span.start);
            let statement = parse(tokens)?;
            Ok(ScriptStatement { statement, start })
        });
        Ok(Self {
            statements: statements.collect::<Result<_>>()?,
        })
    }
}

/// The tokens of each statement; none of them is empty.
fn cut(tokens: Vec<TokenWithSpan>) -> Vec<Vec<TokenWithSpan>> {
    let mut pieces = vec![Vec::new()];
    for token in tokens {
        match (&token.token, pieces.last_mut()) {
            (Token::SemiColon, _) => pieces.push(Vec::new()),
            (Token::EOF | Token::Whitespace(_), _) => {}
            (_, Some(piece)) => piece.push(token),
            (_, None) => pieces.push(vec![token]),
        }
    }
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_cut_at_semicolons_and_know_where_they_begin() {
        let script = Script::parse(
            "-- a comment; not two\nSELECT ';' AS a;;\n\n  /* x; */ SHOW STREAMS;\nDROP SINK `a;b`\n",
        )
        .expect("three statements");
        let found: Vec<_> = script
            .statements
            .iter()
            .map(|s| (s.statement.verb(), s.start.line, s.start.column))
            .collect();
        assert_eq!(
            found,
            [
                ("the statement", 2, 1),
                ("SHOW STREAMS", 4, 12),
                ("DROP SINK", 5, 1)
            ]
        );
        assert!(
            Script::parse(" ; -- nothing\n")
                .expect("empty")
                .statements
                .is_empty()
        );
    }
}
