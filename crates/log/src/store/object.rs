//! A storage on an `object_store`.
//!
//! Such stores make a put durable and atomic by themselves; what is left to do is invisibility. A prepared object is a
//! multipart upload that is not completed yet: publishing completes it, discarding aborts it. Before the first part a
//! small marker object under [`STAGING`] names the upload, so that it can be aborted when the list of prepared objects
//! was lost in a crash. On a store without multipart uploads the bytes wait in an object under [`STAGING`] and
//! publishing copies it.
//!
//! An upload whose marker could not be written (a crash between the two calls) holds no parts; the store's own rule for
//! incomplete uploads removes it.

use std::{
    collections::HashSet,
    fmt,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use headwater_core::{
    CreateOutcome, Error, Payload, Prepared, PreparedWrite, Result, Storage, StoredObject,
};
use object_store::{
    ObjectStore, ObjectStoreExt, PutMode, PutPayload,
    multipart::{MultipartStore, PartId},
    path::Path,
};
use serde::{Deserialize, Serialize};

use super::{
    STAGING,
    path::{check_folder, check_object, check_owner, is_staged},
    upload::UploadWrite,
};

/// How many objects are published or discarded at the same time.
const PARALLEL_CALLS: usize = 16;

/// An object store that can leave a multipart upload incomplete and complete it from another process.
pub trait UploadStore: ObjectStore + MultipartStore {}

impl<T: ObjectStore + MultipartStore> UploadStore for T {}

/// A storage below a prefix of an object store.
#[derive(Clone)]
pub struct ObjectStorage {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) uploads: Option<Arc<dyn MultipartStore>>,
    prefix: Path,
    /// What was prepared here and not published or discarded since, by its object under [`STAGING`]. A plain mutex:
    /// held for set operations only.
    fresh: Arc<Mutex<HashSet<String>>>,
}

/// How the bytes of a prepared object are found again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Hidden {
    /// In an upload that is not completed.
    Upload {
        /// The store's name of the upload.
        upload: String,
        /// The store's names of its parts, in order.
        parts: Vec<String>,
        /// The object under [`STAGING`] that names the upload.
        marker: String,
    },
    /// In an object under [`STAGING`], to be copied.
    Staged(String),
}

impl Hidden {
    /// The object under [`STAGING`].
    fn staged(&self) -> &str {
        let (Self::Upload { marker: staged, .. } | Self::Staged(staged)) = self;
        staged
    }
}

/// What a marker object says, as JSON.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Marker {
    /// The object the upload is for.
    pub(super) path: String,
    /// The store's name of the upload.
    pub(super) upload: String,
}

impl ObjectStorage {
    /// The storage below `prefix` (empty: the whole store).
    ///
    /// # Errors
    /// [`headwater_core::ErrorKind::Invalid`] if `prefix` is not a path.
    pub fn new(store: Arc<dyn UploadStore>, prefix: &str) -> Result<Self> {
        let uploads: Arc<dyn MultipartStore> = Arc::clone(&store) as _;
        let mut storage = Self::without_uploads(store, prefix)?;
        storage.uploads = Some(uploads);
        Ok(storage)
    }

