//! Frames of a few rows of text: what SHOW, DESCRIBE and EXPLAIN answer.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{ArrayRef, RecordBatch, StringArray},
        datatypes::{DataType, Field, Schema},
    },
    error::Result,
    logical_expr::LogicalPlanBuilder,
    prelude::SessionContext,
};

use crate::frame::DataFrame;

/// A row, one text per column.
pub(super) type Row = Vec<Option<String>>;

/// A frame of these columns and rows.
pub(super) fn frame_of(
    context: &SessionContext,
    columns: &[&str],
    rows: &[Row],
) -> Result<DataFrame> {
    let field = |name: &&str| Field::new(*name, DataType::Utf8, true);
    let schema = Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()));
    let column = |number: usize| {
        let texts = rows.iter().map(|row| row.get(number).cloned().flatten());
        Arc::new(texts.collect::<StringArray>()) as ArrayRef
    };
    let arrays = (0..columns.len()).map(column).collect();
    let batch = RecordBatch::try_new(schema, arrays)?;
    Ok(context.read_batch(batch)?.into())
}

/// A frame without columns and rows.
pub(super) fn nothing(context: &SessionContext) -> Result<DataFrame> {
    let plan = LogicalPlanBuilder::empty(false).build()?;
    Ok(datafusion::dataframe::DataFrame::new(context.state(), plan).into())
}
