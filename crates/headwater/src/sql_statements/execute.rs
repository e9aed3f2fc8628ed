//! One statement, carried out at once.

use datafusion::sql::{parser::Statement as DfStatement, sqlparser::tokenizer::Span};
use headwater_core::{Error, Result};
use headwater_sql::{
    SqlText,
    statement::{
        CreateStreamingQuery, Dropped, ExplainStreaming, InsertInto, Script, ScriptStatement,
        Statement,
    },
};

use super::{
    fault::{Fault, Outcome},
    queries::{PipelineQuery, StartWith},
    rows::{frame_of, nothing},
};
use crate::{frame::DataFrame, session::Session};

impl Session {
    /// As [`Self::sql`]; `start` says what each query that the statement starts is started with, beside what the
    /// statement says.
    ///
    /// # Errors
    /// As [`Self::sql`].
    pub async fn sql_with(&self, text: &str, start: &StartWith) -> Result<DataFrame> {
        let source = SqlText::new(text);
        let script = self.services().front_end.script(text);
        let statement = script.map_err(Fault::from).and_then(single);
        let statement =
            statement.map_err(|fault| fault.render(&source, Span::empty(), &self.names()))?;
        let place = at_start(&statement);
        let done = Box::pin(self.carry_out(statement, start)).await;
        done.map_err(|fault| fault.render(&source, place, &self.names()))
    }

    pub(super) async fn carry_out(
        &self,
        statement: ScriptStatement,
        start: &StartWith,
    ) -> Outcome<DataFrame> {
        match &statement.statement {
            Statement::CreateStream(stream) => self.create_stream(stream, None)?,
            Statement::CreateSink(sink) => self.create_sink(sink)?,
            Statement::DropStream(dropped) => self.drop_stream(dropped)?,
            Statement::DropSink(dropped) => self.drop_sink(dropped)?,
            Statement::StopStreamingQuery(dropped) => self.end_query(dropped, false).await?,
            Statement::DropStreamingQuery(dropped) => self.end_query(dropped, true).await?,
            Statement::ShowStreams => return self.show_streams().await,
            Statement::ShowSinks => return self.show_sinks(),
            Statement::ShowStreamingQueries => return self.show_streaming_queries(),
            Statement::Describe(described) => {
                return match Box::pin(self.describe(described)).await? {
                    Ok(frame) => Ok(frame),
                    Err(original) => self.by_datafusion(original).await,
                };
            }
            Statement::ExplainStreaming(explain) => return self.explain(explain).await,
            Statement::CreateStreamingQuery(query) => {
                return self.create_query(query, &statement, start).await;
            }
            Statement::InsertInto(insert) => return self.insert(insert, &statement, start).await,
            Statement::Other(other) => return self.by_datafusion(other.as_ref().clone()).await,
        }
        Ok(nothing(self.context())?)
    }

    /// A statement that is not ours.
    pub(super) async fn by_datafusion(&self, statement: DfStatement) -> Outcome<DataFrame> {
        let state = self.state();
        let plan = self.services().front_end.plan_statement(&state, statement);
        let plan = Box::pin(plan).await?;
        let frame = Box::pin(self.context().execute_logical_plan(plan)).await?;
        Ok(frame.into())
    }

    /// Whether an `INSERT` means one of our sinks, and not a table.
    pub(super) fn means_sink(&self, insert: &InsertInto) -> bool {
        let front_end = &self.services().front_end;
        let name = front_end.normal_name(&insert.target);
        let sink = self
            .services()
            .definitions
            .sink(&name, front_end.ignores_case());
        sink.is_some() || !self.has_table(&name)
    }

    async fn insert(
        &self,
        insert: &InsertInto,
        statement: &ScriptStatement,
        start: &StartWith,
    ) -> Outcome<DataFrame> {
        if !self.means_sink(insert) {
            return self.by_datafusion(insert.original.as_ref().clone()).await;
        }
        let active = self.streams().active();
        let taken = |name: &str| active.iter().any(|query| query.name() == Some(name));
        let planned = self.plan_insert(insert, statement.start, &taken).await?;
        self.start(planned, insert.target.span, start).await
    }

