//! A storage on a disk, every step synced.
//!
//! The order of steps is the whole point: bytes are written and synced under a hidden name, then the name is changed
//! in one atomic step, then the folder is synced. So a name never points at bytes that a crash could take back, and a
//! visible object stays visible. It is generic over the [`Disk`], so that the crash sweep tests this code and not a
//! model of it.
//!
//! Calls of one method are batched into one hop to a blocking thread, because hops and syncs are the floor of a
//! trigger's latency.

use std::{
    collections::{BTreeSet, HashSet},
    fmt, io,
    ops::Range,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use headwater_core::{
    Clock, CreateOutcome, Error, Prepared, PreparedWrite, Result, Storage, StoredObject,
    SystemClock,
};
use serde_json::{Value, json};

use super::{
    STAGING,
    counted::{Counters, add},
    disk::{Disk, OsDisk, is_absent},
    hidden::HiddenFile,
    path::{check_folder, check_object, check_owner, is_staged, parent},
};

/// How much older than a new file a temporary file must be to be a leftover of a crash, in milliseconds.
const LEFTOVER_AGE: i64 = 24 * 60 * 60 * 1_000;

/// How many folders are synced at the same time.
const PARALLEL_SYNCS: usize = 8;

/// A storage on the local disk.
pub type LocalStorage = DiskStorage<OsDisk>;

/// A storage on a [`Disk`]. Nothing is created before the first write.
pub struct DiskStorage<D: Disk>(Arc<DiskInner<D>>);

/// What the storage and its unfinished writes share.
pub(super) struct DiskInner<D: Disk> {
    pub(super) disk: D,
    instance: String,
    /// Numbers of hidden files of this instance.
    next: AtomicU64,
    /// Folders whose names are known to be durable in their parents. A plain mutex: held for a look-up only.
    known: Mutex<HashSet<String>>,
    swept: AtomicBool,
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
    folders: BTreeSet<String>,
    made: BTreeSet<String>,
}

impl LocalStorage {
    /// The storage below a folder of the local disk. The folder is created by the first write.
    ///
    /// # Errors
    /// [`headwater_core::ErrorKind::Invalid`] if `root` exists and is not a folder.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self> {
        Self::open_counted(root, Arc::default())
    }

    /// As [`Self::open`]; syncs are added to `counters`.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_counted(root: impl Into<PathBuf>, counters: Arc<Counters>) -> Result<Self> {
        let root = root.into();
        if root.exists() && !root.is_dir() {
            return Err(Error::invalid(format!(
                "'{}' is a file: a storage needs a folder",
                root.display()
            )));
        }
        Ok(Self::on(OsDisk::new(root), counters))
    }

    /// The folder everything is below.
    pub fn root(&self) -> &std::path::Path {
        self.0.disk.root()
    }
}

impl<D: Disk> DiskStorage<D> {
    /// The storage on `disk`; syncs are added to `counters`.
    pub fn on(disk: D, counters: Arc<Counters>) -> Self {
        Self(Arc::new(DiskInner {
            instance: disk.instance(),
            disk,
            next: AtomicU64::new(0),
            known: Mutex::default(),
            swept: AtomicBool::new(false),
            staging: StagingSync::default(),
            counters,
            clock: SystemClock::default(),
        }))
    }
}

/// Runs blocking work where it may block.
pub(super) async fn run<D: Disk, T: Send + 'static>(
    inner: &Arc<DiskInner<D>>,
    work: impl FnOnce(&DiskInner<D>) -> Result<T> + Send + 'static,
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

impl<D: Disk> DiskInner<D> {
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

