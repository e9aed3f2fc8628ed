//! The columns of the table and where each comes from: the file, its folders' names, or facts about the file.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, Int64Array, RecordBatch, RecordBatchOptions, StringArray, StructArray,
        TimestampMicrosecondArray, UInt32Array,
    },
    compute::{CastOptions, cast_with_options, take},
    datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit},
};
use headwater_core::{Error, Result};

use super::folder::FileEntry;
use crate::file::hive;

/// The column of facts about the file.
pub(crate) const METADATA: &str = "_metadata";

/// The members of [`METADATA`].
fn metadata_fields() -> Fields {
    Fields::from(vec![
        Field::new("file_path", DataType::Utf8, true),
        Field::new("file_name", DataType::Utf8, true),
        Field::new("file_size", DataType::Int64, true),
        Field::new(
            "file_modification_time",
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            true,
        ),
    ])
}

/// The field that `metadataColumn` appends.
pub(crate) fn metadata_field() -> Field {
    Field::new(METADATA, DataType::Struct(metadata_fields()), true)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// The file, unless a folder's name gives it.
    File,
    Metadata,
    Corrupt,
}

/// The columns of one table.
#[derive(Debug)]
pub(crate) struct Columns {
    schema: SchemaRef,
    origins: Vec<Origin>,
    /// Whether folder names give columns.
    from_folders: bool,
    /// In front of a file's path in `_metadata.file_path`; ends with `/`.
    prefix: String,
}

impl Columns {
    /// Sorts out a schema. Every column may be null, whatever the schema says: files are not bound by it.
    ///
    /// # Errors
    /// `Invalid` for a special column of the wrong type or a name that appears twice.
    pub(crate) fn new(
        schema: &Schema,
        corrupt_column: Option<&str>,
        from_folders: bool,
        prefix: String,
    ) -> Result<Self> {
        let mut origins = Vec::with_capacity(schema.fields().len());
        for (index, field) in schema.fields().iter().enumerate() {
            if schema.fields()[..index]
                .iter()
                .any(|other| other.name() == field.name())
            {
                return Err(Error::invalid(format!(
                    "column '{}' appears twice in the schema of the files: give each column its own name",
                    field.name()
                )));
            }
            origins.push(if field.name() == METADATA {
                check_metadata(field)?;
                Origin::Metadata
            } else if corrupt_column == Some(field.name()) {
                if !matches!(field.data_type(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) {
                    return Err(Error::invalid(format!(
                        "column '{}' holds the text of malformed rows but is of type {}: declare it as Utf8",
                        field.name(),
                        field.data_type()
                    )));
                }
                Origin::Corrupt
            } else {
                Origin::File
            });
        }
        let fields: Fields = schema
            .fields()
            .iter()
            .map(|field| field.as_ref().clone().with_nullable(true))
            .collect();
        Ok(Self {
            schema: Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone())),
            origins,
            from_folders,
            prefix,
        })
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Columns that are not facts about the file nor the text of malformed rows.
    pub(crate) fn ordinary(&self) -> impl Iterator<Item = &FieldRef> {
        self.schema
            .fields()
            .iter()
            .zip(&self.origins)
            .filter(|(_, origin)| **origin == Origin::File)
            .map(|(field, _)| field)
    }

    /// How to make the wanted columns from one file.
    pub(crate) fn of_file(&self, file: &FileEntry, projection: Option<&[usize]>) -> Result<Layout> {
        let folders = if self.from_folders {
            hive::values(&file.path)
        } else {
            Vec::new()
        };
        let folder_value = |name: &str| folders.iter().rev().find(|(column, _)| column == name);
        let mut layout = Layout {
            schema: Arc::clone(&self.schema),
            file_fields: Vec::new(),
            wanted: Vec::new(),
            fill: Vec::new(),
            wants_corrupt: false,
        };
        let mut places = vec![None; self.origins.len()];
        for (index, (field, origin)) in self.schema.fields().iter().zip(&self.origins).enumerate() {
            if *origin == Origin::File && folder_value(field.name()).is_none() {
                places[index] = Some(layout.file_fields.len());
                layout.file_fields.push(Arc::clone(field));
            }
        }
        let all: Vec<usize>;
        let projection = match projection {
            Some(projection) => {
                layout.schema = Arc::new(self.schema.project(projection)?);
                projection
            }
            None => {
                all = (0..self.origins.len()).collect();
                &all
            }
        };
        for &index in projection {
            let field = &self.schema.fields()[index];
            let fill = match (self.origins[index], places[index]) {
                (Origin::Metadata, _) => Fill::Constant(self.metadata(file, field)?),
                (Origin::Corrupt, _) => {
                    layout.wants_corrupt = true;
                    Fill::Corrupt
                }
                (Origin::File, Some(place)) => {
                    layout.wanted.push(place);
                    Fill::File(layout.wanted.len() - 1)
                }
                (Origin::File, None) => {
                    let value = folder_value(field.name()).and_then(|(_, value)| value.as_deref());
                    Fill::Constant(folder_constant(file, field, value)?)
                }
            };
            layout.fill.push(fill);
        }
        Ok(layout)
    }

