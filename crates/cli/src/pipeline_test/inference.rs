//! Columns of a stream that does not declare any: those of its source, or of the rows that the test gives it.

use std::{fs::File, io::Cursor, path::Path, sync::Arc};

use datafusion::{
    arrow::{
        csv::reader::Format,
        datatypes::{DataType, Field, Schema, SchemaRef},
        json::reader::infer_json_schema,
    },
    parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder,
};
use headwater::{Error, Result};

use super::{
    row_file::{self, RowFormat, VALUE},
    sections,
};

/// Rows that are looked at.
const LOOKED_AT: usize = 1_000;

/// The columns that the first rows of a file have. A JSON or CSV file needs rows for this.
///
/// # Errors
/// `Invalid` if there is nothing to see.
pub(crate) fn infer(path: &Path) -> Result<SchemaRef> {
    let wrong = |error: &dyn std::fmt::Display| {
        Error::invalid(format!(
            "cannot take columns from {}: {error}",
            path.display()
        ))
    };
    let format = RowFormat::of(path).map_err(|error| wrong(&error))?;
    let schema = match format {
        RowFormat::Parquet => {
            let file = File::open(path).map_err(|error| wrong(&error))?;
            let reader = ParquetRecordBatchReaderBuilder::try_new(file);
            let reader = reader.map_err(|error| wrong(&error))?;
            reader.schema().as_ref().clone()
        }
        RowFormat::Text => lines().as_ref().clone(),
        RowFormat::Json | RowFormat::Csv => {
            let text = row_file::text(path).map_err(|error| wrong(&error))?;
            let rows = Cursor::new(sections::undivided(&text));
            let schema = match format {
                RowFormat::Json => infer_json_schema(rows, Some(LOOKED_AT)),
                _ => Format::default()
                    .with_header(true)
                    .infer_schema(rows, Some(LOOKED_AT)),
            };
            schema.map_err(|error| wrong(&error))?.0
        }
    };
    if schema.fields().is_empty() {
        return Err(wrong(&"it has no rows"));
    }
    Ok(nullable(&schema))
}

/// The column of lines of text.
pub(crate) fn lines() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new(VALUE, DataType::Utf8, true)]))
}

/// The same columns, each of which may be null: that is what streams of files are.
pub(crate) fn nullable(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter();
    let fields = fields.map(|field| field.as_ref().clone().with_nullable(true));
    Arc::new(Schema::new(fields.collect::<Vec<Field>>()))
}
