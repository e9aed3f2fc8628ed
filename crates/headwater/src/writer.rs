//! `write_stream()`: says where the result goes, which rows of it, and when; and starts the query.

use std::{future::Future, sync::Arc};

use datafusion::{catalog::TableProvider, execution::SessionState, prelude::SessionContext};
use headwater_connect::{
    foreach::{EpochRows, ForeachBatchSinkProvider, ForeachSinkProvider, ForeachWriter},
    memory::MemorySink,
    registry::SinkRequest,
};
use headwater_core::{Epoch, Error, Options, OutputMode, Result, SinkProvider, Storage, Trigger};
use headwater_engine::{QuerySpec, StreamingQuery, StreamingQueryManager};
use headwater_log::store::storage_for_url;

use crate::{error::from_datafusion, frame::DataFrame, location::IntoLocation, services::Services};

/// Where rows go if nobody says otherwise.
const DEFAULT_FORMAT: &str = "parquet";

/// Sinks that cannot be exactly once without a checkpoint that outlives the process.
const FILE_FORMATS: &[&str] = &["parquet", "json", "csv", "text", "arrow", "ipc"];

/// Describes a streaming query; [`StreamWriter::start`] starts it.
///
/// Options that are not the writer's own (`checkpointLocation`, `queryName`) go to the sink, which refuses those it does
/// not know and lists those it does.
#[derive(Debug)]
#[must_use = "a writer does nothing until start()"]
pub struct StreamWriter {
    frame: DataFrame,
    target: Target,
    mode: OutputMode,
    trigger: Trigger,
    query_name: Option<String>,
    partition_by: Vec<String>,
    checkpoint: Option<Arc<dyn Storage>>,
    options: Options,
}

/// Where the rows go.
#[derive(Debug)]
enum Target {
    /// A sink by its format's name.
    Format(Option<String>),
    /// A sink made of the user's code, or given as an object.
    Provider(Arc<dyn SinkProvider>),
}

impl StreamWriter {
    pub(crate) fn new(frame: DataFrame) -> Self {
        Self {
            frame,
            target: Target::Format(None),
            mode: OutputMode::Append,
            trigger: Trigger::Default,
            query_name: None,
            partition_by: Vec::new(),
            checkpoint: None,
            options: Options::new(),
        }
    }

    /// The kind of sink: `parquet`, `json`, `csv`, `text`, `arrow` (files in a folder), `console`, `memory`, `socket`,
    /// `noop`. Parquet by default.
    pub fn format(mut self, format: impl Into<String>) -> Self {
        self.target = Target::Format(Some(format.into()));
        self
    }

    /// A sink of one's own.
    pub fn sink(mut self, sink: Arc<dyn SinkProvider>) -> Self {
        self.target = Target::Provider(sink);
        self
    }

    /// Which rows of the result the sink receives. Append by default.
    pub fn output_mode(mut self, mode: OutputMode) -> Self {
        self.mode = mode;
        self
    }

    /// When epochs run. By default as soon as the one before is done and there is new data.
    pub fn trigger(mut self, trigger: Trigger) -> Self {
        self.trigger = trigger;
        self
    }

    /// The query's name, unique among the active queries of a session; for the memory sink also the table's name.
    pub fn query_name(mut self, name: impl Into<String>) -> Self {
        self.query_name = Some(name.into());
        self
    }

    /// Columns by whose values a file sink makes folders (`host=a/day=2024-01-01/`).
    pub fn partition_by<I>(mut self, columns: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.partition_by = columns.into_iter().map(Into::into).collect();
        self
    }

    /// Sets one option. `checkpointLocation` (a path or URL) is where the query's log and state live: a query that is
    /// started on it again goes on where it was. Options of that location's service begin with `checkpoint.`
    /// (`checkpoint.endpoint`).
    pub fn option(mut self, name: impl Into<String>, value: impl ToString) -> Self {
        self.options.set(name, value.to_string());
        self
    }

    /// The storage of the query's log and state itself, instead of `checkpointLocation`.
    pub fn checkpoint(mut self, storage: Arc<dyn Storage>) -> Self {
        self.checkpoint = Some(storage);
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

    /// Sends the rows to a writer of one's own, made anew for each partition of each epoch.
    pub fn foreach<W: ForeachWriter + 'static>(
        self,
        make: impl Fn() -> W + Send + Sync + 'static,
    ) -> Self {
        self.sink(Arc::new(ForeachSinkProvider::new(make)))
    }

    /// Calls a function once per epoch with all its rows as a static frame, and the epoch's number. After a crash an
    /// epoch may come again, with the same number: remember it with the rows to write each exactly once.
    pub fn foreach_batch<F, Done>(self, function: F) -> Self
    where
        F: Fn(DataFrame, Epoch) -> Done + Send + Sync + 'static,
        Done: Future<Output = Result<()>> + Send + 'static,
    {
        let (state, _) = self.frame.clone().into_inner().into_parts();
        let context = SessionContext::new_with_state(state);
        let function = Arc::new(function);
        self.sink(Arc::new(ForeachBatchSinkProvider::new(
            move |rows: EpochRows| {
                let (function, context) = (Arc::clone(&function), context.clone());
                async move {
                    let epoch = rows.epoch;
                    let frame = rows.into_frame(&context)?;
                    function(frame.into(), epoch).await
                }
            },
        )))
    }

    /// Starts the query, with the path that the sink writes to; `None` for a sink without one. The option `path`
    /// says the same.
    ///
    /// # Errors
    /// `Invalid` if the query cannot run in this output mode, an option is not known, a durable sink has no
    /// `checkpointLocation`, or the checkpoint belongs to another query; `Fenced` if another process runs it.
    pub async fn start(self, path: impl IntoLocation) -> Result<StreamingQuery> {
        let path = path.into_location()?;
        let prepared = self.prepare(path)?;
        let query = Box::pin(prepared.queries.start(prepared.spec)).await?;
        if let Some((state, sink)) = prepared.table {
            register(&state, sink.name(), Arc::new(sink.table()?))?;
        }
        Ok(query)
    }

