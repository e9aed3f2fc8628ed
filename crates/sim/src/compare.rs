//! What was found against what was recorded: the first difference, or none.
//!
//! Rows of each batch, watermarks, whether anything was dropped as late, and refusals are semantics; rows in state
//! are too, except where [`Leniency`] says that the query makes them physical. Minimum and maximum event times of the
//! record are advisory and not compared.

use std::fmt;

use datafusion::arrow::datatypes::DataType;
use headwater_core::{Error, ErrorKind, Result};

use crate::{
    cell::{Cell, Row, display_row, same_row},
    scenario::{Column, ExpectedBatch, ExpectedState, Scenario},
    types,
    values::parse_instant,
};

/// One micro-batch as this engine ran it.
#[derive(Debug, Clone)]
pub struct FoundBatch {
    /// Number of the epoch.
    pub batch_id: u64,
    /// Whether a source had something new.
    pub new_data: bool,
    /// Rows read.
    pub num_input_rows: u64,
    /// Watermark in force, in milliseconds since 1970; none if the query has none.
    pub watermark: Option<i64>,
    /// What the sink got.
    pub rows: Vec<Row>,
    /// One entry for each stateful operator, the one nearest the sink first.
    pub state: Vec<FoundState>,
}

/// What one stateful operator reported.
#[derive(Debug, Clone)]
pub struct FoundState {
    /// The operator's name in progress reports, which is the reference engine's.
    pub op: String,
    /// Rows in state afterwards.
    pub total: u64,
    /// Rows written.
    pub updated: u64,
    /// Rows removed.
    pub removed: u64,
    /// Late input dropped.
    pub dropped_by_watermark: u64,
    /// Duplicates dropped, if the operator counts them.
    pub dropped_duplicates: Option<u64>,
}

/// How the run of a scenario ended.
#[derive(Debug)]
pub enum Outcome {
    /// All steps were taken.
    Ok,
    /// The query could not be built.
    RefusedBuilding(Error),
    /// The query was built but not started.
    RefusedStarting(Error),
    /// The query started and died.
    Failed(Error),
}

/// Everything a run of a scenario gave.
#[derive(Debug)]
pub struct Found {
    /// How it ended.
    pub outcome: Outcome,
    /// Names of the result's columns; empty if the query was not built.
    pub columns: Vec<String>,
    /// The micro-batches of each trigger step that went well.
    pub triggers: Vec<(usize, Vec<FoundBatch>)>,
    /// What cannot be compared for this query.
    pub leniency: Leniency,
}

/// What the query itself makes incomparable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Leniency {
    /// It gives out sliding windows when they end, so that state has slices of them: its rows are physical.
    pub sliding_windows: bool,
    /// It has a LIMIT, which may stop reading early.
    pub limit: bool,
}

/// The first thing that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Where: which trigger, which batch, what.
    pub place: String,
    /// As recorded.
    pub expected: String,
    /// As found.
    pub found: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: expected {}, found {}",
            self.place, self.expected, self.found
        )
    }
}

/// A comparison that ended: `None` if nothing differs.
type Verdict = Option<Difference>;

fn differ(
    place: impl fmt::Display,
    expected: impl fmt::Display,
    found: impl fmt::Display,
) -> Verdict {
    Some(Difference {
        place: place.to_string(),
        expected: expected.to_string(),
        found: found.to_string(),
    })
}

