//! The static table that a query joins bids to: 10,000 keys, each with its text.
//!
//! It is made in memory, so that any data set has it.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema},
};
use headwater_core::{Error, Result};

/// Its name in SQL.
pub const NAME: &str = "side_input";
/// Its rows.
const KEYS: i64 = 10_000;

/// `key: Int64` from 0 on, `value: Utf8`.
///
/// # Errors
/// `Internal` if Arrow does not make a batch of it.
pub fn rows() -> Result<RecordBatch> {
    let schema = Schema::new(vec![
        Field::new("key", DataType::Int64, false),
        Field::new("value", DataType::Utf8, false),
    ]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(0..KEYS)),
        Arc::new(StringArray::from_iter_values(
            (0..KEYS).map(|key| key.to_string()),
        )),
    ];
    RecordBatch::try_new(Arc::new(schema), columns)
        .map_err(|e| Error::internal("the side input is no batch").with_source(e))
}