    async fn create_query(
        &self,
        created: &CreateStreamingQuery,
        statement: &ScriptStatement,
        start: &StartWith,
    ) -> Outcome<DataFrame> {
        let front_end = &self.services().front_end;
        let name = front_end.normal_name(&created.name);
        let active = self.streams().active().into_iter();
        let running = active
            .filter(|query| query.name() == Some(name.as_str()))
            .last();
        if running.is_some() && created.if_not_exists {
            return Ok(nothing(self.context())?);
        }
        let planned = self.plan_created(created, statement.start).await?;
        if let Some(running) = running.filter(|_| created.or_replace) {
            // What the one before failed of is not what this one is about.
            let _ = running.stop().await;
        }
        self.start(planned, created.name.span, start).await
    }

    async fn start(
        &self,
        planned: PipelineQuery,
        span: Span,
        start: &StartWith,
    ) -> Outcome<DataFrame> {
        self.refuse_shared_table(&planned, span)?;
        let started = Box::pin(planned.start(&start(&planned))).await;
        let query = started.map_err(|error| Fault::At(span, error))?;
        let row = vec![
            Some(planned.name().to_owned()),
            Some(query.id().to_string()),
            Some(query.run_id().to_string()),
            Some(planned.sink().name.clone()),
        ];
        let columns = ["name", "id", "run_id", "sink"];
        Ok(frame_of(self.context(), &columns, &[row])?)
    }

    /// A table in memory shows the rows of one query.
    fn refuse_shared_table(&self, planned: &PipelineQuery, span: Span) -> Outcome<()> {
        let sink = planned.sink();
        if !sink.is_memory() {
            return Ok(());
        }
        let definitions = self.services().definitions.lock();
        let other = definitions.queries.iter().find(|(name, started)| {
            started.query.is_active() && started.sink.name == sink.name && *name != planned.name()
        });
        match other {
            Some((name, _)) => Err(Fault::invalid(
                span,
                format!(
                    "sink '{}' is a table in memory, which shows the rows of one query, and '{name}' writes to it: stop \
                     that one, or define another sink",
                    sink.name
                ),
            )),
            None => Ok(()),
        }
    }

    /// Stops a query; `DROP` forgets it too. Its checkpoint stays.
    async fn end_query(&self, dropped: &Dropped, forget: bool) -> Outcome<()> {
        let front_end = &self.services().front_end;
        let name = front_end.normal_name(&dropped.name);
        let definitions = &self.services().definitions;
        let known = definitions
            .query(&name, front_end.ignores_case())
            .map(|q| q.query);
        let active = || {
            let mut active = self.streams().active().into_iter();
            active.find(|query| query.name() == Some(name.as_str()))
        };
        let Some(query) = known.or_else(active) else {
            return match dropped.if_exists {
                true => Ok(()),
                false => Err(self.unknown_query(&dropped.name)),
            };
        };
        let stopped = query.stop().await;
        if forget {
            let name = query.name().unwrap_or(&name);
            definitions.lock().queries.remove(name);
        }
        stopped.map_err(|error| Fault::At(dropped.name.span, error))
    }

    /// The plan of a streaming query, a line per row.
    async fn explain(&self, explain: &ExplainStreaming) -> Outcome<DataFrame> {
        let text = Box::pin(self.explained(explain)).await?;
        let rows: Vec<_> = text
            .lines()
            .map(|line| vec![Some(line.to_owned())])
            .collect();
        Ok(frame_of(self.context(), &["plan"], &rows)?)
    }
}

/// Where a statement begins.
pub(super) fn at_start(statement: &ScriptStatement) -> Span {
    Span {
        start: statement.start,
        end: statement.start,
    }
}

fn single(script: Script) -> Outcome<ScriptStatement> {
    let mut statements = script.statements;
    match (statements.pop(), statements.len()) {
        (Some(statement), 0) => Ok(statement),
        (None, _) => Err(Fault::At(
            Span::empty(),
            Error::invalid("the SQL text holds no statement"),
        )),
        (Some(second), before) => Err(Fault::At(
            statements
                .get(1)
                .map_or_else(|| at_start(&second), at_start),
            Error::invalid(format!(
                "expected one SQL statement, found {}: run them one by one, or as a pipeline",
                before + 1
            )),
        )),
    }
}