    /// Starts the query into a table that the session can query under this name, as the memory sink does.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn to_table(mut self, name: &str) -> Result<StreamingQuery> {
        if let Target::Format(Some(format)) = &self.target
            && !format.eq_ignore_ascii_case("memory")
        {
            return Err(Error::invalid(format!(
                "to_table('{name}') writes a table in memory, not the format '{format}': use start(path) for files"
            )));
        }
        self.target = Target::Format(Some("memory".to_owned()));
        self.query_name.get_or_insert_with(|| name.to_owned());
        Box::pin(self.start(None)).await
    }

    /// The query as the engine takes it, for whoever steps a [`headwater_engine::Driver`] by hand.
    ///
    /// # Errors
    /// As [`Self::start`], as far as it can be known without opening anything.
    pub fn into_spec(self, path: impl IntoLocation) -> Result<QuerySpec> {
        let path = path.into_location()?;
        Ok(self.prepare(path)?.spec)
    }

    /// Everything the engine needs, checked as far as it can be before anything runs.
    fn prepare(mut self, path: Option<String>) -> Result<Prepared> {
        let (state, plan) = self.frame.into_inner().into_parts();
        let services = Services::of(&state)?;
        if !headwater_plan::is_streaming(&plan) {
            return Err(Error::invalid(
                "the frame is static: read a stream with read_stream(), or write the frame itself with DataFusion",
            ));
        }
        let checkpoint_options = take_prefixed(&mut self.options, "checkpoint.");
        let checkpoint = match (self.checkpoint, self.options.take("checkpointLocation")) {
            (Some(_), Some(location)) => {
                return Err(Error::invalid(format!(
                    "the checkpoint is given twice: as storage and as the option checkpointLocation '{location}'"
                )));
            }
            (Some(storage), None) => Some(storage),
            (None, Some(location)) => Some(storage_for_url(&location, &checkpoint_options)?),
            (None, None) => None,
        };
        if let Some(name) = self.options.take("queryName") {
            self.query_name = Some(name);
        }
        let path = match (path, self.options.take("path")) {
            (Some(_), Some(_)) => {
                return Err(Error::invalid(
                    "the path is given twice: once to start and once as the option 'path'",
                ));
            }
            (given, option) => given.or(option),
        };
        let (sink, table) = match self.target {
            Target::Provider(sink) => {
                refuse_leftovers(path.as_deref(), &self.options, &self.partition_by)?;
                (sink, None)
            }
            Target::Format(format) => {
                let format = format
                    .unwrap_or_else(|| DEFAULT_FORMAT.to_owned())
                    .to_ascii_lowercase();
                if checkpoint.is_none() && FILE_FORMATS.contains(&format.as_str()) {
                    return Err(Error::invalid(format!(
                        "sink '{format}' writes files, which must not be written twice: say where the query's \
                         checkpoint is with option(\"checkpointLocation\", …)"
                    )));
                }
                let is_memory = format == "memory";
                let sink = services.connectors.sink(&SinkRequest {
                    format,
                    path,
                    options: self.options,
                    partition_by: self.partition_by,
                    query_name: self.query_name.clone(),
                })?;
                let table = self.query_name.as_deref().filter(|_| is_memory);
                let table = table.and_then(|name| services.connectors.memory_sink(name));
                (sink, table.map(|table| (state.clone(), table)))
            }
        };
        let spec = QuerySpec {
            name: self.query_name,
            state,
            plan,
            mode: self.mode,
            trigger: self.trigger,
            sink,
            checkpoint,
            settings: services.settings.clone(),
            clock: Arc::clone(&services.clock),
        };
        Ok(Prepared {
            queries: services.queries.clone(),
            spec,
            table,
        })
    }
}

/// A query that is ready to start.
struct Prepared {
    queries: StreamingQueryManager,
    spec: QuerySpec,
    /// The memory sink whose rows become a table, and where.
    table: Option<(SessionState, MemorySink)>,
}

/// Takes out the options whose names begin with `prefix`, without it.
fn take_prefixed(options: &mut Options, prefix: &str) -> Options {
    let names: Vec<String> = options
        .iter()
        .map(|(name, _)| name.to_owned())
        .filter(|name| name.to_ascii_lowercase().starts_with(prefix))
        .collect();
    names
        .into_iter()
        .filter_map(|name| Some((name[prefix.len()..].to_owned(), options.take(&name)?)))
        .collect()
}

/// A sink of one's own takes nothing from the writer.
fn refuse_leftovers(path: Option<&str>, options: &Options, partition_by: &[String]) -> Result<()> {
    options.deny_unknown("a sink of one's own", &[])?;
    if let Some(path) = path {
        return Err(Error::invalid(format!(
            "the path '{path}' means nothing to a sink of one's own: write start(None)"
        )));
    }
    if !partition_by.is_empty() {
        return Err(Error::invalid(format!(
            "only file sinks make folders: drop partition_by({})",
            partition_by.join(", ")
        )));
    }
    Ok(())
}

/// Makes the sink's rows a table of the session's default schema.
fn register(state: &SessionState, name: &str, table: Arc<dyn TableProvider>) -> Result<()> {
    let schema = state.schema_for_ref(name).map_err(from_datafusion)?;
    if schema.table_exist(name) {
        schema.deregister_table(name).map_err(from_datafusion)?;
    }
    schema
        .register_table(name.to_owned(), table)
        .map(drop)
        .map_err(from_datafusion)
}
