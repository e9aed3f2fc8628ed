//! Rows one by one, to be compared and shown.

use datafusion::arrow::{
    array::RecordBatch,
    array::UInt32Array,
    compute::{concat_batches, take_record_batch},
    datatypes::SchemaRef,
    error::ArrowError,
    json::{WriterBuilder, writer::LineDelimited},
    row::{RowConverter, SortField},
};

/// A row: equal to another if and only if its key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// All values, bit by bit.
    pub(crate) key: Vec<u8>,
    /// As a line of JSON, as it could stand in a file.
    pub(crate) text: String,
}

/// The rows of some batches of a schema, in order.
///
/// # Errors
/// For types whose values have no order or no form in JSON.
pub(crate) fn rows(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<Vec<Row>, ArrowError> {
    let mut all = Vec::new();
    for batch in batches.iter().filter(|batch| batch.num_rows() > 0) {
        let keys = keys(schema, batch)?;
        let lines = lines(batch)?;
        all.extend(keys.into_iter().zip(lines.lines()).map(|(key, text)| Row {
            key,
            text: text.to_owned(),
        }));
    }
    Ok(all)
}

/// The rows of a batch as lines of JSON, nulls included.
pub(crate) fn lines(batch: &RecordBatch) -> Result<String, ArrowError> {
    let mut bytes = Vec::new();
    let mut writer = WriterBuilder::new()
        .with_explicit_nulls(true)
        .build::<_, LineDelimited>(&mut bytes);
    writer.write(batch)?;
    writer.finish()?;
    String::from_utf8(bytes).map_err(|error| ArrowError::JsonError(error.to_string()))
}

/// All rows in one batch, in the order of their values, column by column: the same rows always give the same.
pub(crate) fn sorted(
    schema: &SchemaRef,
    batches: &[RecordBatch],
) -> Result<RecordBatch, ArrowError> {
    let all = concat_batches(schema, batches)?;
    let keys = keys(schema, &all)?;
    let mut order: Vec<u32> = (0..).take(keys.len()).collect();
    order.sort_by_key(|row| &keys[*row as usize]);
    take_record_batch(&all, &UInt32Array::from(order))
}

fn keys(schema: &SchemaRef, batch: &RecordBatch) -> Result<Vec<Vec<u8>>, ArrowError> {
    if batch.num_columns() == 0 {
        return Ok(vec![Vec::new(); batch.num_rows()]);
    }
    let fields = schema.fields().iter();
    let fields = fields.map(|field| SortField::new(field.data_type().clone()));
    let converter = RowConverter::new(fields.collect())?;
    let rows = converter.convert_columns(batch.columns())?;
    Ok(rows.iter().map(|row| row.as_ref().to_vec()).collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{Float64Array, StringArray};

    use super::*;

    #[test]
    fn rows_are_told_apart_by_every_bit() {
        let numbers = Float64Array::from(vec![Some(f64::NAN), None, Some(1.0), Some(f64::NAN)]);
        let texts = StringArray::from(vec![None, Some(""), Some("null"), None]);
        let columns = [("n", Arc::new(numbers) as _), ("t", Arc::new(texts) as _)];
        let batch = RecordBatch::try_from_iter(columns).expect("a batch");
        let schema = batch.schema();
        let rows = rows(&schema, std::slice::from_ref(&batch)).expect("rows");
        assert_eq!(rows[0], rows[3]);
        assert_ne!(rows[0].key, rows[1].key);
        assert_eq!(rows[1].text, r#"{"n":null,"t":""}"#);
        assert_eq!(rows[2].text, r#"{"n":1.0,"t":"null"}"#);
        let sorted = sorted(&schema, &[batch.slice(2, 2), batch.slice(0, 2)]).expect("a batch");
        assert_eq!(
            lines(&sorted).expect("text").lines().nth(1),
            Some(rows[2].text.as_str())
        );
    }
}
