//! `CREATE [OR REPLACE] STREAM [IF NOT EXISTS] name [(columns, watermark)] USING format [OPTIONS (…)]`

use datafusion::{
    common::Result,
    sql::sqlparser::{
        ast::{BinaryOperator, DataType, Expr, Ident},
        tokenizer::{Span, Token},
    },
};

use super::{
    Name, StatementOptions, create_sink::format_clauses, cursor::Cursor, interval::interval,
};
use crate::{interval::CalendarInterval, message::error_at};

const FORM: &str =
    "write CREATE STREAM name (column TYPE, …) USING format OPTIONS ('name' 'value', …)";
const MARK_FORM: &str = "WATERMARK FOR ts AS ts - INTERVAL 10 SECONDS";

/// A stream to be defined.
#[derive(Debug, Clone)]
pub struct CreateStream {
    /// Replaces a stream of that name.
    pub or_replace: bool,
    /// Leaves a stream of that name as it is.
    pub if_not_exists: bool,
    /// Its name.
    pub name: Name,
    /// Its columns; none where the source brings its own.
    pub columns: Vec<StreamColumn>,
    /// The event time and how late rows may be.
    pub watermark: Option<StreamWatermark>,
    /// The source's format.
    pub format: Name,
    /// Options of the source.
    pub options: StatementOptions,
}

/// A column of a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamColumn {
    /// Its name.
    pub name: Name,
    /// Its type.
    pub data_type: DataType,
    /// Whether rows always have a value there.
    pub not_null: bool,
}

/// `WATERMARK FOR ts AS ts - INTERVAL …`, or `WATERMARK expr [AS name] DELAY OF INTERVAL …`.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamWatermark {
    /// The event time.
    pub event_time: Expr,
    /// The column that an event time becomes which is computed.
    pub name: Option<Name>,
    /// How late rows may be; not negative.
    pub delay: CalendarInterval,
    /// Where the clause begins.
    pub span: Span,
}

/// What stands behind `CREATE STREAM`.
pub(super) fn create_stream(cursor: &mut Cursor<'_>, or_replace: bool) -> Result<CreateStream> {
    let if_not_exists = if_not_exists(cursor, or_replace)?;
    let name = cursor.name("the name of the stream", FORM)?;
    let (columns, watermark) = match cursor.takes_token(&Token::LParen) {
        true => columns(cursor)?,
        false => (Vec::new(), None),
    };
    let (format, clauses) = format_clauses(cursor, "source", FORM)?;
    if let Some(span) = clauses.partitioned_at {
        return Err(error_at(
            span,
            "PARTITIONED BY belongs to CREATE SINK: a stream finds the folders of its files itself, name their columns \
             among the others",
        ));
    }
    Ok(CreateStream {
        or_replace,
        if_not_exists,
        name,
        columns,
        watermark,
        format,
        options: clauses.options,
    })
}

/// `IF NOT EXISTS`, which `OR REPLACE` excludes.
pub(super) fn if_not_exists(cursor: &mut Cursor<'_>, or_replace: bool) -> Result<bool> {
    let span = cursor.here();
    let found = cursor.takes(&["IF", "NOT", "EXISTS"]);
    if found && or_replace {
        return Err(error_at(
            span,
            "OR REPLACE and IF NOT EXISTS exclude each other: keep one of them",
        ));
    }
    Ok(found)
}

fn columns(cursor: &mut Cursor<'_>) -> Result<(Vec<StreamColumn>, Option<StreamWatermark>)> {
    let mut columns: Vec<StreamColumn> = Vec::new();
    let mut mark: Option<StreamWatermark> = None;
    loop {
        let span = cursor.here();
        // A column may be called `watermark`, but then a type follows, not a name and a type.
        if cursor.sees(&["WATERMARK", "FOR"]) || is_delay_clause(cursor) {
            cursor.next();
            let found = watermark(cursor, span)?;
            if mark.replace(found).is_some() {
                return Err(error_at(
                    span,
                    "a stream has one watermark, this one has two: remove one of them",
                ));
            }
        } else {
            columns.push(column(cursor)?);
        }
        if !cursor.takes_token(&Token::Comma) {
            break;
        }
    }
    cursor.expect_token(&Token::RParen, FORM)?;
    Ok((columns, mark))
}

