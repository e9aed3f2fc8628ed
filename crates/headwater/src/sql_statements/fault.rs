//! What is wrong with a text, on its way to whoever wrote it.

use datafusion::{error::DataFusionError, sql::sqlparser::tokenizer::Span};
use headwater_core::{Error, ErrorKind};
use headwater_sql::{Names, SqlText, statement::StatementOptions};

use crate::error::from_datafusion;

/// The result of carrying out a part of a text.
pub(crate) type Outcome<T> = Result<T, Fault>;

/// An error and the place that it is about, as far as it is known.
#[derive(Debug)]
pub(crate) enum Fault {
    /// From reading or planning; it may know its place itself.
    Planning(DataFusionError),
    /// About the words at a place.
    At(Span, Error),
    /// About what the message names; if that is not found, about the words at a place.
    About(Span, Error),
}

impl From<DataFusionError> for Fault {
    fn from(error: DataFusionError) -> Self {
        Self::Planning(error)
    }
}

impl Fault {
    pub(crate) fn invalid(span: Span, message: impl Into<String>) -> Self {
        Self::At(span, Error::invalid(message))
    }

    /// The error with the line that it is about. `statement` is where the statement begins.
    pub(crate) fn render(self, text: &SqlText<'_>, statement: Span, names: &Names) -> Error {
        match self {
            Self::At(span, error) => {
                let message = text.at(&error.to_string(), span, statement);
                Error::new(error.kind(), message)
            }
            Self::About(span, error) => {
                let message = text.about(&error.to_string(), statement, span, names);
                Error::new(error.kind(), message)
            }
            Self::Planning(error) => match text.explain(&error, statement, names) {
                Some(message) => Error::invalid(message),
                None => {
                    let error = from_datafusion(error);
                    match error.kind() {
                        ErrorKind::Invalid => {
                            Self::About(statement, error).render(text, statement, names)
                        }
                        _ => error,
                    }
                }
            },
        }
    }
}

/// An error of a source or sink about its options: at the option that it names, else at `otherwise`.
pub(crate) fn about_options(error: Error, options: &StatementOptions, otherwise: Span) -> Fault {
    let named = options
        .entries
        .iter()
        .find(|(name, _, _)| error.message().contains(&format!("'{name}'")));
    Fault::At(named.map_or(otherwise, |(_, _, span)| *span), error)
}
