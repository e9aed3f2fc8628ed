//! `CREATE [OR REPLACE] STREAMING QUERY [IF NOT EXISTS] name [TRIGGER …] [OUTPUT MODE …] [LATE ROWS INTO sink]
//! [OPTIONS (…)] AS INSERT INTO sink SELECT …`

use datafusion::{
    common::Result,
    sql::sqlparser::{
        ast::Expr,
        tokenizer::{Span, Token},
    },
};

use super::{
    InsertInto, Name, StatementOptions, create_stream::if_not_exists, cursor::Cursor,
    interval::interval, options::options,
};
use crate::{interval::CalendarInterval, message::error_at};

const FORM: &str =
    "write CREATE STREAMING QUERY name [TRIGGER …] [OUTPUT MODE …] AS INSERT INTO sink SELECT …";
const TRIGGERS: &str =
    "write TRIGGER EVERY INTERVAL 10 SECONDS, TRIGGER ONCE or TRIGGER AVAILABLE NOW";
const MODES: &str = "write OUTPUT MODE append, update or complete";

/// A query to be started.
#[derive(Debug, Clone)]
pub struct CreateStreamingQuery {
    /// Stops a query of that name first.
    pub or_replace: bool,
    /// Leaves a query of that name as it is.
    pub if_not_exists: bool,
    /// Its name.
    pub name: Name,
    /// When epochs run.
    pub trigger: Option<QueryTrigger>,
    /// Which rows the sink receives.
    pub output_mode: Option<Name>,
    /// The sink of rows that come too late.
    pub late_rows: Option<Name>,
    /// Its options.
    pub options: StatementOptions,
    /// The sink and the query.
    pub insert: InsertInto,
}

/// When epochs of a query run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryTrigger {
    /// At multiples of an interval; not negative, and without months.
    Every(CalendarInterval),
    /// One epoch over everything there is.
    Once,
    /// Everything there is, in epochs.
    AvailableNow,
}

/// What stands behind `CREATE STREAMING QUERY`.
pub(super) fn create_query(
    cursor: &mut Cursor<'_>,
    or_replace: bool,
) -> Result<CreateStreamingQuery> {
    let if_not_exists = if_not_exists(cursor, or_replace)?;
    let name = cursor.name("the name of the query", FORM)?;
    let (mut trigger, mut output_mode, mut late_rows, mut given) = (None, None, None, None);
    loop {
        let span = cursor.here();
        let is_second = if cursor.takes(&["TRIGGER"]) {
            trigger.replace(self::trigger(cursor)?).is_some()
        } else if cursor.takes(&["OUTPUT"]) {
            cursor.expect_words(&["MODE"], MODES)?;
            output_mode.replace(self::output_mode(cursor)?).is_some()
        } else if cursor.takes(&["LATE"]) {
            const LATE: &str = "write LATE ROWS INTO sink";
            cursor.expect_words(&["ROWS", "INTO"], LATE)?;
            late_rows
                .replace(cursor.name("the name of a sink", LATE)?)
                .is_some()
        } else if cursor.takes(&["OPTIONS"]) {
            given.replace(options(cursor)?).is_some()
        } else {
            break;
        };
        if is_second {
            return Err(error_at(
                span,
                "this clause is written twice: keep one of them",
            ));
        }
    }
    cursor.expect_words(&["AS"], FORM)?;
    let span = cursor.here();
    if !cursor.sees(&["INSERT"]) {
        return cursor.expected("INSERT INTO", FORM);
    }
    let insert = InsertInto::of(cursor.statement()?).map_err(|_| {
        error_at(
            span,
            "a streaming query inserts the rows of one query into one sink: write INSERT INTO sink SELECT …",
        )
    })?;
    Ok(CreateStreamingQuery {
        or_replace,
        if_not_exists,
        name,
        trigger,
        output_mode,
        late_rows,
        options: given.unwrap_or_default(),
        insert,
    })
}

/// What stands behind `TRIGGER`.
fn trigger(cursor: &mut Cursor<'_>) -> Result<QueryTrigger> {
    if cursor.takes(&["ONCE"]) {
        return Ok(QueryTrigger::Once);
    }
    if cursor.takes(&["AVAILABLE", "NOW"]) {
        return Ok(QueryTrigger::AvailableNow);
    }
    if !cursor.takes(&["EVERY"]) {
        return cursor.expected("EVERY, ONCE or AVAILABLE NOW", TRIGGERS);
    }
    let span = cursor.here();
    if !matches!(cursor.peek(), Token::SingleQuotedString(_)) && !cursor.sees(&["INTERVAL"]) {
        return cursor.expected("INTERVAL", TRIGGERS);
    }
    every(&cursor.expr()?, span).map(QueryTrigger::Every)
}

fn every(expr: &Expr, span: Span) -> Result<CalendarInterval> {
    let every = interval(expr, span, "TRIGGER EVERY INTERVAL 10 SECONDS")?;
    if every.months != 0 {
        return Err(error_at(
            span,
            "months and years differ in length: write the interval of a trigger in days or less",
        ));
    }
    if every.micros < 0 {
        return Err(error_at(
            span,
            "the interval of a trigger cannot be negative: write zero or more",
        ));
    }
    Ok(every)
}

/// What stands behind `OUTPUT MODE`: `append`, with quotes or without.
pub(super) fn output_mode(cursor: &mut Cursor<'_>) -> Result<Name> {
    let span = cursor.here();
    if let Token::SingleQuotedString(_) = cursor.peek() {
        let value = cursor.text("an output mode", MODES)?;
        return Ok(Name {
            value,
            is_quoted: true,
            span,
        });
    }
    cursor.name("an output mode", MODES)
}
