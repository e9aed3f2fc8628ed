//! `read()`: the same tables as they are now, for the batch answer.

use std::{path::Path, sync::Arc};

use datafusion::{
    arrow::datatypes::Schema,
    dataframe::DataFrame as Inner,
    datasource::{file_format::options::ArrowReadOptions, provider_as_source},
    logical_expr::LogicalPlanBuilder,
    prelude::{CsvReadOptions, JsonReadOptions, ParquetReadOptions},
};
use headwater_connect::registry::SourceRequest;
use headwater_core::{Error, Options, Result};
use headwater_plan::FinishedTable;

use crate::{error::from_datafusion, frame::DataFrame, location::IntoLocation, session::Session};

/// Describes a static table in files, or in topics of Kafka; [`BatchReader::load`] makes it a frame.
///
/// Text files, and JSON and CSV files of a given schema, are read by the reader that streams them, with the same
/// options: what a stream of them would give, all at once. DataFusion reads the others.
#[derive(Debug, Clone)]
#[must_use = "a reader does nothing until load() or one of its like"]
pub struct BatchReader {
    session: Session,
    format: Option<String>,
    schema: Option<Arc<Schema>>,
    options: Options,
}

impl BatchReader {
    pub(crate) fn new(session: Session) -> Self {
        Self {
            session,
            format: None,
            schema: None,
            options: Options::new(),
        }
    }

    /// `parquet`, `json`, `csv`, `text` or `arrow`; `kafka` for topics as far as they go now.
    pub fn format(mut self, format: impl Into<String>) -> Self {
        self.format = Some(format.into());
        self
    }

    /// The columns; without it they are read from the files.
    pub fn schema(mut self, schema: impl Into<Arc<Schema>>) -> Self {
        self.schema = Some(schema.into());
        self
    }

    /// Sets one option: with a schema, and for text, those of the streaming reader. Without a schema CSV knows `header`
    /// (default false), `sep`, `quote`, `escape` and `comment`; the other formats know none.
    pub fn option(mut self, name: impl Into<String>, value: impl ToString) -> Self {
        self.options.set(name, value.to_string());
        self
    }

    /// Sets several options.
    pub fn options<K, V>(mut self, options: impl IntoIterator<Item = (K, V)>) -> Self
    where
        K: Into<String>,
        V: ToString,
    {
        for (name, value) in options {
            self.options.set(name, value.to_string());
        }
        self
    }

    /// The table at a path or URL: one file, or a folder of them; for `kafka`, `None`. A streaming query that joins it
    /// sees files, or messages, that appear later in its next epoch.
    ///
    /// # Errors
    /// `Invalid` if the format or an option is not known, `Unavailable` or `Data` if the files cannot be read.
    pub async fn load(self, path: impl IntoLocation) -> Result<DataFrame> {
        let path = path.into_location()?;
        let format = self
            .format
            .as_deref()
            .unwrap_or("parquet")
            .to_ascii_lowercase();
        if format == "kafka" {
            return self.read_connector(format, path).await;
        }
        let path = path.ok_or_else(|| {
            Error::invalid("a static table needs a path or URL: write load(\"data/logs\")")
        })?;
        let path = path.as_str();
        match format.as_str() {
            "parquet" => self.read_parquet(path).await,
            "text" => self.read_finished(format, path).await,
            "json" | "csv" if self.schema.is_some() => self.read_finished(format, path).await,
            "json" => self.read_json(path).await,
            "csv" => self.read_csv(path).await,
            "arrow" => self.read_arrow(path).await,
            other => Err(Error::invalid(format!(
                "unknown format '{other}' of static tables: write parquet, json, csv, text, arrow or kafka"
            ))),
        }
    }

