//! The queries of one session: starts them, knows which are active, and tells when one has ended.
//!
//! Invariant: of the active queries no two have the same name or the same id.

use std::{
    collections::HashSet,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use headwater_core::{Clock, Error, QueryId, Result};
use tokio::sync::watch;

use crate::{
    driver::{Driver, QuerySpec},
    handle::{Outcome, StreamingQuery, ended, ended_within},
    listener::{ListenerId, Listeners, StreamingQueryListener},
    recover::Checkpoint,
    supervise::{self, Ending, caught},
};

#[derive(Default)]
struct Registered {
    names: HashSet<String>,
    ids: HashSet<QueryId>,
    /// In order of their starts.
    active: Vec<StreamingQuery>,
}

struct Inner {
    // Short sections: look up, insert, remove.
    registered: Mutex<Registered>,
    listeners: Arc<Listeners>,
    /// How a query ended since the last reset; a failure is not replaced by a later success.
    terminated: watch::Sender<Option<Outcome>>,
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Registered> {
        self.registered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The streaming queries of a session. Clones are the same manager.
#[derive(Clone)]
pub struct StreamingQueryManager {
    inner: Arc<Inner>,
}

impl Default for StreamingQueryManager {
    fn default() -> Self {
        Self {
            inner: Arc::new(Inner {
                registered: Mutex::default(),
                listeners: Arc::default(),
                terminated: watch::Sender::new(None),
            }),
        }
    }
}

impl fmt::Debug for StreamingQueryManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamingQueryManager")
            .field("active", &self.active())
            .finish_non_exhaustive()
    }
}

/// Holds a query's name and id until it has ended or failed to start.
struct Reservation {
    inner: Arc<Inner>,
    name: Option<String>,
    id: Option<QueryId>,
}

impl Reservation {
    fn of_name(inner: &Arc<Inner>, name: Option<String>) -> Result<Self> {
        if let Some(name) = &name
            && !inner.lock().names.insert(name.clone())
        {
            return Err(Error::invalid(format!(
                "a query named '{name}' is active already: stop it first or choose another name"
            )));
        }
        Ok(Self {
            inner: Arc::clone(inner),
            name,
            id: None,
        })
    }

    fn add_id(&mut self, id: QueryId) -> Result<()> {
        if !self.inner.lock().ids.insert(id) {
            return Err(Error::invalid(format!(
                "query {id} is active already, from the same checkpoint: stop it first or give this one a \
                 checkpoint of its own"
            )));
        }
        self.id = Some(id);
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut registered = self.inner.lock();
        if let Some(name) = &self.name {
            registered.names.remove(name);
        }
        if let Some(id) = &self.id {
            registered.ids.remove(id);
            registered.active.retain(|query| query.id() != *id);
        }
    }
}

impl StreamingQueryManager {
    /// A manager without queries.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a query: recovers it from its checkpoint, or begins a new one, and runs it in a task of its own.
    ///
    /// # Errors
    /// `Invalid` if the query cannot run as it is, does not fit its checkpoint, or is active already; `Fenced` if
    /// another process runs it; otherwise whatever kept the checkpoint, a source or the sink from opening.
    pub async fn start(&self, spec: QuerySpec) -> Result<StreamingQuery> {
        let mut reservation = Reservation::of_name(&self.inner, spec.name.clone())?;
        let label = match &spec.name {
            Some(name) => format!("starting query {name}"),
            None => "starting a query".to_owned(),
        };
        let driver = caught(label, async {
            let checkpoint = Checkpoint::open(&spec).await?;
            reservation.add_id(checkpoint.id())?;
            Driver::recover(spec, checkpoint).await
        })
        .await?;
        let inner = Arc::clone(&self.inner);
        let ending = Ending {
            release: Box::new(move || drop(reservation)),
            announce: Box::new(move |outcome| {
                inner.terminated.send_modify(|last| {
                    if !matches!(last, Some(Err(_))) {
                        *last = Some(outcome.clone());
                    }
                });
            }),
        };
        // Registered before its task begins, so that it cannot end before it is registered.
        let query = supervise::handle_of(&driver);
        self.inner.lock().active.push(query.clone());
        supervise::spawn(driver, &query, Arc::clone(&self.inner.listeners), ending);
        Ok(query)
    }

    /// The active queries, in order of their starts.
    pub fn active(&self) -> Vec<StreamingQuery> {
        self.inner.lock().active.clone()
    }

    /// The active query with this id.
    pub fn get(&self, id: QueryId) -> Option<StreamingQuery> {
        self.inner
            .lock()
            .active
            .iter()
            .find(|query| query.id() == id)
            .cloned()
    }

    /// Waits until a query has ended since the manager was made or [`Self::reset_terminated`] was called; at once if
    /// one has already.
    ///
    /// # Errors
    /// The error of a query that failed.
    pub async fn await_any_termination(&self) -> Result<()> {
        ended(&self.inner.terminated).await
    }

    /// As [`Self::await_any_termination`], but no longer than `timeout` of `clock`; whether a query has ended.
    ///
    /// # Errors
    /// The error of a query that failed.
    pub async fn await_any_termination_timeout(
        &self,
        timeout: Duration,
        clock: &dyn Clock,
    ) -> Result<bool> {
        ended_within(timeout, clock, self.await_any_termination()).await
    }

    /// Forgets the queries that have ended, so that [`Self::await_any_termination`] waits for the next.
    pub fn reset_terminated(&self) {
        self.inner.terminated.send_replace(None);
    }

    /// Adds a listener for the events of all queries, from now on.
    pub fn add_listener(&self, listener: Arc<dyn StreamingQueryListener>) -> ListenerId {
        self.inner.listeners.add(listener)
    }

    /// Removes a listener; whether it was there.
    pub fn remove_listener(&self, id: ListenerId) -> bool {
        self.inner.listeners.remove(id)
    }
}
