//! What an error of reading or planning says of the text, in the words of whoever wrote it.

use datafusion::{
    common::{Column, Diagnostic, SchemaError},
    error::DataFusionError,
    sql::sqlparser::{
        parser::ParserError,
        tokenizer::{Location, Span},
    },
};
use headwater_core::nearest;

use super::{Names, planner, span_of, types};

/// What an error is about.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Complaint {
    pub(super) message: String,
    pub(super) span: Option<Span>,
}

impl Complaint {
    fn anywhere(message: &str, names: &Names) -> Self {
        Self {
            message: planner::reworded(message, names),
            span: None,
        }
    }
}

/// What an error says of the text; none if it is no error of reading or planning.
pub(super) fn complaint(error: &DataFusionError, names: &Names) -> Option<Complaint> {
    match error {
        DataFusionError::Diagnostic(diagnostic, inner) => Some(diagnosed(diagnostic, inner, names)),
        DataFusionError::Context(_, inner) => complaint(inner, names),
        DataFusionError::Shared(inner) => complaint(inner, names),
        DataFusionError::Collection(errors) => errors.iter().find_map(|e| complaint(e, names)),
        DataFusionError::SQL(error, _) => Some(of_parser(error, names)),
        DataFusionError::Plan(message)
        | DataFusionError::NotImplemented(message)
        | DataFusionError::Configuration(message) => Some(Complaint::anywhere(message, names)),
        DataFusionError::SchemaError(error, _) => {
            let message = of_schema(error).unwrap_or_else(|| types::shown(&error.to_string()));
            Some(Complaint {
                message,
                span: None,
            })
        }
        // The planner's way to say that no signature fits.
        DataFusionError::Internal(message) if message.contains("failed to match any signature") => {
            Some(Complaint::anywhere(message, names))
        }
        _ => None,
    }
}

fn diagnosed(diagnostic: &Diagnostic, inner: &DataFusionError, names: &Names) -> Complaint {
    let own = diagnostic.span.map(span_of);
    let below = complaint(inner, names);
    let span = own.or(below.as_ref().and_then(|below| below.span));
    let message = &diagnostic.message;
    // Errors of the schema know the columns there are.
    if let DataFusionError::SchemaError(error, _) = inner
        && let Some(message) = of_schema(error)
    {
        return Complaint { message, span };
    }
    if message == "expressions have incompatible types"
        && let Some(below) = below
    {
        return Complaint { span, ..below };
    }
    let mut whole = message.clone();
    for note in &diagnostic.notes {
        whole = format!("{whole}; {}", note.message);
    }
    for help in &diagnostic.helps {
        whole = format!("{whole}: {}", help.message);
    }
    Complaint {
        message: planner::reworded(&whole, names),
        span,
    }
}

fn of_schema(error: &SchemaError) -> Option<String> {
    match error {
        SchemaError::FieldNotFound {
            field,
            valid_fields,
        } => Some(no_column(field, valid_fields)),
        SchemaError::AmbiguousReference { field } => Some(format!(
            "the column '{0}' is in several tables: write the table before it, as in t.{0}",
            field.name
        )),
        SchemaError::DuplicateUnqualifiedField { name } => Some(format!(
            "two columns are called '{name}': give one of them another name with AS"
        )),
        SchemaError::DuplicateQualifiedField { name, .. } => Some(format!(
            "two columns are called '{name}': give one of them another name with AS"
        )),
    }
}

fn no_column(field: &Column, valid: &[Column]) -> String {
    let name = &field.name;
    let relation = field.relation.as_ref().map(|relation| relation.table());
    let tables: Vec<&str> = valid
        .iter()
        .filter_map(|column| column.relation.as_ref().map(|relation| relation.table()))
        .collect();
    if let Some(relation) = relation
        && !tables.contains(&relation)
        && !tables.is_empty()
    {
        let mut known = tables;
        known.dedup();
        let advice = match nearest(relation, known.iter().copied()) {
            Some(close) => format!("did you mean '{close}'?"),
            None => format!("its tables are {}", known.join(", ")),
        };
        return format!("the query has no table '{relation}': {advice}");
    }
    let here = |column: &&Column| {
        relation.is_none() || column.relation.as_ref().map(|relation| relation.table()) == relation
    };
    let mut columns: Vec<&str> = valid.iter().filter(here).map(|c| c.name()).collect();
    columns.dedup();
    let advice = match nearest(name, columns.iter().copied()) {
        Some(close) => format!("did you mean '{close}'?"),
        None if columns.is_empty() => "the query has no FROM".to_owned(),
        None => format!("the columns are {}", columns.join(", ")),
    };
    match relation {
        Some(relation) => format!("'{relation}' has no column '{name}': {advice}"),
        None => format!("there is no column '{name}': {advice}"),
    }
}

/// sqlparser puts places behind its messages: `… at Line: 2, Column: 14`.
fn of_parser(error: &ParserError, names: &Names) -> Complaint {
    let message = match error {
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => message,
        ParserError::RecursionLimitExceeded => {
            return Complaint::anywhere(
                "the statement is nested too deeply: name inner queries with WITH or CREATE VIEW",
                names,
            );
        }
    };
    let Some((before, place)) = message.rsplit_once(" at Line: ") else {
        return Complaint::anywhere(message, names);
    };
    match located(place) {
        Some(span) => Complaint {
            message: before.to_owned(),
            span: Some(span),
        },
        None => Complaint::anywhere(message, names),
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