    fn metadata(&self, file: &FileEntry, field: &Field) -> Result<ArrayRef> {
        let name = file.path.rsplit('/').next().unwrap_or(&file.path);
        let facts: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(vec![format!(
                "{}{}",
                self.prefix, file.path
            )])),
            Arc::new(StringArray::from(vec![name])),
            Arc::new(Int64Array::from(vec![
                i64::try_from(file.size).unwrap_or(i64::MAX),
            ])),
            Arc::new(
                TimestampMicrosecondArray::from(vec![file.modified.saturating_mul(1_000)])
                    .with_timezone("UTC"),
            ),
        ];
        let DataType::Struct(wanted) = field.data_type() else {
            return Err(Error::internal("the metadata column is not a struct"));
        };
        let all = metadata_fields();
        let members = wanted
            .iter()
            .map(|member| {
                let (index, _) = all
                    .find(member.name())
                    .ok_or_else(|| Error::internal("a member of the metadata column is unknown"))?;
                Ok(arrow::compute::cast(&facts[index], member.data_type())?)
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Arc::new(StructArray::try_new(
            wanted.clone(),
            members,
            None,
        )?))
    }
}

fn check_metadata(field: &Field) -> Result<()> {
    let known = metadata_fields();
    let fits = match field.data_type() {
        DataType::Struct(members) if !members.is_empty() => members.iter().all(|member| {
            known.find(member.name()).is_some_and(|(_, fact)| {
                arrow::compute::can_cast_types(fact.data_type(), member.data_type())
            })
        }),
        _ => false,
    };
    if fits {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "column '{METADATA}' is of type {}: declare it as a struct of some of file_path and file_name (text), file_size (Int64), file_modification_time (timestamp), or rename it",
        field.data_type()
    )))
}

fn folder_constant(file: &FileEntry, field: &Field, value: Option<&str>) -> Result<ArrayRef> {
    let text = StringArray::from(vec![value]);
    let strict = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    cast_with_options(&text, field.data_type(), &strict).map_err(|error| {
        Error::data(format!(
            "the folder of file {} says {}={}, which is not of type {}",
            file.path,
            field.name(),
            value.unwrap_or("null"),
            field.data_type()
        ))
        .with_source(error)
    })
}

#[derive(Debug)]
enum Fill {
    /// A column that was read, by its position in [`Layout::wanted`].
    File(usize),
    /// One value for all rows.
    Constant(ArrayRef),
    Corrupt,
}

/// How the wanted columns are made from one file.
#[derive(Debug)]
pub(crate) struct Layout {
    schema: SchemaRef,
    /// Every column that the file itself should have, in the order of the table.
    pub(crate) file_fields: Vec<FieldRef>,
    /// Those of them that are wanted, by position.
    pub(crate) wanted: Vec<usize>,
    /// Whether the text of malformed rows is wanted.
    pub(crate) wants_corrupt: bool,
    fill: Vec<Fill>,
}

/// Rows as they come out of a file.
#[derive(Debug)]
pub(crate) struct Decoded {
    /// The wanted columns.
    pub(crate) columns: Vec<ArrayRef>,
    /// The text of malformed rows, null for good ones, if it was wanted.
    pub(crate) corrupt: Option<ArrayRef>,
    pub(crate) rows: usize,
}

