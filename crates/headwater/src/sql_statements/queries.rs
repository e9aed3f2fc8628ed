//! Streaming queries as SQL defines them: planned, checked, and ready to start.

use std::sync::Arc;

use datafusion::{
    arrow::datatypes::SchemaRef,
    common::Column,
    dataframe::DataFrame as Inner,
    logical_expr::{Expr, LogicalPlanBuilder},
    sql::{
        parser::Statement as DfStatement,
        sqlparser::{
            ast::{Query, Statement as SqlStatement},
            tokenizer::{Location, Span},
        },
    },
};
use headwater_core::{Error, OutputMode, Result, Trigger};
use headwater_engine::StreamingQuery;
use headwater_plan::{PlanSettings, StreamingPlan, plan_stream};
use headwater_sql::statement::{CreateStreamingQuery, InsertInto, Name, QueryTrigger};

use super::{
    definitions::{SinkDefinition, StartedQuery},
    fault::{Fault, Outcome},
};
use crate::{
    frame::DataFrame, late_rows::LateRows, services::Services, session::Session,
    writer::StreamWriter,
};

/// A streaming query of a pipeline: planned and checked, not started.
#[derive(Debug, Clone)]
pub struct PipelineQuery {
    name: String,
    sink: Arc<SinkDefinition>,
    late: Option<Arc<SinkDefinition>>,
    mode: OutputMode,
    trigger: Trigger,
    checkpoint: Option<String>,
    frame: DataFrame,
    plan: Arc<StreamingPlan>,
    start: Location,
}

/// What whoever starts a query decides, beside what its statement says.
#[derive(Debug, Clone, Default)]
pub struct StartOptions {
    /// The folder (a path or URL) in which each query without a `checkpointLocation` of its own has its checkpoint,
    /// under its name.
    pub checkpoint_root: Option<String>,
    /// When epochs run, instead of what the statement says.
    pub trigger: Option<Trigger>,
}

/// Decides with what a query is started that a statement asks for.
pub type StartWith = dyn Fn(&PipelineQuery) -> StartOptions + Send + Sync;

impl PipelineQuery {
    /// Its name: the one that it was given, else that of its sink; unique in its pipeline.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its rows go.
    pub fn sink(&self) -> &SinkDefinition {
        &self.sink
    }

    /// Its sinks, with the columns that they receive.
    pub(super) fn written(&self) -> Vec<(Arc<SinkDefinition>, SchemaRef)> {
        let late = self.late.iter().cloned().zip(self.plan.late_schema());
        let result = (Arc::clone(&self.sink), self.plan.output_schema());
        std::iter::once(result).chain(late).collect()
    }

    /// Where the rows go that come too late.
    pub fn late_rows_sink(&self) -> Option<&SinkDefinition> {
        self.late.as_deref()
    }

    /// Which rows the sink receives.
    pub fn output_mode(&self) -> OutputMode {
        self.mode
    }

    /// When epochs run.
    pub fn trigger(&self) -> Trigger {
        self.trigger
    }

    /// Where its checkpoint is, if its statement or its sink says so.
    pub fn checkpoint_location(&self) -> Option<&str> {
        self.checkpoint.as_deref()
    }

    /// The line of the text in which its statement begins, counted from one.
    pub fn line(&self) -> u64 {
        self.start.line
    }

    /// Its rows.
    pub fn frame(&self) -> &DataFrame {
        &self.frame
    }

    /// Which operators keep what, for how long, and what happens to late rows, as text.
    pub fn explain(&self) -> String {
        headwater_sql::plain_message(&self.plan.summary())
    }

    /// The incremental plan as the engine runs it, as text.
    pub fn physical_plan(&self) -> String {
        self.plan.explain()
    }

    /// Where its checkpoint is, with a folder for those of queries that do not say.
    pub fn checkpoint_in(&self, root: Option<&str>) -> Option<String> {
        match (&self.checkpoint, root) {
            (Some(own), _) => Some(own.clone()),
            (None, Some(root)) => Some(format!(
                "{}/{}",
                root.trim_end_matches('/'),
                folder_name(&self.name)
            )),
            (None, None) => None,
        }
    }