    /// The storage below `prefix` of a store that has no multipart uploads; each object is written twice.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn without_uploads(store: Arc<dyn ObjectStore>, prefix: &str) -> Result<Self> {
        let prefix = Path::parse(prefix).map_err(|error| {
            Error::invalid(format!("'{prefix}' is not a path in {store}")).with_source(error)
        })?;
        Ok(Self {
            store,
            uploads: None,
            prefix,
            fresh: Arc::default(),
        })
    }

    fn fresh(&self) -> MutexGuard<'_, HashSet<String>> {
        // The set is whole after a panic elsewhere, and only a hint anyway.
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that nobody can have published what is hidden here, because nobody else has heard of it.
    pub(super) fn note_fresh(&self, hidden: &Hidden) {
        self.fresh().insert(hidden.staged().to_owned());
    }

    /// The store's name of an object.
    pub(super) fn at(&self, path: &str) -> Result<Path> {
        let full = match self.prefix.as_ref() {
            "" => path.to_owned(),
            prefix => format!("{prefix}/{path}"),
        };
        Path::parse(&full).map_err(|error| {
            Error::invalid(format!("'{path}' cannot be an object in {self}")).with_source(error)
        })
    }

    fn object_at(&self, path: &str) -> Result<Path> {
        check_object(path)?;
        self.at(path)
    }

    /// What failed, on which object, and where.
    pub(super) fn failed(&self, what: &str, path: &str, error: object_store::Error) -> Error {
        use object_store::Error as E;
        let message = format!("cannot {what} '{path}' in {self}");
        let error_kind = match &error {
            E::InvalidPath { .. }
            | E::NotSupported { .. }
            | E::NotImplemented { .. }
            | E::PermissionDenied { .. }
            | E::Unauthenticated { .. }
            | E::UnknownConfigurationKey { .. } => Error::invalid,
            E::NotFound { .. } => Error::data,
            _ => Error::unavailable,
        };
        error_kind(message).with_source(error)
    }

    async fn get(&self, path: &str) -> Result<Option<Bytes>> {
        let found = match self.store.get(&self.at(path)?).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(self.failed("read", path, error)),
        };
        let bytes = found.bytes().await;
        bytes
            .map(Some)
            .map_err(|error| self.failed("read", path, error))
    }

    async fn put_new(&self, path: &str, payload: Payload) -> Result<CreateOutcome> {
        let at = self.object_at(path)?;
        let payload = payload.into_pieces().into_iter().collect::<PutPayload>();
        let put = self.store.put_opts(&at, payload, PutMode::Create.into());
        match put.await {
            Ok(_) => Ok(CreateOutcome::Created),
            Err(
                object_store::Error::AlreadyExists { .. }
                | object_store::Error::Precondition { .. },
            ) => Ok(CreateOutcome::AlreadyExists),
            Err(error) => Err(self.failed("create", path, error)),
        }
    }

    async fn size(&self, path: &str) -> Result<Option<u64>> {
        match self.store.head(&self.at(path)?).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed("look at", path, error)),
        }
    }

    /// All objects below a folder, staging included, in any order.
    async fn list_all(&self, folder: &str) -> Result<Vec<StoredObject>> {
        let at = match folder {
            "" => self.prefix.clone(),
            folder => self.at(folder)?,
        };
        let base = match self.prefix.as_ref() {
            "" => 0,
            prefix => prefix.len() + 1,
        };
        self.store
            .list(Some(&at))
            .map_ok(|meta| StoredObject {
                path: meta.location.as_ref().get(base..).unwrap_or("").to_owned(),
                size: meta.size,
                modified_millis: meta.last_modified.timestamp_millis(),
            })
            .try_collect()
            .await
            .map_err(|error| self.failed("list", folder, error))
    }

    async fn delete_all(&self, paths: Vec<String>) -> Result<()> {
        let locations: Result<Vec<Path>> = paths.iter().map(|path| self.at(path)).collect();
        let locations = stream::iter(locations?.into_iter().map(Ok)).boxed();
        let mut deleted = self.store.delete_stream(locations);
        while let Some(outcome) = deleted.next().await {
            match outcome {
                Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(self.failed("delete", &paths.join(", "), error)),
            }
        }
        Ok(())
    }

    /// Deletes objects under [`STAGING`] that have served; one that stays behind is harmless, because what it names
    /// is gone.
    async fn tidy(&self, paths: Vec<String>) {
        if let Err(error) = self.delete_all(paths).await {
            tracing::debug!(storage = %self, %error, "hidden objects stay behind");
        }
    }

    /// Makes one object visible; gives the object under [`STAGING`] to delete.
    async fn publish_one(&self, object: Prepared) -> Result<String> {
        let hidden = hidden(&object)?;
        let staged = hidden.staged().to_owned();
        let is_fresh = self.fresh().remove(&staged);
        // Asked first after a restart: to complete an upload again is an error that some clients try hard to get over.
        if !is_fresh && self.is_published(&object).await? {
            return Ok(staged);
        }
        let at = self.object_at(&object.path)?;
        let outcome = match hidden {
            Hidden::Upload { upload, parts, .. } => {
                let parts = parts.into_iter().map(|content_id| PartId { content_id });
                let uploads = self.uploads()?;
                let completed = uploads.complete_multipart(&at, &upload, parts.collect());
                completed.await.map(drop)
            }
            Hidden::Staged(staged) => self.store.copy(&self.at(&staged)?, &at).await,
        };
        let Err(error) = outcome else {
            return Ok(staged);
        };
        // It may be gone because another process has completed it meanwhile.
        if self.is_published(&object).await? {
            return Ok(staged);
        }
        if is_unknown_upload(&error) || self.size(&staged).await?.is_none() {
            return Err(Error::data(format!(
                "'{}' cannot be published in {self}: neither it, with {} bytes, nor what was prepared for it exists",
                object.path, object.size
            ))
            .with_source(error));
        }
        Err(self.failed("publish", &object.path, error))
    }

    /// Whether the object is there. Its name is that of no other object, so its size tells enough.
    async fn is_published(&self, object: &Prepared) -> Result<bool> {
        Ok(self.size(&object.path).await? == Some(object.size))
    }

    fn uploads(&self) -> Result<&Arc<dyn MultipartStore>> {
        self.uploads.as_ref().ok_or_else(|| {
            Error::data(format!(
                "an object was prepared as an upload, but {self} has no uploads"
            ))
        })
    }

    async fn abort(&self, path: &str, upload: &str) -> Result<()> {
        let at = self.at(path)?;
        match self
            .uploads()?
            .abort_multipart(&at, &upload.to_owned())
            .await
        {
            Err(error) if !is_unknown_upload(&error) => {
                Err(self.failed("discard what was prepared for", path, error))
            }
            _ => Ok(()),
        }
    }

    async fn discard_one(&self, object: Prepared) -> Result<String> {
        let hidden = hidden(&object)?;
        self.fresh().remove(hidden.staged());
        if let Hidden::Upload { upload, .. } = &hidden {
            self.abort(&object.path, upload).await?;
        }
        Ok(hidden.staged().to_owned())
    }

    /// Aborts the upload that an object under [`STAGING`] names, if it is a marker.
    async fn discard_staged(&self, staged: String) -> Result<String> {
        if staged.ends_with(MARKER_SUFFIX)
            && let Some(bytes) = self.get(&staged).await?
        {
            let marker: Marker = serde_json::from_slice(&bytes).map_err(|error| {
                Error::data(format!("'{staged}' in {self} does not name an upload"))
                    .with_source(error)
            })?;
            self.abort(&marker.path, &marker.upload).await?;
        }
        Ok(staged)
    }
}