    /// The Parquet files at a path.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub async fn parquet(self, path: impl IntoLocation) -> Result<DataFrame> {
        self.format("parquet").load(path).await
    }

    /// The JSON files at a path: one object per line.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub async fn json(self, path: impl IntoLocation) -> Result<DataFrame> {
        self.format("json").load(path).await
    }

    /// The CSV files at a path.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub async fn csv(self, path: impl IntoLocation) -> Result<DataFrame> {
        self.format("csv").load(path).await
    }

    /// The lines of the text files at a path, as a column `value`.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub async fn text(self, path: impl IntoLocation) -> Result<DataFrame> {
        self.format("text").load(path).await
    }

    async fn read_finished(mut self, format: String, path: &str) -> Result<DataFrame> {
        let mut path = path;
        // The streaming reader watches folders.
        let file = Path::new(path);
        if file.is_file()
            && let (Some(folder), Some(name)) = (file.parent(), file.file_name())
            && let (Some(folder), Some(name)) = (folder.to_str(), name.to_str())
        {
            self.options.set("pathGlobFilter", literal_glob(name));
            path = if folder.is_empty() { "." } else { folder };
        }
        let path = Some(path.to_owned());
        self.read_connector(format, path).await
    }

    /// What a streaming source has now.
    async fn read_connector(self, format: String, path: Option<String>) -> Result<DataFrame> {
        let source = self.session.connectors().source(&SourceRequest {
            format: format.clone(),
            schema: self.schema,
            path,
            options: self.options,
            is_bounded: true,
        })?;
        let table = FinishedTable::new(source, Arc::clone(self.session.clock()));
        table.check().await?;
        let table = provider_as_source(Arc::new(table));
        let plan = LogicalPlanBuilder::scan(format, table, None)
            .and_then(LogicalPlanBuilder::build)
            .map_err(from_datafusion)?;
        Ok(Inner::new(self.session.state(), plan).into())
    }

    async fn read_parquet(self, path: &str) -> Result<DataFrame> {
        self.options.deny_unknown("format 'parquet'", &[])?;
        let options = ParquetReadOptions {
            schema: self.schema.as_deref(),
            ..ParquetReadOptions::default()
        };
        let frame = self.session.context().read_parquet(path, options).await;
        frame.map(DataFrame::from).map_err(from_datafusion)
    }

    async fn read_json(self, path: &str) -> Result<DataFrame> {
        self.options.deny_unknown("format 'json'", &[])?;
        let options = JsonReadOptions::default();
        let frame = self.session.context().read_json(path, options).await;
        frame.map(DataFrame::from).map_err(from_datafusion)
    }

    async fn read_arrow(self, path: &str) -> Result<DataFrame> {
        self.options.deny_unknown("format 'arrow'", &[])?;
        let options = ArrowReadOptions {
            schema: self.schema.as_deref(),
            ..ArrowReadOptions::default()
        };
        let frame = self.session.context().read_arrow(path, options).await;
        frame.map(DataFrame::from).map_err(from_datafusion)
    }

    async fn read_csv(self, path: &str) -> Result<DataFrame> {
        self.options.deny_unknown(
            "format 'csv'",
            &["header", "sep", "quote", "escape", "comment"],
        )?;
        let one_byte = |name: &str| -> Result<Option<u8>> {
            match self.options.get(name).map(str::as_bytes) {
                None => Ok(None),
                Some([byte]) => Ok(Some(*byte)),
                Some(_) => Err(Error::invalid(format!(
                    "option '{name}' of format 'csv' takes one ASCII character"
                ))),
            }
        };
        let mut options = CsvReadOptions::new()
            .has_header(self.options.parse("header")?.unwrap_or(false))
            .delimiter(one_byte("sep")?.unwrap_or(b','))
            .quote(one_byte("quote")?.unwrap_or(b'"'));
        options.escape = one_byte("escape")?;
        options.comment = one_byte("comment")?;
        let frame = self.session.context().read_csv(path, options).await;
        frame.map(DataFrame::from).map_err(from_datafusion)
    }
}

/// A glob that only this name matches.
fn literal_glob(name: &str) -> String {
    let mut glob = String::with_capacity(name.len());
    for character in name.chars() {
        match character {
            '*' | '?' | '[' | ']' => glob.extend(['[', character, ']']),
            other => glob.push(other),
        }
    }
    glob
}
