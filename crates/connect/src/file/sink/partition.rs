//! Rows by the folder they go to (`partition_by`). The partition columns are in the folders' names, not in the files.

use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array},
    compute::{CastOptions, cast_with_options, take_record_batch},
    datatypes::{DataType, Schema, SchemaRef},
    row::{RowConverter, SortField},
    util::display::FormatOptions,
};
use headwater_core::{Error, Result};

use crate::file::hive;

/// Which columns make folders and which go into files.
#[derive(Debug)]
pub(super) struct Partitioning {
    folders: Vec<usize>,
    files: Vec<usize>,
    names: Vec<String>,
    /// Columns of the files.
    file_schema: SchemaRef,
}

impl Partitioning {
    /// Finds the partition columns in the schema.
    ///
    /// # Errors
    /// `Invalid` for a column that does not exist, is named twice or whose values cannot be folder names, and if
    /// nothing is left for the files.
    pub(super) fn new(schema: &Schema, partition_by: &[String]) -> Result<Self> {
        let mut folders = Vec::with_capacity(partition_by.len());
        for name in partition_by {
            let Some((index, field)) = schema.fields().find(name) else {
                let columns: Vec<&str> = schema
                    .fields()
                    .iter()
                    .map(|field| field.name().as_str())
                    .collect();
                return Err(Error::invalid(format!(
                    "the output has no column '{name}' to partition by: it has {}",
                    columns.join(", ")
                )));
            };
            if folders.contains(&index) {
                return Err(Error::invalid(format!(
                    "the output is partitioned by '{name}' twice: name each column once"
                )));
            }
            if !can_name_folder(field.data_type()) {
                return Err(Error::invalid(format!(
                    "the output cannot be partitioned by '{name}' of type {}: use a column of text, whole numbers, booleans, dates or timestamps",
                    field.data_type()
                )));
            }
            folders.push(index);
        }
        let files: Vec<usize> = (0..schema.fields().len())
            .filter(|index| !folders.contains(index))
            .collect();
        if files.is_empty() {
            return Err(Error::invalid(
                "the output has no column besides those it is partitioned by: leave one of them out of partition_by",
            ));
        }
        let fields: Vec<_> = files
            .iter()
            .map(|index| {
                // Notes of the query (a watermark, say) mean nothing to readers of the file.
                schema.field(*index).clone().with_metadata(HashMap::new())
            })
            .collect();
        Ok(Self {
            names: partition_by.to_vec(),
            folders,
            files,
            file_schema: Arc::new(Schema::new(fields)),
        })
    }

    /// Columns of the files.
    pub(super) fn file_schema(&self) -> &SchemaRef {
        &self.file_schema
    }

    /// The rows of each folder, in the order in which folders first occur; rows keep their order.
    pub(super) fn split(&self, batch: &RecordBatch) -> Result<Vec<(String, RecordBatch)>> {
        let columns = self
            .files
            .iter()
            .map(|index| Arc::clone(batch.column(*index)))
            .collect();
        let rows = RecordBatch::try_new(Arc::clone(&self.file_schema), columns)?;
        if self.folders.is_empty() {
            return Ok(vec![(String::new(), rows)]);
        }
        let values = self
            .folders
            .iter()
            .map(|index| as_text(batch.column(*index)))
            .collect::<Result<Vec<_>>>()?;
        let groups = group(&values)?;
        let whole = groups.len() == 1;
        groups
            .into_iter()
            .map(|members| {
                let folder = self.folder(&values, members[0] as usize);
                let rows = if whole {
                    rows.clone()
                } else {
                    take_record_batch(&rows, &UInt32Array::from(members))?
                };
                Ok((folder, rows))
            })
            .collect()
    }

    /// The path of a row's folder; ends with `/`.
    fn folder(&self, values: &[ArrayRef], row: usize) -> String {
        let mut path = String::new();
        for (name, column) in self.names.iter().zip(values) {
            let value = column
                .is_valid(row)
                .then(|| column.as_string::<i32>().value(row));
            path.push_str(&hive::folder(name, value));
            path.push('/');
        }
        path
    }
}

fn can_name_folder(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, value) => can_name_folder(value),
        other => {
            other.is_integer()
                || matches!(
                    other,
                    DataType::Utf8
                        | DataType::LargeUtf8
                        | DataType::Utf8View
                        | DataType::Boolean
                        | DataType::Date32
                        | DataType::Date64
                        | DataType::Timestamp(_, _)
                        | DataType::Decimal128(_, _)
                        | DataType::Decimal256(_, _)
                )
        }
    }
}

