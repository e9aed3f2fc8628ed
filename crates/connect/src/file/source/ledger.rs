//! What happens to files that were read and committed: their names go to the list of files read, and `cleanSource`
//! takes them out of the input.
//!
//! Both happen behind the epochs, the list several increments at a time ([`super::unlisted`]). The plan records of the
//! query's own log name the files until then: before more are taken up those in work are done, so the list lacks no more
//! than the log still has; where no increment follows, the next look for one waits for all. An error shows then.

use std::{num::NonZeroU64, sync::Arc};

use headwater_core::{Error, Result};
use parking_lot::Mutex;
use tokio::task::JoinHandle;

use super::{
    folder::{Archive, FileEntry, Folder},
    seen_log::{Names, SeenLog},
    unlisted::{Due, Unlisted, listed_at_once},
};

/// How files leave the input.
#[derive(Debug)]
pub(crate) enum Cleaner {
    /// They do not.
    Off,
    Delete(Folder),
    Archive(Folder, Archive),
}

impl Cleaner {
    async fn clean(&self, names: impl Iterator<Item = &str>) {
        for path in names {
            let cleaned = match self {
                Self::Off => return,
                Self::Delete(folder) => folder.delete(path).await,
                Self::Archive(folder, archive) => folder.archive(path, archive).await,
            };
            if let Err(error) = cleaned {
                // The file was read and will not be read again: the query need not stop for it.
                tracing::warn!(file = path, %error, "cannot clean up a file that was read");
            }
        }
    }
}

/// Takes up increments that were committed.
#[derive(Debug)]
pub(crate) struct Ledger {
    log: Arc<SeenLog>,
    cleaner: Arc<Cleaner>,
    // Held for bookkeeping only.
    unlisted: Mutex<Unlisted>,
    /// Held while it is waited for: whoever gives up waiting leaves it to the next.
    working: tokio::sync::Mutex<Option<JoinHandle<Result<()>>>>,
    /// Merges may take longer than an epoch; nothing waits for them. Held only to exchange the handle.
    merging: Mutex<Option<JoinHandle<()>>>,
}

impl Ledger {
    /// For a query whose log keeps the records of its newest `retained` epochs.
    pub(crate) fn new(log: SeenLog, cleaner: Cleaner, retained: NonZeroU64) -> Self {
        let unlisted = Unlisted::after(log.count(), listed_at_once(retained));
        Self {
            unlisted: Mutex::new(unlisted),
            log: Arc::new(log),
            cleaner: Arc::new(cleaner),
            working: tokio::sync::Mutex::new(None),
            merging: Mutex::new(None),
        }
    }

    /// Learns of files that an earlier run planned to read, numbered from `start`.
    ///
    /// # Errors
    /// `Internal` if there are files between them and those known.
    pub(crate) fn remember(&self, start: u64, names: Names) -> Result<()> {
        if self.unlisted.lock().remember(start, names) {
            return Ok(());
        }
        Err(Error::internal(format!(
            "the names of the files before number {start} were not told to the list of files read"
        )))
    }

    /// Takes up `files`, numbered from `start`, whose remembered names are `names`, once those before are done; every file
    /// before them is acknowledged as well.
    pub(crate) async fn take_up(
        &self,
        start: u64,
        names: Names,
        files: Vec<FileEntry>,
        remembered_from: i64,
    ) -> Result<()> {
        let end = start + names.len() as u64;
        self.remember(start, names)?;
        let is_due = {
            let mut unlisted = self.unlisted.lock();
            unlisted.acknowledge(end);
            unlisted.is_due()
        };
        if !is_due && matches!(*self.cleaner, Cleaner::Off) {
            return Ok(());
        }
        let mut working = self.working.lock().await;
        settled(&mut working).await?;
        let due = self.unlisted.lock().take_due(false);
        let is_urgent = due.as_ref().is_some_and(|due| due.is_urgent);
        *working = Some(self.begin(due, files));
        self.merge(remembered_from);
        match is_urgent {
            true => settled(&mut working).await,
            false => Ok(()),
        }
    }

    /// Does everything that is left to do for the files taken up.
    pub(crate) async fn catch_up(&self) -> Result<()> {
        let mut working = self.working.lock().await;
        settled(&mut working).await?;
        let due = self.unlisted.lock().take_due(true);
        if due.is_some() {
            *working = Some(self.begin(due, Vec::new()));
        }
        settled(&mut working).await
    }

    /// Begins to write an object of the list and to clean up files.
    fn begin(&self, due: Option<Due>, files: Vec<FileEntry>) -> JoinHandle<Result<()>> {
        let (log, cleaner) = (Arc::clone(&self.log), Arc::clone(&self.cleaner));
        tokio::spawn(async move {
            if let Some(due) = due {
                log.append(due.start, due.names).await?;
            }
            cleaner
                .clean(files.iter().map(|file| file.path.as_str()))
                .await;
            Ok(())
        })
    }

    /// Merges the list, unless that is being done.
    fn merge(&self, remembered_from: i64) {
        let mut merging = self.merging.lock();
        if merging.as_ref().is_some_and(|task| !task.is_finished()) || !self.log.can_merge() {
            return;
        }
        let log = Arc::clone(&self.log);
        *merging = Some(tokio::spawn(async move {
            if let Err(error) = log.merge(remembered_from).await {
                tracing::warn!(%error, "cannot shorten the list of files read; it is tried again");
            }
        }));
    }

    /// Waits for everything that is going on.
    #[cfg(test)]
    pub(super) async fn finish(&self) -> Result<()> {
        self.catch_up().await?;
        let merging = self.merging.lock().take();
        if let Some(task) = merging {
            task.await.expect("merging does not panic");
        }
        Ok(())
    }
}

/// Waits for a task, which is gone when this returns.
async fn settled(working: &mut Option<JoinHandle<Result<()>>>) -> Result<()> {
    let Some(task) = working else {
        return Ok(());
    };
    let done = task.await;
    *working = None;
    done.map_err(|error| {
        Error::internal("the list of files read was not brought up to date").with_source(error)
    })?
}
