//! Knowing that everything has been heard: a mark that is made among the events of a watched folder.
//!
//! The system queues what happens in watched places in one order. A change of a file of ours, made now and waited for,
//! therefore comes after every change before it. Watchman calls its files for this purpose cookies
//! (<https://facebook.github.io/watchman/docs/cookies>); ours has no name, so that nothing is left behind.
//!
//! Linux only: elsewhere the system does not keep this order.

use std::{
    fs::File,
    io::{Seek, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use headwater_core::Clock;
use tokio::sync::watch;

/// A mark that is not heard of within this many milliseconds never will be.
const PATIENCE_MILLIS: i64 = 1_000;

/// A file without a name, and a path by which this process can watch it.
#[derive(Debug)]
pub(super) struct Mark {
    file: File,
    path: PathBuf,
}

impl Mark {
    /// None where there can be none.
    #[cfg(target_os = "linux")]
    pub(super) fn new() -> Option<Self> {
        use std::os::fd::AsRawFd;

        let file = tempfile::tempfile().ok()?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        Some(Self { file, path })
    }

    /// None where there can be none.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn new() -> Option<Self> {
        None
    }

    /// What to watch together with the folder.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the mark and waits until it is heard of, counted in `heard`; says whether it was.
    pub(super) async fn pass(&self, heard: &watch::Sender<u64>, clock: &Arc<dyn Clock>) -> bool {
        let mut marks = heard.subscribe();
        let before = *marks.borrow_and_update();
        let mut file = &self.file;
        if file.rewind().and_then(|()| file.write_all(b"x")).is_err() {
            return false;
        }
        let until = clock.now_millis().saturating_add(PATIENCE_MILLIS);
        tokio::select! {
            biased;
            passed = marks.wait_for(|marks| *marks > before) => passed.is_ok(),
            () = clock.sleep_until(until) => false,
        }
    }
}
