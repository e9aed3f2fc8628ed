//! What a test says: a line for what is as expected, a diff for what is not, tables where nothing is expected.

use console::Style;
use headwater::OutputMode;

use super::{answer::Answer, compare::Difference};
use crate::{exit::Failure, table};

/// Rows shown of each kind in a difference.
const SHOWN: usize = 20;

/// `14 rows in 3 epochs`.
pub(crate) fn extent(answer: &Answer) -> String {
    let rows = answer.row_count();
    let rows = match (rows, answer.mode) {
        (1, _) => "1 row".to_owned(),
        (rows, _) => format!("{rows} rows"),
    };
    let epochs = match answer.epochs.len() {
        1 => "1 epoch".to_owned(),
        epochs => format!("{epochs} epochs"),
    };
    match answer.mode {
        OutputMode::Complete => format!("{rows} at the end of {epochs}"),
        OutputMode::Append | OutputMode::Update => format!("{rows} in {epochs}"),
    }
}

/// The line of an answer that is as expected.
pub(crate) fn passed(answer: &Answer) -> String {
    let ok = Style::new().green().bold().apply_to("ok");
    format!("{ok} {}: {}\n", answer.name, extent(answer))
}

/// An answer that is not as expected: rows that did not come with `-`, those that nobody expected with `+`.
pub(crate) fn failed(answer: &Answer, file: &str, differences: &[Difference]) -> String {
    let word = Style::new().red().bold().apply_to("FAILED");
    let mut text = format!(
        "{word} {}: {}, not those of {file}\n",
        answer.name,
        extent(answer)
    );
    for difference in differences {
        text.push_str(&shown(answer, difference));
    }
    text
}

fn shown(answer: &Answer, difference: &Difference) -> String {
    let mut text = String::new();
    if let Some(epoch) = difference.epoch {
        text.push_str(&format!("  epoch {epoch}{}:\n", note(answer, epoch)));
    }
    let (minus, plus) = (Style::new().red(), Style::new().green());
    for row in difference.missing.iter().take(SHOWN) {
        text.push_str(&format!("    {}\n", minus.apply_to(format!("- {row}"))));
    }
    text.push_str(&more("-", difference.missing.len()));
    for (row, epoch) in difference.unexpected.iter().take(SHOWN) {
        let when = match difference.epoch {
            Some(_) => String::new(),
            None => format!("  (epoch {epoch})"),
        };
        text.push_str(&format!(
            "    {}{when}\n",
            plus.apply_to(format!("+ {row}"))
        ));
    }
    text.push_str(&more("+", difference.unexpected.len()));
    if let Some((at, expected, came)) = &difference.out_of_order {
        text.push_str(&format!(
            "    the same rows in another order, from row {at} on:\n    {}\n    {}\n",
            minus.apply_to(format!("- {expected}")),
            plus.apply_to(format!("+ {came}"))
        ));
    }
    text
}

fn more(sign: &str, rows: usize) -> String {
    match rows.checked_sub(SHOWN) {
        None | Some(0) => String::new(),
        Some(more) => format!("    {sign} … and {more} more\n"),
    }
}

/// What is special about an epoch.
fn note(answer: &Answer, epoch: u64) -> &'static str {
    let epochs = &answer.epochs;
    match epochs.iter().find(|rows| rows.epoch == epoch) {
        Some(rows) if rows.has_input => "",
        Some(_) => " (after the last input)",
        None => " (did not run)",
    }
}

/// The rows of an answer, epoch by epoch.
///
/// # Errors
/// `Failed` for values that have no form as text.
pub(crate) fn tables(answer: &Answer) -> Result<String, Failure> {
    let mut text = String::new();
    for epoch in &answer.epochs {
        let number = epoch.epoch;
        let note = note(answer, number);
        let name = Style::new().bold().apply_to(&answer.name);
        let head = format!("{name}, epoch {number}{note}: ");
        text.push_str(&match epoch.row_count() {
            0 => format!("{head}no rows\n"),
            1 => format!("{head}1 row\n{}", table::draw(&epoch.rows)?),
            rows => format!("{head}{rows} rows\n{}", table::draw(&epoch.rows)?),
        });
    }
    if answer.epochs.is_empty() {
        text.push_str(&format!("{}: no epoch ran\n", answer.name));
    }
    Ok(text)
}
