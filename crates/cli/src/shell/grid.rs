//! Rows as a table that fits into a terminal: wide values are cut, and columns that find no room are left out.

use console::{measure_text_width, truncate_str};
use datafusion::arrow::{
    array::RecordBatch,
    datatypes::{DataType, Schema},
    error::ArrowError,
    util::display::{ArrayFormatter, FormatOptions},
};

/// Columns are cut to no less than this.
const NARROWEST: usize = 6;

/// Stands for what was cut or left out.
const CUT: &str = "…";

/// How wide the mark is that stands for columns that were left out.
const LEFT_OUT: usize = 4;

/// Lines of a table beside its rows: its head and its rules.
pub(crate) const FRAME: usize = 4;

/// Draws rows; no line is wider than `columns`.
///
/// # Errors
/// For values that have no form as text.
pub(crate) fn grid(
    schema: &Schema,
    batches: &[RecordBatch],
    columns: usize,
) -> Result<Vec<String>, ArrowError> {
    let fields = schema.fields();
    let mut cells: Vec<Vec<String>> = Vec::new();
    cells.push(fields.iter().map(|field| one_line(field.name())).collect());
    for batch in batches {
        cells.extend(rows_of(batch)?);
    }
    let mut widths = vec![1; fields.len()];
    for row in &cells {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = measure_text_width(cell).max(*width);
        }
    }
    let widths = fitting(&widths, columns);
    let is_right: Vec<bool> = fields
        .iter()
        .map(|field| is_number(field.data_type()))
        .collect();
    let is_whole = widths.len() == fields.len();
    let rule = rule(&widths, is_whole);
    let mut lines = vec![rule.clone()];
    for (number, row) in cells.iter().enumerate() {
        lines.push(line(row, &widths, &is_right, is_whole));
        if number == 0 {
            lines.push(rule.clone());
        }
    }
    lines.push(rule);
    Ok(lines)
}

/// How wide a table of these rows would be if nothing were cut.
///
/// # Errors
/// For values that have no form as text.
pub(crate) fn full_width(schema: &Schema, batches: &[RecordBatch]) -> Result<usize, ArrowError> {
    let lines = grid(schema, batches, usize::MAX)?;
    Ok(lines.first().map_or(0, |line| measure_text_width(line)))
}

/// Each row as lines of names and values, for tables that are wider than the terminal. Nothing is cut.
///
/// # Errors
/// For values that have no form as text.
pub(crate) fn records(schema: &Schema, batches: &[RecordBatch]) -> Result<Vec<String>, ArrowError> {
    let names = schema.fields().iter().map(|field| one_line(field.name()));
    let names: Vec<String> = names.collect();
    let width = names.iter().map(|name| measure_text_width(name));
    let width = width.max().unwrap_or(0);
    let mut lines = Vec::new();
    let mut number = 0;
    for batch in batches {
        for row in rows_of(batch)? {
            number += 1;
            lines.push(format!("-- row {number}"));
            for (name, value) in names.iter().zip(row) {
                let blanks = " ".repeat(width - measure_text_width(name));
                lines.push(format!("{name}{blanks} | {value}"));
            }
        }
    }
    Ok(lines)
}

fn rows_of(batch: &RecordBatch) -> Result<Vec<Vec<String>>, ArrowError> {
    let options = FormatOptions::default().with_null("NULL");
    let columns = batch.columns().iter();
    let columns = columns.map(|column| ArrayFormatter::try_new(column, &options));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let row = |row: usize| {
        let cells = columns.iter().map(|column| {
            let text = column.value(row).try_to_string()?;
            Ok(one_line(&text))
        });
        cells.collect()
    };
    (0..batch.num_rows()).map(row).collect()
}

/// Line ends and other signs that move the cursor would break the table.
fn one_line(text: &str) -> String {
    if !text.contains(char::is_control) {
        return text.to_owned();
    }
    let mut shown = String::with_capacity(text.len() + 2);
    for c in text.chars() {
        match c {
            c if c.is_control() => shown.extend(c.escape_default()),
            c => shown.push(c),
        }
    }
    shown
}