    fn known(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
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

    fn sync_dir(&self, folder: &str) -> Result<()> {
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

    /// Writes bytes under a temporary name, synced.
    fn write_temp(&self, path: &str, bytes: &[u8], syncs: &mut Syncs) -> Result<String> {
        let (mut file, hidden) = self.create_hidden(&format!("tmp-{}", self.instance), syncs)?;
        let written = self
            .disk
            .append(&mut file, bytes)
            .map_err(|error| self.failed("write", path, error))
            .and_then(|()| self.sync_file(&file, path));
        if let Err(error) = written {
            self.remove_quietly(&hidden);
            return Err(error);
        }
        if !self.swept.swap(true, SeqCst) {
            self.sweep(&hidden);
        }
        Ok(hidden)
    }

    /// Removes temporary files that a crash left behind. They are told by their age against a file just written, in
    /// the file system's own time. Failing to do so harms nobody.
    fn sweep(&self, fresh: &str) {
        let entries = self.disk.entries(STAGING).unwrap_or_default();
        let now = entries
            .iter()
            .find(|entry| fresh.ends_with(&entry.name))
            .map_or(i64::MIN, |entry| entry.modified_millis);
        for entry in &entries {
            let is_old = entry.modified_millis < now.saturating_sub(LEFTOVER_AGE);
            if entry.name.starts_with("tmp-") && is_old {
                self.remove_quietly(&format!("{STAGING}/{}", entry.name));
            }
        }
    }

    /// Removes a hidden file that nobody will miss or find if this fails.
    fn remove_quietly(&self, hidden: &str) {
        if let Err(error) = self.disk.remove(hidden) {
            tracing::debug!(file = hidden, %error, "a temporary file stays behind");
        }
    }

    /// Gives a hidden file its final name, creating folders as needed; once more if a folder that was known is gone.
    fn place(
        &self,
        hidden: &str,
        path: &str,
        syncs: &mut Syncs,
        rename: fn(&D, &str, &str) -> io::Result<()>,
    ) -> Result<io::Result<()>> {
        self.make_dirs(parent(path), syncs)?;
        let mut placed = rename(&self.disk, hidden, path);
        if placed.as_ref().is_err_and(is_absent) && self.size(hidden)?.is_some() {
            self.known().clear();
            self.make_dirs(parent(path), syncs)?;
            placed = rename(&self.disk, hidden, path);
        }
        syncs.folders.insert(parent(path).to_owned());
        Ok(placed)
    }

    fn size(&self, path: &str) -> Result<Option<u64>> {
        self.disk
            .size(path)
            .map_err(|error| self.failed("look at", path, error))
    }

    fn create(&self, path: &str, bytes: &[u8]) -> Result<CreateOutcome> {
        let mut syncs = Syncs::default();
        if self.size(path)?.is_none() {
            let hidden = self.write_temp(path, bytes, &mut syncs)?;
            let placed = self.place(&hidden, path, &mut syncs, D::rename_new)?;
            match placed {
                Ok(()) => return self.sync(syncs).map(|()| CreateOutcome::Created),
                Err(error) => {
                    self.remove_quietly(&hidden);
                    if error.kind() != io::ErrorKind::AlreadyExists {
                        return Err(self.failed("create", path, error));
                    }
                }
            }
        }
        // It may be there because of an earlier call that failed before its last sync.
        self.make_dirs(parent(path), &mut syncs)?;
        syncs.folders.insert(parent(path).to_owned());
        self.sync(syncs)?;
        Ok(CreateOutcome::AlreadyExists)
    }

    fn replace(&self, path: &str, bytes: &[u8]) -> Result<()> {
        let mut syncs = Syncs::default();
        let hidden = self.write_temp(path, bytes, &mut syncs)?;
        if let Err(error) = self.place(&hidden, path, &mut syncs, D::rename)? {
            self.remove_quietly(&hidden);
            return Err(self.failed("replace", path, error));
        }
        self.sync(syncs)
    }

    fn publish(&self, objects: &[Prepared]) -> Result<()> {
        // A rename into a folder that a crash takes back would lose the bytes from both places.
        let mut folders = Syncs::default();
        for object in objects {
            self.make_dirs(parent(&object.path), &mut folders)?;
        }
        self.sync(folders)?;
        let mut syncs = Syncs::default();
        for object in objects {
            let hidden = hidden_name(object)?;
            match self.place(hidden, &object.path, &mut syncs, D::rename)? {
                Ok(()) => {}
                Err(error) if is_absent(&error) => self.check_published(object, hidden)?,
                Err(error) => return Err(self.failed("publish", &object.path, error)),
            }
        }
        self.sync(syncs)
    }

    /// The hidden file is gone: somebody has published it already, or it is lost.
    fn check_published(&self, object: &Prepared, hidden: &str) -> Result<()> {
        match self.size(&object.path)? {
            Some(size) if size == object.size => Ok(()),
            Some(size) => Err(Error::data(format!(
                "'{}' in {} should have {} bytes and has {size}, and '{hidden}', from which it would be published, is gone",
                object.path, self.disk, object.size
            ))),
            None => Err(Error::data(format!(
                "'{}' cannot be published in {}: neither it nor '{hidden}', which held its bytes, exists",
                object.path, self.disk
            ))),
        }
    }

    /// Removes a file; `false` if there is none.
    fn remove(&self, path: &str) -> Result<bool> {
        match self.disk.remove(path) {
            Ok(()) => Ok(true),
            Err(error) if is_absent(&error) => Ok(false),
            Err(error) => Err(self.failed("delete", path, error)),
        }
    }

    /// Removes hidden files for good: nobody would look for one that a crash brought back.
    fn discard(&self, hidden: Vec<String>) -> Result<()> {
        let mut is_changed = false;
        for hidden in &hidden {
            is_changed |= self.remove(hidden)?;
        }
        if is_changed {
            self.sync_dir(STAGING)?;
        }
        Ok(())
    }

    fn list(&self, prefix: &str) -> Result<Vec<StoredObject>> {
        let mut objects = Vec::new();
        let mut folders = vec![prefix.strip_suffix('/').unwrap_or(prefix).to_owned()];
        while let Some(folder) = folders.pop() {
            if is_staged(&folder) {
                continue;
            }
            let entries = self
                .disk
                .entries(&folder)
                .map_err(|error| self.failed("list", &folder, error))?;
            for entry in entries {
                let path = if folder.is_empty() {
                    entry.name
                } else {
                    format!("{folder}/{}", entry.name)
                };
                if entry.is_dir {
                    folders.push(path);
                } else {
                    objects.push(StoredObject {
                        path,
                        size: entry.size,
                        modified_millis: entry.modified_millis,
                    });
                }
            }
        }
        objects.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Ok(objects)
    }
}

/// The hidden name of a prepared object.
fn hidden_name(object: &Prepared) -> Result<&str> {
    check_object(&object.path)?;
    object
        .token
        .get("hidden")
        .and_then(Value::as_str)
        .filter(|hidden| is_staged(hidden))
        .ok_or_else(|| {
            Error::data(format!(
                "'{}' was not prepared on a local disk: its token is {}",
                object.path, object.token
            ))
        })
}

/// The token of an object whose bytes lie under a hidden name.
pub(super) fn hidden_token(hidden: &str) -> Value {
    json!({ "hidden": hidden })
}

impl<D: Disk> fmt::Debug for DiskStorage<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DiskStorage").field(&self.0.disk).finish()
    }
}