fn as_text(column: &ArrayRef) -> Result<ArrayRef> {
    let format = FormatOptions::new()
        .with_timestamp_format(Some("%Y-%m-%d %H:%M:%S%.f"))
        .with_timestamp_tz_format(Some("%Y-%m-%d %H:%M:%S%.f%:z"));
    let options = CastOptions {
        safe: false,
        format_options: format,
    };
    Ok(cast_with_options(column, &DataType::Utf8, &options)?)
}

/// Row numbers by equal values. Neighbours are often equal, so a row is looked up only where it differs from the one
/// before.
fn group(values: &[ArrayRef]) -> Result<Vec<Vec<u32>>> {
    let fields = values
        .iter()
        .map(|_| SortField::new(DataType::Utf8))
        .collect();
    let rows = RowConverter::new(fields)?.convert_columns(values)?;
    let mut groups: Vec<Vec<u32>> = Vec::new();
    let mut by_value = HashMap::new();
    let mut last = None;
    for (number, row) in (0_u32..).zip(rows.iter()) {
        let group = match last {
            Some((before, group)) if before == row => group,
            _ => *by_value.entry(row).or_insert_with(|| {
                groups.push(Vec::new());
                groups.len() - 1
            }),
        };
        last = Some((row, group));
        groups[group].push(number);
    }
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::{Date32Array, Int64Array, StringArray, TimestampMicrosecondArray},
        datatypes::{Field, TimeUnit},
    };

    use super::*;

    #[test]
    fn rows_go_to_the_folder_of_their_values_in_order() {
        let schema = Arc::new(Schema::new(vec![
            Field::new("n", DataType::Int64, false),
            Field::new("day", DataType::Date32, true),
            Field::new("host", DataType::Utf8, true),
        ]));
        let batch = RecordBatch::try_new(
            Arc::clone(&schema),
            vec![
                Arc::new(Int64Array::from(vec![1, 2, 3, 4])),
                Arc::new(Date32Array::from(vec![Some(0), Some(1), Some(0), None])),
                Arc::new(StringArray::from(vec![
                    Some("a/b"),
                    None,
                    Some("a/b"),
                    Some(""),
                ])),
            ],
        )
        .expect("batch");
        let partitioning = Partitioning::new(&schema, &["day".to_owned(), "host".to_owned()])
            .expect("partitioning");
        let split = partitioning.split(&batch).expect("split");
        let shown: Vec<_> = split
            .iter()
            .map(|(folder, rows)| {
                let numbers = rows.column(0).as_primitive::<arrow::datatypes::Int64Type>();
                (folder.as_str(), numbers.values().to_vec())
            })
            .collect();
        assert_eq!(
            shown,
            [
                ("day=1970-01-01/host=a%2Fb/", vec![1, 3]),
                ("day=1970-01-02/host=__HIVE_DEFAULT_PARTITION__/", vec![2]),
                (
                    "day=__HIVE_DEFAULT_PARTITION__/host=__HIVE_DEFAULT_PARTITION__/",
                    vec![4]
                ),
            ]
        );
    }

    #[test]
    fn a_timestamp_reads_like_one() {
        let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![0, 1_500_000]));
        assert_eq!(
            times.data_type(),
            &DataType::Timestamp(TimeUnit::Microsecond, None)
        );
        let text = as_text(&times).expect("text");
        let text = text.as_string::<i32>();
        assert_eq!(
            (text.value(0), text.value(1)),
            ("1970-01-01 00:00:00", "1970-01-01 00:00:01.500")
        );
    }

    #[test]
    fn columns_that_cannot_name_folders_are_refused() {
        let schema = Schema::new(vec![
            Field::new("a", DataType::Float64, true),
            Field::new("b", DataType::Utf8, true),
        ]);
        for (columns, why) in [
            (vec!["a"], "of type Float64"),
            (vec!["c"], "it has a, b"),
            (vec!["b", "b"], "twice"),
        ] {
            let columns: Vec<String> = columns.into_iter().map(str::to_owned).collect();
            let error = Partitioning::new(&schema, &columns).expect_err(why);
            assert!(error.message().contains(why), "{error}");
        }
    }
}
