//! Runs a query's driver as one owned task: when to call it, when to stop, who hears of it.
//!
//! Invariants: at most one step runs at a time; the first error ends the query; a panic in user code ends it with an
//! error; background work is awaited and every event is delivered before anyone who awaits the end is woken. An idle
//! query waits for its sources and costs nothing.

use std::{
    any::Any,
    collections::VecDeque,
    future::Future,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex},
};

use futures::FutureExt;
use headwater_core::{Error, Result, Trigger};
use tokio::sync::{mpsc, watch};
use tracing::Instrument;

use crate::{
    driver::{Driver, Step},
    handle::{Outcome, Shared, StreamingQuery, StreamingQueryStatus},
    listener::{
        Listeners, QueryIdle, QueryProgress, QueryStarted, QueryTerminated, StreamingQueryEvent,
    },
    progress::timestamp,
    trigger::next_tick,
};

/// What the owner of a query wants done when it ends.
pub(crate) struct Ending {
    /// Runs before anyone is told: frees the query's name.
    pub(crate) release: Box<dyn FnOnce() + Send>,
    /// Runs when the handles show the outcome.
    pub(crate) announce: Box<dyn FnOnce(&Outcome) + Send>,
}

/// The handle of a query whose task has not begun yet.
pub(crate) fn handle_of(driver: &Driver) -> StreamingQuery {
    StreamingQuery {
        shared: Arc::new(Shared {
            id: driver.id(),
            run: driver.run(),
            name: driver.name().map(str::to_owned),
            explain: driver.explain(),
            clock: Arc::clone(driver.clock()),
            status: driver.status().clone(),
            facts: driver.facts.clone(),
            history: driver.settings().progress_history,
            progress: Mutex::new(VecDeque::new()),
            stop: driver.stop.clone(),
            requested: watch::Sender::new(0),
            drained: watch::Sender::new(0),
            outcome: watch::Sender::new(None),
        }),
    }
}

/// Tells the listeners, then starts the task of a query.
pub(crate) fn spawn(
    driver: Driver,
    query: &StreamingQuery,
    listeners: Arc<Listeners>,
    ending: Ending,
) {
    let shared = Arc::clone(&query.shared);
    listeners.deliver(&StreamingQueryEvent::Started(QueryStarted {
        id: shared.id,
        run_id: shared.run,
        name: shared.name.clone(),
        timestamp: timestamp(shared.clock.now_millis()),
    }));
    let span = tracing::info_span!(
        "query",
        id = %shared.id,
        run = %shared.run,
        name = shared.name.as_deref(),
    );
    let ended = Ended {
        shared,
        ending: Some(ending),
    };
    // Owned by its end: `Ended` sets the outcome that the handles await, also if the runtime drops the task.
    tokio::spawn(supervise(driver, listeners, ended).instrument(span));
}

/// Settles the outcome exactly once, however the task ends.
struct Ended {
    shared: Arc<Shared>,
    ending: Option<Ending>,
}

impl Ended {
    fn settle(&mut self, outcome: Outcome) {
        let Some(ending) = self.ending.take() else {
            return;
        };
        (ending.release)();
        self.shared.status.send_replace(StreamingQueryStatus {
            message: match &outcome {
                Ok(()) => "Stopped".to_owned(),
                Err(error) => format!("Terminated with exception: {error}"),
            },
            ..StreamingQueryStatus::default()
        });
        self.shared.outcome.send_replace(Some(outcome.clone()));
        (ending.announce)(&outcome);
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.settle(Err(Arc::new(Error::unavailable(
            "the runtime of the query was shut down while it ran",
        ))));
    }
}

async fn supervise(mut driver: Driver, listeners: Arc<Listeners>, mut ended: Ended) {
    let shared = Arc::clone(&ended.shared);
    let (events, mut inbox) = mpsc::unbounded_channel();
    let delivery = tokio::spawn(async move {
        while let Some(event) = inbox.recv().await {
            listeners.deliver(&event);
        }
    });

    let (label, patience) = (driver.label(), driver.settings().stop_timeout_millis);
    let outcome = tokio::select! {
        biased;
        outcome = caught(label, run(&mut driver, &shared, &events)) => outcome,
        () = cut_off(&shared, patience) => Ok(()),
    };
    // Background work is part of the query: whoever awaits its end finds nothing of it running.
    if caught("background work".to_owned(), driver.shut_down().map(Ok))
        .await
        .is_err()
    {
        tracing::warn!("background work of the query panicked");
    }
    let outcome = outcome.map_err(Arc::new);
    if let Err(error) = &outcome {
        tracing::error!(%error, "the query failed");
    }
    let _ = events.send(StreamingQueryEvent::Terminated(QueryTerminated {
        id: shared.id,
        run_id: shared.run,
        exception: outcome.as_ref().err().map(ToString::to_string),
    }));
    drop(events);
    // It cannot fail: listeners' panics are caught one by one.
    let _ = delivery.await;
    ended.settle(outcome);
}

/// The loop: one step a trigger, until the trigger is done, the query is stopped or a step fails.
async fn run(
    driver: &mut Driver,
    shared: &Shared,
    events: &mpsc::UnboundedSender<StreamingQueryEvent>,
) -> Result<()> {
    let mut requested = shared.requested.subscribe();
    let mut idle = false;
    while !shared.stop.is_cancelled() {
        let asked = *requested.borrow_and_update();
        match driver.step_and_begin_next().await? {
            Step::Ran(progress) => {
                idle = false;
                let progress = Arc::new(*progress);
                shared.remember(Arc::clone(&progress));
                let _ = events.send(StreamingQueryEvent::Progress(QueryProgress { progress }));
            }
            Step::Idle => {
                shared.drained.send_replace(asked);
                if !idle {
                    idle = true;
                    let _ = events.send(StreamingQueryEvent::Idle(QueryIdle {
                        id: shared.id,
                        run_id: shared.run,
                        timestamp: timestamp(shared.clock.now_millis()),
                    }));
                }
                // Ticks at which nothing could happen are not worth waking up for.
                tokio::select! {
                    () = shared.stop.cancelled() => {}
                    () = driver.changed() => {}
                    _ = requested.changed() => {}
                }
            }
            Step::Finished => {
                shared.drained.send_replace(asked);
                return Ok(());
            }
        }
        wait_for_tick(driver.trigger(), shared).await;
    }
    Ok(())
}

/// Waits for the trigger's next tick, if it has ticks, or for the query to be stopped.
async fn wait_for_tick(trigger: Trigger, shared: &Shared) {
    if let Some(tick) = next_tick(trigger, shared.clock.now_millis()) {
        tokio::select! {
            () = shared.stop.cancelled() => {}
            () = shared.clock.sleep_until(tick) => {}
        }
    }
}

/// Resolves when a query that was told to stop has had its time.
async fn cut_off(shared: &Shared, timeout_millis: Option<u64>) {
    shared.stop.cancelled().await;
    let Some(timeout) = timeout_millis else {
        return std::future::pending().await;
    };
    let timeout = i64::try_from(timeout).unwrap_or(i64::MAX);
    let deadline = shared.clock.now_millis().saturating_add(timeout);
    shared.clock.sleep_until(deadline).await;
}

/// Awaits user code; a panic in it becomes an error that names `what`.
pub(crate) async fn caught<T>(what: String, work: impl Future<Output = Result<T>>) -> Result<T> {
    match AssertUnwindSafe(Box::pin(work)).catch_unwind().await {
        Ok(done) => done,
        Err(panic) => Err(Error::internal(format!(
            "{what} panicked: {}",
            panic_text(panic.as_ref())
        ))),
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
