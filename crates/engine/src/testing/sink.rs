//! A sink that writes each part as one object of a storage: as durable, and as forgetful, as that storage is.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use datafusion::arrow::{datatypes::SchemaRef, json::LineDelimitedWriter};
use futures::TryStreamExt;
use headwater_core::{
    BatchStream, Epoch, EpochWrite, Error, OutputMode, PartWrite, Prepared, PreparedPart, Result,
    Sink, SinkContext, SinkProvider, Storage,
};
use tokio::sync::watch;

/// Where a [`LedgerSink`] fails when it is told to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailAt {
    Prepare,
    BeforeCommit,
    Publish,
    Panic,
    /// Not a failure: it never answers.
    Hang,
}

/// A call in which a [`LedgerSink`] waits when it is told to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    /// When all rows of a part have come, and it is not finished.
    Prepare,
    Publish,
}

#[derive(Debug)]
struct Inner {
    storage: Arc<dyn Storage>,
    held: watch::Sender<Option<Call>>,
    fail: Mutex<Option<FailAt>>,
    /// Ends the first call that fails only; further ones go through.
    failed: AtomicBool,
    calls: Mutex<Vec<String>>,
    prepared: Mutex<BTreeSet<Epoch>>,
}

/// Writes rows as JSON lines into `out/` of a storage.
#[derive(Debug, Clone)]
pub(crate) struct LedgerSink {
    inner: Arc<Inner>,
}

impl LedgerSink {
    pub(crate) fn new(storage: Arc<dyn Storage>) -> Self {
        Self {
            inner: Arc::new(Inner {
                storage,
                held: watch::Sender::new(None),
                fail: Mutex::new(None),
                failed: AtomicBool::new(false),
                calls: Mutex::default(),
                prepared: Mutex::default(),
            }),
        }
    }

    /// Makes the next call of this kind fail, once.
    pub(crate) fn fail(&self, at: FailAt) {
        *self.inner.fail.lock().unwrap() = Some(at);
        self.inner.failed.store(false, Ordering::SeqCst);
    }

    /// Lets calls of this kind wait until [`Self::release`].
    pub(crate) fn hold(&self, call: Call) {
        self.inner.held.send_replace(Some(call));
    }

    pub(crate) fn release(&self) {
        self.inner.held.send_replace(None);
    }

    async fn wait(&self, call: Call) {
        let mut held = self.inner.held.subscribe();
        let _ = held.wait_for(|held| *held != Some(call)).await;
    }

    /// What queries called besides preparing, in order: `publish 0`, `discard 1`.
    pub(crate) fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.inner.calls.lock().unwrap())
    }

    /// The epochs of which parts were asked for.
    pub(crate) fn prepared(&self) -> Vec<Epoch> {
        let prepared = self.inner.prepared.lock().unwrap();
        prepared.iter().copied().collect()
    }

    /// Every visible row, sorted, as any reader of the folder sees them.
    pub(crate) async fn rows(storage: &Arc<dyn Storage>) -> Vec<String> {
        let mut rows = Vec::new();
        for object in storage.list("out").await.unwrap() {
            let bytes = storage.read(&object.path).await.unwrap().unwrap();
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            rows.extend(text.lines().map(str::to_owned));
        }
        rows.sort();
        rows
    }

    fn check(&self, at: FailAt) -> Result<()> {
        let wanted = *self.inner.fail.lock().unwrap() == Some(at);
        if wanted && !self.inner.failed.swap(true, Ordering::SeqCst) {
            if at == FailAt::Panic {
                panic!("user code panics");
            }
            return Err(Error::unavailable(format!("the ledger fails at {at:?}")));
        }
        Ok(())
    }

    fn note(&self, call: String) {
        self.inner.calls.lock().unwrap().push(call);
    }
}

#[async_trait]
impl SinkProvider for LedgerSink {
    fn identity(&self) -> String {
        "ledger".to_owned()
    }

    fn check(&self, _mode: OutputMode, _schema: &SchemaRef) -> Result<()> {
        Ok(())
    }

    async fn create(&self, _context: SinkContext) -> Result<Arc<dyn Sink>> {
        Ok(Arc::new(self.clone()))
    }
}

#[async_trait]
impl Sink for LedgerSink {
    fn description(&self) -> String {
        "Ledger".to_owned()
    }

    async fn prepare(&self, part: PartWrite, mut rows: BatchStream) -> Result<PreparedPart> {
        self.inner.prepared.lock().unwrap().insert(part.write.epoch);
        self.check(FailAt::Prepare)?;
        self.check(FailAt::Panic)?;
        if self.check(FailAt::Hang).is_err() {
            std::future::pending::<()>().await;
        }
        let mut lines = LineDelimitedWriter::new(Vec::new());
        let mut count = 0;
        while let Some(batch) = rows.try_next().await? {
            count += batch.num_rows() as u64;
            lines.write(&batch)?;
        }
        let owner = part.write.owner();
        // A name of its own for each attempt: an epoch that is published twice shows its rows twice.
        let path = format!("out/{owner}-{}", part.partition);
        let mut write = self.inner.storage.prepare(&path, &owner).await?;
        write.write(Bytes::from(lines.into_inner())).await?;
        self.wait(Call::Prepare).await;
        let prepared = write.finish().await?;
        Ok(PreparedPart {
            partition: part.partition,
            rows: count,
            detail: serde_json::to_value(prepared)?,
        })
    }

    async fn before_commit(
        &self,
        _write: &EpochWrite,
        parts: Vec<PreparedPart>,
    ) -> Result<Vec<PreparedPart>> {
        self.check(FailAt::BeforeCommit)?;
        Ok(parts)
    }

    async fn publish(&self, write: &EpochWrite, parts: &[PreparedPart]) -> Result<()> {
        self.wait(Call::Publish).await;
        self.check(FailAt::Publish)?;
        self.note(format!("publish {}", write.epoch));
        let prepared: Vec<Prepared> = parts
            .iter()
            .map(|part| Ok(serde_json::from_value(part.detail.clone())?))
            .collect::<Result<_>>()?;
        self.inner.storage.publish(&prepared).await
    }

    async fn discard(&self, write: &EpochWrite) -> Result<()> {
        self.note(format!("discard {}", write.epoch));
        self.inner.storage.discard_prepared(&write.owner()).await
    }
}
