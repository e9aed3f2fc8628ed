//! What the tests of the examples share: input that arrives in two halves, and rows as text.

use std::{
    fs,
    path::{Path, PathBuf},
};

use chrono::{DateTime, SecondsFormat};
use datafusion::arrow::util::display::array_value_to_string;
use headwater::prelude::*;
use tempfile::TempDir;

/// A folder to which the files of one of the data folders come in two halves, and what is made of them beside it.
pub(crate) struct Arriving {
    data: PathBuf,
    folder: TempDir,
}

impl Arriving {
    pub(crate) fn of(data: &str) -> Self {
        let arriving = Self {
            data: crate::data(data).into(),
            folder: tempfile::tempdir().expect("a folder"),
        };
        arriving.bring(0..0);
        arriving
    }

    pub(crate) fn input(&self) -> String {
        self.path("input")
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// The files that were written first, about a half of each folder.
    pub(crate) fn bring_first_half(&self) {
        self.bring(0..50);
    }

    pub(crate) fn bring_second_half(&self) {
        self.bring(50..100);
    }

    /// These hundredths of the files of each folder.
    fn bring(&self, hundredths: std::ops::Range<usize>) {
        let mut folders = vec![PathBuf::new()];
        while let Some(folder) = folders.pop() {
            let (from, to) = (
                self.data.join(&folder),
                self.folder.path().join("input").join(&folder),
            );
            fs::create_dir_all(&to).expect("a folder");
            let (deeper, files): (Vec<_>, Vec<_>) =
                sorted(&from).into_iter().partition(|path| path.is_dir());
            folders.extend(
                deeper
                    .iter()
                    .map(|path| folder.join(path.file_name().expect("a name"))),
            );
            let of = files.len();
            let share = of * hundredths.start / 100..of * hundredths.end / 100;
            for file in &files[share] {
                let name = file.file_name().expect("a name");
                fs::copy(file, to.join(name)).expect("a copy");
            }
        }
    }
}

fn sorted(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    paths
}

/// All lines of the files in a folder, in the order of the names, split into cells; without the header of each file.
pub(crate) fn cells(folder: &str) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for file in sorted(Path::new(folder)) {
        let text = fs::read_to_string(file).expect("a file");
        for line in text.lines().skip(1) {
            rows.push(line.split(',').map(str::to_owned).collect());
        }
    }
    rows
}

/// The objects in the files of a folder, each as the texts of its fields; only for objects of plain texts.
pub(crate) fn objects(folder: &str) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for file in sorted(Path::new(folder)) {
        let text = fs::read_to_string(file).expect("a file");
        for line in text.lines() {
            rows.push(
                line.split('"')
                    .skip(3)
                    .step_by(4)
                    .map(str::to_owned)
                    .collect(),
            );
        }
    }
    rows
}

/// Milliseconds since 1970.
pub(crate) fn millis(time: &str) -> i64 {
    let time = DateTime::parse_from_rfc3339(time).expect("a time");
    time.timestamp_millis()
}

/// A time the way Arrow shows it.
pub(crate) fn shown(millis: i64) -> String {
    let time = DateTime::from_timestamp_millis(millis).expect("a time");
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// The watermark after the last epoch of this run.
pub(crate) fn watermark(query: &StreamingQuery) -> i64 {
    let last = query.last_progress().expect("an epoch");
    millis(&last.event_time["watermark"])
}

/// The rows of a frame as text, in the order of the text.
pub(crate) async fn sorted_rows(frame: DataFrame) -> Result<Vec<String>> {
    let mut rows = Vec::new();
    for batch in frame.collect().await? {
        for row in 0..batch.num_rows() {
            let cells = batch
                .columns()
                .iter()
                .map(|column| array_value_to_string(column, row).expect("it can be shown"));
            rows.push(cells.collect::<Vec<_>>().join("|"));
        }
    }
    rows.sort_unstable();
    Ok(rows)
}