/// Compares a run with the record.
///
/// # Errors
/// `Data` if the record itself cannot be read.
pub fn compare(scenario: &Scenario, found: &Found) -> Result<Verdict> {
    let expected = &scenario.expected;
    let phase = expected.error.as_ref().and_then(|e| e.phase.as_deref());
    let note = expected.error.as_ref().and_then(|e| e.note.as_deref());
    let wanted = format!(
        "{}{}",
        expected.result,
        note.map(|note| format!(" ({note})")).unwrap_or_default()
    );
    match (expected.result.as_str(), &found.outcome) {
        ("ok", Outcome::Ok) => compare_triggers(scenario, found),
        ("rejected", Outcome::RefusedBuilding(error) | Outcome::RefusedStarting(error)) => {
            Ok(check_refusal(&wanted, phase, &found.outcome, error))
        }
        ("failed", Outcome::Failed(error)) => {
            if error.kind() == ErrorKind::Internal {
                return Ok(differ("result", wanted, describe(&found.outcome)));
            }
            compare_triggers(scenario, found)
        }
        // The reference engine noticed at its first batch what can be known at the start.
        ("failed", Outcome::RefusedBuilding(error) | Outcome::RefusedStarting(error))
            if expected.triggers.iter().all(|t| t.batches.is_empty()) =>
        {
            Ok(check_refusal(&wanted, phase, &found.outcome, error))
        }
        ("ok" | "rejected" | "failed", outcome) => Ok(differ("result", wanted, describe(outcome))),
        (other, _) => Err(Error::data(format!("unknown expected result '{other}'"))),
    }
}

/// A refusal counts only if it is one: not a defect of ours, not a feature that is still missing, and, for a query that
/// the reference engine could analyse, not a text that we fail to understand.
fn check_refusal(wanted: &str, phase: Option<&str>, outcome: &Outcome, error: &Error) -> Verdict {
    let not_understood = phase != Some("analysis") && is_not_understood(error);
    let is_missing = error.to_string().contains("not supported yet");
    if error.kind() != ErrorKind::Invalid || not_understood || is_missing {
        return differ("result", wanted, describe(outcome));
    }
    None
}

/// Whether the error says that a text could not be parsed or names a function that does not exist.
fn is_not_understood(error: &Error) -> bool {
    let text = error.to_string();
    ["ParserError", "Invalid function", "not implemented"]
        .iter()
        .any(|sign| text.contains(sign))
}

fn describe(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Ok => "ok".to_owned(),
        Outcome::RefusedBuilding(error) => format!("rejected while building: {error:?}"),
        Outcome::RefusedStarting(error) => format!("rejected at start: {error:?}"),
        Outcome::Failed(error) => format!("failed: {error:?}"),
    }
}

fn compare_triggers(scenario: &Scenario, found: &Found) -> Result<Verdict> {
    let expected = &scenario.expected;
    let columns = expected.schema.as_deref().unwrap_or_default();
    if let Some(difference) = compare_columns(columns, &found.columns) {
        return Ok(Some(difference));
    }
    let kinds = columns
        .iter()
        .map(|column| types::data_type(&column.type_text))
        .collect::<Result<Vec<_>>>()?;
    for (index, trigger) in expected.triggers.iter().enumerate() {
        let place = format!("step {}", trigger.step);
        let Some((step, batches)) = found.triggers.get(index) else {
            return Ok(differ(
                place,
                format!("{} batches", trigger.batches.len()),
                describe(&found.outcome),
            ));
        };
        if *step != trigger.step {
            return Ok(differ(place, "a trigger", format!("one at step {step}")));
        }
        for (number, batch) in trigger.batches.iter().enumerate() {
            let place = format!("{place}, batch {}", batch.batch_id);
            let Some(found_batch) = batches.get(number) else {
                return Ok(differ(place, show_batch(batch), "no such batch"));
            };
            let verdict =
                compare_batch(&place, columns, &kinds, batch, found_batch, found.leniency)?;
            if verdict.is_some() {
                return Ok(verdict);
            }
        }
        if let Some(extra) = batches.get(trigger.batches.len()) {
            return Ok(differ(
                place,
                format!("{} batches", trigger.batches.len()),
                format!(
                    "a further batch {} (new data: {}, watermark {}, {} rows)",
                    extra.batch_id,
                    extra.new_data,
                    show_instant(extra.watermark),
                    extra.rows.len()
                ),
            ));
        }
    }
    Ok(None)
}

/// Names count where the query gave them; how an engine prints an unnamed expression is its own affair.
fn compare_columns(expected: &[Column], found: &[String]) -> Verdict {
    let names = |columns: Vec<&str>| format!("({})", columns.join(", "));
    let is_plain = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let same = expected.len() == found.len()
        && expected.iter().zip(found).all(|(expected, found)| {
            !is_plain(&expected.name) || expected.name.eq_ignore_ascii_case(found)
        });
    if same {
        return None;
    }
    differ(
        "columns",
        names(expected.iter().map(|c| c.name.as_str()).collect()),
        names(found.iter().map(String::as_str).collect()),
    )
}

