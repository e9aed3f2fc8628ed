//! `CREATE [OR REPLACE] SINK [IF NOT EXISTS] name USING format [OPTIONS (…)] [PARTITIONED BY (…)]`

use datafusion::{
    common::Result,
    sql::sqlparser::tokenizer::{Span, Token},
};

use super::{
    Name, StatementOptions, create_stream::if_not_exists, cursor::Cursor, options::options,
};
use crate::message::error_at;

const FORM: &str = "write CREATE SINK name USING format OPTIONS ('name' 'value', …)";

/// A place for results, to be defined.
#[derive(Debug, Clone)]
pub struct CreateSink {
    /// Replaces a sink of that name.
    pub or_replace: bool,
    /// Leaves a sink of that name as it is.
    pub if_not_exists: bool,
    /// Its name.
    pub name: Name,
    /// Its format.
    pub format: Name,
    /// Its options.
    pub options: StatementOptions,
    /// Columns by whose values files are put into folders.
    pub partitioned_by: Vec<Name>,
}

/// What stands behind `CREATE SINK`.
pub(super) fn create_sink(cursor: &mut Cursor<'_>, or_replace: bool) -> Result<CreateSink> {
    let if_not_exists = if_not_exists(cursor, or_replace)?;
    let name = cursor.name("the name of the sink", FORM)?;
    if *cursor.peek() == Token::LParen {
        return cursor.expected(
            "USING",
            "a sink has the columns of the query that is inserted, leave them out",
        );
    }
    let (format, clauses) = format_clauses(cursor, "sink", FORM)?;
    Ok(CreateSink {
        or_replace,
        if_not_exists,
        name,
        format,
        options: clauses.options,
        partitioned_by: clauses.partitioned_by,
    })
}

/// What may stand behind `USING format`.
#[derive(Debug, Default)]
pub(super) struct Clauses {
    pub(super) options: StatementOptions,
    pub(super) partitioned_by: Vec<Name>,
    pub(super) partitioned_at: Option<Span>,
}

/// `USING format`, then `OPTIONS`, `PARTITIONED BY` and `LOCATION` in any order, each at most once.
pub(super) fn format_clauses(
    cursor: &mut Cursor<'_>,
    what: &str,
    form: &str,
) -> Result<(Name, Clauses)> {
    cursor.expect_words(&["USING"], form)?;
    let format = format_name(cursor, what, form)?;
    let mut clauses = Clauses::default();
    let mut options_at = None;
    let mut location: Option<(String, Span)> = None;
    loop {
        let span = cursor.here();
        let twice = |clause: &str, before: bool| match before {
            true => Err(error_at(
                span,
                format!("{clause} is written twice: put everything into one"),
            )),
            false => Ok(()),
        };
        if cursor.takes(&["OPTIONS"]) {
            twice("OPTIONS", options_at.replace(span).is_some())?;
            clauses.options = options(cursor)?;
        } else if cursor.takes(&["PARTITIONED", "BY"]) {
            twice(
                "PARTITIONED BY",
                clauses.partitioned_at.replace(span).is_some(),
            )?;
            clauses.partitioned_by =
                cursor.names("the name of a column", "write PARTITIONED BY (column, …)")?;
        } else if cursor.takes(&["LOCATION"]) {
            let path = cursor.text("a path", "write LOCATION 'path/of/folder'")?;
            twice("LOCATION", location.replace((path, span)).is_some())?;
        } else {
            break;
        }
    }
    cursor.expect_end(form)?;
    if let Some((path, span)) = location {
        let has_path = |(name, _): (&str, &str)| name.eq_ignore_ascii_case("path");
        if clauses.options.iter().any(has_path) {
            return Err(error_at(
                span,
                "the path is given twice, by LOCATION and by the option 'path': keep one of them",
            ));
        }
        let entry = ("path".to_owned(), path, span);
        clauses.options.entries.push(entry);
    }
    Ok((format, clauses))
}

/// `rate-micro-batch` is a name too.
fn format_name(cursor: &mut Cursor<'_>, what: &str, form: &str) -> Result<Name> {
    let span = cursor.here();
    if matches!(
        cursor.peek(),
        Token::SingleQuotedString(_) | Token::DoubleQuotedString(_)
    ) {
        let value = cursor.text("a format", form)?;
        return Ok(Name {
            value,
            is_quoted: true,
            span,
        });
    }
    let what = format!("the format of the {what}");
    let mut format = cursor.name(&what, form)?;
    while cursor.takes_token(&Token::Minus) {
        let part = cursor.name(&what, form)?;
        format.value = format!("{}-{}", format.value, part.value);
    }
    Ok(format)
}
