//! The streaming answer to each query is the batch answer.
//!
//! A stream holds back the rows of windows that are open when it ends. So it gets one file more than the batch: an
//! event of each table an hour later, which meets no other and closes every window but its own. What then comes out is
//! compared as a set of rows; of queries that give out changes, the last row of each key. Not caught: rows given out
//! twice and corrected later by an update query.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    path::Path,
    sync::Arc,
};

use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray},
    datatypes::DataType,
    util::display::{ArrayFormatter, FormatOptions},
};
use headwater::{Trigger, connect::memory::MemorySink};
use parquet::arrow::ArrowWriter;

use super::*;
use crate::{
    batch,
    data::{self, DataSize},
    nexmark,
    queries::select,
};

/// 12 seconds of event time, so that there are several windows.
const WINDOWS: DataSize = DataSize {
    events: 120_000,
    files: 3,
};
/// For queries without windows.
const ROWS: DataSize = DataSize {
    events: 20_000,
    files: 3,
};
/// All in one file of one row group, which one partition reads and the others help with.
const SHARED: DataSize = DataSize {
    events: 120_000,
    files: 1,
};
/// 2025-01-01T01:00:00Z in microseconds.
const AN_HOUR_LATER: i64 = 1_735_693_200_000_000;

/// How many columns, from the first on, are the key of a query that gives out changes.
const KEY_COLUMNS: [(&str, usize); 6] = [
    ("q12", 2),
    ("q15", 1),
    ("q16", 2),
    ("q17", 2),
    ("q18", 2),
    ("q19", 1),
];

fn key_columns(query: &Query) -> usize {
    let found = KEY_COLUMNS.iter().find(|(name, _)| *name == query.name);
    found.expect("the query has a key").1
}

type Rows = Vec<Vec<String>>;

async fn stream_answer(dir: &Path, query: &Query) -> headwater::Result<Rows> {
    let session = nexmark::session_over(dir, query, 1)?;
    let sink = MemorySink::new(query.name);
    let frame = nexmark::frame(&session, query).await?;
    let writer = frame
        .write_stream()
        .query_name(query.name)
        .output_mode(query.output_mode)
        .trigger(Trigger::available_now())
        .sink(Arc::new(sink.provider()));
    writer.start(None).await?.await_termination().await?;
    let rows = rows_of(&sink.batches());
    if query.output_mode == OutputMode::Append {
        return Ok(rows);
    }
    let mut last = BTreeMap::new();
    for row in rows {
        last.insert(row[..key_columns(query)].to_vec(), row);
    }
    Ok(last.into_values().collect())
}

async fn batch_answer(dir: &Path, query: &Query) -> headwater::Result<Rows> {
    let failed = |e| headwater::Error::data("the batch failed").with_source(e);
    let session = batch::session(dir, query).await?;
    let frame = session.sql(query.batch).await.map_err(failed)?;
    Ok(rows_of(&frame.collect().await.map_err(failed)?))
}

fn rows_of(batches: &[RecordBatch]) -> Rows {
    let options = FormatOptions::default().with_null("null");
    let mut rows = Vec::new();
    for batch in batches {
        let columns: Vec<_> = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column, &options).unwrap())
            .collect();
        for row in 0..batch.num_rows() {
            rows.push(columns.iter().map(|c| c.value(row).to_string()).collect());
        }
    }
    rows
}

/// Of q12 the windows are those of the clock: only the sum over them is the same for every run.
fn over_all_windows(rows: &Rows) -> Rows {
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    for row in rows {
        *sums.entry(&row[0]).or_default() += row[2].parse::<u64>().unwrap();
    }
    sums.into_iter()
        .map(|(bidder, bids)| vec![bidder.to_owned(), bids.to_string()])
        .collect()
}

/// What is wrong with the answer, in a line or two.
fn difference(stream: Rows, batch: Rows) -> Option<String> {
    if batch.is_empty() {
        return Some("the batch has no rows: compared nothing".to_owned());
    }
    let count = |rows: Rows| {
        let mut counts: BTreeMap<Vec<String>, usize> = BTreeMap::new();
        for row in rows {
            *counts.entry(row).or_default() += 1;
        }
        counts.into_iter().collect::<BTreeSet<_>>()
    };
    let (stream, batch) = (count(stream), count(batch));
    let only = |a: &BTreeSet<_>, b: &BTreeSet<_>| {
        let rows: Vec<_> = a.difference(b).cloned().collect();
        (rows.len(), rows.into_iter().next())
    };
    let ((extra, an_extra), (missing, a_missing)) = (only(&stream, &batch), only(&batch, &stream));
    (extra + missing > 0).then(|| {
        format!("{extra} rows only in the stream, as {an_extra:?}; {missing} only in the batch, as {a_missing:?}")
    })
}

