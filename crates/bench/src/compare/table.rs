//! The comparisons as a table: aligned for a terminal, or Markdown for a page.

use std::fmt::Write;

use super::{
    summary::{RowsOut, Summary, Verdict},
    targets::Figure,
};

const HEADER: [&str; 11] = [
    "query",
    "headwater",
    "Spark",
    "store",
    "times",
    "target",
    "batch",
    "ratio",
    "target",
    "met",
    "rows out",
];
/// What stands where nothing was measured or nothing is wanted.
const NOTHING: &str = "–";

/// A cell for each column of each row, the header first.
pub fn cells(summaries: &[Summary]) -> Vec<[String; 11]> {
    let mut rows = vec![HEADER.map(str::to_owned)];
    rows.extend(summaries.iter().map(row));
    rows
}

fn row(summary: &Summary) -> [String; 11] {
    let comparison = &summary.comparison;
    let value = |value: Option<f64>| cell(value, |v| figure(comparison.figure, v));
    let target = |target: Option<f64>| cell(target, |v| format!("≥ {v}"));
    let ratio = |ratio: Option<f64>| cell(ratio, |v| format!("{v:.2}"));
    [
        comparison.name.to_owned(),
        value(summary.headwater),
        value(summary.spark.map(|(value, _)| value)),
        cell(summary.spark, |(_, store)| store.to_string()),
        ratio(summary.times_spark),
        target(comparison.times_spark),
        value(summary.batch),
        ratio(summary.of_batch),
        target(comparison.of_batch),
        match summary.verdict() {
            Verdict::Met => "yes".to_owned(),
            Verdict::Missed => "no".to_owned(),
            Verdict::Unknown => "?".to_owned(),
        },
        rows_out(summary),
    ]
}

fn cell<T>(value: Option<T>, text: impl Fn(T) -> String) -> String {
    value.map_or_else(|| NOTHING.to_owned(), text)
}

/// With its unit: rows per second in millions or thousands, or milliseconds.
fn figure(figure: Figure, value: f64) -> String {
    match figure {
        Figure::Throughput if value < 1e5 => format!("{:.2} k/s", value / 1e3),
        Figure::Throughput => format!("{:.2} M/s", value / 1e6),
        Figure::TriggerTime => format!("{value:.1} ms"),
    }
}

fn rows_out(summary: &Summary) -> String {
    match &summary.rows_out {
        RowsOut::Unknown => NOTHING.to_owned(),
        RowsOut::Agree(rows) => format!("agree: {}", thousands(*rows)),
        RowsOut::Differ(ours, spark) => {
            let list = |numbers: &[u64]| {
                let numbers: Vec<_> = numbers.iter().map(|rows| thousands(*rows)).collect();
                numbers.join(", ")
            };
            let why = if summary.comparison.order_decides {
                " (order of arrival decides)"
            } else {
                ""
            };
            format!("DIFFER{why}: {} / Spark {}", list(ours), list(spark))
        }
    }
}

/// `1234567` as `1,234,567`.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.char_indices() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Columns of equal width: names to the left, numbers to the right.
pub fn aligned(rows: &[[String; 11]]) -> String {
    let width = |column: usize| {
        let widths = rows.iter().map(|row| row[column].chars().count());
        widths.max().unwrap_or(0)
    };
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = width(column);
            let _infallible = if is_number(column) {
                write!(line, "{cell:>width$}  ")
            } else {
                write!(line, "{cell:<width$}  ")
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text.pop();
    text
}

/// A table of Markdown.
pub fn markdown(rows: &[[String; 11]]) -> String {
    let mut lines: Vec<String> = rows
        .iter()
        .map(|row| format!("| {} |", row.join(" | ")))
        .collect();
    let rule: Vec<_> = (0..HEADER.len())
        .map(|column| if is_number(column) { "---:" } else { "---" })
        .collect();
    if !lines.is_empty() {
        lines.insert(1, format!("| {} |", rule.join(" | ")));
    }
    lines.join("\n")
}

fn is_number(column: usize) -> bool {
    !matches!(HEADER[column], "query" | "store" | "met" | "rows out")
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            schedule::Store,
            targets::{COMPARISONS, Comparison},
        },
        *,
    };

    fn summary(name: &str) -> Summary {
        let find = |c: &Comparison| c.name == name;
        Summary {
            comparison: COMPARISONS.into_iter().find(find).unwrap(),
            headwater: Some(13_720_000.0),
            spark: Some((1_000_000.0, Store::Hdfs)),
            times_spark: Some(13.72),
            batch: None,
            of_batch: None,
            rows_out: RowsOut::Agree(1_209_807),
        }
    }

    fn small() -> Summary {
        Summary {
            headwater: Some(2.04),
            spark: None,
            times_spark: None,
            rows_out: RowsOut::Differ(vec![7], vec![5, 6]),
            ..summary("small")
        }
    }

    #[test]
    fn the_table_is_aligned() {
        let text = aligned(&cells(&[summary("tumbling"), small()]));
        assert_eq!(
            text,
            "\
query     headwater     Spark  store  times  target  batch  ratio  target  met  rows out
tumbling  13.72 M/s  1.00 M/s  hdfs   13.72    ≥ 12      –      –   ≥ 0.8  ?    agree: 1,209,807
small        2.0 ms         –  –          –    ≥ 40      –      –       –  no   DIFFER: 7 / Spark 5, 6"
        );
    }

    #[test]
    fn the_page_gets_markdown() {
        let text = markdown(&cells(&[Summary {
            rows_out: RowsOut::Differ(vec![7], vec![8]),
            ..summary("dedup")
        }]));
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[1].starts_with("| --- | ---: |"));
        assert_eq!(
            lines[2],
            "| dedup | 13.72 M/s | 1.00 M/s | hdfs | 13.72 | ≥ 8 | – | – | ≥ 1 | ? | \
             DIFFER (order of arrival decides): 7 / Spark 8 |"
        );
    }

    #[test]
    fn a_slow_machine_has_digits_too() {
        assert_eq!(figure(Figure::Throughput, 3_189.0), "3.19 k/s");
        assert_eq!(figure(Figure::Throughput, 250_000.0), "0.25 M/s");
    }

    #[test]
    fn large_numbers_have_commas() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(15_334_213), "15,334,213");
    }
}
