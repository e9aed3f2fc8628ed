//! Types as texts: `a INT, b STRUCT<c: STRING>`, for functions that are told a type.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Fields, TimeUnit};
use datafusion::common::{Result, plan_datafusion_err};
use datafusion::sql::sqlparser::dialect::Dialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

/// A type such as `ARRAY<INT>`, or columns such as `a INT, b STRING`, which are a struct.
///
/// # Errors
/// A text that is neither, at the word that was not expected.
pub fn columns_or_type(text: &str) -> Result<DataType> {
    let mut whole = Reader::new(text)?;
    if let Ok(data_type) = whole.data_type()
        && whole.tokens.is_empty()
    {
        return Ok(data_type);
    }
    let mut columns = Reader::new(text)?;
    let fields = columns.fields(None)?;
    if !columns.tokens.is_empty() {
        return Err(columns.unexpected("a comma"));
    }
    Ok(DataType::Struct(fields))
}

/// How types are taken apart: names may stand in backticks.
#[derive(Debug)]
struct TypeWords;

impl Dialect for TypeWords {
    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        ch == '`'
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        ch.is_alphabetic() || ch == '_'
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        ch.is_alphanumeric() || ch == '_'
    }
}

/// A map from texts to values.
pub(crate) fn map_type(key: DataType, value: DataType) -> Result<DataType> {
    if key != DataType::Utf8 {
        return Err(plan_datafusion_err!(
            "the keys of a map in a message are STRING, found {key}"
        ));
    }
    let entries = vec![
        Field::new("key", key, false),
        Field::new("value", value, true),
    ];
    let entries = Field::new("entries", DataType::Struct(Fields::from(entries)), false);
    Ok(DataType::Map(Arc::new(entries), false))
}

