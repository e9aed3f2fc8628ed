//! What must hold of an output, as functions that say what is wrong instead of panicking: the tests of seeded faults
//! want to hear it.

use bytes::Bytes;
use datafusion::arrow::{
    array::{AsArray, RecordBatch},
    compute::cast,
    datatypes::{DataType, Int64Type, TimeUnit, TimestampMicrosecondType},
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::input::Answer;

/// Whether any reader of data files would take this path for one.
pub(crate) fn is_data_file(path: &str) -> bool {
    let is_hidden = |name: &str| name.starts_with(['_', '.']);
    path.ends_with(".parquet") && !path.split('/').any(is_hidden)
}

/// Adds one row; one of the same key is there too often.
pub(crate) fn insert(
    answer: &mut Answer,
    key: (i64, String),
    measures: Vec<i64>,
) -> Result<(), String> {
    match answer.insert(key.clone(), measures) {
        None => Ok(()),
        Some(_) => Err(format!("{key:?} is there twice")),
    }
}

/// A row by time and key, with its measures.
pub(crate) type Measured = (i64, String, Vec<i64>);

/// The rows of a batch: `start` (0 if there is no such column), `key`, and the measures in their order.
pub(crate) fn rows(batch: &RecordBatch) -> Vec<Measured> {
    let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
    let starts = batch
        .column_by_name("start")
        .map(|starts| cast(starts, &micros).expect("starts are timestamps"));
    let keys = batch.column_by_name("key").expect("there is a key");
    let keys = cast(keys, &DataType::Utf8).expect("keys are texts");
    let schema = batch.schema();
    let measures: Vec<_> = batch
        .columns()
        .iter()
        .zip(schema.fields())
        .filter(|(_, field)| !["start", "key"].contains(&field.name().as_str()))
        .map(|(column, _)| cast(column, &DataType::Int64).expect("measures are numbers"))
        .collect();
    (0..batch.num_rows())
        .map(|row| {
            let start = starts.as_ref().map_or(0, |starts| {
                starts.as_primitive::<TimestampMicrosecondType>().value(row)
            });
            let key = keys.as_string::<i32>().value(row).to_owned();
            let measures = measures
                .iter()
                .map(|column| column.as_primitive::<Int64Type>().value(row))
                .collect();
            (start, key, measures)
        })
        .collect()
}

/// The records of late rows of a batch: by time and key the value, the window's end, watermark and epoch.
pub(crate) fn late_rows(batch: &RecordBatch) -> Vec<Measured> {
    let number = |name: &str| {
        let column = batch.column_by_name(name).expect(name);
        let numbers = cast(column, &DataType::Int64).expect("a number or a time");
        numbers.as_primitive::<Int64Type>().clone()
    };
    let names = ["value", "late_window_end", "late_watermark", "late_epoch"];
    let (times, measures) = (number("time"), names.map(number));
    let keys = batch.column_by_name("key").expect("there is a key");
    let keys = cast(keys, &DataType::Utf8).expect("keys are texts");
    let keys = keys.as_string::<i32>();
    (0..batch.num_rows())
        .map(|row| {
            let measures = measures.iter().map(|column| column.value(row));
            (
                times.value(row),
                keys.value(row).to_owned(),
                measures.collect(),
            )
        })
        .collect()
}

/// What a reader finds in these files; a file that cannot be read and a row that is there twice are wrong.
pub(crate) fn content<'a>(
    files: impl IntoIterator<Item = (&'a String, &'a Bytes)>,
) -> Result<Answer, String> {
    content_as(rows, files)
}

/// As [`content`], of files whose rows are read otherwise.
pub(crate) fn content_as<'a>(
    rows: fn(&RecordBatch) -> Vec<Measured>,
    files: impl IntoIterator<Item = (&'a String, &'a Bytes)>,
) -> Result<Answer, String> {
    let mut answer = Answer::new();
    for (path, bytes) in files {
        if !is_data_file(path) {
            continue;
        }
        let unreadable =
            |error: &dyn std::fmt::Display| format!("'{path}' is no whole file: {error}");
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes.clone())
            .and_then(|builder| builder.build())
            .map_err(|error| unreadable(&error))?;
        for batch in reader {
            for (start, key, measures) in rows(&batch.map_err(|error| unreadable(&error))?) {
                insert(&mut answer, (start, key), measures)
                    .map_err(|wrong| format!("{wrong}, again in '{path}'"))?;
            }
        }
    }
    Ok(answer)
}

/// Whatever is there is right; something may still be missing.
pub(crate) fn only_expected(seen: &Answer, expected: &Answer) -> Result<(), String> {
    for (key, measures) in seen {
        match expected.get(key) {
            Some(right) if right == measures => {}
            Some(right) => return Err(format!("{key:?} is {measures:?}, expected {right:?}")),
            None => return Err(format!("{key:?} with {measures:?} should not be there")),
        }
    }
    Ok(())
}

/// Everything is there, each once.
pub(crate) fn everything(seen: &Answer, expected: &Answer) -> Result<(), String> {
    only_expected(seen, expected)?;
    match expected.iter().find(|(key, _)| !seen.contains_key(*key)) {
        None => Ok(()),
        Some((key, measures)) => Err(format!(
            "{key:?} with {measures:?} is missing ({} rows of {})",
            seen.len(),
            expected.len()
        )),
    }
}
