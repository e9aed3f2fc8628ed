//! Knowing that the input folder may have changed, without looking.
//!
//! For a local folder the operating system says so; a slow look by the clock stands behind it, for file systems that
//! say nothing (network shares) and for other storages. A listing that took long is not repeated soon: at most about
//! two per cent of the time goes into listing.

use std::{path::Path, sync::Arc, time::Duration};

use headwater_core::Clock;
use notify::{
    EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode, ModifyKind},
};
use parking_lot::Mutex;
use tokio::sync::watch;

/// A listing that took `t` is not repeated within `t` times this.
const REST: u32 = 50;

/// Tells when to list again.
#[derive(Debug)]
pub(crate) struct Watch {
    /// Counts events.
    events: watch::Sender<u64>,
    last: Mutex<Last>,
    poll_millis: i64,
    /// Kept alive: dropping it ends the events.
    _watcher: Option<RecommendedWatcher>,
}

#[derive(Debug, Clone, Copy)]
struct Last {
    /// Events before the last listing began.
    events: u64,
    /// When the next listing is due without an event.
    due_millis: i64,
}

/// A listing that is going on.
#[derive(Debug)]
pub(crate) struct Started {
    events: u64,
    at: Duration,
}

impl Watch {
    /// Watches a local folder, with those in it or without, or none. `poll_millis` is the time between looks by the
    /// clock.
    pub(crate) fn new(folder: Option<(&Path, RecursiveMode)>, poll_millis: i64) -> Self {
        let events = watch::Sender::new(0);
        let watcher = folder.and_then(|(folder, mode)| match watch_folder(folder, mode, events.clone()) {
            Ok(watcher) => Some(watcher),
            Err(error) => {
                tracing::warn!(folder = %folder.display(), %error, "no file system notification, the folder is listed by the clock only");
                None
            }
        });
        Self {
            events,
            last: Mutex::new(Last {
                events: 0,
                due_millis: i64::MIN,
            }),
            poll_millis,
            _watcher: watcher,
        }
    }

    /// To be called before a listing, so that what happens during it counts as new.
    pub(crate) fn start_listing(&self, clock: &Arc<dyn Clock>) -> Started {
        Started {
            events: *self.events.borrow(),
            at: clock.monotonic(),
        }
    }

    /// To be called after a listing.
    pub(crate) fn end_listing(&self, started: Started, clock: &Arc<dyn Clock>) {
        let took = clock.monotonic().saturating_sub(started.at);
        let rest = i64::try_from((took * REST).as_millis()).unwrap_or(i64::MAX);
        *self.last.lock() = Last {
            events: started.events,
            due_millis: clock
                .now_millis()
                .saturating_add(self.poll_millis.max(rest)),
        };
    }

    /// Resolves when a listing may find more than the last one did.
    pub(crate) async fn changed(&self, clock: &Arc<dyn Clock>) {
        let last = *self.last.lock();
        let mut events = self.events.subscribe();
        tokio::select! {
            _ = events.wait_for(|events| *events != last.events) => {}
            () = clock.sleep_until(last.due_millis) => {}
        }
    }
}

fn watch_folder(
    folder: &Path,
    mode: RecursiveMode,
    events: watch::Sender<u64>,
) -> notify::Result<RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // An error (a full queue, say) may hide a file: look.
        if event.map_or(true, |event| brings_a_file(&event.kind)) {
            events.send_modify(|events| *events += 1);
        }
    })?;
    watcher.watch(folder, mode)?;
    Ok(watcher)
}

fn brings_a_file(kind: &EventKind) -> bool {
    match kind {
        EventKind::Create(_) | EventKind::Modify(ModifyKind::Name(_)) => true,
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Any | EventKind::Other | EventKind::Modify(ModifyKind::Any) => true,
        EventKind::Modify(_) | EventKind::Access(_) | EventKind::Remove(_) => false,
    }
}
