//! What the user holds of a running query, and what the query's task shares with it.
//!
//! The task writes, handles read: status, reports and outcome go one way; the wish to stop and the wish to be told
//! when all data is processed go the other way.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use headwater_core::{Clock, Error, QueryId, Result, RunId, StreamingQueryProgress};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::diagnose::{Activity, Diagnosis, DiagnosisFacts, diagnose_at};

/// What a query is doing right now.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamingQueryStatus {
    /// In words.
    pub message: String,
    /// Whether the last trigger found new data.
    pub is_data_available: bool,
    /// Whether a trigger is running.
    pub is_trigger_active: bool,
}

/// How a query ended.
pub(crate) type Outcome = Result<(), Arc<Error>>;

/// What the query's task and its handles share.
pub(crate) struct Shared {
    pub(crate) id: QueryId,
    pub(crate) run: RunId,
    pub(crate) name: Option<String>,
    pub(crate) explain: String,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) status: watch::Sender<StreamingQueryStatus>,
    /// What a diagnosis is made of, kept up to date by the query's task.
    pub(crate) facts: watch::Sender<DiagnosisFacts>,
    pub(crate) history: usize,
    // Short sections: push one report, clone some.
    pub(crate) progress: Mutex<VecDeque<Arc<StreamingQueryProgress>>>,
    /// Cancelled: no further epoch is to begin.
    pub(crate) stop: CancellationToken,
    /// How often someone asked to be told when all data is processed.
    pub(crate) requested: watch::Sender<u64>,
    /// The newest such request after which a trigger found nothing to do.
    pub(crate) drained: watch::Sender<u64>,
    /// Set once, at the end.
    pub(crate) outcome: watch::Sender<Option<Outcome>>,
}

impl Shared {
    /// Remembers a report, forgetting the oldest beyond the history's length.
    pub(crate) fn remember(&self, progress: Arc<StreamingQueryProgress>) {
        let mut history = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        history.push_back(progress);
        // The last report is kept even by a history of length zero.
        while history.len() > self.history.max(1) {
            history.pop_front();
        }
    }
}

/// A handle on a running or ended query. Clones are handles on the same query; dropping them does not stop it.
#[derive(Clone)]
pub struct StreamingQuery {
    pub(crate) shared: Arc<Shared>,
}

impl fmt::Debug for StreamingQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamingQuery")
            .field("id", &self.shared.id)
            .field("run_id", &self.shared.run)
            .field("name", &self.shared.name)
            .field("active", &self.is_active())
            .finish_non_exhaustive()
    }
}

/// An error that may be handed out many times.
pub(crate) fn again(error: &Arc<Error>) -> Error {
    Error::new(error.kind(), error.to_string()).with_source(Arc::clone(error))
}

/// Waits for an outcome. It cannot end without one: whoever waits holds the sender.
///
/// # Errors
/// The error of a query that failed.
pub(crate) async fn ended(outcome: &watch::Sender<Option<Outcome>>) -> Result<()> {
    let mut outcome = outcome.subscribe();
    let Ok(ended) = outcome.wait_for(Option::is_some).await else {
        return Ok(());
    };
    match &*ended {
        Some(Err(error)) => Err(again(error)),
        _ => Ok(()),
    }
}

/// Waits for an end, but no longer than `timeout` of `clock`; whether it came.
pub(crate) async fn ended_within(
    timeout: Duration,
    clock: &dyn Clock,
    end: impl Future<Output = Result<()>>,
) -> Result<bool> {
    let timeout = i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX);
    let deadline = clock.now_millis().saturating_add(timeout);
    tokio::select! {
        biased;
        ended = end => ended.map(|()| true),
        () = clock.sleep_until(deadline) => Ok(false),
    }
}

impl StreamingQuery {
    /// Identity of the query, kept in its checkpoint: the same after a restart.
    pub fn id(&self) -> QueryId {
        self.shared.id
    }

