//! Rows as a table of text, laid out as `show()` users know it.

use std::fmt::Write;

use arrow::{
    array::RecordBatch,
    datatypes::SchemaRef,
    util::display::{ArrayFormatter, FormatOptions},
};
use headwater_core::{Error, Result};

/// No column is narrower.
const MIN_WIDTH: usize = 3;

/// How long a shown value may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Truncation {
    /// Any length; columns are aligned to the left.
    None,
    /// At most so many characters; columns are aligned to the right.
    At(usize),
}

impl Truncation {
    /// Reads the option `truncate`.
    pub(super) fn parse(text: Option<&str>) -> Result<Self> {
        match text.map(|t| t.trim().to_ascii_lowercase()).as_deref() {
            None | Some("true") => Ok(Self::At(20)),
            Some("false" | "0") => Ok(Self::None),
            Some(number) => number.parse().map(Self::At).map_err(|_| {
                Error::invalid(format!(
                    "option 'truncate' cannot be '{number}': write true, false or a number of characters"
                ))
            }),
        }
    }

    fn apply(self, text: String) -> String {
        let Self::At(limit) = self else {
            return text;
        };
        if text.chars().count() <= limit {
            return text;
        }
        // There is no room for an ellipsis in less than four characters.
        if limit < 4 {
            return text.chars().take(limit).collect();
        }
        text.chars().take(limit - 3).chain("...".chars()).collect()
    }
}

/// The first `limit` rows with a header, each line ended.
pub(super) fn table(
    schema: &SchemaRef,
    rows: &[RecordBatch],
    limit: usize,
    truncation: Truncation,
) -> Result<String> {
    let header = schema
        .fields()
        .iter()
        .map(|field| truncation.apply(one_line(field.name())))
        .collect();
    let mut lines: Vec<Vec<String>> = vec![header];
    let mut left = limit;
    for batch in rows {
        let batch = batch.slice(0, left.min(batch.num_rows()));
        left -= batch.num_rows();
        lines.extend(cells(&batch, truncation)?);
    }
    Ok(draw(&lines, truncation))
}

/// The values of each row as text.
fn cells(batch: &RecordBatch, truncation: Truncation) -> Result<Vec<Vec<String>>> {
    const TIME: &str = "%Y-%m-%d %H:%M:%S%.f";
    let options = FormatOptions::default()
        .with_null("NULL")
        .with_timestamp_format(Some(TIME))
        .with_timestamp_tz_format(Some(TIME))
        .with_datetime_format(Some(TIME));
    let columns = batch
        .columns()
        .iter()
        .map(|column| ArrayFormatter::try_new(column, &options))
        .collect::<Result<Vec<_>, _>>()?;
    (0..batch.num_rows())
        .map(|row| {
            columns
                .iter()
                .map(|column| {
                    let text = column.value(row).try_to_string()?;
                    Ok(truncation.apply(one_line(&text)))
                })
                .collect()
        })
        .collect()
}

/// Line ends and tabs would break the table.
fn one_line(text: &str) -> String {
    text.replace('\n', "\\n")
        .replace('\r', "\\r")
        .replace('\t', "\\t")
}

fn draw(lines: &[Vec<String>], truncation: Truncation) -> String {
    let mut widths = vec![MIN_WIDTH; lines.first().map_or(0, Vec::len)];
    for line in lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let rule = widths.iter().fold("+".to_owned(), |mut rule, width| {
        rule.extend(std::iter::repeat_n('-', *width));
        rule.push('+');
        rule
    });
    let mut text = format!("{rule}\n");
    for (number, line) in lines.iter().enumerate() {
        text.push('|');
        for (width, cell) in widths.iter().zip(line) {
            let written = match truncation {
                Truncation::None => write!(text, "{cell:<width$}|"),
                Truncation::At(_) => write!(text, "{cell:>width$}|"),
            };
            written.expect("writing to a string cannot fail");
        }
        text.push('\n');
        if number == 0 {
            text.push_str(&rule);
            text.push('\n');
        }
    }
    text.push_str(&rule);
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::{ArrayRef, StringArray, TimestampMicrosecondArray},
        datatypes::{DataType, Field, Schema, TimeUnit},
    };

    use super::*;

    fn rows() -> (SchemaRef, RecordBatch) {
        let timestamp = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let schema = Arc::new(Schema::new(vec![
            Field::new("time", timestamp, true),
            Field::new("text", DataType::Utf8, true),
        ]));
        let times = TimestampMicrosecondArray::from(vec![Some(1_500_000), None]);
        let texts = StringArray::from(vec![Some("größer als zwanzig Zeichen"), Some("a\nb")]);
        let columns: Vec<ArrayRef> = vec![Arc::new(times.with_timezone("UTC")), Arc::new(texts)];
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns).expect("columns match");
        (schema, batch)
    }

    #[test]
    fn values_are_cut_and_aligned_right() {
        let (schema, batch) = rows();
        let text = table(&schema, &[batch], 20, Truncation::At(20)).expect("shown");
        let expected = "\
+--------------------+--------------------+
|                time|                text|
+--------------------+--------------------+
|1970-01-01 00:00:...|größer als zwanzi...|
|                NULL|                a\\nb|
+--------------------+--------------------+
";
        assert_eq!(text, expected);
    }

    #[test]
    fn whole_values_are_aligned_left() {
        let (schema, batch) = rows();
        let text = table(&schema, &[batch], 1, Truncation::None).expect("shown");
        let expected = "\
+-----------------------+--------------------------+
|time                   |text                      |
+-----------------------+--------------------------+
|1970-01-01 00:00:01.500|größer als zwanzig Zeichen|
+-----------------------+--------------------------+
";
        assert_eq!(text, expected);
    }
}