fn compare_batch(
    place: &str,
    columns: &[Column],
    kinds: &[DataType],
    expected: &ExpectedBatch,
    found: &FoundBatch,
    leniency: Leniency,
) -> Result<Verdict> {
    if expected.batch_id != found.batch_id {
        return Ok(differ(
            place,
            format!("batch id {}", expected.batch_id),
            found.batch_id,
        ));
    }
    if expected.new_data != found.new_data {
        return Ok(differ(
            format!("{place}, new data"),
            expected.new_data,
            found.new_data,
        ));
    }
    let watermark = expected
        .watermark
        .as_ref()
        .map(|text| {
            parse_instant(&text.as_str().into())
                .map(|micros| micros.div_euclid(1_000))
                .ok_or_else(|| Error::data(format!("'{text}' is not a watermark")))
        })
        .transpose()?;
    if watermark != found.watermark {
        return Ok(differ(
            format!("{place}, watermark"),
            show_instant(watermark),
            show_instant(found.watermark),
        ));
    }
    let rows = expected
        .rows
        .iter()
        .map(|row| {
            columns
                .iter()
                .zip(kinds)
                .map(|(column, kind)| {
                    let value = row.get(&column.name).unwrap_or(&serde_json::Value::Null);
                    Cell::from_json(value, kind)
                })
                .collect::<Result<Row>>()
        })
        .collect::<Result<Vec<_>>>()?;
    if let Some(difference) = row_difference(place, rows, found.rows.clone()) {
        return Ok(Some(difference));
    }
    if !leniency.limit && expected.num_input_rows != found.num_input_rows {
        return Ok(differ(
            format!("{place}, input rows"),
            expected.num_input_rows,
            found.num_input_rows,
        ));
    }
    Ok(compare_state(
        place,
        &expected.state,
        &found.state,
        leniency,
    ))
}

/// Compares as multisets: each expected row takes one found row out.
fn row_difference(place: &str, expected: Vec<Row>, mut found: Vec<Row>) -> Option<Difference> {
    let mut missing = Vec::new();
    for row in expected {
        match found.iter().position(|candidate| same_row(&row, candidate)) {
            Some(at) => {
                found.swap_remove(at);
            }
            None => missing.push(row),
        }
    }
    if missing.is_empty() && found.is_empty() {
        return None;
    }
    let show = |rows: &[Row]| match rows {
        [] => "no other row".to_owned(),
        rows => {
            let shown: Vec<String> = rows.iter().take(4).map(display_row).collect();
            let more = if rows.len() > 4 { " …" } else { "" };
            format!("{}{more}", shown.join(" "))
        }
    };
    differ(format!("{place}, rows"), show(&missing), show(&found))
}

/// The same rows, as multisets.
///
/// # Errors
/// `Internal` with the difference.
pub(crate) fn require_rows(place: &str, expected: Vec<Row>, found: Vec<Row>) -> Result<()> {
    match row_difference(place, expected, found) {
        None => Ok(()),
        Some(difference) => Err(Error::internal(difference.to_string())),
    }
}

/// Operators whose count of updated rows is the reference engine's bookkeeping.
fn counts_updates(recorded: &str) -> bool {
    matches!(
        recorded,
        "stateStoreSave" | "globalLimit" | "dedupe" | "dedupeWithinWatermark"
    )
}

