//! From text to statements: the tokenizer, our token rewrites, then DataFusion's parser.

use datafusion::common::{Result, plan_err};
use datafusion::error::DataFusionError;
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::ast::ExprWithAlias;
use datafusion::sql::sqlparser::dialect::Dialect;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::{TokenWithSpan, Tokenizer};

use crate::dialect::{SparkDialect, StandardQuotes};
use crate::rewrite::Flavour;
use crate::tokens;

/// Parses one statement of Spark SQL.
///
/// # Errors
/// With line and column of what cannot be read; also when the text holds no statement or more than one.
pub fn parse(sql: &str) -> Result<Statement> {
    parse_as(sql, Flavour::Spark)
}

/// As [`parse`], with names and texts quoted as in this flavour.
pub(crate) fn parse_as(sql: &str, flavour: Flavour) -> Result<Statement> {
    let mut statements = DFParserBuilder::new(tokenize(sql, flavour)?)
        .with_dialect(&SparkDialect)
        .build()?
        .parse_statements()?;
    match (statements.pop_front(), statements.len()) {
        (Some(statement), 0) => Ok(statement),
        (None, _) => plan_err!("the SQL text holds no statement"),
        (Some(_), more) => plan_err!(
            "expected one SQL statement, found {}: run them one by one",
            more + 1
        ),
    }
}

/// Parses one expression, with `AS name` behind it or without.
///
/// # Errors
/// With line and column of what cannot be read.
pub fn parse_expr(text: &str) -> Result<ExprWithAlias> {
    parse_expr_as(text, Flavour::Spark)
}

/// As [`parse_expr`], with names and texts quoted as in this flavour.
pub(crate) fn parse_expr_as(text: &str, flavour: Flavour) -> Result<ExprWithAlias> {
    DFParserBuilder::new(tokenize(text, flavour)?)
        .with_dialect(&SparkDialect)
        .build()?
        .parse_into_expr()
}

pub(crate) fn tokenize(text: &str, flavour: Flavour) -> Result<Vec<TokenWithSpan>> {
    let quotes: &dyn Dialect = match flavour {
        Flavour::Spark => &SparkDialect,
        Flavour::DataFusion => &StandardQuotes,
    };
    let tokens = Tokenizer::new(quotes, text)
        .tokenize_with_location()
        .map_err(|e| DataFusionError::SQL(Box::new(ParserError::from(e)), None))?;
    tokens::rewrite(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_statement_is_one_statement() {
        assert!(parse("SELECT 1;").is_ok());
        for (sql, expected) in [("", "no statement"), ("SELECT 1; SELECT 2", "found 2")] {
            assert!(parse(sql).expect_err(sql).to_string().contains(expected));
        }
    }

    #[test]
    fn syntax_errors_carry_their_place() {
        let error = parse("SELECT k\nFROM t WHERE )")
            .expect_err("unbalanced")
            .to_string();
        assert!(error.contains("Line: 2, Column: 14"), "{error}");
    }

    #[test]
    fn spark_texts_parse() {
        for sql in [
            "SELECT a div 2 + 1 FROM t",
            "SELECT window.start, window.end FROM t GROUP BY window(ts, '10 seconds')",
            "SELECT k <=> NULL, v IN (1, NULL) FROM t WHERE NOT (v <=> 5)",
            "SELECT id, pos, x FROM t LATERAL VIEW OUTER posexplode(xs) e AS pos, x WHERE pos < 2",
            "SELECT first(v) IGNORE NULLS FROM t SORT BY v",
            "SELECT `a b`, \"text\" FROM t WHERE s RLIKE 'a' OR TIMESTAMP'2024-01-01 00:00:00' < ts",
            "SELECT posexplode(xs) AS (p, c) FROM t",
            "SELECT count(*) FROM t GROUP BY a, b WITH ROLLUP",
        ] {
            parse(sql).expect(sql);
        }
    }
}
