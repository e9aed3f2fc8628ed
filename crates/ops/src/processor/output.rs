//! The rows that a processor gives out.

use std::sync::Arc;

use datafusion::{
    arrow::{array::RecordBatch, datatypes::SchemaRef},
    error::DataFusionError,
};
use headwater_core::{Error, Result};

use super::row::{IntoRow, Row, columns_of, fitted};

/// Collects the rows that a processor gives out, in order.
#[derive(Debug)]
pub struct Output {
    columns: SchemaRef,
    batches: Vec<RecordBatch>,
    rows: Vec<Row>,
    count: usize,
}

impl Output {
    pub(super) fn new(columns: SchemaRef) -> Self {
        Self {
            columns,
            batches: Vec::new(),
            rows: Vec::new(),
            count: 0,
        }
    }

    /// Gives out a row.
    ///
    /// # Errors
    /// `Invalid` if it is not of the columns declared.
    pub fn row(&mut self, row: impl IntoRow) -> Result<()> {
        let row = fitted(row.into_row(), &self.columns, "the output")?;
        self.rows.push(row);
        self.count += 1;
        Ok(())
    }

    /// Gives out all rows of a batch.
    ///
    /// # Errors
    /// `Invalid` if its columns are not those declared, by number and type.
    pub fn batch(&mut self, batch: &RecordBatch) -> Result<()> {
        let types = |schema: &SchemaRef| -> Vec<_> {
            let fields = schema.fields().iter();
            fields.map(|field| field.data_type().clone()).collect()
        };
        if types(&batch.schema()) != types(&self.columns) {
            return Err(Error::invalid(format!(
                "the output is declared as {}, a batch of {} was given",
                self.columns,
                batch.schema()
            )));
        }
        self.flush_rows()?;
        self.count += batch.num_rows();
        let columns = batch.columns().to_vec();
        let batch = RecordBatch::try_new(Arc::clone(&self.columns), columns).map_err(|error| {
            Error::invalid("a batch does not fit the output that is declared").with_source(error)
        })?;
        self.batches.push(batch);
        Ok(())
    }

    /// Number of rows given out so far.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    fn flush_rows(&mut self) -> Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let columns = columns_of(std::mem::take(&mut self.rows), &self.columns)?;
        let batch = RecordBatch::try_new(Arc::clone(&self.columns), columns)
            .map_err(|error| crate::runtime::from_datafusion(DataFusionError::from(error)))?;
        self.batches.push(batch);
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<Vec<RecordBatch>> {
        self.flush_rows()?;
        Ok(self.batches)
    }
}
