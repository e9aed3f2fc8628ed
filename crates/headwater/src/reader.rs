//! `read_stream()`: says where the rows of a stream come from.

use std::sync::Arc;

use datafusion::{
    arrow::datatypes::{Schema, SchemaRef},
    dataframe::DataFrame as Inner,
    datasource::provider_as_source,
    logical_expr::LogicalPlanBuilder,
};
use headwater_connect::registry::SourceRequest;
use headwater_core::{Error, Options, Result, SourceProvider};
use headwater_plan::StreamTable;

use crate::{error::from_datafusion, frame::DataFrame, location::IntoLocation, session::Session};

/// Describes a streaming source; [`StreamReader::load`] makes it a frame.
///
/// Option names are taken as Spark writes them, in any case, and in `snake_case`. A source refuses an option that it
/// does not know and lists those it does.
#[derive(Debug, Clone)]
#[must_use = "a reader does nothing until load() or one of its like"]
pub struct StreamReader {
    session: Session,
    format: Option<String>,
    schema: Option<SchemaRef>,
    options: Options,
}

impl StreamReader {
    pub(crate) fn new(session: Session) -> Self {
        Self {
            session,
            format: None,
            schema: None,
            options: Options::new(),
        }
    }

    /// The kind of source: `parquet`, `json`, `csv`, `text`, `arrow` (files in a folder), `rate`,
    /// `rate-micro-batch`, `socket`, `memory` and `generator` (by the name they were registered under).
    pub fn format(mut self, format: impl Into<String>) -> Self {
        self.format = Some(format.into());
        self
    }

    /// The columns, for sources that do not bring their own.
    pub fn schema(mut self, schema: impl Into<Arc<Schema>>) -> Self {
        self.schema = Some(schema.into());
        self
    }

    /// Sets one option.
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

    /// The stream at a path or URL; for sources without one (`rate`), `None`. The option `path` says the same.
    ///
    /// # Errors
    /// `Invalid` if the format or an option is not known, or the source needs a schema and has none.
    pub fn load(self, path: impl IntoLocation) -> Result<DataFrame> {
        let format = self.format.ok_or_else(|| {
            Error::invalid(
                "a stream needs a format: say format(\"parquet\") or the like before load",
            )
        })?;
        let mut options = self.options;
        let path = match (path.into_location()?, options.take("path")) {
            (Some(path), None) => Some(path),
            (None, path) => path,
            (Some(_), Some(_)) => {
                return Err(Error::invalid(
                    "the path is given twice: once to load and once as the option 'path'",
                ));
            }
        };
        let source = self.session.services().connectors.source(&SourceRequest {
            format: format.clone(),
            schema: self.schema,
            path,
            options,
            is_bounded: false,
        })?;
        stream_frame(&self.session, &format, source)
    }

    /// A registered stream.
    ///
    /// # Errors
    /// `Invalid` if there is no table of this name, or it is a static one.
    pub async fn table(self, name: &str) -> Result<DataFrame> {
        if !self.options.is_empty() || self.schema.is_some() || self.format.is_some() {
            return Err(Error::invalid(format!(
                "table('{name}') takes no format, schema or options: give them where the stream is registered"
            )));
        }
        let frame = self.session.table(name).await?;
        if !frame.is_streaming() {
            return Err(Error::invalid(format!(
                "'{name}' is a static table: read it with session.table()"
            )));
        }
        Ok(frame)
    }

    /// The Parquet files of a folder.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn parquet(self, path: impl IntoLocation) -> Result<DataFrame> {
        self.format("parquet").load(path)
    }

    /// The JSON files of a folder: one object per line.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn json(self, path: impl IntoLocation) -> Result<DataFrame> {
        self.format("json").load(path)
    }

    /// The CSV files of a folder.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn csv(self, path: impl IntoLocation) -> Result<DataFrame> {
        self.format("csv").load(path)
    }

    /// The lines of the text files of a folder, as a column `value`.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn text(self, path: impl IntoLocation) -> Result<DataFrame> {
        self.format("text").load(path)
    }
}

/// A frame over a source that has no name in SQL.
pub(crate) fn stream_frame(
    session: &Session,
    name: &str,
    source: Arc<dyn SourceProvider>,
) -> Result<DataFrame> {
    let table = provider_as_source(Arc::new(StreamTable::new(name, source)));
    let plan = LogicalPlanBuilder::scan(name, table, None)
        .and_then(LogicalPlanBuilder::build)
        .map_err(from_datafusion)?;
    Ok(Inner::new(session.state(), plan).into())
}
