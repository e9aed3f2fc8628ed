//! Counts what goes through a storage, for progress reports and benches: durable calls by kind, and syncs.

use std::{
    fmt,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use headwater_core::{
    CreateOutcome, Payload, Prepared, PreparedWrite, Result, Storage, StoredObject,
};
use serde::Serialize;

/// Declares the counters once as atomics and once as the snapshot of their values.
macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Running totals, shared by a [`CountedStorage`] and the disk below it.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[$doc])* pub(super) $name: AtomicU64,)*
        }

        /// What went through a storage so far, or between two moments.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
        pub struct StorageCounts {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            /// The totals now.
            pub fn snapshot(&self) -> StorageCounts {
                StorageCounts { $($name: self.$name.load(Relaxed),)* }
            }
        }

        impl StorageCounts {
            /// What was added since an earlier snapshot of the same counters.
            #[must_use]
            pub fn since(&self, earlier: &Self) -> Self {
                Self { $($name: self.$name.saturating_sub(earlier.$name),)* }
            }
        }
    };
}

counters! {
    /// Objects, or parts of objects, read.
    reads,
    /// Listings.
    lists,
    /// Calls of create-if-absent.
    creates,
    /// Calls of replace.
    replaces,
    /// Objects prepared and finished.
    finishes,
    /// Calls of publish.
    publishes,
    /// Objects published.
    published_objects,
    /// Calls that delete or discard.
    deletes,
    /// Bytes read.
    bytes_read,
    /// Bytes written.
    bytes_written,
    /// Syncs of a file's bytes; local disk only.
    file_syncs,
    /// Syncs of a folder's names; local disk only.
    dir_syncs,
    /// Time spent in syncs of files and folders, added up over threads, in nanoseconds; local disk only.
    sync_nanos,
}

impl StorageCounts {
    /// Calls that wait for durability: what a trigger's latency is made of.
    pub fn durable_calls(&self) -> u64 {
        self.creates + self.replaces + self.finishes + self.publishes
    }

    /// Syncs of files and folders.
    pub fn syncs(&self) -> u64 {
        self.file_syncs + self.dir_syncs
    }
}

pub(super) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Relaxed);
}

/// A storage that counts every call. Calls are counted when they are made, whether or not they succeed; bytes are
/// counted when they have arrived.
#[derive(Debug)]
pub struct CountedStorage {
    inner: Arc<dyn Storage>,
    counters: Arc<Counters>,
}

impl CountedStorage {
    /// Counts calls to `inner`. Syncs are counted only if the disk below was given the same counters
    /// ([`LocalStorage::open_counted`](super::LocalStorage::open_counted)).
    pub fn new(inner: Arc<dyn Storage>, counters: Arc<Counters>) -> Self {
        Self { inner, counters }
    }

    /// The totals so far.
    pub fn counts(&self) -> StorageCounts {
        self.counters.snapshot()
    }

    /// The counters themselves, for those who outlive this storage.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }
}

impl fmt::Display for CountedStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Storage for CountedStorage {
    async fn read(&self, path: &str) -> Result<Option<Bytes>> {
        add(&self.counters.reads, 1);
        let found = self.inner.read(path).await?;
        let length = found.as_ref().map_or(0, Bytes::len);
        add(&self.counters.bytes_read, length as u64);
        Ok(found)
    }

    async fn read_range(&self, path: &str, range: Range<u64>) -> Result<Option<Bytes>> {
        add(&self.counters.reads, 1);
        let found = self.inner.read_range(path, range).await?;
        let length = found.as_ref().map_or(0, Bytes::len);
        add(&self.counters.bytes_read, length as u64);
        Ok(found)
    }

    async fn create(&self, path: &str, bytes: Bytes) -> Result<CreateOutcome> {
        add(&self.counters.creates, 1);
        let length = bytes.len() as u64;
        let outcome = self.inner.create(path, bytes).await?;
        add(&self.counters.bytes_written, length);
        Ok(outcome)
    }

    async fn create_own(&self, path: &str, payload: Payload) -> Result<CreateOutcome> {
        add(&self.counters.creates, 1);
        let length = payload.len() as u64;
        let outcome = self.inner.create_own(path, payload).await?;
        add(&self.counters.bytes_written, length);
        Ok(outcome)
    }

    async fn replace(&self, path: &str, bytes: Bytes) -> Result<()> {
        add(&self.counters.replaces, 1);
        let length = bytes.len() as u64;
        self.inner.replace(path, bytes).await?;
        add(&self.counters.bytes_written, length);
        Ok(())
    }

    async fn list(&self, prefix: &str) -> Result<Vec<StoredObject>> {
        add(&self.counters.lists, 1);
        self.inner.list(prefix).await
    }

    async fn delete(&self, paths: &[String]) -> Result<()> {
        add(&self.counters.deletes, 1);
        self.inner.delete(paths).await
    }

    async fn prepare(&self, path: &str, owner: &str) -> Result<Box<dyn PreparedWrite>> {
        Ok(Box::new(CountedWrite {
            inner: self.inner.prepare(path, owner).await?,
            counters: Arc::clone(&self.counters),
        }))
    }

    async fn publish(&self, objects: &[Prepared]) -> Result<()> {
        add(&self.counters.publishes, 1);
        self.inner.publish(objects).await?;
        add(&self.counters.published_objects, objects.len() as u64);
        Ok(())
    }

    async fn discard(&self, objects: &[Prepared]) -> Result<()> {
        add(&self.counters.deletes, 1);
        self.inner.discard(objects).await
    }

    async fn discard_prepared(&self, owner: &str) -> Result<()> {
        add(&self.counters.deletes, 1);
        self.inner.discard_prepared(owner).await
    }
}

struct CountedWrite {
    inner: Box<dyn PreparedWrite>,
    counters: Arc<Counters>,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl PreparedWrite for CountedWrite {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        let length = bytes.len() as u64;
        self.inner.write(bytes).await?;
        add(&self.counters.bytes_written, length);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<Prepared> {
        add(&self.counters.finishes, 1);
        self.inner.finish().await
    }
}
