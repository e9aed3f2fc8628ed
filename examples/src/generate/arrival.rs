//! Rows in order of arrival, cut into files the way a shipper of logs would cut them.

use super::{random::Random, time::SECOND};

/// One file of the examples' data.
#[derive(Debug)]
pub struct DataFile {
    /// Its path below `examples/data`.
    pub name: String,
    /// All of it.
    pub content: String,
}

/// One line that was written at `time` and reached its file at `arrival`.
pub(super) struct Row {
    pub(super) time: i64,
    pub(super) arrival: i64,
    pub(super) line: String,
}

/// A folder of numbered files, each of which is closed after `each` milliseconds.
pub(super) struct Files {
    /// Path and beginning of the names: `logs/access` makes `logs/access-00.json`.
    pub(super) name: &'static str,
    pub(super) ending: &'static str,
    /// Stands at the beginning of each file.
    pub(super) header: &'static str,
    pub(super) start: i64,
    /// What arrives later than this after the start goes into the last file.
    pub(super) length: i64,
    pub(super) each: i64,
}

/// The rows as files, in order of arrival.
pub(super) fn cut_by_arrival(spec: &Files, mut rows: Vec<Row>) -> Vec<DataFile> {
    rows.sort_by_key(|row| (row.arrival, row.time));
    let mut files: Vec<DataFile> = Vec::new();
    for row in rows {
        let last = spec.start + spec.length - 1;
        let number = (row.arrival.min(last) - spec.start) / spec.each;
        let name = format!("{}-{number:02}.{}", spec.name, spec.ending);
        if files.last().is_none_or(|file| file.name != name) {
            files.push(DataFile {
                name,
                content: spec.header.to_owned(),
            });
        }
        if let Some(file) = files.last_mut() {
            file.content.push_str(&row.line);
        }
    }
    files
}

/// How long a line takes to reach its file: most come at once, a few are overtaken.
pub(super) fn usual_delay(random: &mut Random) -> i64 {
    match random.below(100) {
        0..90 => random.below(SECOND / 2),
        90..98 => random.below(5 * SECOND),
        _ => random.below(45 * SECOND),
    }
}
