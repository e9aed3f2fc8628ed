//! What is wrong with a text, said with the line that it is about and a mark under the place.
//!
//! ```text
//! line 2, column 8: WATERMARK has no delay: write `WATERMARK <column> DELAY OF INTERVAL 10 SECONDS`
//!   2 | FROM t WATERMARK ts
//!     |        ^^^^^^^^^
//! ```

mod complaint;
mod place;
mod planner;
mod secrets;
mod syntax;
mod types;

use datafusion::{
    common::{Diagnostic, Span as PlanSpan},
    error::DataFusionError,
    sql::sqlparser::tokenizer::{Location, Span},
};

use self::complaint::complaint;

/// Longer lines are shown around the place only.
const SHOWN_WIDTH: usize = 120;

/// The names that a text may mean, to find the one that was meant.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// Tables and streams.
    pub tables: Vec<String>,
    /// Functions.
    pub functions: Vec<String>,
    /// Sinks, which are tables only if they keep rows and a query writes to them.
    pub sinks: Vec<String>,
}

/// A SQL text, to show places of.
#[derive(Debug, Clone, Copy)]
pub struct SqlText<'a> {
    text: &'a str,
}

impl<'a> SqlText<'a> {
    /// This text.
    pub fn new(text: &'a str) -> Self {
        Self { text }
    }

    /// The message behind line and column of a place, and the line below it; the message alone if there is no place.
    pub fn marked(&self, place: Option<Span>, message: &str) -> String {
        let place = place.filter(|span| span.start.line > 0);
        let Some(span) = place else {
            return message.to_owned();
        };
        let start = span.start;
        let head = format!("line {}, column {}: {message}", start.line, start.column);
        match self.excerpt(span) {
            Some(excerpt) => format!("{head}\n{excerpt}"),
            None => head,
        }
    }

    /// What an error of the planner says of this text, whose statement at `statement` was planned: with the place, as
    /// nearly as it can be found. None for an error that is about something else.
    pub fn explain(
        &self,
        error: &DataFusionError,
        statement: Span,
        names: &Names,
    ) -> Option<String> {
        let complaint = complaint(error, names)?;
        let tokens = place::tokens_of(self.text, complaint.span.unwrap_or(statement));
        let complaint = syntax::reworded(complaint, &tokens);
        let span = complaint
            .span
            .map(|span| place::whole_token(span, &tokens))
            .or_else(|| place::place_of(&complaint.message, &tokens))
            .unwrap_or(statement);
        Some(self.marked(Some(span), &complaint.message))
    }

    /// A message about the statement at `statement`: at the construct that it names, else at `otherwise`.
    pub fn about(&self, message: &str, statement: Span, otherwise: Span, names: &Names) -> String {
        let message = planner::reworded(message, names);
        let tokens = place::tokens_of(self.text, statement);
        let span = place::place_of(&message, &tokens).unwrap_or(otherwise);
        self.marked(Some(span), &message)
    }

    /// A message at a place, or at that of the statement if it has none.
    pub fn at(&self, message: &str, span: Span, statement: Span) -> String {
        let span = match span.start.line {
            0 => statement,
            _ => span,
        };
        self.marked(Some(span), &types::shown(message))
    }

    /// The line of a place with carets below. Values of options that are secrets are not shown.
    fn excerpt(&self, span: Span) -> Option<String> {
        let start = span.start;
        let line = usize::try_from(start.line).ok()?;
        let line = self.text.lines().nth(line - 1)?;
        let line: Vec<char> = secrets::without_secrets(self.text, start.line, line)
            .into_iter()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let at = usize::try_from(start.column)
            .ok()?
            .saturating_sub(1)
            .min(line.len());
        let end = match span.end.line == start.line {
            true => usize::try_from(span.end.column).ok()?.saturating_sub(1),
            false => at + 1,
        };
        let width = end.min(line.len()).saturating_sub(at).max(1);
        let from = match line.len() > SHOWN_WIDTH {
            true => at.saturating_sub(SHOWN_WIDTH / 2),
            false => 0,
        };
        let shown: String = line.iter().skip(from).take(SHOWN_WIDTH).collect();
        let number = start.line.to_string();
        let margin = " ".repeat(number.len());
        let indent = " ".repeat(at - from);
        let carets = "^".repeat(width.min(SHOWN_WIDTH));
        Some(format!(
            "  {number} | {}\n  {margin} | {indent}{carets}",
            shown.trim_end()
        ))
    }
}

/// An error of ours about a place in a text.
pub(crate) fn error_at(span: Span, message: impl std::fmt::Display) -> DataFusionError {
    let start = span.start;
    let message = message.to_string();
    if start.line == 0 {
        return DataFusionError::Plan(message);
    }
    let text = format!("line {}, column {}: {message}", start.line, start.column);
    let place = PlanSpan::try_from_sqlparser_span(span);
    DataFusionError::Plan(text).with_diagnostic(Diagnostic::new_error(message, place))
}

/// Whether an error knows which place of a text it is about.
pub fn has_place(error: &DataFusionError) -> bool {
    complaint(error, &Names::default()).is_some_and(|complaint| complaint.span.is_some())
}

/// A message with types and literals as SQL writes them, and without what says which part of the planner speaks.
pub fn plain_message(message: &str) -> String {
    planner::reworded(message, &Names::default())
}

/// Nowhere in particular.
pub fn no_place() -> Span {
    Span::empty()
}

pub(crate) fn span_of(place: PlanSpan) -> Span {
    let location = |at: datafusion::common::Location| Location {
        line: at.line,
        column: at.column,
    };
    Span {
        start: location(place.start),
        end: location(place.end),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(line: u64, from: u64, to: u64) -> Span {
        Span::new(Location::new(line, from), Location::new(line, to))
    }

    #[test]
    fn a_place_is_shown_below_its_line() {
        let text = SqlText::new("SELECT a,\n\tb c\nFROM t");
        assert_eq!(
            text.marked(Some(span(2, 4, 5)), "no"),
            "line 2, column 4: no\n  2 |  b c\n    |    ^"
        );
        assert_eq!(text.marked(Some(Span::empty()), "no"), "no");
        assert_eq!(
            text.marked(Some(span(9, 1, 2)), "no"),
            "line 9, column 1: no"
        );
        let behind = text.marked(Some(span(3, 7, 7)), "no");
        assert!(behind.ends_with("3 | FROM t\n    |       ^"), "{behind}");
    }

    #[test]
    fn a_long_line_is_shown_around_the_place() {
        let long = format!("SELECT {} here", "x, ".repeat(200));
        let column = u64::try_from(long.find("here").expect("in it") + 1).expect("small");
        let shown = SqlText::new(&long).marked(Some(span(1, column, column + 4)), "no");
        let lines: Vec<&str> = shown.lines().collect();
        let at = lines[2].find('^').expect("a mark");
        assert_eq!(&lines[1][at..at + 4], "here");
        assert!(lines[1].len() < 140, "{shown}");
    }
}
