//! A file sink as a session knows it: what the user asked for, checked.

use std::{fmt, sync::Arc};

use arrow::datatypes::{DataType, SchemaRef};
use async_trait::async_trait;
use headwater_core::{
    Error, Options, OutputMode, Result, Sink, SinkContext, SinkProvider, Storage,
};
use parquet::arrow::ArrowSchemaConverter;

use super::{
    FileSink, complete::CompleteMark, options::SinkOptions, part::FileKind, partition::Partitioning,
};
use crate::file::{FileFormat, place::Place};

/// A folder of files as the output of a query, in append mode.
///
/// The path is a local one, `file://…`, `memory://name/…`, or with the features of the storage layer `s3://`, `gs://`
/// or `az://`. Each partition of an epoch becomes one file per folder (`partition_by` makes folders `column=value`); an
/// epoch without rows writes nothing. Whoever reads the folder sees no row twice; see
/// [`whole_epochs`](super::whole_epochs) for readers that want whole epochs only.
///
/// Options: `compression` (parquet: snappy, zstd, lz4, none; json, csv and text: gzip, none), `rowGroupRows` (parquet),
/// `header`, `sep`, `quote`, `escape`, `nullValue` (csv), `ignoreNullFields` (json), `lineSep` (text).
#[derive(Clone)]
pub struct FileSinkProvider {
    format: FileFormat,
    place: Place,
    options: SinkOptions,
    partition_by: Vec<String>,
    storage: Option<Arc<dyn Storage>>,
}

impl fmt::Debug for FileSinkProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileSinkProvider")
            .field("format", &self.format)
            .field("place", &self.place.to_string())
            .field("partition_by", &self.partition_by)
            .finish_non_exhaustive()
    }
}

impl FileSinkProvider {
    /// A sink that writes files of `format` below `path`, in folders by the columns `partition_by`.
    ///
    /// # Errors
    /// `Invalid` for a path or option that cannot be used, with what to write instead.
    pub fn try_new(
        format: FileFormat,
        path: &str,
        options: Options,
        partition_by: Vec<String>,
    ) -> Result<Self> {
        let place = Place::parse(path)?;
        let options = SinkOptions::parse(format, &place, &options)?;
        Ok(Self {
            format,
            place,
            options,
            partition_by,
            storage: None,
        })
    }

    /// Writes through this storage, whose root stands for the path, instead of the one that the path names: for
    /// storages that count, and those that fail on command.
    #[must_use]
    pub fn with_storage(mut self, storage: Arc<dyn Storage>) -> Self {
        self.storage = Some(storage);
        self
    }
}

fn check_types(format: FileFormat, file_schema: &SchemaRef) -> Result<()> {
    let refuse = |name: &str, data_type: &DataType, remedy: &str| {
        Err(Error::invalid(format!(
            "sink '{format}' cannot write column '{name}' of type {data_type}: {remedy}"
        )))
    };
    for (index, field) in file_schema.fields().iter().enumerate() {
        if file_schema.fields()[..index]
            .iter()
            .any(|other| other.name() == field.name())
        {
            return Err(Error::invalid(format!(
                "the output has two columns called '{}': rename one with an alias",
                field.name()
            )));
        }
        if format == FileFormat::Csv && field.data_type().is_nested() {
            return refuse(
                field.name(),
                field.data_type(),
                "select its members, or write json or parquet",
            );
        }
    }
    match format {
        FileFormat::Text => {
            let fields = file_schema.fields();
            let text = |of: &DataType| {
                matches!(
                    of,
                    DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
                )
            };
            if fields.len() != 1 || !text(fields[0].data_type()) {
                return Err(Error::invalid(format!(
                    "sink 'text' writes exactly one column of text, the output has {}: select one, such as concat_ws(',', …) AS value",
                    fields
                        .iter()
                        .map(|field| format!("{} {}", field.name(), field.data_type()))
                        .collect::<Vec<_>>()
                        .join(", ")
                )));
            }
        }
        FileFormat::Parquet => {
            ArrowSchemaConverter::new().convert(file_schema).map_err(|error| {
                Error::invalid("sink 'parquet' cannot write a column of the output: cast it to a type that Parquet has")
                    .with_source(error)
            })?;
        }
        FileFormat::Json | FileFormat::Csv | FileFormat::Arrow => {}
    }
    Ok(())
}

#[async_trait]
impl SinkProvider for FileSinkProvider {
    fn identity(&self) -> String {
        format!("file {} {}", self.format, self.place)
    }

    fn check(&self, mode: OutputMode, schema: &SchemaRef) -> Result<()> {
        if mode != OutputMode::Append {
            return Err(Error::invalid(format!(
                "sink '{}' receives append mode only, not {mode}: files cannot be taken back; set append mode (aggregations need a watermark for it), or use foreach_batch or the memory sink",
                self.format
            )));
        }
        let partitioning = Partitioning::new(schema, &self.partition_by)?;
        check_types(self.format, partitioning.file_schema())
    }

    async fn create(&self, context: SinkContext) -> Result<Arc<dyn Sink>> {
        self.check(context.mode, &context.schema)?;
        let storage = match &self.storage {
            Some(storage) => Arc::clone(storage),
            None => self.place.storage(&self.options.service)?,
        };
        let partitioning = Partitioning::new(&context.schema, &self.partition_by)?;
        let complete = CompleteMark::new(Arc::clone(&storage), context.query);
        Ok(Arc::new(FileSink {
            place: self.place.to_string(),
            published: complete.newest().await?,
            complete,
            kind: FileKind {
                format: self.format,
                schema: Arc::clone(partitioning.file_schema()),
                options: self.options.clone(),
                dictionaries: Arc::default(),
                storage,
            },
            partitioning,
        }))
    }
}
