//! A checkpoint for people.

use std::sync::Arc;

use console::Style;
use datafusion::arrow::{
    array::{ArrayRef, StringArray},
    record_batch::RecordBatch,
};
use headwater::{
    CheckpointOverview, EpochOverview, EpochState, OperatorOverview, SourceRange, Verification,
};

use crate::{exit::Failure, status::numbers, table};

/// Offsets that are longer are cut; `--json` has all of them.
const OFFSET: usize = 40;

/// Notes shown of one kind.
const NOTES: usize = 10;

/// Who, what the operators keep, and the epochs.
///
/// # Errors
/// `Failed` if the tables cannot be drawn.
pub(crate) fn overview(overview: &CheckpointOverview) -> Result<String, Failure> {
    let mut text = identity(overview);
    if !overview.operators.is_empty() {
        text.push_str(&operators(&overview.operators)?);
    }
    if overview.epochs.is_empty() {
        text.push_str("no epoch was planned yet\n");
    } else {
        text.push_str(&epochs(overview)?);
    }
    for damage in &overview.damaged {
        text.push_str(&damaged("DAMAGED", &damage.path, &damage.what, &damage.why));
    }
    Ok(text)
}

fn identity(overview: &CheckpointOverview) -> String {
    let mut lines: Vec<(&str, String)> = Vec::new();
    match &overview.query {
        None => lines.push(("query", "not known: its record cannot be read".to_owned())),
        Some(query) => {
            let version = query
                .layout_version
                .map_or_else(String::new, |version| format!(", layout version {version}"));
            lines.push(("query", format!("{}{version}", query.id)));
            lines.push(("created", format!("{} by {}", query.created, query.engine)));
            lines.push((
                "mode",
                format!(
                    "{}, {} partitions of state, watermark: {}",
                    query.output_mode, query.partitions, query.watermark_policy
                ),
            ));
            for (number, source) in query.sources.iter().enumerate() {
                let name = if number == 0 { "sources" } else { "" };
                lines.push((name, format!("{number}: {source}")));
            }
            lines.push(("sink", query.sink.clone()));
            if let Some(late) = &query.late_sink {
                lines.push(("late rows", late.clone()));
            }
        }
    }
    if let Some(run) = overview.runs.last() {
        lines.push((
            "last start",
            format!(
                "{} by {}, run {}, start {}",
                run.started, run.engine, run.run, run.number
            ),
        ));
    }
    lines.push((
        "epochs",
        match overview.last_committed {
            None => "none is committed".to_owned(),
            Some(last) => format!(
                "{last} is the last one committed; kept from {} on",
                overview.first_kept
            ),
        },
    ));
    let lines = lines
        .iter()
        .map(|(name, value)| format!("{name:<11}{value}\n"));
    lines.collect()
}

fn operators(operators: &[OperatorOverview]) -> Result<String, Failure> {
    let column = |cell: &dyn Fn(&OperatorOverview) -> String| {
        operators.iter().map(cell).collect::<Vec<String>>()
    };
    drawn(vec![
        ("operator", column(&|it| it.operator.clone())),
        ("kind", column(&|it| it.kind.clone().unwrap_or_default())),
        (
            "rows",
            column(&|it| {
                let rows = it.rows.iter();
                let rows: Vec<String> = rows
                    .map(|(store, rows)| format!("{store}: {rows}"))
                    .collect();
                rows.join("\n")
            }),
        ),
        ("partitions", column(&|it| it.partitions.to_string())),
        ("version", column(&|it| or_dash(it.version))),
        ("snapshot", column(&|it| or_dash(it.snapshot))),
        ("changes", column(&|it| it.deltas.to_string())),
        ("size", column(&|it| numbers::bytes(it.bytes))),
    ])
}

