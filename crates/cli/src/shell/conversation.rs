//! Statements carried out one after another in one session, and what becomes of the queries they start.

use std::{collections::HashSet, sync::Arc};

use futures::future::join_all;
use headwater::{
    DataFrame, PipelineQuery, Session, StartOptions, StreamingQuery, Trigger, core::RunId,
};
use parking_lot::Mutex;

use crate::{
    args::SessionArgs,
    checkpoints::Checkpoints,
    exit::Failure,
    pipeline,
    script::Values,
    status::{Board, lines},
};

use super::pieces::{Piece, in_place};

/// What pipelines of the shell are called where files have names.
const STEM: &str = "sql";

/// A session, and everything that was said in it.
pub(crate) struct Conversation {
    pub(crate) session: Session,
    /// What variables stand for.
    pub(crate) values: Values,
    pub(crate) board: Arc<Board>,
    checkpoints: Checkpoints,
    /// Queries of whose failure was told.
    told: HashSet<RunId>,
    /// Runs of queries that end by themselves.
    ending: HashSet<RunId>,
}

/// What a statement answers.
pub(crate) enum Answer {
    /// It is done, and there is nothing to show.
    Done,
    /// A query runs now.
    Started(Started),
    /// Rows that have an end.
    Rows(DataFrame),
    /// A query over streams.
    Stream(DataFrame),
}

/// A query that a statement has started.
#[derive(Debug, Clone)]
pub(crate) struct Started {
    pub(crate) name: String,
    pub(crate) sink: String,
    pub(crate) checkpoint: Option<String>,
    ends_by_itself: bool,
}

impl Started {
    /// `hosts: started, into per_host, checkpoint checkpoints/sql/hosts`
    pub(crate) fn in_words(&self) -> String {
        let checkpoint = self.checkpoint.as_ref();
        let checkpoint = checkpoint.map_or_else(String::new, |at| format!(", checkpoint {at}"));
        format!("{}: started, into {}{checkpoint}", self.name, self.sink)
    }
}

impl Conversation {
    /// A new session.
    ///
    /// # Errors
    /// `Wrong` for an unknown time zone.
    pub(crate) fn new(args: &SessionArgs, checkpoint: Option<String>) -> Result<Self, Failure> {
        let session = pipeline::session(args)?;
        let board = Board::new(Arc::clone(session.clock()), false);
        session.streams().add_listener(Arc::clone(&board) as _);
        Ok(Self {
            session,
            values: Values::new(args.variables.clone()),
            board,
            checkpoints: Checkpoints::new(checkpoint, STEM),
            told: HashSet::new(),
            ending: HashSet::new(),
        })
    }

    /// Carries out one statement of a text.
    ///
    /// # Errors
    /// `Wrong` for a statement that cannot be understood or run, `Failed` if running it fails.
    pub(crate) async fn carry_out(&mut self, text: &str, piece: &Piece) -> Result<Answer, Failure> {
        let started = Arc::new(Mutex::new(None));
        let note = Arc::clone(&started);
        let checkpoints = self.checkpoints.clone();
        let board = Arc::clone(&self.board);
        let start = move |query: &PipelineQuery| {
            board.forget(query.name());
            let checkpoint_root = checkpoints.root_of(query);
            *note.lock() = Some(Started {
                name: query.name().to_owned(),
                sink: query.sink().name.clone(),
                checkpoint: query.checkpoint_in(checkpoint_root.as_deref()),
                ends_by_itself: matches!(query.trigger(), Trigger::Once | Trigger::AvailableNow),
            });
            StartOptions {
                checkpoint_root,
                trigger: None,
            }
        };
        let text = in_place(text, piece);
        let frame = Box::pin(self.session.sql_with(&text, &start)).await;
        let frame = frame.map_err(|error| Failure::of_planning(&error))?;
        if let Some(started) = started.lock().take() {
            let query = self.query(&started.name);
            if let Some(query) = query.filter(|_| started.ends_by_itself) {
                self.ending.insert(query.run_id());
            }
            return Ok(Answer::Started(started));
        }
        Ok(match frame {
            frame if frame.schema().fields().is_empty() => Answer::Done,
            frame if frame.is_streaming() => Answer::Stream(frame),
            frame => Answer::Rows(frame),
        })
    }

    fn query(&self, name: &str) -> Option<StreamingQuery> {
        let mut started = self.session.started_queries().into_iter();
        started.find(|query| query.name() == Some(name))
    }

    /// This name, or with the first number behind it that no active query has.
    pub(crate) fn free_name(&self, name: &str) -> String {
        let active = self.session.streams().active();
        let is_free = |name: &String| !active.iter().any(|query| query.name() == Some(name));
        let numbered = (2_u32..).map(|number| format!("{name}-{number}"));
        let mut names = std::iter::once(name.to_owned()).chain(numbered);
        names.find(is_free).unwrap_or_else(|| name.to_owned())
    }

    /// Waits for the queries that end by themselves.
    pub(crate) async fn queries_that_end(&self) {
        let started = self.session.started_queries().into_iter();
        let ending = started.filter(|query| self.ending.contains(&query.run_id()));
        let ending: Vec<_> = ending.collect();
        // Who failed is told with the others.
        join_all(ending.iter().map(StreamingQuery::await_termination)).await;
    }

    /// Queries that have failed since the last time: their names and errors.
    pub(crate) fn failures(&mut self) -> Vec<String> {
        let mut failures = Vec::new();
        for query in self.session.started_queries() {
            if let Some(error) = query.exception()
                && self.told.insert(query.run_id())
            {
                let name = query.name().unwrap_or_default();
                // Errors of an epoch name their query themselves.
                let error = error.to_string();
                let named = format!("query '{name}', ");
                let error = error.strip_prefix(&named).unwrap_or(&error);
                let message = format!("query '{name}' failed: {error}");
                failures.push(self.values.without_secrets(&message));
            }
        }
        failures
    }

    /// Lets the running epochs finish and commits them; a line for each query.
    pub(crate) async fn stop(&self) -> Vec<String> {
        let active = self.session.streams().active();
        // Errors are told with those of the others.
        join_all(active.iter().map(StreamingQuery::stop)).await;
        let names = active.iter().filter_map(|query| query.name());
        names
            .map(|name| format!("{name}: {}", lines::summary(&self.board.totals(name))))
            .collect()
    }
}
