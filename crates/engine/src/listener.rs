//! Events of queries, for whoever wants to watch them.
//!
//! Events of one query arrive in order, from a task of their own, so that a slow listener does not hold back the
//! query. A listener that panics is logged and called again for the next event.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use headwater_core::{QueryId, RunId, StreamingQueryProgress};
use serde::{Deserialize, Serialize};

/// A query has started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QueryStarted {
    /// The query.
    pub id: QueryId,
    /// This run of it.
    pub run_id: RunId,
    /// Its name.
    pub name: Option<String>,
    /// When, ISO 8601 in UTC.
    pub timestamp: String,
}

/// A query has committed an epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueryProgress {
    /// What happened in it.
    pub progress: Arc<StreamingQueryProgress>,
}

/// A query has found nothing to do and waits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QueryIdle {
    /// The query.
    pub id: QueryId,
    /// This run of it.
    pub run_id: RunId,
    /// Since when, ISO 8601 in UTC.
    pub timestamp: String,
}

/// A query has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QueryTerminated {
    /// The query.
    pub id: QueryId,
    /// This run of it.
    pub run_id: RunId,
    /// Why it failed; none if it was stopped or had done its work.
    pub exception: Option<String>,
}

/// An event of a query.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum StreamingQueryEvent {
    /// It has started.
    Started(QueryStarted),
    /// It has committed an epoch.
    Progress(QueryProgress),
    /// It waits for data.
    Idle(QueryIdle),
    /// It has ended.
    Terminated(QueryTerminated),
}

/// Watches queries. All methods do nothing unless written.
pub trait StreamingQueryListener: Send + Sync + 'static {
    /// Called before the start of the query returns to its caller: it should be quick.
    fn on_query_started(&self, _event: &QueryStarted) {}

    /// Called after each committed epoch.
    fn on_query_progress(&self, _event: &QueryProgress) {}

    /// Called when a query begins to wait for data.
    fn on_query_idle(&self, _event: &QueryIdle) {}

    /// Called when a query has ended, before those who await its end are woken.
    fn on_query_terminated(&self, _event: &QueryTerminated) {}
}

/// Names a listener, to remove it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ListenerId(u64);

/// The listeners of one manager.
#[derive(Default)]
pub(crate) struct Listeners {
    next: AtomicU64,
    // Changed rarely, read for each event; callbacks run outside the lock, so that they may add and remove listeners.
    registered: RwLock<Vec<(ListenerId, Arc<dyn StreamingQueryListener>)>>,
}

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self
            .registered
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .len();
        f.debug_tuple("Listeners").field(&count).finish()
    }
}

impl Listeners {
    /// Adds a listener; it sees the events from now on.
    pub(crate) fn add(&self, listener: Arc<dyn StreamingQueryListener>) -> ListenerId {
        let id = ListenerId(self.next.fetch_add(1, Ordering::Relaxed));
        self.registered
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .push((id, listener));
        id
    }

    /// Removes a listener; whether there was one of that id.
    pub(crate) fn remove(&self, id: ListenerId) -> bool {
        let mut registered = self
            .registered
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let before = registered.len();
        registered.retain(|(known, _)| *known != id);
        registered.len() < before
    }

    /// Calls every listener, in the order in which they were added.
    pub(crate) fn deliver(&self, event: &StreamingQueryEvent) {
        let listeners = self
            .registered
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        for (id, listener) in listeners {
            let call = AssertUnwindSafe(|| match event {
                StreamingQueryEvent::Started(event) => listener.on_query_started(event),
                StreamingQueryEvent::Progress(event) => listener.on_query_progress(event),
                StreamingQueryEvent::Idle(event) => listener.on_query_idle(event),
                StreamingQueryEvent::Terminated(event) => listener.on_query_terminated(event),
            });
            if catch_unwind(call).is_err() {
                tracing::warn!(listener = id.0, "a listener of streaming queries panicked");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use uuid::Uuid;

    use super::*;

    #[derive(Default)]
    struct Heard(Mutex<Vec<String>>);

    impl StreamingQueryListener for Heard {
        fn on_query_idle(&self, event: &QueryIdle) {
            self.0.lock().unwrap().push(event.timestamp.clone());
        }
    }

    struct Panics;

    impl StreamingQueryListener for Panics {
        fn on_query_idle(&self, _event: &QueryIdle) {
            panic!("a listener of the user's");
        }
    }

    #[test]
    fn a_panicking_listener_does_not_silence_the_others() {
        let listeners = Listeners::default();
        let heard = Arc::new(Heard::default());
        listeners.add(Arc::new(Panics));
        let id = listeners.add(Arc::clone(&heard) as _);
        let event = |timestamp: &str| {
            StreamingQueryEvent::Idle(QueryIdle {
                id: QueryId(Uuid::nil()),
                run_id: RunId(Uuid::nil()),
                timestamp: timestamp.to_owned(),
            })
        };
        listeners.deliver(&event("first"));
        assert!(listeners.remove(id));
        assert!(!listeners.remove(id));
        listeners.deliver(&event("second"));
        assert_eq!(*heard.0.lock().unwrap(), ["first"]);
    }
}
