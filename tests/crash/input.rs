//! Input files of a pipeline, and the answer it must give, worked out row by row and not by the code under test.
//!
//! Each epoch takes one file. The last two files are far in the future and in one window of their own: the first of
//! them raises the watermark over everything before, the second is an epoch that works with it, whatever became of
//! epochs without data at a crash. So the answer does not depend on where a run was cut off.

use std::{collections::BTreeMap, fs::File, path::Path, sync::Arc};

use datafusion::arrow::{
    array::{Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray},
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
    json::LineDelimitedWriter,
};
use parquet::arrow::ArrowWriter;
use rand::{Rng, SeedableRng, rngs::StdRng};

/// Length of a window, in milliseconds.
const WINDOW: i64 = 10_000;
/// Distance of windows that overlap, in milliseconds.
const SLIDE: i64 = 4_000;
/// How far the watermark stays behind, in milliseconds.
const DELAY: i64 = 5_000;
/// Event time between one file and the next, in milliseconds.
const STRIDE: i64 = 5_000;

/// What a table holds: measures by (time in microseconds, key). Whoever fills one from files finds what is there
/// twice.
pub(crate) type Answer = BTreeMap<(i64, String), Vec<i64>>;

/// One row of input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// Event time, in microseconds; no two of a thousand rows share it.
    pub(crate) time: i64,
    pub(crate) key: String,
    pub(crate) value: i64,
}

impl Row {
    /// Start of the row's window, in milliseconds.
    fn window(&self) -> i64 {
        self.time.div_euclid(1_000).div_euclid(WINDOW) * WINDOW
    }

    /// Starts of the windows that overlap and hold the row, in milliseconds.
    fn sliding_windows(&self) -> Vec<i64> {
        let millis = self.time.div_euclid(1_000);
        let last = millis.div_euclid(SLIDE) * SLIDE;
        (0..)
            .map(|back| last - back * SLIDE)
            .take_while(|start| millis < start + WINDOW)
            .collect()
    }
}

pub(crate) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new(
            "time",
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            true,
        ),
        Field::new("key", DataType::Utf8, true),
        Field::new("value", DataType::Int64, true),
    ]))
}

/// What `files` files of `rows` rows hold, and the two at the end. Most rows come in order of event time, some come
/// a little or much too late.
pub(crate) fn rows(files: usize, rows: usize, seed: u64) -> Vec<Vec<Row>> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut made: Vec<Vec<Row>> = (0..files as i64)
        .map(|file| {
            let numbers = file * rows as i64..(file + 1) * rows as i64;
            numbers
                .map(|number| {
                    let lateness = match random.random_range(0..4) {
                        0 => random.random_range(0..30_000),
                        _ => 0,
                    };
                    let millis = file * STRIDE + random.random_range(0..STRIDE) - lateness;
                    Row {
                        time: millis.max(0) * 1_000 + number % 1_000,
                        key: format!("k{}", random.random_range(0..5)),
                        value: random.random_range(0..100),
                    }
                })
                .collect()
        })
        .collect();
    let end = (files as i64 + 100) * WINDOW;
    made.extend([0, 1_000].map(|after| {
        vec![Row {
            time: (end + after) * 1_000,
            key: "end".to_owned(),
            value: 0,
        }]
    }));
    made
}

/// Writes one Parquet file for each of `files`, in order.
pub(crate) fn write(folder: &Path, files: &[Vec<Row>]) {
    for (number, rows) in files.iter().enumerate() {
        write_file(&folder.join(format!("{number:05}.parquet")), rows);
    }
}

fn batch(rows: &[Row]) -> RecordBatch {
    RecordBatch::try_new(
        schema(),
        vec![
            Arc::new(
                TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| row.time))
                    .with_timezone("UTC"),
            ),
            Arc::new(StringArray::from_iter_values(
                rows.iter().map(|row| &row.key),
            )),
            Arc::new(Int64Array::from_iter_values(
                rows.iter().map(|row| row.value),
            )),
        ],
    )
    .expect("the columns fit the schema")
}

/// One file of JSON lines.
pub(crate) fn write_json(path: &Path, rows: &[Row]) {
    let file = File::create(path).expect("the file can be made");
    let mut writer = LineDelimitedWriter::new(file);
    writer.write(&batch(rows)).expect("the rows can be written");
    writer.finish().expect("the file can be finished");
}