    /// A writer with everything that the statement and the sink say.
    pub fn writer(&self, options: &StartOptions) -> StreamWriter {
        let mut given = self.sink.options.clone();
        given.take("checkpointLocation");
        let mut writer = self
            .frame
            .clone()
            .write_stream()
            .format(&self.sink.format)
            .options(given.iter())
            .partition_by(&self.sink.partition_by)
            .query_name(&self.name)
            .table_name(&self.sink.name)
            .output_mode(self.mode)
            .trigger(options.trigger.unwrap_or(self.trigger));
        if let Some(location) = self.checkpoint_in(options.checkpoint_root.as_deref()) {
            writer = writer.option("checkpointLocation", location);
        }
        match &self.late {
            Some(late) => writer.late_rows_to(late_rows(late)),
            None => writer,
        }
    }

    /// Starts it. The session lists it then in `SHOW STREAMING QUERIES`.
    ///
    /// # Errors
    /// As [`StreamWriter::start`].
    pub async fn start(&self, options: &StartOptions) -> Result<StreamingQuery> {
        let query = Box::pin(self.writer(options).start(None)).await?;
        let (state, _) = self.frame.clone().into_inner().into_parts();
        let services = Services::of(&state)?;
        let mut definitions = services.definitions.lock();
        let started = StartedQuery {
            query: query.clone(),
            sink: Arc::clone(&self.sink),
            mode: self.mode,
            trigger: options.trigger.unwrap_or(self.trigger),
        };
        definitions.queries.insert(self.name.clone(), started);
        Ok(query)
    }
}

/// What a name is called as a folder: letters, digits and a few signs as they are, the rest by number.
fn folder_name(name: &str) -> String {
    let mut folder = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            c if c.is_alphanumeric() || matches!(c, '_' | '-') => folder.push(c),
            c => folder.push_str(&format!("%{:02X}", u32::from(c))),
        }
    }
    folder
}

fn late_rows(sink: &SinkDefinition) -> LateRows {
    if sink.is_memory() {
        return LateRows::table(&sink.name);
    }
    let mut options = sink.options.clone();
    options.take("checkpointLocation");
    let path = options.take("path");
    let mut late = LateRows::format(&sink.format)
        .partition_by(&sink.partition_by)
        .path(path.as_deref());
    for (name, value) in options.iter() {
        late = late.option(name, value);
    }
    late
}

/// What the words around an `INSERT INTO` say.
struct Terms {
    name: String,
    late: Option<Arc<SinkDefinition>>,
    mode: (OutputMode, Span),
    trigger: Trigger,
    checkpoint: Option<String>,
}

impl Session {
    /// Plans `INSERT INTO sink …`. `taken` are the names that other queries have.
    pub(super) async fn plan_insert(
        &self,
        insert: &InsertInto,
        start: Location,
        taken: &(dyn Fn(&str) -> bool + Sync),
    ) -> Outcome<PipelineQuery> {
        let sink = self.sink_named(&insert.target)?;
        let name = free_name(&sink.name, taken);
        let terms = Terms {
            name,
            late: None,
            mode: (OutputMode::Append, insert.target.span),
            trigger: Trigger::Default,
            checkpoint: None,
        };
        Box::pin(self.plan_query(insert, sink, terms, start)).await
    }

    /// Plans `CREATE STREAMING QUERY`.
    pub(super) async fn plan_created(
        &self,
        statement: &CreateStreamingQuery,
        start: Location,
    ) -> Outcome<PipelineQuery> {
        let insert = &statement.insert;
        let sink = self.sink_named(&insert.target)?;
        let late = statement.late_rows.as_ref();
        let mode = match &statement.output_mode {
            Some(mode) => (output_mode(mode)?, mode.span),
            None => (OutputMode::Append, insert.target.span),
        };
        let mut checkpoint = None;
        for (option, value, span) in &statement.options.entries {
            if !option.eq_ignore_ascii_case("checkpointLocation") {
                return Err(Fault::invalid(
                    *span,
                    format!(
                        "a streaming query does not know the option '{option}': its only option is checkpointLocation; \
                         options of the sink stand in CREATE SINK"
                    ),
                ));
            }
            checkpoint = Some(value.clone());
        }
        let terms = Terms {
            name: self.services().front_end.normal_name(&statement.name),
            late: late.map(|name| self.sink_named(name)).transpose()?,
            mode,
            trigger: statement.trigger.map_or(Trigger::Default, trigger),
            checkpoint,
        };
        Box::pin(self.plan_query(insert, sink, terms, start)).await
    }

