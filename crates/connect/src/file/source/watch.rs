//! Knowing that the input folder may have changed, and by which files, without looking.
//!
//! For a local folder the operating system says so, by name where a [`Mark`] can tell that it has said everything; a
//! slow look by the clock stands behind it, for file systems that say nothing (network shares) and for other storages.
//! A listing that took long is not repeated soon: at most about two per cent of the time goes into listing, however
//! often the source is asked.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use headwater_core::Clock;
use notify::{
    EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, AccessMode, CreateKind, ModifyKind},
};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::mark::Mark;

/// A listing that took `t` is not repeated within `t` times this.
const REST: u32 = 50;

/// After a new folder is heard of, files in it may appear unheard for a moment: names alone are not relied on before a
/// listing that began this many milliseconds later.
const SETTLE_MILLIS: i64 = 1_000;

/// More names than this are not kept: a listing is as good.
const MOST_NAMES: usize = 10_000;

/// Tells when to list again.
#[derive(Debug)]
pub(crate) struct Watch {
    heard: Arc<Heard>,
    last: Mutex<Last>,
    poll_millis: i64,
    /// Kept alive: dropping it ends the events.
    watcher: Option<Watcher>,
}

#[derive(Debug)]
struct Watcher {
    _system: RecommendedWatcher,
    /// None where the system does not keep what it says in order.
    mark: Option<Mark>,
}

/// What the system has said.
#[derive(Debug)]
struct Heard {
    /// Counts events.
    events: watch::Sender<u64>,
    /// Counts events of the mark.
    marks: watch::Sender<u64>,
    // Held to push or take names only.
    names: Mutex<Names>,
}

/// Files that may be new.
#[derive(Debug, Default)]
struct Names {
    paths: Vec<PathBuf>,
    /// There may be files that are not named.
    in_doubt: bool,
    /// From now on there may always be.
    lost: bool,
}

#[derive(Debug, Clone, Copy)]
struct Last {
    /// Events before the last look began.
    events: u64,
    /// When the next listing is due without an event.
    due_millis: i64,
    /// When the last listing began.
    listed_millis: Option<i64>,
    /// Names are relied on after a listing that began then or later.
    settled_millis: i64,
    /// Names were taken, and it is not said yet that they were looked at.
    is_looking: bool,
}

/// A look that is going on.
#[derive(Debug)]
pub(crate) struct Started {
    events: u64,
    at: Duration,
    at_millis: i64,
}

impl Watch {
    /// Watches a local folder, with those in it or without, or none. `poll_millis` is the time between looks by the
    /// clock.
    pub(crate) fn new(folder: Option<(&Path, RecursiveMode)>, poll_millis: i64) -> Self {
        let heard = Arc::new(Heard {
            events: watch::Sender::new(0),
            marks: watch::Sender::new(0),
            names: Mutex::default(),
        });
        let watcher = folder.and_then(|(folder, mode)| match watch_folder(folder, mode, &heard) {
            Ok(watcher) => Some(watcher),
            Err(error) => {
                tracing::warn!(folder = %folder.display(), %error, "no file system notification, the folder is listed by the clock only");
                None
            }
        });
        Self {
            heard,
            last: Mutex::new(Last {
                events: 0,
                due_millis: i64::MIN,
                listed_millis: None,
                settled_millis: i64::MIN,
                is_looking: false,
            }),
            poll_millis,
            watcher,
        }
    }

    fn start(&self, clock: &Arc<dyn Clock>) -> Started {
        Started {
            events: *self.heard.events.borrow(),
            at: clock.monotonic(),
            at_millis: clock.now_millis(),
        }
    }

    /// The paths that may have become files since the last look, all of them; none if only a listing can tell. What
    /// is looked at then is told with [`Self::end_look`].
    pub(crate) async fn named(&self, clock: &Arc<dyn Clock>) -> Option<(Started, Vec<PathBuf>)> {
        let mark = self.watcher.as_ref()?.mark.as_ref()?;
        let started = self.start(clock);
        if !self.last.lock().relies_on_names(started.at_millis) {
            return None;
        }
        let heard_all = mark.pass(&self.heard.marks, clock).await;
        let mut names = self.heard.names.lock();
        names.lost |= !heard_all;
        if names.lost || names.in_doubt {
            return None;
        }
        self.last.lock().is_looking = true;
        Some((started, std::mem::take(&mut names.paths)))
    }