/// What is left to read, the next word last.
struct Reader<'a> {
    text: &'a str,
    tokens: Vec<Token>,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Result<Self> {
        let tokens = Tokenizer::new(&TypeWords, text)
            .tokenize()
            .map_err(|error| plan_datafusion_err!("'{text}' is no type: {error}"))?;
        let tokens = tokens
            .into_iter()
            .filter(|token| !matches!(token, Token::Whitespace(_)))
            // Types end one after the other.
            .flat_map(|token| match token {
                Token::ShiftRight => vec![Token::Gt, Token::Gt],
                token => vec![token],
            })
            .rev()
            .collect();
        Ok(Self { text, tokens })
    }

    fn unexpected(&self, wanted: &str) -> datafusion::common::DataFusionError {
        let found = self
            .tokens
            .last()
            .map_or("its end".to_owned(), |token| format!("'{token}'"));
        plan_datafusion_err!(
            "'{}' is no type: expected {wanted}, found {found}; write for example id BIGINT, tags ARRAY<STRING>",
            self.text
        )
    }

    fn eat(&mut self, wanted: &Token) -> bool {
        let is_next = self.tokens.last() == Some(wanted);
        if is_next {
            self.tokens.pop();
        }
        is_next
    }

    fn expect(&mut self, wanted: &Token) -> Result<()> {
        match self.eat(wanted) {
            true => Ok(()),
            false => Err(self.unexpected(&format!("'{wanted}'"))),
        }
    }

    fn eat_word(&mut self, wanted: &str) -> bool {
        let is_next = matches!(self.tokens.last(), Some(Token::Word(word)) if word.value.eq_ignore_ascii_case(wanted));
        if is_next {
            self.tokens.pop();
        }
        is_next
    }

    fn word(&mut self, wanted: &str) -> Result<String> {
        match self.tokens.last() {
            Some(Token::Word(word)) => {
                let word = word.value.clone();
                self.tokens.pop();
                Ok(word)
            }
            _ => Err(self.unexpected(wanted)),
        }
    }

    /// `name [:] type [NOT NULL] [COMMENT 'text']`, separated by commas, up to `end`.
    fn fields(&mut self, end: Option<&Token>) -> Result<Fields> {
        let mut fields = Vec::new();
        if end.is_some_and(|end| self.eat(end)) {
            return Ok(Fields::from(fields));
        }
        loop {
            let name = self.word("the name of a column")?;
            self.eat(&Token::Colon);
            let data_type = self.data_type()?;
            // What a text holds is never certain.
            if self.eat_word("not") && !self.eat_word("null") {
                return Err(self.unexpected("NULL"));
            }
            if self.eat_word("comment")
                && !matches!(
                    self.tokens.pop(),
                    Some(Token::SingleQuotedString(_) | Token::DoubleQuotedString(_))
                )
            {
                return Err(self.unexpected("a text"));
            }
            fields.push(Field::new(name, data_type, true));
            if !self.eat(&Token::Comma) {
                if let Some(end) = end {
                    self.expect(end)?;
                }
                return Ok(Fields::from(fields));
            }
        }
    }

    fn data_type(&mut self) -> Result<DataType> {
        let name = self.word("a type")?;
        Ok(match name.to_ascii_lowercase().as_str() {
            "boolean" => DataType::Boolean,
            "tinyint" | "byte" => DataType::Int8,
            "smallint" | "short" => DataType::Int16,
            "int" | "integer" => DataType::Int32,
            "bigint" | "long" => DataType::Int64,
            "float" | "real" => DataType::Float32,
            "double" => DataType::Float64,
            "string" => DataType::Utf8,
            "date" => DataType::Date32,
            "binary" => DataType::Binary,
            "void" => DataType::Null,
            "timestamp" | "timestamp_ltz" => {
                DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
            }
            "timestamp_ntz" => DataType::Timestamp(TimeUnit::Microsecond, None),
            "decimal" | "dec" | "numeric" => self.decimal()?,
            "array" => {
                self.expect(&Token::Lt)?;
                let item = self.data_type()?;
                self.expect(&Token::Gt)?;
                DataType::List(Arc::new(Field::new_list_field(item, true)))
            }
            "struct" => {
                if self.eat(&Token::Neq) {
                    return Ok(DataType::Struct(Fields::empty()));
                }
                self.expect(&Token::Lt)?;
                DataType::Struct(self.fields(Some(&Token::Gt))?)
            }
            "map" => {
                self.expect(&Token::Lt)?;
                let key = self.data_type()?;
                self.expect(&Token::Comma)?;
                let value = self.data_type()?;
                self.expect(&Token::Gt)?;
                map_type(key, value)?
            }
            _ => {
                return Err(plan_datafusion_err!(
                    "'{}' is no type: there is no type {name}",
                    self.text
                ));
            }
        })
    }

    /// `(precision, scale)`, `(precision)` or nothing.
    fn decimal(&mut self) -> Result<DataType> {
        if !self.eat(&Token::LParen) {
            return Ok(DataType::Decimal128(10, 0));
        }
        let precision = self.number()?;
        let scale = if self.eat(&Token::Comma) {
            self.number()?
        } else {
            0
        };
        self.expect(&Token::RParen)?;
        match (u8::try_from(precision), i8::try_from(scale)) {
            (Ok(p @ 1..=38), Ok(s)) if u32::from(p) >= scale => Ok(DataType::Decimal128(p, s)),
            _ => Err(plan_datafusion_err!(
                "'{}': DECIMAL({precision}, {scale}) has a precision of 1 to 38 and a scale up to it",
                self.text
            )),
        }
    }

    fn number(&mut self) -> Result<u32> {
        let number = match self.tokens.last() {
            Some(Token::Number(digits, _)) => digits.parse().ok(),
            _ => None,
        };
        match number {
            Some(number) => {
                self.tokens.pop();
                Ok(number)
            }
            None => Err(self.unexpected("a number")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_and_types_are_read() {
        let columns =
            columns_or_type("id BIGINT NOT NULL, `my name`: string COMMENT 'x', d DECIMAL(5,2)")
                .unwrap();
        let DataType::Struct(fields) = columns else {
            panic!("columns are a struct")
        };
        let shown: Vec<String> = fields
            .iter()
            .map(|f| format!("{} {}", f.name(), f.data_type()))
            .collect();
        assert_eq!(shown, ["id Int64", "my name Utf8", "d Decimal128(5, 2)"]);
        for (text, shape) in [
            ("array<array<int>>", "List(List(Int32))"),
            (
                "STRUCT<a: ARRAY<STRUCT<b: STRING>>>",
                r#"Struct("a": List(Struct("b": Utf8)))"#,
            ),
            ("TIMESTAMP", "Timestamp(µs, \"UTC\")"),
        ] {
            assert_eq!(columns_or_type(text).unwrap().to_string(), shape);
        }
        assert!(matches!(
            columns_or_type("MAP<STRING, STRUCT<a: INT>>").unwrap(),
            DataType::Map(_, _)
        ));
    }

    #[test]
    fn what_is_no_type_is_refused() {
        for text in [
            "",
            "a",
            "a INT b INT",
            "ARRAY<INT",
            "a DECIMAL(40,2)",
            "a WIBBLE",
            "MAP<INT, INT>",
            "a INT,",
        ] {
            assert!(columns_or_type(text).is_err(), "{text}");
        }
    }
}