/// The widths of the columns that fit: the widest are cut first, and all alike; columns that do not fit even so are left
/// out from the right.
fn fitting(widths: &[usize], columns: usize) -> Vec<usize> {
    let mut widths = widths.to_vec();
    // What stands for columns that were left out takes room as well.
    let mut mark = 0;
    while !widths.is_empty() {
        let frame = 3 * widths.len() + 1 + mark;
        let room = columns.saturating_sub(frame);
        let with = |limit: usize| -> usize { widths.iter().map(|width| *width.min(&limit)).sum() };
        if with(usize::MAX) <= room {
            return widths;
        }
        let (mut low, mut high) = (NARROWEST, room.max(NARROWEST));
        if with(low) <= room {
            // The largest limit with which everything fits.
            while low < high {
                let middle = (low + high).div_ceil(2);
                match with(middle) <= room {
                    true => low = middle,
                    false => high = middle - 1,
                }
            }
            return widths.iter().map(|width| *width.min(&low)).collect();
        }
        widths.pop();
        mark = LEFT_OUT;
    }
    widths
}

fn is_number(data_type: &DataType) -> bool {
    data_type.is_numeric()
}

fn rule(widths: &[usize], is_whole: bool) -> String {
    let mut rule = "+".to_owned();
    for width in widths {
        rule.push_str(&"-".repeat(width + 2));
        rule.push('+');
    }
    if !is_whole {
        rule.push_str("---+");
    }
    rule
}

fn line(row: &[String], widths: &[usize], is_right: &[bool], is_whole: bool) -> String {
    let mut line = "|".to_owned();
    for ((cell, width), is_right) in row.iter().zip(widths).zip(is_right) {
        let shown = truncate_str(cell, *width, CUT);
        let blanks = " ".repeat(width.saturating_sub(measure_text_width(&shown)));
        line.push_str(&match is_right {
            true => format!(" {blanks}{shown} |"),
            false => format!(" {shown}{blanks} |"),
        });
    }
    if !is_whole {
        line.push_str(&format!(" {CUT} |"));
    }
    line
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{Int64Array, StringArray};

    use super::*;

    fn rows() -> RecordBatch {
        let hosts = StringArray::from(vec![Some("größe"), Some("a\nb"), None]);
        let numbers = Int64Array::from(vec![7, 1_234, -1]);
        let paths = StringArray::from(vec!["/a/very/long/path/that/has/no/end", "/", ""]);
        RecordBatch::try_from_iter_with_nullable([
            ("host", Arc::new(hosts) as _, true),
            ("n", Arc::new(numbers) as _, true),
            ("path", Arc::new(paths) as _, true),
        ])
        .expect("rows")
    }

    fn drawn(columns: usize) -> String {
        let rows = rows();
        let lines = grid(&rows.schema(), &[rows], columns).expect("text");
        for line in &lines {
            assert!(measure_text_width(line) <= columns, "{line}");
        }
        lines.join("\n")
    }

    #[test]
    fn a_table_that_fits_is_whole() {
        let expected = "\
+-------+------+-----------------------------------+
| host  |    n | path                              |
+-------+------+-----------------------------------+
| größe |    7 | /a/very/long/path/that/has/no/end |
| a\\nb  | 1234 | /                                 |
| NULL  |   -1 |                                   |
+-------+------+-----------------------------------+";
        assert_eq!(drawn(80), expected);
        assert_eq!(full_width(&rows().schema(), &[rows()]).expect("text"), 52);
    }

    #[test]
    fn wide_values_are_cut_and_columns_without_room_are_left_out() {
        let cut = "\
+-------+------+------------+
| host  |    n | path       |
+-------+------+------------+
| größe |    7 | /a/very/l… |
| a\\nb  | 1234 | /          |
| NULL  |   -1 |            |
+-------+------+------------+";
        assert_eq!(drawn(29), cut);
        let left_out = "\
+-------+------+---+
| host  |    n | … |
+-------+------+---+
| größe |    7 | … |
| a\\nb  | 1234 | … |
| NULL  |   -1 | … |
+-------+------+---+";
        assert_eq!(drawn(22), left_out);
        for columns in 12..60 {
            drawn(columns);
        }
    }

    #[test]
    fn records_cut_nothing() {
        let rows = rows().slice(0, 1);
        let lines = records(&rows.schema(), &[rows]).expect("text");
        assert_eq!(
            lines,
            [
                "-- row 1",
                "host | größe",
                "n    | 7",
                "path | /a/very/long/path/that/has/no/end"
            ]
        );
    }

    #[test]
    fn there_may_be_no_rows_and_no_columns() {
        let none = RecordBatch::new_empty(rows().schema());
        let lines = grid(&none.schema(), &[none], 80).expect("text");
        assert_eq!(lines.len(), FRAME);
        assert!(grid(&Schema::empty(), &[], 80).is_ok());
    }
}
