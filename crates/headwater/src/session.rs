//! The way in: a session holds the tables, functions and queries of one program.

use std::{fmt, sync::Arc};

use datafusion::{
    arrow::record_batch::RecordBatch,
    catalog::TableProvider,
    common::DFSchema,
    datasource::MemTable,
    execution::{SessionState, SessionStateBuilder},
    logical_expr::{AggregateUDF, Expr, ScalarUDF},
    physical_optimizer::optimizer::PhysicalOptimizer,
    prelude::{SessionConfig, SessionContext},
};
use headwater_connect::{memory::MemoryStream, registry::ConnectorRegistry};
use headwater_core::{Clock, Error, Result, SourceProvider, SystemClock};
use headwater_engine::{Settings, StreamingQueryManager};
use headwater_ops::processor::{GroupFunction, IntoColumns, ProcessorRegistry, StatefulProcessor};
use headwater_plan::StreamTable;
use headwater_sql::{SqlFrontEnd, guarded_rules};

use crate::{
    batch_reader::BatchReader,
    batch_rules::{BatchPlanner, BatchWindows, CheckedArithmetic},
    error::from_datafusion,
    frame::DataFrame,
    reader::StreamReader,
    services::Services,
    sql_hooks::Hooks,
    sql_statements::{Definitions, StartOptions},
};

/// Tables, functions, settings and queries of one program. Clones are the same session.
///
/// It holds a DataFusion [`SessionContext`], reached with [`Session::context`]: whatever is registered there can be
/// used in streaming queries too.
#[derive(Clone)]
pub struct Session {
    context: SessionContext,
    services: Arc<Services>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("settings", &self.services.settings)
            .field("queries", &self.services.queries)
            .finish_non_exhaustive()
    }
}

impl Default for Session {
    fn default() -> Self {
        Self::new()
    }
}

impl Session {
    /// A session with the defaults of [`SessionBuilder`].
    pub fn new() -> Self {
        // Nothing in the defaults can be refused.
        SessionBuilder::default().assemble()
    }

    /// A session to be configured.
    pub fn builder() -> SessionBuilder {
        SessionBuilder::default()
    }

    /// The DataFusion context underneath.
    pub fn context(&self) -> &SessionContext {
        &self.context
    }

    /// Reads a table that never stops growing.
    pub fn read_stream(&self) -> StreamReader {
        StreamReader::new(self.clone())
    }

    /// Reads a table as it is now: the same sources and options, the batch answer.
    pub fn read(&self) -> BatchReader {
        BatchReader::new(self.clone())
    }

    /// A registered table, growing or not.
    ///
    /// # Errors
    /// `Invalid` if there is none of this name.
    pub async fn table(&self, name: &str) -> Result<DataFrame> {
        let frame = self.context.table(name).await.map_err(from_datafusion)?;
        Ok(frame.into())
    }

    /// Carries out one SQL statement. A query over a stream gives a streaming frame; one over tables, the batch answer.
    /// Statements that define something (`CREATE STREAM`, `CREATE SINK`, `CREATE VIEW`, …) take effect at once, and those
    /// that start a streaming query (`INSERT INTO` a sink, `CREATE STREAMING QUERY`) start it and give a row that says
    /// its name and ids. The statements are those of `docs/sql.md`; a script of several is [`Self::pipeline`]'s.
    ///
    /// # Errors
    /// `Invalid` if the text cannot be understood, with the line that it is about; otherwise whatever carrying it out
    /// gives.
    pub async fn sql(&self, text: &str) -> Result<DataFrame> {
        Box::pin(self.sql_with(text, &|_| StartOptions::default())).await
    }

    /// Reads a SQL expression, with its alias if it has one, against columns; see also [`DataFrame::expr`].
    ///
    /// # Errors
    /// `Invalid` if the text is no expression, or names what does not exist.
    pub fn expr(&self, text: &str, columns: &DFSchema) -> Result<Expr> {
        self.services.parse_expr(&self.state(), columns, text)
    }

