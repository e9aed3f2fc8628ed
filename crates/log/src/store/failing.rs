//! A storage that fails on command, for tests of those who must cope.

use std::{
    fmt,
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use headwater_core::{
    CreateOutcome, Error, Payload, Prepared, PreparedWrite, Result, Storage, StoredObject,
};

/// A call of a storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "they are the methods of the trait")]
pub enum Operation {
    Read,
    ReadRange,
    Create,
    Replace,
    List,
    Delete,
    Prepare,
    Write,
    Finish,
    Publish,
    Discard,
    DiscardPrepared,
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The call fails without any effect, as on a full disk.
    DiskFull,
    /// The call fails without any effect, with this message.
    Unavailable(String),
    /// The call takes effect, and then fails: its answer was lost.
    LostAnswer,
    /// One bit of the byte at this position (modulo the length) is flipped, in what is read or in what is written.
    FlipByte(usize),
    /// Only the first bytes, as many as this, are read or written.
    Truncate(usize),
    /// What is read is not there.
    Missing,
}

type Condition = Box<dyn Fn(Operation, &str) -> bool + Send>;

/// A storage that fails chosen calls, once each. Clones share their faults.
#[derive(Clone)]
pub struct FailingStorage {
    inner: Arc<dyn Storage>,
    // A plain mutex: held while looking through a short list.
    faults: Arc<Mutex<Vec<(Condition, Fault)>>>,
}

impl FailingStorage {
    /// Fails calls to `inner`.
    pub fn new(inner: Arc<dyn Storage>) -> Self {
        Self {
            inner,
            faults: Arc::default(),
        }
    }

    /// Lets the next call that meets the condition fail; later ones succeed again. The path is that of the object,
    /// the prefix of a listing, or the owner for [`Operation::DiscardPrepared`]; a call with several objects meets the
    /// condition if any of them does.
    pub fn fail_once(
        &self,
        fault: Fault,
        condition: impl Fn(Operation, &str) -> bool + Send + 'static,
    ) {
        self.lock().push((Box::new(condition), fault));
    }

    /// How many faults have not happened yet.
    pub fn outstanding(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(Condition, Fault)>> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The fault of this call, if it has one.
    fn fault<'a>(
        &self,
        operation: Operation,
        paths: impl IntoIterator<Item = &'a str>,
    ) -> Option<Injected> {
        let mut faults = self.lock();
        for path in paths {
            let at = faults.iter().position(|(meets, _)| meets(operation, path));
            if let Some(at) = at {
                let (_, fault) = faults.remove(at);
                let call = format!("{operation:?} of '{path}' in {}", self.inner);
                return Some(Injected { fault, call });
            }
        }
        None
    }
}

/// A fault on its way into a call.
struct Injected {
    fault: Fault,
    call: String,
}

impl Injected {
    fn error(&self) -> Error {
        Error::unavailable(match &self.fault {
            Fault::DiskFull => format!("{}: no space left on device", self.call),
            Fault::Unavailable(message) => format!("{}: {message}", self.call),
            other => format!("{}: injected {other:?}", self.call),
        })
    }

    /// The bytes as the fault leaves them; an error if it is not one of bytes.
    fn damaged(&self, bytes: &Bytes) -> Result<Bytes> {
        match &self.fault {
            Fault::FlipByte(at) => {
                let mut damaged = bytes.to_vec();
                let length = damaged.len().max(1);
                if let Some(byte) = damaged.get_mut(at % length) {
                    *byte ^= 1;
                }
                Ok(damaged.into())
            }
            Fault::Truncate(length) => Ok(bytes.slice(..bytes.len().min(*length))),
            _ => Err(self.error()),
        }
    }

    fn read(&self, found: Option<Bytes>) -> Result<Option<Bytes>> {
        match (&self.fault, found) {
            (Fault::Missing, _) => Ok(None),
            (_, Some(bytes)) => self.damaged(&bytes).map(Some),
            (_, None) => Err(self.error()),
        }
    }

    /// Lets a call without bytes happen or not; either way it fails.
    async fn around<T>(&self, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        if self.fault == Fault::LostAnswer {
            call.await?;
        }
        Err(self.error())
    }
}

impl fmt::Debug for FailingStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FailingStorage")
            .field("inner", &self.inner)
            .field("outstanding", &self.outstanding())
            .finish()
    }
}

impl fmt::Display for FailingStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

