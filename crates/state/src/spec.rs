//! What a store holds.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, RecordBatchOptions},
    datatypes::{DataType, Field, SchemaRef},
};
use headwater_core::{Error, Result};

use crate::layout::{Layout, columns, flag};

/// Describes one keyed store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateSpec {
    /// Columns of the key. Without any, the store holds one key (a global aggregate).
    pub keys: SchemaRef,
    /// Columns of the value; may be empty (the store is then a set).
    pub values: SchemaRef,
    /// How many leading key columns decide which partition owns a key; `None`: all of them. Fewer keep what belongs
    /// together in one partition, such as the values that a group has seen, whatever the number of partitions.
    pub owner_columns: Option<usize>,
    /// Whether each key carries an expiry, derived from the key.
    pub expires: bool,
    /// Minimum width of a time bucket in milliseconds; at least 1. Rows that expire in the same bucket live in one
    /// segment. Best is the distance between two expiries, for instance the slide of a window.
    pub bucket_millis: i64,
    /// Whether a put adds a row to those of the key instead of replacing it: for values that are lists and must not
    /// be rewritten at each touch.
    pub chained: bool,
}

/// A checked [`StateSpec`] and the layout of its rows: keys, then values, then the expiry if there is one.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    pub(crate) spec: StateSpec,
    /// Columns of a stored row, and of a removed key: keys and expiry.
    pub(crate) layout: Arc<Layout>,
    /// Columns of a row as callers see it: without the expiry.
    pub(crate) visible: SchemaRef,
}

impl Shape {
    pub(crate) fn new(spec: StateSpec) -> Result<Self> {
        check(&spec.keys, &spec.values, spec.bucket_millis)?;
        let expiry = spec
            .expires
            .then(|| Arc::new(Field::new("__expiry", DataType::Int64, true)));
        let layout = Layout {
            flags: u8::from(spec.chained) * flag::CHAINED + u8::from(spec.expires) * flag::EXPIRES,
            rows: columns(&[&spec.keys, &spec.values], expiry.clone()),
            named: columns(&[&spec.keys], expiry),
        };
        Ok(Self {
            layout: Arc::new(layout),
            visible: columns(&[&spec.keys, &spec.values], None),
            spec,
        })
    }

    /// Number of key columns.
    pub(crate) fn key_columns(&self) -> usize {
        self.spec.keys.fields().len()
    }

    /// Number of leading key columns that decide which partition owns a key.
    pub(crate) fn owner_columns(&self) -> usize {
        let all = self.key_columns();
        self.spec
            .owner_columns
            .map_or(all, |columns| columns.min(all))
    }

    /// Position of the first and the position after the last value column in a stored row.
    pub(crate) fn value_columns(&self) -> std::ops::Range<usize> {
        self.key_columns()..self.visible.fields().len()
    }

    /// A stored row as callers see it: without the expiry.
    pub(crate) fn visible(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let columns = batch.columns()[..self.visible.fields().len()].to_vec();
        batch_of(&self.visible, columns, batch.num_rows())
    }

    /// The expiry column of a batch that ends with one.
    pub(crate) fn expiry<'a>(&self, batch: &'a RecordBatch) -> Option<&'a Int64Array> {
        let last = batch.columns().last().filter(|_| self.spec.expires)?;
        last.as_primitive_opt()
    }
}

/// Refuses a store of these columns and buckets if it makes no sense.
pub(crate) fn check(keys: &SchemaRef, values: &SchemaRef, bucket_millis: i64) -> Result<()> {
    if bucket_millis < 1 {
        return Err(Error::invalid(format!(
            "a time bucket of {bucket_millis} ms is too narrow: use 1 ms or more"
        )));
    }
    if keys.fields().is_empty() && values.fields().is_empty() {
        return Err(Error::invalid(
            "a store has neither key nor value columns: give it a value column",
        ));
    }
    Ok(())
}

/// A batch of these columns, which may be none; says which column does not fit.
pub(crate) fn batch_of(
    schema: &SchemaRef,
    columns: Vec<ArrayRef>,
    rows: usize,
) -> Result<RecordBatch> {
    if columns.len() != schema.fields().len() {
        return Err(Error::internal(format!(
            "state rows have {} columns, expected {}",
            columns.len(),
            schema.fields().len()
        )));
    }
    for (field, column) in schema.fields().iter().zip(&columns) {
        if field.data_type() != column.data_type() {
            return Err(Error::internal(format!(
                "state column {} is of type {}, expected {}",
                field.name(),
                column.data_type(),
                field.data_type()
            )));
        }
        if column.len() != rows {
            return Err(Error::internal(format!(
                "state column {} has {} rows, expected {rows}",
                field.name(),
                column.len(),
            )));
        }
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(
        Arc::clone(schema),
        columns,
        &options,
    )?)
}