    /// Makes a source a table, under a name that SQL and [`Session::table`] use. A table of that name is replaced.
    ///
    /// # Errors
    /// `Invalid` if the name cannot be one.
    pub fn register_stream(&self, name: &str, source: Arc<dyn SourceProvider>) -> Result<()> {
        self.register_table(name, Arc::new(StreamTable::new(name, source)))
    }

    /// Makes a memory stream a table under its own name, and readable with `format("memory")`.
    ///
    /// # Errors
    /// `Invalid` if the name cannot be one.
    pub fn register_memory_stream(&self, stream: &MemoryStream) -> Result<()> {
        self.services.connectors.register_memory_stream(stream);
        self.register_stream(stream.name(), Arc::new(stream.provider()))
    }

    /// The sources and sinks that `format("…")` knows; one's own are registered here.
    pub fn connectors(&self) -> &ConnectorRegistry {
        &self.services.connectors
    }

    /// Registers a table of DataFusion. A table of that name is replaced.
    ///
    /// # Errors
    /// `Invalid` if the name cannot be one.
    pub fn register_table(&self, name: &str, table: Arc<dyn TableProvider>) -> Result<()> {
        // DataFusion does not replace. A running query that looks in between finds no table and keeps the old one.
        self.context
            .deregister_table(name)
            .and_then(|_| self.context.register_table(name, table))
            .map(drop)
            .map_err(from_datafusion)
    }

    /// Registers one batch as a static table. A table of that name is replaced.
    ///
    /// # Errors
    /// `Invalid` if the name cannot be one.
    pub fn register_batch(&self, name: &str, batch: RecordBatch) -> Result<()> {
        let table =
            MemTable::try_new(batch.schema(), vec![vec![batch]]).map_err(from_datafusion)?;
        self.register_table(name, Arc::new(table))
    }

    /// Gives a frame a name in SQL. A table of that name is replaced.
    ///
    /// # Errors
    /// `Invalid` if the name cannot be one.
    pub fn register_view(&self, name: &str, frame: DataFrame) -> Result<()> {
        self.register_table(name, frame.into_inner().into_view())
    }

    /// Registers a scalar function for SQL.
    pub fn register_udf(&self, function: ScalarUDF) {
        self.context.register_udf(function);
    }

    /// Registers an aggregate function for SQL; its state must be mergeable, as DataFusion asks of every aggregate.
    pub fn register_udaf(&self, function: AggregateUDF) {
        self.context.register_udaf(function);
    }

    /// Registers a processor for [`KeyedFrame::transform_with_state`](crate::KeyedFrame::transform_with_state). One of
    /// that name is replaced, for queries that start later. The name is part of a query: it must be the same when the
    /// query is started on its checkpoint again.
    pub fn register_processor(&self, name: &str, processor: impl StatefulProcessor) {
        self.services
            .processors
            .register_processor(name, Arc::new(processor));
    }

    /// Registers a function for [`KeyedFrame::flat_map_groups_with_state`](crate::KeyedFrame::flat_map_groups_with_state)
    /// and [`map_groups_with_state`](crate::KeyedFrame::map_groups_with_state), with the columns of its state and of its
    /// output. What is said of names at [`Self::register_processor`] holds here too.
    ///
    /// # Errors
    /// `Invalid` if state or output have no columns.
    pub fn register_group_function(
        &self,
        name: &str,
        state: impl IntoColumns,
        output: impl IntoColumns,
        function: impl GroupFunction,
    ) -> Result<()> {
        self.services
            .processors
            .register_group_function(name, state, output, Arc::new(function))
    }

    /// The streaming queries of this session.
    pub fn streams(&self) -> &StreamingQueryManager {
        &self.services.queries
    }

    /// What queries of this session are started with.
    pub fn settings(&self) -> &Settings {
        &self.services.settings
    }

    /// The clock of this session's queries.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.services.clock
    }

    pub(crate) fn services(&self) -> &Services {
        &self.services
    }

    pub(crate) fn state(&self) -> SessionState {
        self.context.state()
    }
}