/// How the names of marker objects end.
pub(super) const MARKER_SUFFIX: &str = ".upload";

/// What the token of a prepared object says.
fn hidden(object: &Prepared) -> Result<Hidden> {
    let wrong = || {
        Error::data(format!(
            "'{}' was not prepared on an object store: its token is {}",
            object.path, object.token
        ))
    };
    let hidden = Hidden::deserialize(&object.token).map_err(|error| wrong().with_source(error))?;
    if !is_staged(hidden.staged()) {
        return Err(wrong());
    }
    Ok(hidden)
}

/// Whether the store does not know the upload or object: completed, aborted, or never there.
fn is_unknown_upload(error: &object_store::Error) -> bool {
    // The in-memory store has no kind of its own for it.
    matches!(error, object_store::Error::NotFound { .. })
        || error.to_string().contains("MultipartUpload not found")
}

impl fmt::Debug for ObjectStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectStorage")
            .field("store", &self.store)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for ObjectStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.store, self.prefix)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Storage for ObjectStorage {
    async fn read(&self, path: &str) -> Result<Option<Bytes>> {
        check_object(path)?;
        self.get(path).await
    }

    async fn read_range(&self, path: &str, range: Range<u64>) -> Result<Option<Bytes>> {
        let at = self.object_at(path)?;
        let wanted = range.end.saturating_sub(range.start);
        if wanted == 0 {
            return Ok(self.size(path).await?.map(|_| Bytes::new()));
        }
        match self.store.get_range(&at, range.clone()).await {
            // A range that reaches beyond the end is cut there by some stores and refused by others.
            Ok(bytes) if bytes.len() as u64 == wanted => Ok(Some(bytes)),
            Ok(bytes) => Err(Error::data(format!(
                "cannot read bytes {}..{} of '{path}' in {self}: there are {} of them",
                range.start,
                range.end,
                bytes.len()
            ))),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed("read", path, error)),
        }
    }

    async fn create(&self, path: &str, bytes: Bytes) -> Result<CreateOutcome> {
        self.put_new(path, bytes.into()).await
    }

    async fn create_own(&self, path: &str, payload: Payload) -> Result<CreateOutcome> {
        self.put_new(path, payload).await
    }

    async fn replace(&self, path: &str, bytes: Bytes) -> Result<()> {
        let at = self.object_at(path)?;
        self.store
            .put(&at, PutPayload::from(bytes))
            .await
            .map(|_| ())
            .map_err(|error| self.failed("replace", path, error))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<StoredObject>> {
        check_folder(prefix)?;
        let mut objects = self
            .list_all(prefix.strip_suffix('/').unwrap_or(prefix))
            .await?;
        objects.retain(|object| !is_staged(&object.path));
        objects.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Ok(objects)
    }

    async fn delete(&self, paths: &[String]) -> Result<()> {
        paths.iter().try_for_each(|path| check_object(path))?;
        self.delete_all(paths.to_vec()).await
    }

    async fn prepare(&self, path: &str, owner: &str) -> Result<Box<dyn PreparedWrite>> {
        check_object(path)?;
        check_owner(owner)?;
        Ok(Box::new(
            UploadWrite::start(self.clone(), path, owner).await?,
        ))
    }

    async fn publish(&self, objects: &[Prepared]) -> Result<()> {
        let leftovers = stream::iter(objects.to_vec())
            .map(|object| self.publish_one(object))
            .buffer_unordered(PARALLEL_CALLS)
            .try_collect()
            .await?;
        self.tidy(leftovers).await;
        Ok(())
    }

    async fn discard(&self, objects: &[Prepared]) -> Result<()> {
        let leftovers = stream::iter(objects.to_vec())
            .map(|object| self.discard_one(object))
            .buffer_unordered(PARALLEL_CALLS)
            .try_collect()
            .await?;
        self.delete_all(leftovers).await
    }

    async fn discard_prepared(&self, owner: &str) -> Result<()> {
        check_owner(owner)?;
        let staged = self.list_all(&format!("{STAGING}/{owner}")).await?;
        let leftovers = stream::iter(staged.into_iter().map(|it| self.discard_staged(it.path)))
            .buffer_unordered(PARALLEL_CALLS)
            .try_collect()
            .await?;
        self.delete_all(leftovers).await
    }
}
