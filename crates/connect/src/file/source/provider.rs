//! A file source as a session knows it: what the user asked for, checked, and the columns of the table.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64},
    },
};

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use headwater_core::{Error, Options, Result, Source, SourceContext, SourceProvider};
use notify::RecursiveMode;
use parking_lot::RwLock;

use super::{
    FileSource,
    columns::{Columns, METADATA, metadata_field},
    decode::{self, FileReader},
    folder::{Archive, FileEntry, Folder, ListingCost},
    intake::Intake,
    ledger::{Cleaner, Ledger},
    options::{CleanSource, SourceOptions},
    rules::ListRules,
    seen_log::SeenLog,
    watch::Watch,
};
use crate::file::{FileFormat, hive, place::Place};

/// A folder of files as a streaming table.
///
/// The path is a local one, `file://…`, `memory://name/…`, or with the features of the storage layer `s3://`, `gs://`
/// or `az://`; a local path may also name a single file. Files must appear whole (written elsewhere or under a name that
/// begins with `_` or `.`, then renamed): a file is read once, as long as it was when it was listed. A file that makes
/// an epoch fail may be replaced; the next start reads it as it is then.
///
/// Columns are `schema`'s, each of which may be null; a column named like a `column=value` folder takes its values from
/// there, `_metadata` holds facts about the file (`file_path`, `file_name`, `file_size`, `file_modification_time`).
///
/// Options, besides those of the formats: `maxFilesPerTrigger`, `maxBytesPerTrigger` (such as `10m`), `latestFirst`,
/// `maxFileAge` (relative to the newest file taken; unlike elsewhere there is no default, so that no file is ignored
/// unasked), `cleanSource` (off, archive, delete), `sourceArchiveDir`, `pathGlobFilter`, `recursiveFileLookup`,
/// `fileNameOnly`, `metadataColumn`, `pollInterval` (how long a new file may stay unnoticed where the file system does not
/// tell, 1 second).
#[derive(Debug, Clone)]
pub struct FileSourceProvider {
    format: FileFormat,
    place: Place,
    folder: Folder,
    options: SourceOptions,
    /// None until the schema is resolved.
    columns: Option<Arc<Schema>>,
}

impl FileSourceProvider {
    /// A source over the files at `path`. Parquet, arrow and text need no schema, json and csv only with the option
    /// `inferSchema`; without one, [`Self::resolve`] must follow before the table is used.
    ///
    /// # Errors
    /// `Invalid` for a path, schema or option that cannot be used, with what to write instead.
    pub fn try_new(
        format: FileFormat,
        schema: Option<SchemaRef>,
        path: &str,
        options: Options,
    ) -> Result<Self> {
        let place = Place::parse(path)?;
        let mut options = SourceOptions::parse(format, &place, &options)?;
        if schema.is_none()
            && !options.infer_schema
            && matches!(format, FileFormat::Json | FileFormat::Csv)
        {
            return Err(Error::invalid(format!(
                "the {format} files at {place} need a schema: give one, or set the option inferSchema to true to have it guessed from the first file"
            )));
        }
        let folder = folder(&place, &mut options)?;
        let schema = match (schema, format) {
            (Some(schema), _) => Some(schema),
            (None, FileFormat::Text) => Some(Arc::new(Schema::new(vec![Field::new(
                decode::VALUE,
                DataType::Utf8,
                true,
            )]))),
            (None, _) => None,
        };
        let mut provider = Self {
            format,
            place,
            folder,
            options,
            columns: None,
        };
        if let Some(schema) = schema {
            provider.set_schema(&schema)?;
        }
        Ok(provider)
    }

