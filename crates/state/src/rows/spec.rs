//! What a store of rows by key holds.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, UInt64Array, make_comparator,
        new_empty_array,
    },
    compute::SortOptions,
    datatypes::{DataType, Field, SchemaRef, UInt64Type},
};
use headwater_core::{Error, Result};

use crate::{
    layout::{Layout, columns, flag},
    spec::{batch_of, check},
};

/// Describes one store of rows by key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowsSpec {
    /// Columns of the key. Without any, all rows have the same key.
    pub keys: SchemaRef,
    /// Columns of the value; may be empty.
    pub values: SchemaRef,
    /// How many leading key columns decide which partition owns a row; `None`: all of them.
    pub owner_columns: Option<usize>,
    /// Whether each row carries an expiry of its own.
    pub expires: bool,
    /// Minimum width of a time bucket in milliseconds; at least 1. Rows that expire in the same bucket live in one
    /// segment, and go together. Best is a hundredth of the time that rows stay, or more.
    pub bucket_millis: i64,
    /// Whether each row carries a mark, such as that a join has found a match for it.
    pub marks: bool,
}

/// A checked [`RowsSpec`] and the layout of its rows: keys, values, number, then expiry and mark if there are.
#[derive(Debug)]
pub(crate) struct RowsShape {
    pub(crate) spec: RowsSpec,
    /// Columns of a row as callers see it: keys and values.
    pub(crate) visible: SchemaRef,
    /// Columns of a row in memory: as it is written, without the mark.
    pub(crate) stored: SchemaRef,
    pub(crate) layout: Arc<Layout>,
}

impl RowsShape {
    pub(crate) fn new(spec: RowsSpec) -> Result<Self> {
        check(&spec.keys, &spec.values, spec.bucket_millis)?;
        for field in spec.keys.fields() {
            let empty = new_empty_array(field.data_type());
            let comparable = make_comparator(&empty, &empty, SortOptions::default());
            comparable.map(drop).map_err(|error| {
                Error::invalid(format!(
                    "rows cannot be kept by {}: values of type {} cannot be compared; use another key",
                    field.name(),
                    field.data_type()
                ))
                .with_source(error)
            })?;
        }
        let field = |name, data_type| Arc::new(Field::new(name, data_type, true));
        let number = field("__row", DataType::UInt64);
        let expiry = spec.expires.then(|| field("__expiry", DataType::Int64));
        let mark = spec.marks.then(|| field("__marked", DataType::Boolean));
        let named: Vec<_> = [number].into_iter().chain(expiry).collect();
        let visible = columns(&[&spec.keys, &spec.values], []);
        let stored = columns(&[&visible], named.iter().cloned());
        let layout = Layout {
            flags: flag::NUMBERED
                + u8::from(spec.expires) * flag::EXPIRES
                + u8::from(spec.marks) * flag::MARKS,
            rows: columns(&[&stored], mark),
            named: columns(&[], named),
        };
        Ok(Self {
            spec,
            visible,
            stored,
            layout: Arc::new(layout),
        })
    }

    /// Number of key columns.
    pub(crate) fn key_columns(&self) -> usize {
        self.spec.keys.fields().len()
    }

    /// Number of leading key columns that decide which partition owns a row.
    pub(crate) fn owner_columns(&self) -> usize {
        let all = self.key_columns();
        self.spec
            .owner_columns
            .map_or(all, |columns| columns.min(all))
    }

    /// Number of key and value columns.
    pub(crate) fn visible_columns(&self) -> usize {
        self.visible.fields().len()
    }

    /// A stored row as callers see it.
    pub(crate) fn visible(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let columns = batch.columns()[..self.visible_columns()].to_vec();
        batch_of(&self.visible, columns, batch.num_rows())
    }

    /// The numbers of rows in memory or as they are written.
    pub(crate) fn numbers(&self, batch: &RecordBatch) -> UInt64Array {
        batch
            .column(self.visible_columns())
            .as_primitive::<UInt64Type>()
            .clone()
    }

    /// The expiries of rows in memory or as they are written.
    pub(crate) fn expiry(&self, batch: &RecordBatch) -> Option<Int64Array> {
        let column = self.visible_columns() + 1;
        self.spec
            .expires
            .then(|| batch.column(column).as_primitive().clone())
    }

    /// Takes rows as they are written apart into those in memory and their marks.
    pub(crate) fn split(&self, rows: &RecordBatch) -> Result<(RecordBatch, Option<BooleanArray>)> {
        let mut columns = rows.columns().to_vec();
        let marked = match self.spec.marks {
            true => columns.pop().map(|marked| marked.as_boolean().clone()),
            false => None,
        };
        Ok((batch_of(&self.stored, columns, rows.num_rows())?, marked))
    }

    /// The numbers and expiries that name rows, as columns of removed or marked rows or after other columns.
    pub(crate) fn naming(&self, numbers: UInt64Array, expiry: Option<Int64Array>) -> Vec<ArrayRef> {
        let rows = numbers.len();
        let mut columns: Vec<ArrayRef> = vec![Arc::new(numbers)];
        if self.spec.expires {
            let expiry = expiry.unwrap_or_else(|| Int64Array::new_null(rows));
            columns.push(Arc::new(expiry));
        }
        columns
    }
}
