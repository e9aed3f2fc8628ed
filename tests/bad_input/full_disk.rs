//! A storage whose disk is full from one write on, until somebody makes room.

use std::{
    fmt,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use headwater::{
    Storage,
    core::{CreateOutcome, Error, Payload, Prepared, PreparedWrite, Result, storage::StoredObject},
};

/// How much room there is. Several storages may share it.
#[derive(Debug, Default)]
pub(super) struct Room {
    writes: AtomicUsize,
    full_at: AtomicUsize,
    is_made: AtomicBool,
}

impl Room {
    /// Room for this many writes.
    pub(super) fn for_writes(writes: usize) -> Arc<Self> {
        Arc::new(Self {
            full_at: AtomicUsize::new(writes),
            ..Self::default()
        })
    }

    /// Writes so far.
    pub(super) fn writes(&self) -> usize {
        self.writes.load(SeqCst)
    }

    /// Somebody has deleted something.
    pub(super) fn make(&self) {
        self.is_made.store(true, SeqCst);
    }

    fn take(&self, what: &str, path: &str) -> Result<()> {
        let write = self.writes.fetch_add(1, SeqCst);
        if write < self.full_at.load(SeqCst) || self.is_made.load(SeqCst) {
            return Ok(());
        }
        Err(Error::unavailable(format!(
            "cannot {what} '{path}': no space left on device"
        )))
    }
}

/// A storage on that disk. Names can be changed and files deleted, bytes cannot be written.
#[derive(Debug)]
pub(super) struct FullDisk {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) room: Arc<Room>,
}

impl fmt::Display for FullDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.storage.fmt(f)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Storage for FullDisk {
    async fn read(&self, path: &str) -> Result<Option<Bytes>> {
        self.storage.read(path).await
    }

    async fn read_range(&self, path: &str, range: Range<u64>) -> Result<Option<Bytes>> {
        self.storage.read_range(path, range).await
    }

    async fn create(&self, path: &str, bytes: Bytes) -> Result<CreateOutcome> {
        self.room.take("create", path)?;
        self.storage.create(path, bytes).await
    }

    async fn create_own(&self, path: &str, payload: Payload) -> Result<CreateOutcome> {
        self.room.take("create", path)?;
        self.storage.create_own(path, payload).await
    }

    async fn replace(&self, path: &str, bytes: Bytes) -> Result<()> {
        self.room.take("replace", path)?;
        self.storage.replace(path, bytes).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<StoredObject>> {
        self.storage.list(prefix).await
    }

    async fn delete(&self, paths: &[String]) -> Result<()> {
        self.storage.delete(paths).await
    }

    async fn prepare(&self, path: &str, owner: &str) -> Result<Box<dyn PreparedWrite>> {
        self.room.take("prepare", path)?;
        Ok(Box::new(FullWrite {
            write: self.storage.prepare(path, owner).await?,
            path: path.to_owned(),
            room: Arc::clone(&self.room),
        }))
    }

    async fn publish(&self, objects: &[Prepared]) -> Result<()> {
        self.storage.publish(objects).await
    }

    async fn discard(&self, objects: &[Prepared]) -> Result<()> {
        self.storage.discard(objects).await
    }

    async fn discard_prepared(&self, owner: &str) -> Result<()> {
        self.storage.discard_prepared(owner).await
    }
}

struct FullWrite {
    write: Box<dyn PreparedWrite>,
    path: String,
    room: Arc<Room>,
}

#[async_trait]
impl PreparedWrite for FullWrite {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.room.take("write", &self.path)?;
        self.write.write(bytes).await
    }

    async fn finish(self: Box<Self>) -> Result<Prepared> {
        self.room.take("finish", &self.path)?;
        self.write.finish().await
    }
}
