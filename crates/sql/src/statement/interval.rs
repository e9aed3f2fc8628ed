//! Lengths of time in clauses of ours: `INTERVAL 5 SECONDS`, `INTERVAL '5' SECOND`, `'5 seconds'`.

use datafusion::{
    common::Result,
    sql::sqlparser::{
        ast::{Expr, Value},
        tokenizer::Span,
    },
};

use crate::{interval::CalendarInterval, message::error_at, rewrite::literal_text};

/// The interval that an expression writes down; `span` is where it stands.
pub(super) fn interval(expr: &Expr, span: Span, form: &str) -> Result<CalendarInterval> {
    let wrong = || {
        error_at(
            span,
            format!("expected an interval, found `{expr}`: write {form}"),
        )
    };
    let text = match expr {
        Expr::Interval(interval) => {
            let number = number_or_text(&interval.value).ok_or_else(wrong)?;
            match &interval.leading_field {
                Some(unit) if interval.last_field.is_none() => format!("{number} {unit}"),
                Some(_) => return Err(wrong()),
                None => number,
            }
        }
        other => literal_text(other).ok_or_else(wrong)?.to_owned(),
    };
    CalendarInterval::parse(&text).map_err(|error| {
        // The message says what to write.
        let message = error.strip_backtrace();
        let message = message.trim_start_matches("Error during planning: ");
        error_at(span, message)
    })
}

/// The interval that an expression writes down, wherever it stands.
pub(crate) fn interval_of(expr: &Expr) -> Result<CalendarInterval> {
    interval(expr, Span::empty(), "INTERVAL 10 MINUTES")
}

fn number_or_text(expr: &Expr) -> Option<String> {
    if let Expr::Value(value) = expr
        && let Value::Number(number, _) = &value.value
    {
        return Some(number.clone());
    }
    literal_text(expr).map(str::to_owned)
}
