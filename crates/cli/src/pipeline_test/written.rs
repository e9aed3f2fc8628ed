//! Expected files, written from what a run gave.

use std::{fs, path::Path, sync::Arc};

use datafusion::{
    arrow::{
        csv::WriterBuilder, datatypes::SchemaRef, error::ArrowError, record_batch::RecordBatch,
    },
    parquet::arrow::ArrowWriter,
};

use super::{
    answer::{Answer, EpochRows},
    row_file::RowFormat,
    rows,
    sections::MARKER,
};
use crate::exit::Failure;

/// How an expected file is written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Form {
    pub(crate) format: RowFormat,
    /// Epoch by epoch, with markers between them.
    pub(crate) is_divided: bool,
    /// Rows stay as they came; otherwise they are sorted in each epoch, so that the file is the same after each run.
    pub(crate) ordered: bool,
}

/// The bytes of a file that expects what a run gave.
///
/// # Errors
/// For values that the format has no form for.
pub(crate) fn bytes(answer: &Answer, form: Form) -> Result<Vec<u8>, ArrowError> {
    let schema = &answer.schema;
    let sections: Vec<Vec<RecordBatch>> = match form.is_divided {
        false => vec![rows_of(answer.at_the_end().into_iter())],
        true => {
            let mut epochs: Vec<_> = answer.epochs.iter().collect();
            // What is left out at the end expects nothing.
            while epochs.last().is_some_and(|last| last.row_count() == 0) {
                epochs.pop();
            }
            let epochs = epochs.into_iter();
            epochs.map(|epoch| epoch.rows.clone()).collect()
        }
    };
    let sections = sections.into_iter().map(|section| {
        Ok(match form.ordered {
            true => section,
            false => vec![rows::sorted(schema, &section)?],
        })
    });
    let sections: Vec<_> = sections.collect::<Result<_, ArrowError>>()?;
    match form.format {
        RowFormat::Text => Err(ArrowError::NotYetImplemented(
            "lines of text have no columns".to_owned(),
        )),
        RowFormat::Parquet => parquet(schema, &sections.concat()),
        RowFormat::Json => divided(&sections, |section, _| {
            let lines = section.iter().filter(|batch| batch.num_rows() > 0);
            let lines: Result<String, _> = lines.map(rows::lines).collect();
            lines.map(String::into_bytes)
        }),
        RowFormat::Csv => divided(&sections, |section, is_first| {
            csv(schema, section, is_first)
        }),
    }
}

fn rows_of<'a>(epochs: impl Iterator<Item = &'a EpochRows>) -> Vec<RecordBatch> {
    epochs.flat_map(|epoch| epoch.rows.clone()).collect()
}

fn divided(
    sections: &[Vec<RecordBatch>],
    text: impl Fn(&[RecordBatch], bool) -> Result<Vec<u8>, ArrowError>,
) -> Result<Vec<u8>, ArrowError> {
    let mut bytes = Vec::new();
    for (number, section) in sections.iter().enumerate() {
        if number > 0 {
            bytes.extend_from_slice(format!("{MARKER}\n").as_bytes());
        }
        bytes.extend(text(section, number == 0)?);
    }
    Ok(bytes)
}

/// With the header in front of the first section, also if it has no rows.
fn csv(schema: &SchemaRef, section: &[RecordBatch], is_first: bool) -> Result<Vec<u8>, ArrowError> {
    let mut bytes = Vec::new();
    let mut writer = WriterBuilder::new().with_header(is_first).build(&mut bytes);
    if is_first {
        writer.write(&RecordBatch::new_empty(Arc::clone(schema)))?;
    }
    for batch in section {
        writer.write(batch)?;
    }
    drop(writer);
    Ok(bytes)
}

fn parquet(schema: &SchemaRef, rows: &[RecordBatch]) -> Result<Vec<u8>, ArrowError> {
    let mut writer = ArrowWriter::try_new(Vec::new(), Arc::clone(schema), None)?;
    for batch in rows {
        writer.write(batch)?;
    }
    Ok(writer.into_inner()?)
}

/// Writes a file, and its folder if there is none; whether it is another one now.
///
/// # Errors
/// `Failed` if it cannot be written.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<bool, Failure> {
    if fs::read(path).is_ok_and(|before| before == bytes) {
        return Ok(false);
    }
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
    let made = folder.map_or(Ok(()), fs::create_dir_all);
    made.and_then(|()| fs::write(path, bytes))
        .map_err(|error| Failure::failed(format!("cannot write {}: {error}", path.display())))?;
    Ok(true)
}
