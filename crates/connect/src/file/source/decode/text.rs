//! Text: one column, a row per line (or per file). Bytes that are not UTF-8 become replacement characters.

use std::{ops::Range, sync::Arc};

use arrow::{
    array::{ArrayRef, StringBuilder, new_null_array},
    compute::cast,
    datatypes::FieldRef,
};
use futures::{StreamExt, TryStreamExt, stream};
use headwater_core::Result;

use super::{
    BATCH_ROWS, DecodedStream,
    blocks::{Splitter, blocks},
};
use crate::file::source::{
    columns::{Decoded, Layout},
    folder::{FileEntry, Folder},
    options::SourceOptions,
};

/// The name of the text column, unless the schema gives another.
pub(in crate::file::source) const VALUE: &str = "value";

pub(super) fn open(
    folder: &Folder,
    file: FileEntry,
    layout: &Arc<Layout>,
    options: &SourceOptions,
) -> DecodedStream {
    let splitter = match &options.line_separator {
        _ if options.whole_text => Splitter::WholeFile,
        Some(separator) => Splitter::Text(separator.clone()),
        None => Splitter::Lines,
    };
    let layout = Arc::clone(layout);
    blocks(folder, file, splitter.clone())
        .map_ok(move |block| {
            let lines = splitter.records(&block.text);
            let batches: Vec<_> = lines
                .chunks(BATCH_ROWS)
                .map(|lines| decode(&block.text, lines, &layout))
                .collect();
            stream::iter(batches)
        })
        .try_flatten()
        .boxed()
}

/// Which of the table's columns holds the text: the one called [`VALUE`], else the first.
fn text_column(fields: &[FieldRef]) -> usize {
    fields
        .iter()
        .position(|field| field.name() == VALUE)
        .unwrap_or(0)
}

fn decode(text: &[u8], lines: &[Range<usize>], layout: &Layout) -> Result<Decoded> {
    let text_column = text_column(&layout.file_fields);
    let columns = layout
        .wanted
        .iter()
        .map(|&index| {
            let field = &layout.file_fields[index];
            if index != text_column {
                return Ok(new_null_array(field.data_type(), lines.len()));
            }
            let bytes = lines.last().map_or(0, |line| line.end)
                - lines.first().map_or(0, |line| line.start);
            let mut builder = StringBuilder::with_capacity(lines.len(), bytes);
            for line in lines {
                match std::str::from_utf8(&text[line.clone()]) {
                    Ok(line) => builder.append_value(line),
                    Err(_) => builder.append_value(String::from_utf8_lossy(&text[line.clone()])),
                }
            }
            let array: ArrayRef = Arc::new(builder.finish());
            Ok(cast(&array, field.data_type())?)
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(Decoded {
        columns,
        corrupt: None,
        rows: lines.len(),
    })
}
