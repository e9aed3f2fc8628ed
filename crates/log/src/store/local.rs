//! A storage on a disk, every step synced.
//!
//! It is generic over the [`Disk`], so that the crash sweep tests this code and not a model of it. Each call is one
//! hop to a blocking thread, because hops and syncs are the floor of a trigger's latency.

use std::{fmt, ops::Range, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use headwater_core::{
    CreateOutcome, Error, Payload, Prepared, PreparedWrite, Result, Storage, StoredObject,
};

use super::{
    STAGING,
    counted::Counters,
    disk::{Disk, OsDisk, is_absent},
    hidden::HiddenFile,
    path::{check_folder, check_object, check_owner},
    steps::hidden_name,
    synced::{SyncedDisk, run},
};

/// A storage on the local disk.
pub type LocalStorage = DiskStorage<OsDisk>;

/// A storage on a [`Disk`]. Nothing is created before the first write.
pub struct DiskStorage<D: Disk>(Arc<SyncedDisk<D>>);

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
        Self(Arc::new(SyncedDisk::new(disk, counters)))
    }
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

    async fn create_own(&self, path: &str, payload: Payload) -> Result<CreateOutcome> {
        check_object(path)?;
        let path = path.to_owned();
        let pieces = payload.into_pieces();
        run(&self.0, move |inner| inner.create_own(&path, &pieces)).await
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
    inner: &Arc<SyncedDisk<D>>,
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
