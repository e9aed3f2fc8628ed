//! A disk that is told what to sync, and remembers what is.
//!
//! This is the ground under the steps of [`super::steps`]: folders are made and synced once, syncs of one call run in
//! parallel, and one sync of the staging folder serves every file created before it began.

use std::{
    collections::{BTreeSet, HashSet},
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
};

use headwater_core::{Clock, Error, Result, SystemClock};

use super::{
    STAGING,
    counted::{Counters, add},
    disk::Disk,
    path::parent,
};

/// How many folders are synced at the same time.
const PARALLEL_SYNCS: usize = 8;

/// A [`Disk`] and what is known about it; a storage and its unfinished writes share one.
#[derive(Debug)]
pub(super) struct SyncedDisk<D: Disk> {
    pub(super) disk: D,
    /// A word that tells temporary files of this instance from others.
    pub(super) instance: String,
    /// Numbers of hidden files of this instance.
    next: AtomicU64,
    /// Folders whose names are known to be durable in their parents. A plain mutex: held for a look-up only.
    known: Mutex<HashSet<String>>,
    /// Whether temporary files of the past were looked for.
    pub(super) swept: AtomicBool,
    staging: StagingSync,
    counters: Arc<Counters>,
    clock: SystemClock,
}

/// Lets one sync of the staging folder serve every file created before it began.
#[derive(Debug, Default)]
struct StagingSync {
    created: AtomicU64,
    /// The number of files whose names are durable. Held while syncing, so that those who wait find it done.
    synced: Mutex<u64>,
}

/// Folders to sync before a call may return, and those whose names are durable after that.
#[derive(Debug, Default)]
pub(super) struct Syncs {
    pub(super) folders: BTreeSet<String>,
    made: BTreeSet<String>,
}

/// Runs blocking work where it may block.
pub(super) async fn run<D: Disk, T: Send + 'static>(
    inner: &Arc<SyncedDisk<D>>,
    work: impl FnOnce(&SyncedDisk<D>) -> Result<T> + Send + 'static,
) -> Result<T> {
    if !D::BLOCKS {
        return work(inner);
    }
    let inner = Arc::clone(inner);
    tokio::task::spawn_blocking(move || work(&inner))
        .await
        .map_err(|error| {
            Error::internal("a task of the storage did not finish").with_source(error)
        })?
}

impl<D: Disk> SyncedDisk<D> {
    pub(super) fn new(disk: D, counters: Arc<Counters>) -> Self {
        Self {
            instance: disk.instance(),
            disk,
            next: AtomicU64::new(0),
            known: Mutex::default(),
            swept: AtomicBool::new(false),
            staging: StagingSync::default(),
            counters,
            clock: SystemClock::default(),
        }
    }

    /// What failed, on which object, and where.
    pub(super) fn failed(&self, what: &str, path: &str, error: io::Error) -> Error {
        let message = format!("cannot {what} '{path}' in {}", self.disk);
        match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                Error::data(format!("{message}: it is shorter than expected"))
            }
            io::ErrorKind::InvalidFilename => Error::invalid(message).with_source(error),
            _ => Error::unavailable(message).with_source(error),
        }
    }

    /// Folders that need not be made or synced again.
    pub(super) fn known(&self) -> MutexGuard<'_, HashSet<String>> {
        // The set is whole after a panic elsewhere: it is only ever inserted into or cleared.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Creates the missing folders of `folder`. A folder met for the first time is synced into its parent even if it
    /// exists: its creator may have died before doing so.
    pub(super) fn make_dirs(&self, folder: &str, syncs: &mut Syncs) -> Result<()> {
        if syncs.made.contains(folder) || self.known().contains(folder) {
            return Ok(());
        }
        if !folder.is_empty() {
            self.make_dirs(parent(folder), syncs)?;
            syncs.folders.insert(parent(folder).to_owned());
        }
        self.disk
            .make_dir(folder)
            .map_err(|error| self.failed("create the folder", folder, error))?;
        syncs.made.insert(folder.to_owned());
        Ok(())
    }

    /// Makes the names in these folders durable, in parallel where that helps.
    pub(super) fn sync(&self, syncs: Syncs) -> Result<()> {
        let folders: Vec<&String> = syncs.folders.iter().collect();
        if D::BLOCKS && folders.len() > 1 {
            let share = folders.len().div_ceil(PARALLEL_SYNCS);
            std::thread::scope(|scope| {
                let threads: Vec<_> = folders
                    .chunks(share)
                    .map(|chunk| scope.spawn(move || self.sync_each(chunk)))
                    .collect();
                threads.into_iter().try_for_each(|thread| {
                    thread
                        .join()
                        .map_err(|_| Error::internal("a thread that syncs folders panicked"))?
                })
            })?;
        } else {
            self.sync_each(&folders)?;
        }
        self.known().extend(syncs.made);
        Ok(())
    }

    fn sync_each(&self, folders: &[&String]) -> Result<()> {
        folders.iter().try_for_each(|folder| self.sync_dir(folder))
    }

    pub(super) fn sync_dir(&self, folder: &str) -> Result<()> {
        add(&self.counters.dir_syncs, 1);
        self.timed(|| self.disk.sync_dir(folder))
            .map_err(|error| self.failed("sync the folder", folder, error))
    }

    pub(super) fn sync_file(&self, file: &D::File, path: &str) -> Result<()> {
        add(&self.counters.file_syncs, 1);
        self.timed(|| self.disk.sync_file(file))
            .map_err(|error| self.failed("sync", path, error))
    }

    fn timed<T>(&self, work: impl FnOnce() -> T) -> T {
        let start = self.clock.monotonic();
        let done = work();
        let took = self.clock.monotonic().saturating_sub(start);
        add(
            &self.counters.sync_nanos,
            u64::try_from(took.as_nanos()).unwrap_or(u64::MAX),
        );
        done
    }

    /// Creates a file in the staging folder whose name begins with `{prefix}.`.
    pub(super) fn create_hidden(
        &self,
        prefix: &str,
        syncs: &mut Syncs,
    ) -> Result<(D::File, String)> {
        self.make_dirs(STAGING, syncs)?;
        loop {
            let number = self.next.fetch_add(1, SeqCst);
            let hidden = format!("{STAGING}/{prefix}.{number}");
            match self.disk.create_new(&hidden) {
                Ok(file) => return Ok((file, hidden)),
                // A leftover of an earlier instance, or a neighbour on the same root.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => {
                    self.known().clear();
                    return Err(self.failed("create", &hidden, error));
                }
            }
        }
    }

    /// A number for a file just created in the staging folder, for [`Self::sync_staging`].
    pub(super) fn staging_ticket(&self) -> u64 {
        self.staging.created.fetch_add(1, SeqCst) + 1
    }

    /// Makes the name of the file with this ticket durable, unless a neighbour's sync did.
    pub(super) fn sync_staging(&self, ticket: u64) -> Result<()> {
        let mut synced = self
            .staging
            .synced
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if *synced < ticket {
            // Read before the sync begins: a file created during it may or may not be covered.
            let covered = self.staging.created.load(SeqCst);
            self.sync_dir(STAGING)?;
            *synced = covered;
        }
        Ok(())
    }
}