fn names(objects: &[Prepared]) -> impl Iterator<Item = &str> {
    objects.iter().map(|object| object.path.as_str())
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Storage for FailingStorage {
    async fn read(&self, path: &str) -> Result<Option<Bytes>> {
        match self.fault(Operation::Read, [path]) {
            None => self.inner.read(path).await,
            Some(fault) => fault.read(self.inner.read(path).await?),
        }
    }

    async fn read_range(&self, path: &str, range: Range<u64>) -> Result<Option<Bytes>> {
        match self.fault(Operation::ReadRange, [path]) {
            None => self.inner.read_range(path, range).await,
            Some(fault) => fault.read(self.inner.read_range(path, range).await?),
        }
    }

    async fn create(&self, path: &str, bytes: Bytes) -> Result<CreateOutcome> {
        let Some(fault) = self.fault(Operation::Create, [path]) else {
            return self.inner.create(path, bytes).await;
        };
        match fault.damaged(&bytes) {
            Ok(bytes) => self.inner.create(path, bytes).await,
            Err(_) => fault.around(self.inner.create(path, bytes)).await,
        }
    }

    async fn create_own(&self, path: &str, payload: Payload) -> Result<CreateOutcome> {
        self.create(path, payload.into_bytes()).await
    }

    async fn replace(&self, path: &str, bytes: Bytes) -> Result<()> {
        let Some(fault) = self.fault(Operation::Replace, [path]) else {
            return self.inner.replace(path, bytes).await;
        };
        match fault.damaged(&bytes) {
            Ok(bytes) => self.inner.replace(path, bytes).await,
            Err(_) => fault.around(self.inner.replace(path, bytes)).await,
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<StoredObject>> {
        match self.fault(Operation::List, [prefix]) {
            None => self.inner.list(prefix).await,
            Some(fault) if fault.fault == Fault::Missing => Ok(Vec::new()),
            Some(fault) => Err(fault.error()),
        }
    }

    async fn delete(&self, paths: &[String]) -> Result<()> {
        match self.fault(Operation::Delete, paths.iter().map(String::as_str)) {
            None => self.inner.delete(paths).await,
            Some(fault) => fault.around(self.inner.delete(paths)).await,
        }
    }

    async fn prepare(&self, path: &str, owner: &str) -> Result<Box<dyn PreparedWrite>> {
        if let Some(fault) = self.fault(Operation::Prepare, [path]) {
            return fault.around(self.inner.prepare(path, owner)).await;
        }
        Ok(Box::new(FailingWrite {
            storage: self.clone(),
            inner: self.inner.prepare(path, owner).await?,
            path: path.to_owned(),
        }))
    }

    async fn publish(&self, objects: &[Prepared]) -> Result<()> {
        match self.fault(Operation::Publish, names(objects)) {
            None => self.inner.publish(objects).await,
            Some(fault) => fault.around(self.inner.publish(objects)).await,
        }
    }

    async fn discard(&self, objects: &[Prepared]) -> Result<()> {
        match self.fault(Operation::Discard, names(objects)) {
            None => self.inner.discard(objects).await,
            Some(fault) => fault.around(self.inner.discard(objects)).await,
        }
    }

    async fn discard_prepared(&self, owner: &str) -> Result<()> {
        match self.fault(Operation::DiscardPrepared, [owner]) {
            None => self.inner.discard_prepared(owner).await,
            Some(fault) => fault.around(self.inner.discard_prepared(owner)).await,
        }
    }
}

struct FailingWrite {
    storage: FailingStorage,
    inner: Box<dyn PreparedWrite>,
    path: String,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl PreparedWrite for FailingWrite {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        let Some(fault) = self.storage.fault(Operation::Write, [self.path.as_str()]) else {
            return self.inner.write(bytes).await;
        };
        match fault.damaged(&bytes) {
            Ok(bytes) => self.inner.write(bytes).await,
            Err(_) => fault.around(self.inner.write(bytes)).await,
        }
    }

    async fn finish(self: Box<Self>) -> Result<Prepared> {
        match self.storage.fault(Operation::Finish, [self.path.as_str()]) {
            None => self.inner.finish().await,
            Some(fault) => fault.around(self.inner.finish()).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryStorage;

    #[tokio::test]
    async fn a_fault_happens_once_to_the_call_it_was_meant_for() {
        let storage = FailingStorage::new(Arc::new(MemoryStorage::new()));
        storage.fail_once(Fault::DiskFull, |operation, path| {
            operation == Operation::Create && path.starts_with("commits/")
        });
        storage.create("plans/0", "x".into()).await.unwrap();
        let error = storage
            .create("commits/0", "x".into())
            .await
            .expect_err("full");
        assert!(error.message().contains("no space left"), "{error}");
        assert_eq!(storage.outstanding(), 0);
        storage.create("commits/0", "x".into()).await.unwrap();
    }

    #[tokio::test]
    async fn a_lost_answer_leaves_its_effect() {
        let storage = FailingStorage::new(Arc::new(MemoryStorage::new()));
        storage.fail_once(Fault::LostAnswer, |operation, _| {
            operation == Operation::Create
        });
        assert!(storage.create("a", "x".into()).await.is_err());
        let outcome = storage.create("a", "x".into()).await.unwrap();
        assert_eq!(outcome, CreateOutcome::AlreadyExists);
    }

    #[tokio::test]
    async fn bytes_are_damaged_on_the_way() {
        let storage = FailingStorage::new(Arc::new(MemoryStorage::new()));
        storage.create("a", "abc".into()).await.unwrap();
        for (fault, expected) in [
            (Fault::FlipByte(4), Some("acc")),
            (Fault::Truncate(1), Some("a")),
            (Fault::Missing, None),
        ] {
            storage.fail_once(fault, |operation, _| operation == Operation::Read);
            assert_eq!(storage.read("a").await.unwrap(), expected.map(Bytes::from));
        }
        assert_eq!(storage.read("a").await.unwrap(), Some("abc".into()));
    }
}
