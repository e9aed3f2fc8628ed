//! A storage in memory: fast, and gone with the process.

use std::{
    collections::BTreeMap,
    fmt,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use headwater_core::{
    Clock, CreateOutcome, Error, Payload, Prepared, PreparedWrite, Result, Storage, StoredObject,
    SystemClock,
};
use serde_json::{Value, json};

use super::path::{check_folder, check_object, check_owner, is_below};

/// A storage in memory, for queries that need not survive a restart, and for tests. Clones share their objects.
#[derive(Debug, Clone)]
pub struct MemoryStorage {
    // A plain mutex: held for map operations only, never across an await.
    objects: Arc<Mutex<Objects>>,
    clock: Arc<dyn Clock>,
}

#[derive(Debug, Default)]
struct Objects {
    visible: BTreeMap<String, (Bytes, i64)>,
    /// By number of the preparation: owner and bytes.
    prepared: BTreeMap<u64, (String, Bytes)>,
    next: u64,
}

impl Default for MemoryStorage {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStorage {
    /// An empty storage.
    pub fn new() -> Self {
        Self::with_clock(Arc::new(SystemClock::default()))
    }

    /// An empty storage whose times of modification come from `clock`.
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        Self {
            objects: Arc::default(),
            clock,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Objects> {
        // Every change is a single map operation, so the maps are whole even after a panic.
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for MemoryStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("memory")
    }
}

/// The number under which an object was prepared.
fn number(object: &Prepared) -> Result<u64> {
    object
        .token
        .get("memory")
        .and_then(Value::as_u64)
        .ok_or_else(|| {
            Error::data(format!(
                "'{}' was not prepared in memory: its token is {}",
                object.path, object.token
            ))
        })
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Storage for MemoryStorage {
    async fn read(&self, path: &str) -> Result<Option<Bytes>> {
        check_object(path)?;
        Ok(self
            .lock()
            .visible
            .get(path)
            .map(|(bytes, _)| bytes.clone()))
    }

    async fn read_range(&self, path: &str, range: Range<u64>) -> Result<Option<Bytes>> {
        let Some(bytes) = self.read(path).await? else {
            return Ok(None);
        };
        let within = usize::try_from(range.start)
            .ok()
            .zip(usize::try_from(range.end).ok())
            .filter(|(start, end)| start <= end && *end <= bytes.len());
        match within {
            Some((start, end)) => Ok(Some(bytes.slice(start..end))),
            None => Err(Error::data(format!(
                "cannot read bytes {}..{} of '{path}' in memory: it has {}",
                range.start,
                range.end,
                bytes.len()
            ))),
        }
    }

    async fn create(&self, path: &str, bytes: Bytes) -> Result<CreateOutcome> {
        check_object(path)?;
        let now = self.clock.now_millis();
        let mut objects = self.lock();
        if objects.visible.contains_key(path) {
            return Ok(CreateOutcome::AlreadyExists);
        }
        objects.visible.insert(path.to_owned(), (bytes, now));
        Ok(CreateOutcome::Created)
    }

    async fn create_own(&self, path: &str, payload: Payload) -> Result<CreateOutcome> {
        // In one piece: the pieces may be parts of larger buffers, which would stay with them.
        self.create(path, payload.into_bytes()).await
    }

    async fn replace(&self, path: &str, bytes: Bytes) -> Result<()> {
        check_object(path)?;
        let now = self.clock.now_millis();
        self.lock().visible.insert(path.to_owned(), (bytes, now));
        Ok(())
    }

    async fn list(&self, prefix: &str) -> Result<Vec<StoredObject>> {
        check_folder(prefix)?;
        let objects = self.lock();
        let below = objects
            .visible
            .iter()
            .filter(|(path, _)| is_below(path, prefix));
        Ok(below
            .map(|(path, (bytes, modified))| StoredObject {
                path: path.clone(),
                size: bytes.len() as u64,
                modified_millis: *modified,
            })
            .collect())
    }

    async fn delete(&self, paths: &[String]) -> Result<()> {
        paths.iter().try_for_each(|path| check_object(path))?;
        let mut objects = self.lock();
        for path in paths {
            objects.visible.remove(path);
        }
        Ok(())
    }

    async fn prepare(&self, path: &str, owner: &str) -> Result<Box<dyn PreparedWrite>> {
        check_object(path)?;
        check_owner(owner)?;
        Ok(Box::new(MemoryWrite {
            storage: self.clone(),
            path: path.to_owned(),
            owner: owner.to_owned(),
            bytes: BytesMut::new(),
        }))
    }

    async fn publish(&self, objects: &[Prepared]) -> Result<()> {
        let now = self.clock.now_millis();
        let mut stored = self.lock();
        for object in objects {
            check_object(&object.path)?;
            if let Some((_, bytes)) = stored.prepared.remove(&number(object)?) {
                stored.visible.insert(object.path.clone(), (bytes, now));
                continue;
            }
            let visible = stored.visible.get(&object.path);
            if visible.is_none_or(|(bytes, _)| bytes.len() as u64 != object.size) {
                return Err(Error::data(format!(
                    "'{}' cannot be published in memory: what was prepared for it is gone",
                    object.path
                )));
            }
        }
        Ok(())
    }

    async fn discard(&self, objects: &[Prepared]) -> Result<()> {
        let mut stored = self.lock();
        for object in objects {
            stored.prepared.remove(&number(object)?);
        }
        Ok(())
    }

    async fn discard_prepared(&self, owner: &str) -> Result<()> {
        check_owner(owner)?;
        self.lock().prepared.retain(|_, (of, _)| of != owner);
        Ok(())
    }
}

struct MemoryWrite {
    storage: MemoryStorage,
    path: String,
    owner: String,
    bytes: BytesMut,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl PreparedWrite for MemoryWrite {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.bytes.extend_from_slice(&bytes);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<Prepared> {
        let bytes = self.bytes.freeze();
        let mut objects = self.storage.lock();
        let number = objects.next;
        objects.next += 1;
        let prepared = Prepared {
            path: self.path,
            size: bytes.len() as u64,
            crc32: crc32fast::hash(&bytes),
            token: json!({ "memory": number }),
        };
        objects.prepared.insert(number, (self.owner, bytes));
        Ok(prepared)
    }
}
