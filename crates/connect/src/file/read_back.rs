//! What a sink of files has written, as a source.

use std::{path::PathBuf, sync::Arc};

use arrow::datatypes::SchemaRef;
use headwater_core::{Options, Result, SourceProvider};

use super::{FileFormat, FileSourceProvider, place::Place};

/// Options of sinks that say how files are made, which their reader sees for itself.
const OF_WRITING: [&str; 3] = ["compression", "rowGroupRows", "ignoreNullFields"];

/// The rows that a sink of files has written, whenever one looks.
#[derive(Debug, Clone)]
pub struct WrittenFiles {
    source: FileSourceProvider,
    /// Where the files are, if on this machine.
    folder: Option<PathBuf>,
}

impl WrittenFiles {
    /// Those of a sink of this format, path and options, that receives rows of this schema.
    ///
    /// # Errors
    /// `Invalid` for a path or option that cannot be used.
    pub(crate) fn of(
        format: FileFormat,
        path: &str,
        options: &Options,
        schema: SchemaRef,
    ) -> Result<Self> {
        let folder = match Place::parse(path)? {
            Place::Local(folder) => Some(folder),
            Place::Remote(_) => None,
        };
        let mut options = options.clone();
        for name in OF_WRITING {
            options.take(name);
        }
        let source = FileSourceProvider::try_new(format, Some(schema), path, options)?;
        Ok(Self { source, folder })
    }

    /// Their columns, which may all be null.
    pub fn schema(&self) -> SchemaRef {
        self.source.schema()
    }

    /// The files as a source; `None` while nothing has been written, so that there is no folder to read.
    pub fn source(&self) -> Option<Arc<dyn SourceProvider>> {
        let is_there = self.folder.as_ref().is_none_or(|folder| folder.is_dir());
        is_there.then(|| Arc::new(self.source.clone()) as Arc<dyn SourceProvider>)
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    #[test]
    fn before_the_first_file_there_is_nothing_and_options_of_writing_are_not_those_of_reading() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let path = folder.path().join("out");
        let shown = path.to_str().expect("UTF-8");
        let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Utf8, false)]));
        let options: Options = [("compression", "gzip"), ("header", "true"), ("sep", ";")]
            .into_iter()
            .collect();
        let written = WrittenFiles::of(FileFormat::Csv, shown, &options, Arc::clone(&schema));
        let written = written.expect("no mistake");
        assert!(written.source().is_none());
        std::fs::create_dir(&path).expect("created");
        assert!(written.source().is_some());
        assert!(written.schema().field(0).is_nullable());
        let wrong: Options = [("shape", "round")].into_iter().collect();
        WrittenFiles::of(FileFormat::Csv, shown, &wrong, schema).expect_err("no such option");
    }
}
