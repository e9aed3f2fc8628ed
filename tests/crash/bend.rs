//! A storage, a source and a sink that pass everything on, except what a seeded fault changes.

use std::{fmt, ops::Range, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use headwater::{
    Storage,
    core::{
        CreateOutcome, Payload, Prepared, PreparedWrite, Result, Sink, SinkContext, SinkProvider,
        Source, SourceContext, SourceProvider, storage::StoredObject,
    },
    prelude::{OutputMode, SchemaRef},
};

/// The calls of a storage that a fault may change; the others are nobody's business.
#[async_trait]
pub(crate) trait Bend: fmt::Debug + Send + Sync + 'static {
    async fn read(&self, storage: &dyn Storage, path: &str) -> Result<Option<Bytes>> {
        storage.read(path).await
    }

    async fn create(
        &self,
        storage: &dyn Storage,
        path: &str,
        bytes: Bytes,
    ) -> Result<CreateOutcome> {
        storage.create(path, bytes).await
    }

    async fn delete(&self, storage: &dyn Storage, paths: &[String]) -> Result<()> {
        storage.delete(paths).await
    }

    async fn publish(&self, storage: &dyn Storage, objects: &[Prepared]) -> Result<()> {
        storage.publish(objects).await
    }

    async fn discard_prepared(&self, storage: &dyn Storage, owner: &str) -> Result<()> {
        storage.discard_prepared(owner).await
    }
}

/// A storage with a fault.
#[derive(Debug)]
pub(crate) struct BentStorage<B> {
    storage: Arc<dyn Storage>,
    bend: B,
}

impl<B: Bend> BentStorage<B> {
    pub(crate) fn over(storage: Arc<dyn Storage>, bend: B) -> Arc<dyn Storage> {
        Arc::new(Self { storage, bend })
    }
}

impl<B> fmt::Display for BentStorage<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.storage.fmt(f)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<B: Bend> Storage for BentStorage<B> {
    async fn read(&self, path: &str) -> Result<Option<Bytes>> {
        self.bend.read(self.storage.as_ref(), path).await
    }

    async fn read_range(&self, path: &str, range: Range<u64>) -> Result<Option<Bytes>> {
        self.storage.read_range(path, range).await
    }

    async fn create(&self, path: &str, bytes: Bytes) -> Result<CreateOutcome> {
        self.bend.create(self.storage.as_ref(), path, bytes).await
    }

    async fn create_own(&self, path: &str, payload: Payload) -> Result<CreateOutcome> {
        let bytes = payload.into_bytes();
        self.bend.create(self.storage.as_ref(), path, bytes).await
    }

    async fn replace(&self, path: &str, bytes: Bytes) -> Result<()> {
        self.storage.replace(path, bytes).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<StoredObject>> {
        self.storage.list(prefix).await
    }

    async fn delete(&self, paths: &[String]) -> Result<()> {
        self.bend.delete(self.storage.as_ref(), paths).await
    }

    async fn prepare(&self, path: &str, owner: &str) -> Result<Box<dyn PreparedWrite>> {
        self.storage.prepare(path, owner).await
    }

    async fn publish(&self, objects: &[Prepared]) -> Result<()> {
        self.bend.publish(self.storage.as_ref(), objects).await
    }

    async fn discard(&self, objects: &[Prepared]) -> Result<()> {
        self.storage.discard(objects).await
    }

    async fn discard_prepared(&self, owner: &str) -> Result<()> {
        self.bend
            .discard_prepared(self.storage.as_ref(), owner)
            .await
    }
}

/// A source as a session knows it, made by another one and then wrapped.
#[derive(Debug)]
pub(crate) struct WrappedSource {
    pub(crate) provider: Arc<dyn SourceProvider>,
    pub(crate) wrap: fn(Arc<dyn Source>) -> Arc<dyn Source>,
}

#[async_trait]
impl SourceProvider for WrappedSource {
    fn schema(&self) -> SchemaRef {
        self.provider.schema()
    }

    fn identity(&self) -> String {
        self.provider.identity()
    }

    async fn create(&self, context: SourceContext) -> Result<Arc<dyn Source>> {
        Ok((self.wrap)(self.provider.create(context).await?))
    }
}

/// A sink as a session knows it, made by another one and then wrapped.
#[derive(Debug)]
pub(crate) struct WrappedSink {
    pub(crate) provider: Arc<dyn SinkProvider>,
    pub(crate) wrap: fn(Arc<dyn Sink>) -> Arc<dyn Sink>,
}

#[async_trait]
impl SinkProvider for WrappedSink {
    fn identity(&self) -> String {
        self.provider.identity()
    }

    fn check(&self, mode: OutputMode, schema: &SchemaRef) -> Result<()> {
        self.provider.check(mode, schema)
    }

    async fn create(&self, context: SinkContext) -> Result<Arc<dyn Sink>> {
        Ok((self.wrap)(self.provider.create(context).await?))
    }
}
