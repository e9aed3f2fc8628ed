//! Durable storage: the one door through which everything that must survive a crash goes.
//!
//! Implementations (local disk with fsync, object stores, memory, a simulation that forgets) live in the log layer.
//! Paths are relative to the storage's root, use `/`, and never start with one.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Payload, Result};

/// What became of a create-if-absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CreateOutcome {
    /// The object did not exist and now holds our bytes, durably.
    Created,
    /// An object of that name was there already; it is unchanged.
    AlreadyExists,
}

/// An object as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredObject {
    /// Path relative to the storage's root.
    pub path: String,
    /// Length in bytes.
    pub size: u64,
    /// When it was last written, in milliseconds since 1970.
    pub modified_millis: i64,
}

/// How an object compares with what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// It is what it should be.
    Whole {
        /// Its length.
        bytes: u64,
    },
    /// There is none.
    Missing,
    /// It is something else, for this reason.
    Damaged(String),
}

/// An object whose bytes are durable but which no reader can see yet.
///
/// It is plain data: written into the commit record, it can be published or discarded by another process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prepared {
    /// The name it gets when it is published.
    pub path: String,
    /// Length in bytes.
    pub size: u64,
    /// CRC-32 (IEEE) of the bytes.
    pub crc32: u32,
    /// How the storage finds the hidden bytes again (a hidden name, a multipart upload and its parts).
    pub token: Value,
}

/// Durable storage of objects under one root.
///
/// Unless a method says otherwise, an `Ok` means that the effect survives a crash of the process and of the machine.
/// An `Err` may mean that the effect took place or not, unless the kind is [`crate::ErrorKind::Invalid`]. Dropping a
/// future has the same two outcomes.
#[async_trait]
pub trait Storage: fmt::Debug + fmt::Display + Send + Sync + 'static {
    /// The bytes of an object; `None` if there is none.
    async fn read(&self, path: &str) -> Result<Option<Bytes>>;

    /// A part of an object, `None` if there is no such object. A range beyond the end is an error.
    async fn read_range(&self, path: &str, range: std::ops::Range<u64>) -> Result<Option<Bytes>>;

    /// Creates an object with these bytes, unless one of that name exists. Of several racing creators exactly one
    /// gets [`CreateOutcome::Created`]; no reader ever sees a part of the bytes.
    async fn create(&self, path: &str, bytes: Bytes) -> Result<CreateOutcome>;

    /// As [`Self::create`], for an object that its creator alone knows of: it tells the name to nobody before this has
    /// returned `Ok`, and never uses a name twice. So a storage may let a reader, a listing say, see a part of the bytes,
    /// an error or a crash may leave a part behind, and what [`CreateOutcome::AlreadyExists`] tells of need not be
    /// durable. The bytes are in several pieces, which a storage that can write them one after the other need not copy
    /// into one.
    async fn create_own(&self, path: &str, payload: Payload) -> Result<CreateOutcome> {
        self.create(path, payload.into_bytes()).await
    }

    /// Creates or replaces an object at once: a reader sees the old bytes or the new ones.
    async fn replace(&self, path: &str, bytes: Bytes) -> Result<()>;

    /// All objects whose path begins with the folder `prefix` (empty: all), in order of their paths. Prepared but
    /// unpublished objects are not listed.
    async fn list(&self, prefix: &str) -> Result<Vec<StoredObject>>;

    /// Deletes objects. Objects that do not exist are no error. A crash may bring deleted objects back.
    async fn delete(&self, paths: &[String]) -> Result<()>;

    /// Starts to write an object that stays invisible until it is published under `path`. `owner` (an epoch and a
    /// run, say) becomes part of the hidden name, for [`Self::discard_prepared`].
    async fn prepare(&self, path: &str, owner: &str) -> Result<Box<dyn PreparedWrite>>;

    /// Makes prepared objects visible under their final names. Publishing an object twice changes nothing. On local
    /// disk and in memory each object appears at once and whole.
    async fn publish(&self, objects: &[Prepared]) -> Result<()>;

    /// Forgets prepared objects that will not be published. Unknown ones are no error.
    async fn discard(&self, objects: &[Prepared]) -> Result<()>;

    /// Forgets every prepared object of this `owner`, finished or not; used when the list of them was lost in a
    /// crash. Objects that were published stay.
    async fn discard_prepared(&self, owner: &str) -> Result<()>;
}

/// An object being written, invisible until published.
///
/// Dropping it without [`Self::finish`] leaves nothing visible; what it leaves hidden,
/// [`Storage::discard_prepared`] removes.
#[async_trait]
pub trait PreparedWrite: Send {
    /// Appends bytes. Durable only after [`Self::finish`].
    async fn write(&mut self, bytes: Bytes) -> Result<()>;

    /// Makes what was written durable, still invisible.
    async fn finish(self: Box<Self>) -> Result<Prepared>;
}