fn is_delay_clause(cursor: &Cursor<'_>) -> bool {
    cursor.sees(&["WATERMARK"]) && cursor.sees_before_comma(&["DELAY", "OF"])
}

fn column(cursor: &mut Cursor<'_>) -> Result<StreamColumn> {
    let name = cursor.name("the name of a column", FORM)?;
    if matches!(cursor.peek(), Token::Comma | Token::RParen | Token::EOF) {
        return cursor.expected(
            &format!("the type of column '{}'", name.value),
            "write for instance `id BIGINT`, `host STRING` or `ts TIMESTAMP`",
        );
    }
    let data_type = cursor.data_type()?;
    let not_null = cursor.takes(&["NOT", "NULL"]);
    if !not_null {
        cursor.takes(&["NULL"]);
    }
    Ok(StreamColumn {
        name,
        data_type,
        not_null,
    })
}

/// What stands behind `WATERMARK`.
fn watermark(cursor: &mut Cursor<'_>, span: Span) -> Result<StreamWatermark> {
    let mark = if cursor.takes(&["FOR"]) {
        let column = cursor.name("the event-time column", MARK_FORM)?;
        cursor.expect_words(&["AS"], &format!("write {MARK_FORM}"))?;
        let place = cursor.here();
        let expr = cursor.expr()?;
        StreamWatermark {
            delay: behind(&column, &expr, place)?,
            event_time: Expr::Identifier(ident(&column)),
            name: None,
            span,
        }
    } else {
        let event_time = cursor.expr()?;
        let name = match cursor.takes(&["AS"]) {
            true => Some(cursor.name("the name of the event time", MARK_FORM)?),
            false => None,
        };
        let form = "WATERMARK ts DELAY OF INTERVAL 10 SECONDS";
        cursor.expect_words(&["DELAY", "OF"], &format!("write {form}"))?;
        let place = cursor.here();
        let delay = interval(&cursor.expr()?, place, form)?;
        if name.is_none() && !matches!(event_time, Expr::Identifier(_)) {
            return Err(error_at(
                span,
                format!(
                    "an event time that is computed needs a name: write WATERMARK {event_time} AS event_time DELAY OF …"
                ),
            ));
        }
        StreamWatermark {
            event_time,
            name,
            delay,
            span,
        }
    };
    if mark.delay.is_negative() {
        return Err(error_at(
            span,
            "the delay of a watermark cannot be negative: write an interval of zero or more",
        ));
    }
    Ok(mark)
}

fn ident(name: &Name) -> Ident {
    let ident = match name.is_quoted {
        true => Ident::with_quote('`', name.value.clone()),
        false => Ident::new(name.value.clone()),
    };
    Ident {
        span: name.span,
        ..ident
    }
}

/// How far the watermark stays behind its column: `ts`, or `ts - INTERVAL …`.
fn behind(column: &Name, expr: &Expr, place: Span) -> Result<CalendarInterval> {
    let is_column = |expr: &Expr| matches!(expr, Expr::Identifier(ident) if ident.value.eq_ignore_ascii_case(&column.value));
    let form = format!(
        "WATERMARK FOR {0} AS {0} - INTERVAL 10 SECONDS",
        column.value
    );
    match expr {
        Expr::BinaryOp {
            left,
            op: BinaryOperator::Minus,
            right,
        } if is_column(left) => interval(right, place, &form),
        expr if is_column(expr) => Ok(CalendarInterval::default()),
        other => Err(error_at(
            place,
            format!(
                "a watermark stays behind its own column by an interval, found `{other}`: write {form}"
            ),
        )),
    }
}
