//! What happens to files that were read and committed: their names go to the list of files read, and `cleanSource`
//! takes them out of the input.
//!
//! Both happen behind the epochs. The plan records of the query's own log name the files until then, and an increment
//! is only taken up when the one before it is done, so the list lacks at most the newest increment, which the query's
//! log always still has; where no increment follows, the next look for one waits for it. An error shows then.

use std::sync::Arc;

use headwater_core::{Error, Result};
use parking_lot::Mutex;
use tokio::task::JoinHandle;

use super::{
    folder::{Archive, FileEntry, Folder},
    seen_log::{Names, SeenLog},
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
    // Both held only to exchange the handles.
    working: Mutex<Option<JoinHandle<Result<()>>>>,
    /// Merges may take longer than an epoch; nothing waits for them.
    merging: Mutex<Option<JoinHandle<()>>>,
}

impl Ledger {
    pub(crate) fn new(log: SeenLog, cleaner: Cleaner) -> Self {
        Self {
            log: Arc::new(log),
            cleaner: Arc::new(cleaner),
            working: Mutex::new(None),
            merging: Mutex::new(None),
        }
    }

    /// Takes up the files numbered from `start`, whose remembered names are `names`, once those before are done.
    pub(crate) async fn take_up(
        &self,
        start: u64,
        names: Names,
        files: Vec<FileEntry>,
        remembered_from: i64,
    ) -> Result<()> {
        self.settle().await?;
        let (log, cleaner) = (Arc::clone(&self.log), Arc::clone(&self.cleaner));
        let task = tokio::spawn(async move {
            log.append(start, names).await?;
            cleaner
                .clean(files.iter().map(|file| file.path.as_str()))
                .await;
            Ok(())
        });
        *self.working.lock() = Some(task);
        self.merge(remembered_from);
        Ok(())
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

    /// Waits for what was taken up.
    pub(crate) async fn settle(&self) -> Result<()> {
        let task = self.working.lock().take();
        match task {
            None => Ok(()),
            Some(task) => task.await.map_err(|error| {
                Error::internal("the list of files read was not brought up to date")
                    .with_source(error)
            })?,
        }
    }

    /// Waits for everything that is going on.
    #[cfg(test)]
    pub(super) async fn finish(&self) -> Result<()> {
        self.settle().await?;
        let merging = self.merging.lock().take();
        if let Some(task) = merging {
            task.await.expect("merging does not panic");
        }
        Ok(())
    }
}
