//! The keys that an epoch touches in one partition, numbered in order of first appearance.

use std::{ops::Range, sync::Arc};

use datafusion::arrow::{
    array::{Array, ArrayRef, UInt32Array},
    compute::{concat, take_arrays},
    datatypes::SchemaRef,
};
use headwater_core::Result;
use headwater_state::KeyIndex;

use super::row::{Row, row_at};
use crate::key_index_factory;

pub(super) struct TouchedKeys {
    index: Box<dyn KeyIndex>,
    /// Columns of the keys in order of their numbers; added to at the end only.
    columns: Vec<ArrayRef>,
}

impl TouchedKeys {
    pub(super) fn new(keys: &SchemaRef) -> Result<Self> {
        Ok(Self {
            index: key_index_factory().create(keys)?,
            columns: Vec::new(),
        })
    }

    /// Number of keys.
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// The number of each row's key; keys that are new get the next numbers.
    pub(super) fn number(&mut self, columns: &[ArrayRef]) -> Result<Vec<usize>> {
        let mut next = self.index.len();
        let mut numbers = Vec::new();
        self.index.intern(columns, &mut numbers)?;
        let mut first_rows = Vec::new();
        for (row, number) in (0..).zip(&numbers) {
            if *number == next {
                first_rows.push(row);
                next += 1;
            }
        }
        if !first_rows.is_empty() {
            let new = take_arrays(columns, &UInt32Array::from(first_rows), None)?;
            self.columns = match self.columns.is_empty() {
                true => new,
                false => self
                    .columns
                    .iter()
                    .zip(&new)
                    .map(|(old, new)| concat(&[old.as_ref(), new.as_ref()]))
                    .collect::<Result<_, _>>()?,
            };
        }
        Ok(numbers)
    }

    /// Columns of consecutive keys.
    pub(super) fn range(&self, numbers: Range<usize>) -> Vec<ArrayRef> {
        let part = |column: &ArrayRef| column.slice(numbers.start, numbers.len());
        self.columns.iter().map(part).collect()
    }

    /// Columns of these keys, in this order.
    pub(super) fn columns(&self, numbers: &[usize]) -> Result<Vec<ArrayRef>> {
        let in_order = numbers.iter().copied().eq(0..self.len());
        if in_order {
            return Ok(self.columns.iter().map(Arc::clone).collect());
        }
        // Fewer than 2^32 rows come to a partition in an epoch, see `RowStore::append`.
        let rows: UInt32Array = numbers.iter().map(|number| *number as u32).collect();
        Ok(take_arrays(&self.columns, &rows, None)?)
    }

    /// One key.
    pub(super) fn row(&self, number: usize) -> Result<Row> {
        row_at(&self.columns, number)
    }
}
