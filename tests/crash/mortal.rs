//! An object store that one process uses until it dies: from one request on, nothing it asks for arrives any more.
//!
//! A store keeps what it has answered for, so a crash takes nothing back. What is open is the request during which the
//! process dies: it may have arrived or not, and both are tried.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use futures::{FutureExt, StreamExt, stream, stream::BoxStream};
use headwater_log::store::UploadStore;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartId, MultipartUpload,
    ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
    multipart::{MultipartStore, PartId},
    path::Path,
};

/// When the process dies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Death {
    /// The request, counted from 0 among those that change something.
    pub(crate) at: usize,
    /// Whether the request arrives all the same.
    pub(crate) arrives: bool,
}

#[derive(Debug, Default)]
struct Fate {
    death: Option<Death>,
    requests: Vec<String>,
    is_dead: bool,
}

/// What the process does with a request.
enum Verdict {
    Live,
    DieAfter,
}

/// The store as a mortal process sees it.
#[derive(Debug, Clone)]
pub(crate) struct MortalStore {
    store: Arc<dyn UploadStore>,
    fate: Arc<Mutex<Fate>>,
}

impl MortalStore {
    pub(crate) fn new(store: Arc<dyn UploadStore>, death: Option<Death>) -> Self {
        let fate = Fate {
            death,
            ..Fate::default()
        };
        Self {
            store,
            fate: Arc::new(Mutex::new(fate)),
        }
    }

    /// The requests so far that change something.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.fate().requests.clone()
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.fate().is_dead
    }

    fn fate(&self) -> std::sync::MutexGuard<'_, Fate> {
        self.fate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn alive(&self) -> Result<()> {
        if self.fate().is_dead {
            return Err(dead());
        }
        Ok(())
    }

    fn verdict(&self, what: &str, path: &Path) -> Result<Verdict> {
        self.alive()?;
        let mut fate = self.fate();
        let number = fate.requests.len();
        fate.requests.push(format!("{what} {path}"));
        match fate.death {
            Some(death) if death.at == number => {
                fate.is_dead = true;
                match death.arrives {
                    true => Ok(Verdict::DieAfter),
                    false => Err(dead()),
                }
            }
            _ => Ok(Verdict::Live),
        }
    }

    /// Sends a request that changes something, unless the process is dead by then.
    async fn send<T>(
        &self,
        what: &str,
        path: &Path,
        request: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        match self.verdict(what, path)? {
            Verdict::Live => request.await,
            Verdict::DieAfter => {
                let _ = request.await;
                Err(dead())
            }
        }
    }
}

fn dead() -> Error {
    Error::Generic {
        store: "mortal",
        source: "the process is dead".into(),
    }
}

impl fmt::Display for MortalStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.store.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for MortalStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let request = self.store.put_opts(location, payload, options);
        self.send("put", location, request).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let request = self.store.put_multipart_opts(location, options);
        self.send("put in parts", location, request).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.alive()?;
        self.store.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let this = self.clone();
        locations
            .then(move |location| {
                let this = this.clone();
                async move {
                    let location = location?;
                    let one = stream::once(futures::future::ready(Ok(location.clone()))).boxed();
                    let mut deleted = this.store.delete_stream(one);
                    let request = async { deleted.next().await.unwrap_or(Ok(location.clone())) };
                    this.send("delete", &location, request.boxed()).await
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.alive() {
            Ok(()) => self.store.list(prefix),
            Err(error) => stream::once(futures::future::ready(Err(error))).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.alive()?;
        self.store.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let request = self.store.copy_opts(from, to, options);
        self.send("copy to", to, request).await
    }
}

#[async_trait]
impl MultipartStore for MortalStore {
    async fn create_multipart(&self, path: &Path) -> Result<MultipartId> {
        let request = self.store.create_multipart(path);
        self.send("begin upload of", path, request).await
    }

    async fn put_part(
        &self,
        path: &Path,
        id: &MultipartId,
        part_idx: usize,
        data: PutPayload,
    ) -> Result<PartId> {
        let request = self.store.put_part(path, id, part_idx, data);
        self.send("upload part of", path, request).await
    }

    async fn complete_multipart(
        &self,
        path: &Path,
        id: &MultipartId,
        parts: Vec<PartId>,
    ) -> Result<PutResult> {
        let request = self.store.complete_multipart(path, id, parts);
        self.send("complete upload of", path, request).await
    }

    async fn abort_multipart(&self, path: &Path, id: &MultipartId) -> Result<()> {
        let request = self.store.abort_multipart(path, id);
        self.send("abort upload of", path, request).await
    }
}