impl<D: Disk> fmt::Display for DiskStorage<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.disk, f)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<D: Disk> Storage for DiskStorage<D> {
    async fn read(&self, path: &str) -> Result<Option<Bytes>> {
        read(&self.0, path, None).await
    }

    async fn read_range(&self, path: &str, range: Range<u64>) -> Result<Option<Bytes>> {
        read(&self.0, path, Some(range)).await
    }

    async fn create(&self, path: &str, bytes: Bytes) -> Result<CreateOutcome> {
        check_object(path)?;
        let path = path.to_owned();
        run(&self.0, move |inner| inner.create(&path, &bytes)).await
    }

    async fn replace(&self, path: &str, bytes: Bytes) -> Result<()> {
        check_object(path)?;
        let path = path.to_owned();
        run(&self.0, move |inner| inner.replace(&path, &bytes)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<StoredObject>> {
        check_folder(prefix)?;
        let prefix = prefix.to_owned();
        run(&self.0, move |inner| inner.list(&prefix)).await
    }

    async fn delete(&self, paths: &[String]) -> Result<()> {
        let paths = paths.to_vec();
        paths.iter().try_for_each(|path| check_object(path))?;
        run(&self.0, move |inner| {
            paths
                .iter()
                .try_for_each(|path| inner.remove(path).map(drop))
        })
        .await
    }

    async fn prepare(&self, path: &str, owner: &str) -> Result<Box<dyn PreparedWrite>> {
        check_object(path)?;
        check_owner(owner)?;
        Ok(Box::new(HiddenFile::new(&self.0, path, owner)))
    }

    async fn publish(&self, objects: &[Prepared]) -> Result<()> {
        if objects.is_empty() {
            return Ok(());
        }
        let objects = objects.to_vec();
        run(&self.0, move |inner| inner.publish(&objects)).await
    }

    async fn discard(&self, objects: &[Prepared]) -> Result<()> {
        if objects.is_empty() {
            return Ok(());
        }
        let hidden: Result<Vec<String>> = objects
            .iter()
            .map(|object| hidden_name(object).map(str::to_owned))
            .collect();
        let hidden = hidden?;
        run(&self.0, move |inner| inner.discard(hidden)).await
    }

    async fn discard_prepared(&self, owner: &str) -> Result<()> {
        check_owner(owner)?;
        let owned = format!("{owner}.");
        run(&self.0, move |inner| {
            let entries = inner
                .disk
                .entries(STAGING)
                .map_err(|error| inner.failed("list", STAGING, error))?;
            let owned = entries.iter().filter(|it| it.name.starts_with(&owned));
            inner.discard(owned.map(|it| format!("{STAGING}/{}", it.name)).collect())
        })
        .await
    }
}

async fn read<D: Disk>(
    inner: &Arc<DiskInner<D>>,
    path: &str,
    range: Option<Range<u64>>,
) -> Result<Option<Bytes>> {
    check_object(path)?;
    let path = path.to_owned();
    run(inner, move |inner| match inner.disk.read(&path, range) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(inner.failed("read", &path, error)),
    })
    .await
}
