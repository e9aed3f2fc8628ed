//! A folder of another storage, for a component that must not see its neighbours' objects.

use std::{fmt, ops::Range, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use headwater_core::{
    CreateOutcome, Payload, Prepared, PreparedWrite, Result, Storage, StoredObject,
};

use super::path::{check_folder, check_object};

/// A storage whose root is a folder of another one. Prepared objects stay in the other one's staging folder, so an
/// owner must be unique there.
#[derive(Debug)]
pub struct FolderStorage {
    inner: Arc<dyn Storage>,
    folder: String,
}

impl FolderStorage {
    /// The folder `folder` of `inner`.
    ///
    /// # Errors
    /// [`headwater_core::ErrorKind::Invalid`] if it is not a relative path below the root.
    pub fn new(inner: Arc<dyn Storage>, folder: &str) -> Result<Self> {
        check_object(folder)?;
        Ok(Self {
            inner,
            folder: folder.to_owned(),
        })
    }

    fn outer(&self, path: &str) -> Result<String> {
        check_object(path)?;
        Ok(format!("{}/{path}", self.folder))
    }

    fn inner_path(&self, path: &str) -> String {
        path.strip_prefix(&self.folder)
            .and_then(|rest| rest.strip_prefix('/'))
            .unwrap_or(path)
            .to_owned()
    }

    fn outer_objects(&self, objects: &[Prepared]) -> Result<Vec<Prepared>> {
        objects
            .iter()
            .map(|object| {
                Ok(Prepared {
                    path: self.outer(&object.path)?,
                    ..object.clone()
                })
            })
            .collect()
    }
}

impl fmt::Display for FolderStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.inner, self.folder)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Storage for FolderStorage {
    async fn read(&self, path: &str) -> Result<Option<Bytes>> {
        self.inner.read(&self.outer(path)?).await
    }

    async fn read_range(&self, path: &str, range: Range<u64>) -> Result<Option<Bytes>> {
        self.inner.read_range(&self.outer(path)?, range).await
    }

    async fn create(&self, path: &str, bytes: Bytes) -> Result<CreateOutcome> {
        self.inner.create(&self.outer(path)?, bytes).await
    }

    async fn create_own(&self, path: &str, payload: Payload) -> Result<CreateOutcome> {
        self.inner.create_own(&self.outer(path)?, payload).await
    }

    async fn replace(&self, path: &str, bytes: Bytes) -> Result<()> {
        self.inner.replace(&self.outer(path)?, bytes).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<StoredObject>> {
        check_folder(prefix)?;
        let outer = format!("{}/{prefix}", self.folder);
        let mut objects = self.inner.list(outer.trim_end_matches('/')).await?;
        for object in &mut objects {
            object.path = self.inner_path(&object.path);
        }
        Ok(objects)
    }

    async fn delete(&self, paths: &[String]) -> Result<()> {
        let outer: Result<Vec<String>> = paths.iter().map(|path| self.outer(path)).collect();
        self.inner.delete(&outer?).await
    }

    async fn prepare(&self, path: &str, owner: &str) -> Result<Box<dyn PreparedWrite>> {
        Ok(Box::new(FolderWrite {
            inner: self.inner.prepare(&self.outer(path)?, owner).await?,
            path: path.to_owned(),
        }))
    }

    async fn publish(&self, objects: &[Prepared]) -> Result<()> {
        self.inner.publish(&self.outer_objects(objects)?).await
    }

    async fn discard(&self, objects: &[Prepared]) -> Result<()> {
        self.inner.discard(&self.outer_objects(objects)?).await
    }

    async fn discard_prepared(&self, owner: &str) -> Result<()> {
        self.inner.discard_prepared(owner).await
    }
}

struct FolderWrite {
    inner: Box<dyn PreparedWrite>,
    path: String,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl PreparedWrite for FolderWrite {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.inner.write(bytes).await
    }

    async fn finish(self: Box<Self>) -> Result<Prepared> {
        let prepared = self.inner.finish().await?;
        Ok(Prepared {
            path: self.path,
            ..prepared
        })
    }
}
