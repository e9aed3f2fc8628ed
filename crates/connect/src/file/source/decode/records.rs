//! Records of text formats that may be malformed: decoded many at a time, and narrowed down to the malformed ones
//! only where that fails.

use std::{ops::Range, sync::Arc};

use arrow::array::{ArrayRef, StringArray, new_null_array};
use arrow::{datatypes::DataType, error::ArrowError};
use headwater_core::{Error, Result};

use super::{BATCH_ROWS, join};
use crate::file::source::{
    columns::{Decoded, Layout},
    options::{ParseMode, SourceOptions},
};

/// A text format.
pub(super) trait RecordDecoder: Send {
    /// Decodes text that holds `rows` records, or says why not. A different number of rows is an error too.
    fn decode(&self, text: &[u8], rows: usize) -> Result<Vec<ArrayRef>, ArrowError>;

    /// What can be read of one malformed record; what cannot is null.
    fn salvage(&self, text: &[u8]) -> Result<Vec<ArrayRef>>;
}

/// Which of the file's columns are decoded, and which of those are wanted.
pub(super) struct Selection {
    pub(super) decoded: Vec<usize>,
    wanted: Vec<usize>,
}

impl Selection {
    /// Whether a row is malformed must not depend on what a query happens to read of it: all columns are decoded where
    /// it makes a difference.
    pub(super) fn of(layout: &Layout, mode: ParseMode) -> Self {
        if mode != ParseMode::Permissive || layout.wants_corrupt {
            Self {
                decoded: (0..layout.file_fields.len()).collect(),
                wanted: layout.wanted.clone(),
            }
        } else {
            Self {
                decoded: layout.wanted.clone(),
                wanted: (0..layout.wanted.len()).collect(),
            }
        }
    }
}

/// Decodes the records of a file.
pub(super) struct Records<D> {
    pub(super) decoder: D,
    /// Which of the decoder's columns are wanted.
    wanted: Vec<usize>,
    mode: ParseMode,
    wants_corrupt: bool,
    path: String,
}

impl<D: RecordDecoder> Records<D> {
    /// The records of the file at `path`; `decoder` decodes the columns that `selection` says.
    pub(super) fn new(
        decoder: D,
        selection: Selection,
        layout: &Layout,
        options: &SourceOptions,
        path: String,
    ) -> Self {
        Self {
            decoder,
            wanted: selection.wanted,
            mode: options.mode,
            wants_corrupt: layout.wants_corrupt,
            path,
        }
    }

    /// Decodes a block, the wanted columns of it. `records` are where its records are.
    pub(super) fn decode(
        &self,
        text: &[u8],
        first_line: u64,
        records: &[Range<usize>],
    ) -> Vec<Result<Decoded>> {
        records
            .chunks(BATCH_ROWS)
            .filter_map(|records| {
                let mut parts = Vec::new();
                self.narrow(text, first_line, records, &mut parts)
                    .and_then(|()| join(parts))
                    .map(|decoded| decoded.map(|decoded| self.selected(decoded)))
                    .transpose()
            })
            .collect()
    }

    fn selected(&self, decoded: Decoded) -> Decoded {
        let columns = self.wanted.iter();
        Decoded {
            columns: columns
                .map(|index| Arc::clone(&decoded.columns[*index]))
                .collect(),
            ..decoded
        }
    }

    fn narrow(
        &self,
        text: &[u8],
        first_line: u64,
        records: &[Range<usize>],
        parts: &mut Vec<Decoded>,
    ) -> Result<()> {
        let (Some(first), Some(last)) = (records.first(), records.last()) else {
            return Ok(());
        };
        let error = match self
            .decoder
            .decode(&text[first.start..last.end], records.len())
        {
            Ok(columns) => {
                parts.push(self.decoded(columns, records.len(), None));
                return Ok(());
            }
            Err(error) => error,
        };
        if records.len() > 1 {
            let (left, right) = records.split_at(records.len() / 2);
            self.narrow(text, first_line, left, parts)?;
            return self.narrow(text, first_line, right, parts);
        }
        let record = &text[first.clone()];
        match self.mode {
            ParseMode::DropMalformed => {}
            ParseMode::FailFast => {
                let line = first_line
                    + text[..first.start]
                        .iter()
                        .filter(|byte| **byte == b'\n')
                        .count() as u64;
                return Err(Error::data(format!(
                    "line {line} of file {} is malformed: mend it, or set 'mode' to PERMISSIVE or DROPMALFORMED",
                    self.path
                ))
                .with_source(error));
            }
            ParseMode::Permissive => {
                parts.push(self.decoded(self.decoder.salvage(record)?, 1, Some(record)));
            }
        }
        Ok(())
    }

    fn decoded(&self, columns: Vec<ArrayRef>, rows: usize, malformed: Option<&[u8]>) -> Decoded {
        let corrupt = self.wants_corrupt.then(|| match malformed {
            Some(text) => Arc::new(StringArray::from(vec![
                String::from_utf8_lossy(text).as_ref(),
            ])) as ArrayRef,
            None => new_null_array(&DataType::Utf8, rows),
        });
        Decoded {
            columns,
            corrupt,
            rows,
        }
    }
}