    /// To be called when the files named were looked at; `all` says whether that was possible.
    pub(crate) fn end_look(&self, started: &Started, all: bool) {
        let mut last = self.last.lock();
        last.events = started.events;
        last.is_looking = false;
        if !all {
            self.heard.names.lock().in_doubt = true;
        }
    }

    /// To be called before a listing, so that what happens during it counts as new.
    pub(crate) fn start_listing(&self, clock: &Arc<dyn Clock>) -> Started {
        let started = self.start(clock);
        let mut names = self.heard.names.lock();
        names.paths.clear();
        if std::mem::take(&mut names.in_doubt) {
            self.last.lock().settled_millis = started.at_millis.saturating_add(SETTLE_MILLIS);
        }
        started
    }

    /// To be called after a listing.
    pub(crate) fn end_listing(&self, started: &Started, clock: &Arc<dyn Clock>) {
        let took = clock.monotonic().saturating_sub(started.at);
        let rest = i64::try_from((took * REST).as_millis()).unwrap_or(i64::MAX);
        let mut last = self.last.lock();
        last.events = started.events;
        last.due_millis = clock
            .now_millis()
            .saturating_add(self.poll_millis.max(rest));
        last.listed_millis = Some(started.at_millis);
        last.is_looking = false;
    }

    /// Resolves when a listing may find more than the last one did.
    pub(crate) async fn changed(&self, clock: &Arc<dyn Clock>) {
        let last = *self.last.lock();
        let mut events = self.heard.events.subscribe();
        tokio::select! {
            _ = events.wait_for(|events| *events != last.events) => {}
            () = clock.sleep_until(last.due_millis) => {}
        }
    }
}

impl Last {
    fn relies_on_names(&self, now_millis: i64) -> bool {
        let settled = |listed| listed >= self.settled_millis;
        !self.is_looking && now_millis < self.due_millis && self.listed_millis.is_some_and(settled)
    }
}

impl Heard {
    fn take_up(&self, event: notify::Result<notify::Event>, root: &Path, mark: Option<&Path>) {
        match event {
            Ok(event) if mark.is_some_and(|mark| event.paths.iter().any(|path| path == mark)) => {
                self.marks.send_modify(|marks| *marks += 1);
                return;
            }
            Ok(event) => {
                let mut names = self.names.lock();
                let about_root = event.paths.iter().any(|path| path == root);
                names.lost |= about_root && ends_the_watch(&event.kind);
                if !brings_a_file(&event.kind) {
                    return;
                }
                names.in_doubt |= event.need_rescan()
                    || event.paths.is_empty()
                    || names.paths.len() >= MOST_NAMES
                    || matches!(event.kind, EventKind::Create(CreateKind::Folder));
                if !names.in_doubt {
                    names.paths.extend(event.paths);
                }
            }
            // What the system could not say may be about any file, now and later.
            Err(_) => self.names.lock().lost = true,
        }
        self.events.send_modify(|events| *events += 1);
    }
}

fn watch_folder(folder: &Path, mode: RecursiveMode, heard: &Arc<Heard>) -> notify::Result<Watcher> {
    let heard = Arc::clone(heard);
    let mark = Mark::new();
    let root = std::path::absolute(folder)?;
    let (of_events, of_mark) = (
        root.clone(),
        mark.as_ref().map(|mark| mark.path().to_owned()),
    );
    let mut system = notify::recommended_watcher(move |event| {
        heard.take_up(event, &of_events, of_mark.as_deref());
    })?;
    let mark = mark.filter(|mark| {
        system
            .watch(mark.path(), RecursiveMode::NonRecursive)
            .is_ok()
    });
    system.watch(&root, mode)?;
    Ok(Watcher {
        _system: system,
        mark,
    })
}

/// Whether nothing more will be said of the folder, an event of which this is.
fn ends_the_watch(kind: &EventKind) -> bool {
    matches!(
        kind,
        EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_))
    )
}

fn brings_a_file(kind: &EventKind) -> bool {
    match kind {
        EventKind::Create(_) | EventKind::Modify(ModifyKind::Name(_)) => true,
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Any | EventKind::Other | EventKind::Modify(ModifyKind::Any) => true,
        EventKind::Modify(_) | EventKind::Access(_) | EventKind::Remove(_) => false,
    }
}
