//! `write_stream()`: says where the result goes, which rows of it, and when; and starts the query.

use std::{future::Future, sync::Arc};

use datafusion::{catalog::TableProvider, execution::SessionState};
use headwater_connect::{
    foreach::{ForeachSinkProvider, ForeachWriter},
    memory::MemorySink,
    registry::SinkRequest,
};
use headwater_core::{Epoch, Error, Options, OutputMode, Result, SinkProvider, Storage, Trigger};
use headwater_engine::{QuerySpec, StreamingQuery, StreamingQueryManager};
use headwater_log::store::storage_for_url;

use crate::{
    error::from_datafusion,
    frame::DataFrame,
    late_rows::{LateRows, each_epoch},
    location::IntoLocation,
    output::{Output, late_output, refuse_leftovers},
    services::Services,
};

/// Where rows go if nobody says otherwise.
const DEFAULT_FORMAT: &str = "parquet";

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
    /// Of a table in memory, where it differs from the query's name.
    table_name: Option<String>,
    partition_by: Vec<String>,
    checkpoint: Option<Arc<dyn Storage>>,
    options: Options,
    late: Option<LateRows>,
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
            table_name: None,
            partition_by: Vec::new(),
            checkpoint: None,
            options: Options::new(),
            late: None,
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

    /// The name of the memory sink's table, instead of the query's.
    pub(crate) fn table_name(mut self, name: impl Into<String>) -> Self {
        self.table_name = Some(name.into());
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
        self.sink(each_epoch(state, function))
    }

    /// Sends the rows that operators drop, because they came after the watermark, to a second sink: one record for each
    /// row, operator and window. A path stands for Parquet files.
    ///
    /// A record has all columns of the operator's input row, as the query has them below the operator, and
    ///
    /// | column | |
    /// | --- | --- |
    /// | `late_operator` | the operator: `aggregate-0`, as [`StreamingQuery`] and `explain` name it |
    /// | `late_input` | `left` or `right` of a join, else null |
    /// | `late_window_start`, `late_window_end` | the window that was closed, for sessions the interval that the row opens; null where the row is late by its own time |
    /// | `late_watermark` | the watermark that dropped the row |
    /// | `late_epoch` | the epoch in which it came |
    ///
    /// Where several operators drop rows, records have the columns of all their inputs, by name, with null for those that
    /// an operator's input does not have.
    ///
    /// Both sinks share one commit: after a crash too, the epochs that are in one are those that are in the other. There
    /// are as many records as progress reports count in `numRowsDroppedByWatermark`. At a restart late rows must go to
    /// the same place; a query that had none may get one.
    ///
    /// ```no_run
    /// # use headwater::{LateRows, prelude::*};
    /// # async fn start(clicks: DataFrame) -> Result<()> {
    /// let query = clicks
    ///     .write_stream()
    ///     .late_rows_to(LateRows::format("json").path("out/late"))
    ///     .option("checkpointLocation", "out/checkpoint")
    ///     .start("out/clicks")
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn late_rows_to(mut self, late: impl Into<LateRows>) -> Self {
        self.late = Some(late.into());
        self
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
        for sink in prepared.tables {
            register(&prepared.state, sink.name(), Arc::new(sink.table()?))?;
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
        let is_durable = checkpoint.is_some();
        let output = match self.target {
            Target::Provider(sink) => {
                refuse_leftovers(path.as_deref(), &self.options, &self.partition_by)?;
                Output::of(sink)
            }
            Target::Format(format) => {
                let request = SinkRequest {
                    format: format.unwrap_or_else(|| DEFAULT_FORMAT.to_owned()),
                    path,
                    options: self.options,
                    partition_by: self.partition_by,
                    query_name: self.table_name.or_else(|| self.query_name.clone()),
                };
                Output::by_format(&services, request, is_durable)?
            }
        };
        let late = self.late.map(|late| {
            let late = late_output(late, &state, &services, is_durable)?;
            output.refuse_same_place(&late)?;
            Ok::<_, Error>(late)
        });
        let late = late.transpose()?;
        let tables = [
            output.table,
            late.as_ref().and_then(|late| late.table.clone()),
        ];
        let spec = QuerySpec {
            name: self.query_name,
            state: state.clone(),
            plan,
            mode: self.mode,
            trigger: self.trigger,
            sink: output.sink,
            late_sink: late.map(|late| late.sink),
            checkpoint,
            settings: services.settings.clone(),
            clock: Arc::clone(&services.clock),
        };
        Ok(Prepared {
            queries: services.queries.clone(),
            spec,
            state,
            tables: tables.into_iter().flatten().collect(),
        })
    }
}

/// A query that is ready to start.
struct Prepared {
    queries: StreamingQueryManager,
    spec: QuerySpec,
    /// The session in which the rows of memory sinks become tables.
    state: SessionState,
    tables: Vec<MemorySink>,
}

/// Takes out the options whose names begin with `prefix`, without it.
pub(crate) fn take_prefixed(options: &mut Options, prefix: &str) -> Options {
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