    /// Looks at the folder: infers the schema from its first file if none was given, and appends columns for
    /// `column=value` folders that the schema lacks, as text. Local folders need no runtime for this.
    ///
    /// # Errors
    /// `Invalid` if there is no file to infer from; `Data` if it cannot be read.
    pub async fn resolve(mut self) -> Result<Self> {
        let rules = Arc::new(self.options.list.clone());
        let cost = ListingCost::default();
        let mut files = self.folder.list(&rules, Arc::new(|_| false), &cost).await?;
        files.sort_by(|a, b| (a.modified, &a.path).cmp(&(b.modified, &b.path)));
        let schema = match (self.columns.take(), files.first()) {
            (Some(schema), _) => schema,
            (None, Some(file)) => Arc::new(self.infer(file).await?),
            (None, None) => {
                return Err(Error::invalid(format!(
                    "there are no {} files at {} to take the schema from: give a schema",
                    self.format, self.place
                )));
            }
        };
        let mut fields: Vec<FieldRef> = schema.fields().to_vec();
        if !self.options.list.recursive {
            for (column, _) in files
                .first()
                .map(|file| hive::values(&file.path))
                .unwrap_or_default()
            {
                if !fields.iter().any(|field| *field.name() == column) {
                    fields.push(Arc::new(Field::new(column, DataType::Utf8, true)));
                }
            }
        }
        self.set_schema(&Schema::new_with_metadata(
            fields,
            schema.metadata().clone(),
        ))?;
        Ok(self)
    }

    /// As [`Self::resolve`], for callers that cannot wait: it runs on a thread of its own.
    ///
    /// # Errors
    /// As [`Self::resolve`].
    pub fn resolve_blocking(self) -> Result<Self> {
        let resolve = move || {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|error| Error::unavailable("cannot start a runtime").with_source(error))?
                .block_on(self.resolve())
        };
        std::thread::spawn(resolve)
            .join()
            .map_err(|_| Error::internal("the schema of the files was not resolved"))?
    }

    /// Makes the source for one run of one query.
    pub(super) async fn start(&self, context: SourceContext) -> Result<FileSource> {
        let Some(schema) = &self.columns else {
            return Err(Error::invalid(format!(
                "the schema of the files at {} is not known yet: give one, or resolve the source first",
                self.place
            )));
        };
        if let Folder::Local(root) = &self.folder
            && !root.is_dir()
        {
            return Err(Error::invalid(format!(
                "there is no folder {}: create it before the query starts",
                root.display()
            )));
        }
        let options = &self.options;
        let (log, seen) = SeenLog::open(Arc::clone(&context.storage)).await?;
        let mut intake = Intake::new(options.intake);
        intake.restore(log.count(), seen);
        let watched = match &self.folder {
            Folder::Local(root) if options.list.only.is_some() => {
                Some((root.as_path(), RecursiveMode::NonRecursive))
            }
            Folder::Local(root) => Some((root.as_path(), RecursiveMode::Recursive)),
            Folder::Stored(_) => None,
        };
        let folder = self.folder.clone();
        let cleaner = match &options.clean {
            CleanSource::Off => Cleaner::Off,
            CleanSource::Delete => Cleaner::Delete(folder),
            CleanSource::Archive(place) => {
                Cleaner::Archive(folder, Archive::at(place, &options.service)?)
            }
        };
        Ok(FileSource {
            place: self.place.to_string(),
            rules: Arc::new(options.list.clone()),
            intake: Arc::new(RwLock::new(intake)),
            ledger: Ledger::new(log, cleaner, context.retained),
            watch: Watch::new(watched, options.poll_millis),
            frozen: AtomicBool::new(false),
            planned_before: AtomicU64::new(0),
            cost: ListingCost::default(),
            clock: context.clock,
            reader: Arc::new(FileReader {
                folder: self.folder.clone(),
                format: self.format,
                columns: self.sort_out(schema)?,
                options: options.clone(),
            }),
        })
    }

    async fn infer(&self, file: &FileEntry) -> Result<Schema> {
        match self.format {
            FileFormat::Parquet => decode::parquet::infer(&self.folder, file).await,
            FileFormat::Arrow => decode::infer_arrow(&self.folder, file).await,
            FileFormat::Json => decode::infer_json(&self.folder, file).await,
            FileFormat::Csv => decode::infer_csv(&self.folder, file, &self.options.csv).await,
            FileFormat::Text => Err(Error::internal("text has a schema from the start")),
        }
    }

    fn set_schema(&mut self, schema: &Schema) -> Result<()> {
        let mut fields: Vec<FieldRef> = schema.fields().to_vec();
        if self.options.metadata_column && !fields.iter().any(|field| field.name() == METADATA) {
            fields.push(Arc::new(metadata_field()));
        }
        let schema = Schema::new_with_metadata(fields, schema.metadata().clone());
        let columns = self.sort_out(&schema)?;
        check_types(self.format, &self.place, &columns)?;
        self.columns = Some(Arc::clone(columns.schema()));
        Ok(())
    }

    fn sort_out(&self, schema: &Schema) -> Result<Columns> {
        let corrupt = matches!(self.format, FileFormat::Json | FileFormat::Csv)
            .then_some(self.options.corrupt_column.as_str());
        Columns::new(
            schema,
            corrupt,
            !self.options.list.recursive,
            self.place.prefix(),
        )
    }
}