fn epochs(overview: &CheckpointOverview) -> Result<String, Failure> {
    let epochs = &overview.epochs;
    let column =
        |cell: &dyn Fn(&EpochOverview) -> String| epochs.iter().map(cell).collect::<Vec<String>>();
    let has_many = epochs.iter().any(|epoch| epoch.sources.len() > 1);
    let mut columns = vec![
        ("epoch", column(&|it| it.epoch.to_string())),
        (
            "state",
            column(&|it| {
                match it.state {
                    EpochState::Planned => "planned",
                    EpochState::Committed => "committed",
                    EpochState::Published => "published",
                }
                .to_owned()
            }),
        ),
        ("time", column(&|it| it.time.clone().unwrap_or_default())),
        (
            "offsets",
            column(&|it| {
                let ranges = it.sources.iter().map(|source| range(source, has_many));
                ranges.collect::<Vec<_>>().join("\n")
            }),
        ),
        ("rows in", column(&|it| or_dash(it.rows_in))),
        ("rows out", column(&|it| or_dash(it.rows_out))),
    ];
    if epochs.iter().any(|epoch| epoch.late_rows.is_some()) {
        columns.push(("late", column(&|it| or_dash(it.late_rows))));
    }
    if epochs.iter().any(|epoch| epoch.watermark.is_some()) {
        columns.push((
            "watermark",
            column(&|it| it.watermark.clone().unwrap_or_default()),
        ));
    }
    if epochs.iter().any(|epoch| epoch.state_files > 0) {
        columns.push((
            "state kept",
            column(&|it| match it.state_files {
                0 => String::new(),
                1 => format!("1 file, {}", numbers::bytes(it.state_bytes)),
                files => format!("{files} files, {}", numbers::bytes(it.state_bytes)),
            }),
        ));
    }
    drawn(columns)
}

/// `4 → 6`, or where a source that gives nothing stands.
fn range(source: &SourceRange, has_many: bool) -> String {
    let offset = |value: &serde_json::Value| {
        let text = match value {
            serde_json::Value::Null => "start".to_owned(),
            value => value.to_string(),
        };
        match text.char_indices().nth(OFFSET) {
            Some((at, _)) => format!("{}…", &text[..at]),
            None => text,
        }
    };
    let range = match source.reads {
        true => format!("{} → {}", offset(&source.from), offset(&source.to)),
        false => format!("at {}", offset(&source.to)),
    };
    match has_many {
        true => format!("{}: {range}", source.source),
        false => range,
    }
}

/// What came of reading everything.
pub(crate) fn verification(verification: &Verification) -> String {
    let mut text = String::new();
    for damage in &verification.damaged {
        let word = if damage.is_missing {
            "MISSING"
        } else {
            "DAMAGED"
        };
        text.push_str(&damaged(word, &damage.path, &damage.what, &damage.why));
    }
    for note in verification.notes.iter().take(NOTES) {
        text.push_str(&format!("note: {}: {}\n", note.path, note.note));
    }
    if let Some(more) = verification.notes.len().checked_sub(NOTES)
        && more > 0
    {
        text.push_str(&format!("note: {more} more, see --json\n"));
    }
    let files = match verification.files {
        1 => "1 file".to_owned(),
        files => format!("{files} files"),
    };
    let bytes = numbers::bytes(verification.bytes);
    text.push_str(&match verification.damaged.len() {
        0 => format!("verified {files}, {bytes}: all are whole\n"),
        damaged => format!("verified {files}, {bytes}; {damaged} damaged or missing\n"),
    });
    text
}

fn damaged(word: &str, path: &str, what: &str, why: &str) -> String {
    let word = Style::new().red().bold().apply_to(word);
    format!("{word} {path} ({what}): {why}\n")
}

fn or_dash(number: Option<u64>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| number.to_string())
}

fn drawn(columns: Vec<(&str, Vec<String>)>) -> Result<String, Failure> {
    let fields = columns.iter().map(|(name, _)| {
        datafusion::arrow::datatypes::Field::new(
            *name,
            datafusion::arrow::datatypes::DataType::Utf8,
            false,
        )
    });
    let schema = datafusion::arrow::datatypes::Schema::new(fields.collect::<Vec<_>>());
    let columns = columns
        .into_iter()
        .map(|(_, cells)| Arc::new(StringArray::from(cells)) as ArrayRef);
    let batch = RecordBatch::try_new(Arc::new(schema), columns.collect());
    let batch =
        batch.map_err(|error| Failure::failed(format!("cannot show the checkpoint: {error}")))?;
    table::draw(&[batch])
}