impl Layout {
    /// The wanted fields of the file.
    pub(crate) fn wanted_fields(&self) -> Vec<FieldRef> {
        self.wanted
            .iter()
            .map(|index| Arc::clone(&self.file_fields[*index]))
            .collect()
    }

    /// Has the texts at these places of the wanted columns given as views, if they come out of the file.
    pub(crate) fn view(&mut self, places: &[usize]) {
        let mut fields = self.schema.fields().to_vec();
        for &place in places {
            let Some(Fill::File(wanted)) = self.fill.get(place) else {
                continue;
            };
            if *fields[place].data_type() == DataType::Utf8 {
                let viewed = fields[place].as_ref().clone();
                fields[place] = Arc::new(viewed.with_data_type(DataType::Utf8View));
                self.file_fields[self.wanted[*wanted]] = Arc::clone(&fields[place]);
            }
        }
        let metadata = self.schema.metadata().clone();
        self.schema = Arc::new(Schema::new_with_metadata(fields, metadata));
    }

    /// Puts the columns of the table together.
    pub(crate) fn assemble(&self, decoded: Decoded) -> Result<RecordBatch> {
        let rows = decoded.rows;
        let columns = self
            .fill
            .iter()
            .zip(self.schema.fields())
            .map(|(fill, field)| match fill {
                Fill::File(index) => Ok(Arc::clone(&decoded.columns[*index])),
                Fill::Constant(value) => Ok(take(value, &UInt32Array::from(vec![0; rows]), None)?),
                Fill::Corrupt => match &decoded.corrupt {
                    Some(corrupt) => Ok(arrow::compute::cast(corrupt, field.data_type())?),
                    None => Ok(arrow::array::new_null_array(field.data_type(), rows)),
                },
            })
            .collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(
            Arc::clone(&self.schema),
            columns,
            &options,
        )?)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;

    use super::*;

    fn file(path: &str) -> FileEntry {
        FileEntry {
            path: path.to_owned(),
            size: 7,
            modified: 1_000,
        }
    }

    fn columns(fields: Vec<Field>) -> Columns {
        Columns::new(
            &Schema::new(fields),
            Some("_corrupt_record"),
            true,
            "file:///in/".to_owned(),
        )
        .expect("columns")
    }

    #[test]
    fn a_folder_name_gives_a_column_of_the_declared_type() {
        let columns = columns(vec![
            Field::new("v", DataType::Utf8, false),
            Field::new("year", DataType::Int32, true),
        ]);
        let layout = columns
            .of_file(&file("year=2024/a.txt"), None)
            .expect("layout");
        assert_eq!(layout.file_fields.len(), 1);
        let batch = layout
            .assemble(Decoded {
                columns: vec![Arc::new(StringArray::from(vec!["x", "y"]))],
                corrupt: None,
                rows: 2,
            })
            .expect("batch");
        let year = batch
            .column(1)
            .as_primitive::<arrow::datatypes::Int32Type>();
        assert_eq!(year.values(), &[2024, 2024]);
        let error = columns
            .of_file(&file("year=soon/a.txt"), None)
            .expect_err("no number");
        assert!(error.message().contains("year=soon"), "{error}");
    }

    #[test]
    fn facts_about_the_file_are_a_struct_of_what_was_asked_for() {
        let members = Fields::from(vec![Field::new("file_name", DataType::Utf8, true)]);
        let columns = columns(vec![Field::new(METADATA, DataType::Struct(members), true)]);
        let layout = columns.of_file(&file("sub=1/a.txt"), None).expect("layout");
        let batch = layout
            .assemble(Decoded {
                columns: vec![],
                corrupt: None,
                rows: 1,
            })
            .expect("batch");
        let name = batch
            .column(0)
            .as_struct()
            .column(0)
            .as_string::<i32>()
            .value(0)
            .to_owned();
        assert_eq!(name, "a.txt");
    }

    #[test]
    fn an_empty_projection_keeps_the_number_of_rows() {
        let columns = columns(vec![Field::new("v", DataType::Utf8, true)]);
        let layout = columns.of_file(&file("a.txt"), Some(&[])).expect("layout");
        let batch = layout
            .assemble(Decoded {
                columns: vec![],
                corrupt: None,
                rows: 3,
            })
            .expect("batch");
        assert_eq!((batch.num_rows(), batch.num_columns()), (3, 0));
    }
}