/// Copies the files by name. They are written at the same time, and a stream reads the oldest one first.
fn copy_in_order(from: &Path, to: &Path) {
    let files = fs::read_dir(from).unwrap();
    let mut paths: Vec<_> = files.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

/// Copies the data set and adds the closing file to each table.
fn write_closed(from: &Path, to: &Path) {
    for (number, table) in Table::ALL.into_iter().enumerate() {
        let folder = to.join(table.name());
        fs::create_dir(&folder).unwrap();
        copy_in_order(&from.join(table.name()), &folder);
        let schema = table.schema();
        // No two columns have an identifier in common.
        let base = -100 * (number as i64 + 1);
        let column = |(i, data_type): (usize, &DataType)| -> ArrayRef {
            match data_type {
                DataType::Int64 => Arc::new(Int64Array::from(vec![base - i as i64])),
                DataType::Utf8 => Arc::new(StringArray::from(vec![""])),
                time => Arc::new(
                    TimestampMicrosecondArray::from(vec![AN_HOUR_LATER])
                        .with_data_type(time.clone()),
                ),
            }
        };
        let types = schema.fields().iter().map(|field| field.data_type());
        let columns = types.enumerate().map(column).collect();
        let row = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
        let file = File::create(folder.join("part-99999.parquet")).unwrap();
        let mut writer = ArrowWriter::try_new(file, schema, None).unwrap();
        writer.write(&row).unwrap();
        writer.close().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_that_share_the_work_on_a_file_answer_as_the_batch_does() {
    let (shared, closed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    data::write(shared.path(), SHARED).unwrap();
    write_closed(shared.path(), closed.path());
    let queries = ["tumbling", "sliding", "join", "q8", "q11"].map(str::to_owned);
    for query in select(&queries).unwrap() {
        let stream = stream_answer(closed.path(), &query).await.unwrap();
        let batch = batch_answer(shared.path(), &query).await.unwrap();
        assert_eq!(difference(stream, batch), None, "{}", query.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_query_answers_as_the_batch_does() {
    let folder = || tempfile::tempdir().unwrap();
    let (rows, windows, closed) = (folder(), folder(), folder());
    data::write(rows.path(), ROWS).unwrap();
    data::write(windows.path(), WINDOWS).unwrap();
    write_closed(windows.path(), closed.path());
    let mut wrong = Vec::new();
    for SuiteQuery { query, .. } in SUITE {
        let (for_stream, for_batch) = if query.stream.contains("WATERMARK") {
            (closed.path(), windows.path())
        } else {
            (rows.path(), rows.path())
        };
        let stream = stream_answer(for_stream, &query).await;
        let batch = batch_answer(for_batch, &query).await;
        let found = match (stream, batch) {
            (Err(error), _) | (_, Err(error)) => Some(format!("{error}")),
            (Ok(stream), Ok(batch)) if query.name == "q12" => {
                difference(over_all_windows(&stream), over_all_windows(&batch))
            }
            (Ok(stream), Ok(batch)) => difference(stream, batch),
        };
        wrong.extend(found.map(|what| format!("{}: {what}", query.name)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Of `dedup` the batch that is measured has other prices: the first bids are asked for here, of all rows in the order in
/// which they arrive.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_bid_of_each_key_comes_out() {
    for size in [ROWS, SHARED] {
        the_first_bids_of(size).await;
    }
}

async fn the_first_bids_of(size: DataSize) {
    let (written, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    data::write(written.path(), size).unwrap();
    let folder = dir.path().join("bid");
    fs::create_dir(&folder).unwrap();
    copy_in_order(&written.path().join("bid"), &folder);
    let dedup = select(&["dedup".to_owned()]).unwrap()[0];
    let stream = stream_answer(dir.path(), &dedup).await.unwrap();
    let measured = batch_answer(dir.path(), &dedup).await.unwrap();
    let session = batch::session(dir.path(), &dedup).await.unwrap();
    let one_after_the_other = "SET datafusion.execution.target_partitions = 1";
    session.sql(one_after_the_other).await.unwrap();
    let first = "SELECT auction, bidder, first_value(price), first_value(date_time) FROM bid GROUP BY auction, bidder";
    let first = session.sql(first).await.unwrap().collect().await.unwrap();
    let first = rows_of(&first);
    let keys = first.len() as u64;
    assert!(keys < size.events * 9 / 10, "no key comes twice");
    assert_eq!(difference(stream.clone(), first), None);
    // What is measured beside it has the same keys.
    let keys = |rows: Rows| -> Rows { rows.iter().map(|row| row[..2].to_vec()).collect() };
    assert_eq!(difference(keys(stream), keys(measured)), None);
}

#[test]
fn a_wrong_answer_is_told() {
    let row = |text: &str| vec![text.to_owned()];
    assert_eq!(difference(vec![row("a")], vec![row("a")]), None);
    assert!(difference(vec![row("a"), row("a")], vec![row("a")]).is_some());
    assert!(difference(vec![], vec![]).is_some());
}