    /// Identity of this run: new at each start.
    pub fn run_id(&self) -> RunId {
        self.shared.run
    }

    /// The query's name, if it was given one.
    pub fn name(&self) -> Option<&str> {
        self.shared.name.as_deref()
    }

    /// Whether the query is still running.
    pub fn is_active(&self) -> bool {
        self.shared.outcome.borrow().is_none()
    }

    /// What the query is doing right now.
    pub fn status(&self) -> StreamingQueryStatus {
        self.shared.status.borrow().clone()
    }

    /// Why nothing comes out: no new rows, an input that holds the watermark back, a window that has yet to close, rows
    /// that are late or filtered out, an epoch that takes long, an error. Costs a copy of a few numbers; what this run
    /// of the query has seen counts, not what earlier runs did.
    pub fn diagnose(&self) -> Diagnosis {
        let mut facts = self.shared.facts.borrow().clone();
        match &*self.shared.outcome.borrow() {
            None => {}
            Some(Ok(())) => facts.activity = Activity::Stopped,
            Some(Err(error)) => {
                facts.activity = Activity::Failed {
                    kind: error.kind(),
                    message: error.to_string(),
                }
            }
        }
        diagnose_at(facts, self.shared.clock.now_millis())
    }

    /// The report of the last epoch of this run.
    pub fn last_progress(&self) -> Option<Arc<StreamingQueryProgress>> {
        self.reports().back().cloned()
    }

    /// The reports of this run's last epochs, oldest first; how many is a setting.
    pub fn recent_progress(&self) -> Vec<Arc<StreamingQueryProgress>> {
        self.reports().iter().cloned().collect()
    }

    fn reports(&self) -> std::sync::MutexGuard<'_, VecDeque<Arc<StreamingQueryProgress>>> {
        self.shared
            .progress
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The plan of the query as text.
    pub fn explain(&self) -> &str {
        &self.shared.explain
    }

    /// Why the query failed; none while it runs, or if it was stopped or had done its work.
    pub fn exception(&self) -> Option<Error> {
        match &*self.shared.outcome.borrow() {
            Some(Err(error)) => Some(again(error)),
            _ => None,
        }
    }

    /// Waits until everything that the sources held at the time of the call is processed and published, epochs
    /// without data included.
    ///
    /// It does not return while data keeps arriving faster than it is processed. Meant for tests.
    ///
    /// # Errors
    /// The query's own error if it fails or has failed.
    pub async fn process_all_available(&self) -> Result<()> {
        let mut asked = 0;
        self.shared.requested.send_modify(|requests| {
            *requests += 1;
            asked = *requests;
        });
        let mut drained = self.shared.drained.subscribe();
        tokio::select! {
            biased;
            // The sender lives in `self.shared`.
            _ = drained.wait_for(|drained| *drained >= asked) => Ok(()),
            ended = self.await_termination() => ended,
        }
    }

    /// Waits until the query has ended.
    ///
    /// # Errors
    /// The query's own error if it failed; its kind says what to do.
    pub async fn await_termination(&self) -> Result<()> {
        ended(&self.shared.outcome).await
    }

    /// Waits until the query has ended, but no longer than `timeout` of the query's clock; whether it has ended.
    ///
    /// # Errors
    /// As [`Self::await_termination`].
    pub async fn await_termination_timeout(&self, timeout: Duration) -> Result<bool> {
        ended_within(
            timeout,
            self.shared.clock.as_ref(),
            self.await_termination(),
        )
        .await
    }

    /// Stops the query: the epoch that is running is finished first (or cut off after the time that the settings
    /// allow), no other begins, and background work is awaited. Does nothing to a query that has ended.
    ///
    /// # Errors
    /// The query's own error if its last epoch failed while it was being stopped.
    pub async fn stop(&self) -> Result<()> {
        if !self.is_active() {
            return Ok(());
        }
        self.shared.stop.cancel();
        self.await_termination().await
    }
}