/// One Parquet file.
pub(crate) fn write_file(path: &Path, rows: &[Row]) {
    let file = File::create(path).expect("the file can be made");
    let mut writer = ArrowWriter::try_new(file, schema(), None).expect("a writer");
    writer.write(&batch(rows)).expect("the rows can be written");
    writer.close().expect("the file can be closed");
}

/// Rows and their sum by (start of the window, key), for the windows that the watermark closes. Late rows are left
/// out: those whose window the watermark of the epoch before had reached.
pub(crate) fn closed_windows(files: &[Vec<Row>]) -> Answer {
    closed_windows_in_runs(files, &[])
}

/// As [`closed_windows`], where runs have come to their end before the files of these numbers: with an epoch without
/// data, after which rows are late against the newest watermark.
pub(crate) fn closed_windows_in_runs(files: &[Vec<Row>], ends: &[usize]) -> Answer {
    closed(files, ends, |row, late| {
        let start = row.window();
        (start + WINDOW > late)
            .then_some(start)
            .into_iter()
            .collect()
    })
}

/// As [`closed_windows`], for windows that overlap: a row may be late for some of its windows only.
pub(crate) fn closed_sliding_windows(files: &[Vec<Row>]) -> Answer {
    closed(files, &[], |row, late| {
        let mut starts = row.sliding_windows();
        starts.retain(|start| start + WINDOW > late);
        starts
    })
}

/// As [`closed_windows`], for windows that are filled by a processor, before which rows are late by their own time.
pub(crate) fn windows_by_hand(files: &[Vec<Row>]) -> Answer {
    closed(files, &[], |row, late| {
        let is_in_time = row.time > late * 1_000;
        is_in_time.then(|| row.window()).into_iter().collect()
    })
}

/// `windows` gives the starts of the windows of a row for which it is not late.
fn closed(files: &[Vec<Row>], ends: &[usize], windows: fn(&Row, i64) -> Vec<i64>) -> Answer {
    let (mut open, mut closed) = (Answer::new(), Answer::new());
    let (mut late, mut now) = (0, 0);
    for (number, file) in files.iter().enumerate() {
        if ends.contains(&number) {
            late = now;
        }
        for row in file {
            for start in windows(row, late) {
                let key = (start * 1_000, row.key.clone());
                let entry = open.entry(key).or_insert_with(|| vec![0, 0]);
                entry[0] += 1;
                entry[1] += row.value;
            }
        }
        let is_closed = |start: i64| start / 1_000 + WINDOW <= now;
        closed.extend(open.extract_if(.., |(start, _), _| is_closed(*start)));
        let max = file.iter().map(|row| row.time.div_euclid(1_000)).max();
        late = now;
        now = now.max(max.unwrap_or(0) - DELAY);
    }
    closed
}

/// How much later than its left row a right row of [`joined`] may be, in microseconds.
pub(crate) const REACH: i64 = 4_000_000;

/// Pairs of a row and a later one of the same key with a smaller value, and their sum, by (start of the left row's
/// window, key); a row without such a pair counts as one. Late rows are left out. All windows are closed in the end but
/// the one of the rows that close them.
pub(crate) fn joined(files: &[Vec<Row>]) -> Answer {
    let (mut late, mut now) = (0, 0);
    let mut kept: Vec<&Row> = Vec::new();
    for file in files {
        kept.extend(file.iter().filter(|row| row.time > late * 1_000));
        let max = file.iter().map(|row| row.time.div_euclid(1_000)).max();
        late = now;
        now = now.max(max.unwrap_or(0) - DELAY);
    }
    let mut answer = Answer::new();
    for left in kept.iter().filter(|row| row.key != "end") {
        let is_match = |right: &&&Row| {
            right.key == left.key
                && (left.time..=left.time + REACH).contains(&right.time)
                && right.value < left.value
        };
        let values: Vec<i64> = kept.iter().filter(is_match).map(|row| row.value).collect();
        let key = (left.window() * 1_000, left.key.clone());
        let entry = answer.entry(key).or_insert_with(|| vec![0, 0]);
        entry[0] += values.len().max(1) as i64;
        entry[1] += values.iter().sum::<i64>();
    }
    answer
}

/// How long a session of [`closed_sessions`] waits for a row, in microseconds.
const GAP: i64 = 3_000_000;