fn compare_state(
    place: &str,
    expected: &[ExpectedState],
    found: &[FoundState],
    leniency: Leniency,
) -> Verdict {
    let same_kinds = expected.len() == found.len()
        && expected
            .iter()
            .zip(found)
            .all(|(expected, found)| expected.op == found.op);
    if !same_kinds {
        let names = |names: Vec<&str>| format!("[{}]", names.join(", "));
        return differ(
            format!("{place}, stateful operators"),
            names(expected.iter().map(|s| s.op.as_str()).collect()),
            names(found.iter().map(|s| s.op.as_str()).collect()),
        );
    }
    for (index, (expected, found)) in expected.iter().zip(found).enumerate() {
        let place = format!("{place}, state {index} ({})", expected.op);
        if !leniency.sliding_windows {
            let updated_counts = counts_updates(&expected.op);
            for (name, expected, found, counts) in [
                ("total", expected.total, found.total, true),
                ("updated", expected.updated, found.updated, updated_counts),
                ("removed", expected.removed, found.removed, true),
            ] {
                if counts && expected != found {
                    return differ(format!("{place}, rows {name}"), expected, found);
                }
            }
        }
        if expected.dropped_duplicates != found.dropped_duplicates {
            let show = |count: Option<u64>| count.map_or("none".to_owned(), |n| n.to_string());
            return differ(
                format!("{place}, duplicates dropped"),
                show(expected.dropped_duplicates),
                show(found.dropped_duplicates),
            );
        }
        let (expected, found) = (expected.dropped_by_watermark, found.dropped_by_watermark);
        if (expected > 0) != (found > 0) {
            return differ(format!("{place}, rows dropped as late"), expected, found);
        }
    }
    None
}

fn show_instant(millis: Option<i64>) -> String {
    match millis {
        None => "none".to_owned(),
        Some(millis) => Cell::Instant(millis.saturating_mul(1_000)).to_string(),
    }
}

fn show_batch(batch: &ExpectedBatch) -> String {
    format!(
        "a batch (new data: {}, watermark {}, {} rows)",
        batch.new_data,
        batch.watermark.as_deref().unwrap_or("none"),
        batch.rows.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(n: i128) -> Row {
        vec![Cell::int(n)]
    }

    #[test]
    fn rows_compare_as_multisets() {
        let rows = |ns: &[i128]| ns.iter().copied().map(row).collect::<Vec<_>>();
        assert_eq!(
            row_difference("b", rows(&[1, 2, 2]), rows(&[2, 1, 2])),
            None
        );
        let difference =
            row_difference("b", rows(&[1, 2, 2]), rows(&[1, 1, 2])).expect("one 2 is missing");
        assert_eq!(difference.expected, "(2)");
        assert_eq!(difference.found, "(1)");
    }

    #[test]
    fn a_parser_error_is_no_refusal_of_a_query_that_can_be_analysed() {
        let error = || Error::invalid("SQL error: ParserError(\"no\")");
        let outcome = Outcome::RefusedBuilding(error());
        assert!(check_refusal("rejected", Some("start"), &outcome, &error()).is_some());
        assert!(check_refusal("rejected", Some("analysis"), &outcome, &error()).is_none());
        let missing = Error::invalid("sessions are not supported yet");
        assert!(check_refusal("rejected", Some("start"), &outcome, &missing).is_some());
        let bug = Error::internal("oops");
        assert!(check_refusal("rejected", Some("analysis"), &outcome, &bug).is_some());
    }

    #[test]
    fn only_whether_rows_were_dropped_counts() {
        let expected = ExpectedState {
            op: "stateStoreSave".into(),
            total: 1,
            updated: 1,
            removed: 0,
            dropped_by_watermark: 1,
            dropped_duplicates: Some(2),
        };
        let mut found = FoundState {
            op: "stateStoreSave".into(),
            total: 1,
            updated: 1,
            removed: 0,
            dropped_by_watermark: 3,
            dropped_duplicates: Some(2),
        };
        let verdict = |found: &FoundState, leniency| {
            compare_state(
                "b",
                std::slice::from_ref(&expected),
                std::slice::from_ref(found),
                leniency,
            )
        };
        let strict = Leniency::default();
        assert_eq!(verdict(&found, strict), None);
        found.dropped_by_watermark = 0;
        assert!(verdict(&found, strict).is_some());
        found.dropped_by_watermark = 1;
        found.dropped_duplicates = None;
        assert!(verdict(&found, strict).is_some());
        found.dropped_duplicates = Some(2);
        found.total = 7;
        assert!(verdict(&found, strict).is_some());
        let sliding = Leniency {
            sliding_windows: true,
            limit: false,
        };
        assert_eq!(verdict(&found, sliding), None);
    }
}