/// Configures a [`Session`].
#[derive(Debug)]
#[must_use = "a builder makes a session only when it is built"]
pub struct SessionBuilder {
    settings: Settings,
    spark_functions: bool,
    time_zone: String,
    clock: Arc<dyn Clock>,
    config: SessionConfig,
}

impl Default for SessionBuilder {
    fn default() -> Self {
        Self {
            settings: Settings::default(),
            spark_functions: false,
            time_zone: "UTC".to_owned(),
            clock: Arc::new(SystemClock::default()),
            config: SessionConfig::new().with_information_schema(true),
        }
    }
}

impl SessionBuilder {
    /// Settings of the session's queries: state partitions, retention, ….
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Whether functions with a name that Spark has too do what Spark's do, Spark-only functions included. Off by
    /// default: then they do what DataFusion's do.
    pub fn spark_functions(mut self, on: bool) -> Self {
        self.spark_functions = on;
        self
    }

    /// Whether to do as Spark does even where headwater does better: refuse what Spark refuses though it could be run
    /// (aggregates over distinct values, for instance), and let windows that were due at a stop wait for new data
    /// after the restart. Off by default.
    pub fn strict_spark(mut self, on: bool) -> Self {
        self.settings.strict_spark = on;
        self
    }

    /// Time zone in which functions show timestamps as dates and hours, such as `Europe/Paris`. Windows align to UTC
    /// whatever it is. UTC by default.
    pub fn time_zone(mut self, zone: impl Into<String>) -> Self {
        self.time_zone = zone.into();
        self
    }

    /// The clock that triggers and `current_timestamp()` follow: another one in tests.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// DataFusion's configuration.
    pub fn datafusion_config(mut self, config: SessionConfig) -> Self {
        self.config = config;
        self
    }

    /// Makes the session.
    ///
    /// # Errors
    /// `Invalid` if a setting cannot be what it is, or the time zone is not known.
    pub fn build(self) -> Result<Session> {
        self.settings.check()?;
        self.time_zone
            .parse::<datafusion::arrow::array::timezone::Tz>()
            .map_err(|_| {
                Error::invalid(format!(
                    "unknown time zone '{}': write one such as UTC, Europe/Paris or +02:00",
                    self.time_zone
                ))
            })?;
        Ok(self.assemble())
    }

    fn assemble(self) -> Session {
        let front_end = SqlFrontEnd::new(Arc::new(Hooks)).spark(self.spark_functions);
        let connectors = ConnectorRegistry::default();
        #[cfg(feature = "kafka")]
        headwater_kafka::register(&connectors);
        let services = Arc::new(Services {
            queries: StreamingQueryManager::new(),
            connectors,
            front_end,
            settings: self.settings,
            clock: self.clock,
            processors: Arc::new(ProcessorRegistry::default()),
            definitions: Definitions::default(),
        });
        let mut config = self
            .config
            .with_extension(Arc::clone(&services))
            .with_extension(Arc::clone(&services.processors));
        config.options_mut().execution.time_zone = Some(self.time_zone);
        // So that errors know their place in the text.
        config.options_mut().sql_parser.collect_spans = true;
        let builder = SessionStateBuilder::new()
            .with_config(config)
            .with_default_features();
        let mut state = services
            .front_end
            .configure(builder)
            .with_analyzer_rule(Arc::new(BatchWindows))
            .with_query_planner(Arc::new(BatchPlanner))
            .with_physical_optimizer_rules(guarded_rules(&PhysicalOptimizer::new().rules))
            .with_physical_optimizer_rule(Arc::new(CheckedArithmetic))
            .build();
        // The default catalog exists now. States derived from this one share it, and must not put an empty one there.
        let catalog = &mut state.config_mut().options_mut().catalog;
        catalog.create_default_catalog_and_schema = false;
        Session {
            context: SessionContext::new_with_state(state),
            services,
        }
    }
}
