//! Keys as numbers, and times as numbers.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{Array, ArrayRef, AsArray, Int64Array},
        buffer::ScalarBuffer,
        compute::cast,
        datatypes::{DataType, Field, Int64Type, Schema},
    },
    error::{DataFusionError, Result},
    logical_expr::EmitTo,
    physical_plan::aggregates::{group_values::new_group_values, order::GroupOrdering},
};

/// The distinct keys of some rows, numbered in order of first appearance.
pub(crate) struct NumberedKeys {
    /// The key of each row.
    pub(crate) of_rows: Vec<usize>,
    /// Columns of the keys, in order of their numbers.
    pub(crate) keys: Vec<ArrayRef>,
    pub(crate) count: usize,
}

/// Numbers the keys of some rows; nulls are equal. Without key columns all rows have one key.
pub(crate) fn number_keys(columns: &[ArrayRef], rows: usize) -> Result<NumberedKeys> {
    if columns.is_empty() {
        return Ok(NumberedKeys {
            of_rows: vec![0; rows],
            keys: Vec::new(),
            count: usize::from(rows > 0),
        });
    }
    let fields: Vec<Field> = columns
        .iter()
        .map(|column| Field::new("key", column.data_type().clone(), true))
        .collect();
    let mut index = new_group_values(Arc::new(Schema::new(fields)), &GroupOrdering::None)?;
    let mut of_rows = Vec::with_capacity(rows);
    index.intern(columns, &mut of_rows)?;
    let count = index.len();
    Ok(NumberedKeys {
        of_rows,
        keys: index.emit(EmitTo::All)?,
        count,
    })
}

/// Timestamps as numbers, whatever their unit. None of them is null.
pub(crate) fn time_numbers(times: &ArrayRef) -> Result<ScalarBuffer<i64>> {
    if times.null_count() > 0 {
        return Err(DataFusionError::Internal(
            "a session has no bounds".to_owned(),
        ));
    }
    let numbers = cast(times, &DataType::Int64)?;
    Ok(numbers.as_primitive::<Int64Type>().values().clone())
}

/// Numbers as timestamps of type `time`.
pub(crate) fn times_of(numbers: Vec<i64>, time: &DataType) -> Result<ArrayRef> {
    Ok(cast(&Int64Array::from(numbers), time)?)
}
