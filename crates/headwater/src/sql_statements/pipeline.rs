//! A whole script, planned: what it defines is in the session, what it runs is ready to start.

use std::sync::Arc;

use headwater_core::{Result, SourceProvider};
use headwater_sql::{
    SqlText,
    statement::{ScriptStatement, Statement},
};

use super::{
    definitions::StreamDefinition,
    execute::at_start,
    fault::{Fault, Outcome},
    queries::{PipelineQuery, StartOptions},
};
use crate::{frame::DataFrame, session::Session};

/// Where the rows of a defined stream come from instead of its own source, for those that it says something of. The
/// own source of such a stream is never made.
pub type StreamInput =
    dyn Fn(&StreamDefinition) -> Result<Option<Arc<dyn SourceProvider>>> + Send + Sync;

/// The statements of a script: streaming queries to start, and other statements whose rows can be collected.
#[derive(Debug, Clone, Default)]
pub struct Pipeline {
    queries: Vec<PipelineQuery>,
    steps: Vec<PipelineStep>,
}

/// What a statement of a script asks for beside definitions, which planning has carried out.
#[derive(Debug, Clone)]
pub enum PipelineStep {
    /// A streaming query: its number among [`Pipeline::queries`].
    Query(usize),
    /// A statement with an end (`SELECT` over tables, `SHOW`, `DESCRIBE`, `EXPLAIN`, `INSERT` into a table, `COPY`), to
    /// be collected in its turn, and the line in which it begins.
    Rows(DataFrame, u64),
}

impl Pipeline {
    /// The streaming queries, in order.
    pub fn queries(&self) -> &[PipelineQuery] {
        &self.queries
    }

    /// What is to be done, in order.
    pub fn steps(&self) -> &[PipelineStep] {
        &self.steps
    }
}

impl Session {
    /// Plans a script. What it defines is defined in this session, statement by statement; its queries are planned and
    /// checked, and nothing is started. `SHOW` and `DESCRIBE` tell what there is at their place in the text.
    ///
    /// A query that was not given a name has that of its sink, made unique.
    ///
    /// ```
    /// # use headwater::prelude::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// let session = Session::new();
    /// let pipeline = session.pipeline("
    ///     CREATE STREAM ticks USING rate OPTIONS ('rowsPerSecond' 10);
    ///     CREATE SINK evens USING memory;
    ///     INSERT INTO evens SELECT value FROM ticks WHERE value % 2 = 0;
    /// ").await?;
    /// assert_eq!(pipeline.queries()[0].name(), "evens");
    /// let query = pipeline.queries()[0].start(&StartOptions::default()).await?;
    /// query.stop().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `Invalid` for the first statement that cannot be read, planned or run, with its line.
    pub async fn pipeline(&self, text: &str) -> Result<Pipeline> {
        self.pipeline_with(text, None).await
    }

    /// As [`Self::pipeline`], over other inputs: for tests of a script.
    ///
    /// # Errors
    /// As [`Self::pipeline`], and whatever `input` gives.
    pub async fn pipeline_with(&self, text: &str, input: Option<&StreamInput>) -> Result<Pipeline> {
        let source = SqlText::new(text);
        let script = self.services().front_end.script(text);
        let script = script.map_err(|error| {
            Fault::from(error).render(&source, headwater_sql::no_place(), &self.names())
        })?;
        let mut pipeline = Pipeline::default();
        for statement in script.statements {
            let start = at_start(&statement);
            let planned = Box::pin(self.plan_step(statement, input, &mut pipeline)).await;
            planned.map_err(|fault| fault.render(&source, start, &self.names()))?;
        }
        Ok(pipeline)
    }

    async fn plan_step(
        &self,
        statement: ScriptStatement,
        input: Option<&StreamInput>,
        pipeline: &mut Pipeline,
    ) -> Outcome<()> {
        let span = at_start(&statement);
        let query = match &statement.statement {
            Statement::CreateStream(stream) => return self.create_stream(stream, input),
            Statement::CreateStreamingQuery(created) => {
                let planned = self.plan_created(created, statement.start).await?;
                let span = created.name.span;
                pipeline.refuse_second(planned.name(), span)?;
                planned
            }
            Statement::InsertInto(insert) if self.means_sink(insert) => {
                let taken = |name: &str| pipeline.has(name);
                self.plan_insert(insert, statement.start, &taken).await?
            }
            Statement::StopStreamingQuery(_) | Statement::DropStreamingQuery(_) => {
                return Err(Fault::invalid(
                    span,
                    format!(
                        "{} has nothing to stop in a script, whose queries start when all of it is planned: leave it out",
                        statement.statement.verb()
                    ),
                ));
            }
            _ => return self.plan_rows(statement, pipeline).await,
        };
        pipeline.refuse_shared_table(&query, span)?;
        pipeline
            .steps
            .push(PipelineStep::Query(pipeline.queries.len()));
        pipeline.queries.push(query);
        Ok(())
    }

    /// Definitions are carried out; what has rows is kept, to be collected.
    async fn plan_rows(&self, statement: ScriptStatement, pipeline: &mut Pipeline) -> Outcome<()> {
        let (span, line) = (at_start(&statement), statement.start.line);
        // What starts a query does not come here.
        let start = |_: &PipelineQuery| StartOptions::default();
        let frame = Box::pin(self.carry_out(statement, &start)).await?;
        if frame.is_streaming() {
            return Err(Fault::invalid(
                span,
                "this query reads a stream and does not say where its rows go: write CREATE SINK screen USING console, \
                 and INSERT INTO screen SELECT …",
            ));
        }
        if !frame.schema().fields().is_empty() {
            pipeline.steps.push(PipelineStep::Rows(frame, line));
        }
        Ok(())
    }
}

impl Pipeline {
    fn has(&self, name: &str) -> bool {
        self.queries.iter().any(|query| query.name() == name)
    }

    fn refuse_second(
        &self,
        name: &str,
        span: datafusion::sql::sqlparser::tokenizer::Span,
    ) -> Outcome<()> {
        match self.has(name) {
            true => Err(Fault::invalid(
                span,
                format!("there is a query '{name}' in this script already: choose another name"),
            )),
            false => Ok(()),
        }
    }

    fn refuse_shared_table(
        &self,
        query: &PipelineQuery,
        span: datafusion::sql::sqlparser::tokenizer::Span,
    ) -> Outcome<()> {
        let sink = query.sink();
        let shares = |other: &&PipelineQuery| sink.is_memory() && other.sink().name == sink.name;
        match self.queries.iter().find(shares) {
            Some(other) => Err(Fault::invalid(
                span,
                format!(
                    "sink '{}' is a table in memory, which shows the rows of one query, and '{}' writes to it: define \
                     another sink, or insert both with UNION ALL",
                    sink.name,
                    other.name()
                ),
            )),
            None => Ok(()),
        }
    }
}