/// The input folder; a path to a single local file is the folder around it and a rule.
fn folder(place: &Place, options: &mut SourceOptions) -> Result<Folder> {
    match place {
        Place::Local(path) if path.is_file() => {
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .ok_or_else(|| {
                    Error::invalid(format!("file name of {place} is not UTF-8: rename it"))
                })?;
            options.list = ListRules {
                only: Some(name.to_owned()),
                ..options.list.clone()
            };
            let parent = path
                .parent()
                .filter(|parent| !parent.as_os_str().is_empty());
            Ok(Folder::Local(
                parent.map_or_else(|| PathBuf::from("."), PathBuf::from),
            ))
        }
        Place::Local(path) => {
            let text = path.to_string_lossy();
            if text.contains(['*', '?', '[', '{']) && !path.exists() {
                return Err(Error::invalid(format!(
                    "the path {place} has wildcards: name the folder, set pathGlobFilter to choose among its files, and recursiveFileLookup to enter its folders"
                )));
            }
            Ok(Folder::Local(path.clone()))
        }
        Place::Remote(_) => Ok(Folder::Stored(place.storage(&options.service)?)),
    }
}

fn check_types(format: FileFormat, place: &Place, columns: &Columns) -> Result<()> {
    let refuse = |field: &Field, remedy: &str| {
        Err(Error::invalid(format!(
            "column '{}' of type {} cannot be read from the {format} files at {place}: {remedy}",
            field.name(),
            field.data_type()
        )))
    };
    for field in columns.ordinary() {
        match format {
            FileFormat::Csv if field.data_type().is_nested() => {
                return refuse(field, "declare it as text and take it apart in the query");
            }
            FileFormat::Text if field.name() == decode::VALUE && !is_text(field.data_type()) => {
                return refuse(field, "declare it as Utf8 and cast it in the query");
            }
            _ => {}
        }
    }
    if columns.ordinary().next().is_none() && matches!(format, FileFormat::Csv | FileFormat::Text) {
        return Err(Error::invalid(format!(
            "the schema of the {format} files at {place} has no column to read: declare at least one"
        )));
    }
    Ok(())
}

fn is_text(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
    )
}

#[async_trait]
impl SourceProvider for FileSourceProvider {
    /// The columns; none before [`FileSourceProvider::resolve`] if no schema was given.
    fn schema(&self) -> SchemaRef {
        self.columns
            .clone()
            .unwrap_or_else(|| Arc::new(Schema::empty()))
    }

    fn identity(&self) -> String {
        format!("file {} {}", self.format, self.place)
    }

    async fn create(&self, context: SourceContext) -> Result<Arc<dyn Source>> {
        Ok(Arc::new(self.start(context).await?))
    }
}