    async fn plan_query(
        &self,
        insert: &InsertInto,
        sink: Arc<SinkDefinition>,
        terms: Terms,
        start: Location,
    ) -> Outcome<PipelineQuery> {
        let target = &insert.target;
        if insert.overwrite {
            return Err(Fault::invalid(
                target.span,
                "a sink takes rows epoch by epoch and is not overwritten: write INSERT INTO, in complete mode for the \
                 whole result each time",
            ));
        }
        let frame = self.plan_select(insert.query.clone()).await?;
        if !frame.is_streaming() {
            return Err(Fault::invalid(
                target.span,
                format!(
                    "the query reads no stream, so it has an end: sink '{}' takes the rows of a streaming query; define \
                     its input with CREATE STREAM, or write the rows with COPY (SELECT …) TO 'file'",
                    sink.name
                ),
            ));
        }
        let frame = renamed(self, frame, insert)?;
        let (mode, mode_span) = terms.mode;
        let (state, plan) = frame.clone().into_inner().into_parts();
        let settings = self.settings();
        let settings = PlanSettings {
            mode,
            no_data_epochs: settings.no_data_epochs,
            strict_spark: settings.strict_spark,
            late_rows: terms.late.is_some(),
            ..PlanSettings::default()
        };
        let at = |error: Error| Fault::About(mode_span, error);
        let planned = Box::pin(plan_stream(&state, plan, &settings))
            .await
            .map_err(at)?;
        let to_sink = |error| Fault::At(target.span, error);
        self.sink_provider(&sink)
            .and_then(|provider| provider.check(mode, &planned.output_schema()))
            .map_err(to_sink)?;
        if let Some((late, schema)) = terms.late.as_ref().zip(planned.late_schema()) {
            self.sink_provider(late)
                .and_then(|provider| provider.check(OutputMode::Append, &schema))
                .map_err(|error| to_sink(error.context("the sink of late rows")))?;
        }
        let mut options = sink.options.clone();
        let query = PipelineQuery {
            name: terms.name,
            checkpoint: terms.checkpoint.or(options.take("checkpointLocation")),
            sink,
            late: terms.late,
            mode,
            trigger: terms.trigger,
            frame,
            plan: Arc::new(planned),
            start,
        };
        self.show_sinks_as_tables(&query).map_err(to_sink)?;
        Ok(query)
    }

    /// A query as a frame.
    pub(super) async fn plan_select(&self, query: Box<Query>) -> Outcome<DataFrame> {
        let state = self.state();
        let statement = DfStatement::Statement(Box::new(SqlStatement::Query(query)));
        let plan = self.services().front_end.plan_statement(&state, statement);
        let plan = Box::pin(plan).await?;
        Ok(Inner::new(state, plan).into())
    }
}

/// The frame with the names that `INSERT INTO sink (a, b)` gives its columns.
fn renamed(session: &Session, frame: DataFrame, insert: &InsertInto) -> Outcome<DataFrame> {
    if insert.columns.is_empty() {
        return Ok(frame);
    }
    let (state, plan) = frame.into_inner().into_parts();
    let columns = plan.schema().columns();
    if columns.len() != insert.columns.len() {
        return Err(Fault::invalid(
            insert.target.span,
            format!(
                "INSERT INTO names {} columns, but the query has {}: name each column of the query, or none",
                insert.columns.len(),
                columns.len()
            ),
        ));
    }
    let named = |(column, name): (Column, &Name)| {
        Expr::Column(column).alias(session.services().front_end.normal_name(name))
    };
    let named: Vec<Expr> = columns
        .into_iter()
        .zip(&insert.columns)
        .map(named)
        .collect();
    let plan = LogicalPlanBuilder::from(plan).project(named)?.build()?;
    Ok(Inner::new(state, plan).into())
}

/// An output mode by its name.
pub(super) fn output_mode(name: &Name) -> Outcome<OutputMode> {
    let mode = name.value.parse::<OutputMode>();
    mode.map_err(|error| Fault::At(name.span, error))
}

fn trigger(written: QueryTrigger) -> Trigger {
    match written {
        // Not negative, says the parser.
        QueryTrigger::Every(every) => Trigger::ProcessingTime(std::time::Duration::from_micros(
            every.micros.unsigned_abs(),
        )),
        QueryTrigger::Once => Trigger::Once,
        QueryTrigger::AvailableNow => Trigger::AvailableNow,
    }
}

/// The name itself, or with the first number behind it that makes it free.
fn free_name(name: &str, taken: &(dyn Fn(&str) -> bool + Sync)) -> String {
    let numbered = (2_u32..).map(|number| format!("{name}_{number}"));
    let mut names = std::iter::once(name.to_owned()).chain(numbered);
    names
        .find(|name| !taken(name))
        .unwrap_or_else(|| name.to_owned())
}