/// Rows and their sum by (start of the session, key), for the sessions that the watermark closes. A row is late when
/// the session that it would be on its own is over.
pub(crate) fn closed_sessions(files: &[Vec<Row>]) -> Answer {
    /// First time, end, rows and total.
    type Session = (i64, i64, i64, i64);
    let mut open: BTreeMap<String, Vec<Session>> = BTreeMap::new();
    let mut closed = Answer::new();
    let (mut late, mut now) = (0, 0);
    for file in files {
        for row in file.iter().filter(|row| row.time + GAP > late * 1_000) {
            let of_key = open.entry(row.key.clone()).or_default();
            let mut merged = (row.time, row.time + GAP, 1, row.value);
            let touches = |a: &Session, b: &Session| a.0 <= b.1 && b.0 <= a.1;
            while let Some(at) = of_key.iter().position(|other| touches(other, &merged)) {
                let other = of_key.swap_remove(at);
                merged = (
                    merged.0.min(other.0),
                    merged.1.max(other.1),
                    merged.2 + other.2,
                    merged.3 + other.3,
                );
            }
            of_key.push(merged);
        }
        for (key, sessions) in &mut open {
            for (start, _, rows, total) in
                sessions.extract_if(.., |(_, end, ..)| *end <= now * 1_000)
            {
                closed.insert((start, key.clone()), vec![rows, total]);
            }
        }
        let max = file.iter().map(|row| row.time.div_euclid(1_000)).max();
        late = now;
        now = now.max(max.unwrap_or(0) - DELAY);
    }
    closed
}

/// The rows whose key has not come before, or was forgotten since, by (time, key). A key is forgotten when the
/// watermark has reached the time of its first row and the delay.
pub(crate) fn first_for_a_while(files: &[Vec<Row>]) -> Answer {
    let mut seen: BTreeMap<String, i64> = BTreeMap::new();
    let mut answer = Answer::new();
    let (mut late, mut now) = (0, 0);
    for file in files {
        for row in file.iter().filter(|row| row.time > late * 1_000) {
            if !seen.contains_key(&row.key) {
                seen.insert(row.key.clone(), row.time + DELAY * 1_000);
                answer.insert((row.time, row.key.clone()), vec![row.value]);
            }
        }
        seen.retain(|_, expires| *expires > now * 1_000);
        let max = file.iter().map(|row| row.time.div_euclid(1_000)).max();
        late = now;
        now = now.max(max.unwrap_or(0) - DELAY);
    }
    answer
}

/// The rows that come too late for their windows: by time and key their value, the window's end, and the watermark and
/// epoch that drop them, where each file is an epoch. Times are in microseconds.
pub(crate) fn late_rows(files: &[Vec<Row>]) -> Answer {
    let mut answer = Answer::new();
    let (mut late, mut now) = (0, 0);
    for (epoch, file) in (0..).zip(files) {
        for row in file.iter().filter(|row| row.window() + WINDOW <= late) {
            let end = (row.window() + WINDOW) * 1_000;
            let record = vec![row.value, end, late * 1_000, epoch];
            let twice = answer.insert((row.time, row.key.clone()), record);
            assert!(twice.is_none(), "rows are told apart by time and key");
        }
        let max = file.iter().map(|row| row.time.div_euclid(1_000)).max();
        late = now;
        now = now.max(max.unwrap_or(0) - DELAY);
    }
    answer
}

/// Every row that a filter on `value` lets through.
pub(crate) fn filtered(files: &[Vec<Row>]) -> Answer {
    let mut answer = Answer::new();
    for row in files.iter().flatten().filter(|row| row.value >= 20) {
        let twice = answer.insert((row.time, row.key.clone()), vec![row.value]);
        assert!(twice.is_none(), "rows are told apart by time and key");
    }
    answer
}

/// Number, sum, smallest and greatest value, and number of different ones, by key.
pub(crate) fn totals(files: &[Vec<Row>]) -> Answer {
    let mut values: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for row in files.iter().flatten() {
        values.entry(row.key.clone()).or_default().push(row.value);
    }
    let summary = |mut values: Vec<i64>| {
        values.sort_unstable();
        let (rows, total) = (values.len() as i64, values.iter().sum());
        let (least, most) = (values[0], values[values.len() - 1]);
        values.dedup();
        vec![rows, total, least, most, values.len() as i64]
    };
    values
        .into_iter()
        .map(|(key, values)| ((0, key), summary(values)))
        .collect()
}
