//! Faults in what is published, of the result and of late rows.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use headwater_log::store::Loss;

use super::{assert_noticed, windows};
use crate::crash::{
    bend::{Bend, BentStorage, WrappedSink},
    input,
    pipeline::{Query, Tamper},
    sweep::Case,
};
use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use headwater::{
    Result as Outcome, Storage,
    core::{BatchStream, EpochWrite, PartWrite, Prepared, PreparedPart, Sink, SinkProvider},
    prelude::RecordBatch,
};

/// Bends the output folder.
struct Output<B>(B);

impl<B: Bend + Clone> Tamper for Output<B> {
    fn output(&self, output: Arc<dyn Storage>) -> Arc<dyn Storage> {
        BentStorage::over(output, self.0.clone())
    }
}

/// Bends the folder of late rows.
struct LateOutput<B>(B);

impl<B: Bend + Clone> Tamper for LateOutput<B> {
    fn late_output(&self, output: Arc<dyn Storage>) -> Arc<dyn Storage> {
        BentStorage::over(output, self.0.clone())
    }
}

/// Wraps the sink.
struct Outlet(fn(Arc<dyn Sink>) -> Arc<dyn Sink>);

impl Tamper for Outlet {
    fn sink(&self, provider: Arc<dyn SinkProvider>) -> Arc<dyn SinkProvider> {
        let wrap = self.0;
        Arc::new(WrappedSink { provider, wrap })
    }
}

/// Wraps the sink of late rows.
struct LateOutlet(fn(Arc<dyn Sink>) -> Arc<dyn Sink>);

impl Tamper for LateOutlet {
    fn late_sink(&self, provider: Arc<dyn SinkProvider>) -> Arc<dyn SinkProvider> {
        let wrap = self.0;
        Arc::new(WrappedSink { provider, wrap })
    }
}

/// Windows whose late rows are wanted, too.
fn windows_and_late_rows() -> Case {
    let mut case = Case::over(Query::Windows, input::rows(6, 40, 5));
    case.late_rows = true;
    case.losses = |_| vec![Loss::Nothing];
    assert!(!input::late_rows(&case.files).is_empty(), "late rows");
    case
}

/// Publishing what is published already adds it once more.
#[derive(Debug, Clone)]
struct DoublePublish;

#[async_trait]
impl Bend for DoublePublish {
    async fn publish(&self, storage: &dyn Storage, objects: &[Prepared]) -> Outcome<()> {
        for object in objects {
            if let Some(bytes) = storage.read(&object.path).await? {
                let again = format!("again-{}", object.path);
                storage.create(&again, bytes).await?;
            }
        }
        storage.publish(objects).await
    }
}

#[test]
fn a_double_publish_is_noticed() {
    assert_noticed(windows(), Output(DoublePublish), &["is there twice"]);
    let late = LateOutput(DoublePublish);
    assert_noticed(
        windows_and_late_rows(),
        late,
        &["late rows", "is there twice"],
    );
}

/// Discarding what a run prepared takes away what it published, too.
#[derive(Debug, Clone)]
struct GreedyDiscard;

#[async_trait]
impl Bend for GreedyDiscard {
    async fn discard_prepared(&self, storage: &dyn Storage, owner: &str) -> Outcome<()> {
        storage.discard_prepared(owner).await?;
        let run = owner.rsplit('-').next().unwrap_or(owner);
        let published = storage.list("").await?.into_iter().map(|it| it.path);
        let of_the_run: Vec<String> = published.filter(|path| path.contains(run)).collect();
        storage.delete(&of_the_run).await
    }
}

#[test]
fn a_discarded_part_that_was_published_is_noticed() {
    assert_noticed(windows(), Output(GreedyDiscard), &["is missing"]);
    let late = LateOutput(GreedyDiscard);
    assert_noticed(windows_and_late_rows(), late, &["late rows", "is missing"]);
}

/// Rows by epoch and partition.
type Parts = BTreeMap<(u64, usize), Vec<RecordBatch>>;

/// A sink that passes everything on, but not at the right moment.
#[derive(Debug)]
struct Hasty {
    sink: Arc<dyn Sink>,
    /// Rows by epoch and partition, where parts wait in memory for the commit.
    waiting: Option<Mutex<Parts>>,
}

impl Hasty {
    /// Publishes before the commit.
    fn too_early(sink: Arc<dyn Sink>) -> Arc<dyn Sink> {
        let waiting = None;
        Arc::new(Self { sink, waiting })
    }

    /// Has nothing durable before the commit.
    fn from_memory(sink: Arc<dyn Sink>) -> Arc<dyn Sink> {
        let waiting = Some(Mutex::default());
        Arc::new(Self { sink, waiting })
    }
}

#[async_trait]
impl Sink for Hasty {
    fn description(&self) -> String {
        self.sink.description()
    }

    async fn prepare(&self, part: PartWrite, rows: BatchStream) -> Outcome<PreparedPart> {
        let Some(waiting) = &self.waiting else {
            return self.sink.prepare(part, rows).await;
        };
        let rows: Vec<RecordBatch> = rows.try_collect().await?;
        let number = rows.iter().map(RecordBatch::num_rows).sum::<usize>();
        waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert((part.write.epoch.0, part.partition), rows);
        Ok(PreparedPart {
            partition: part.partition,
            rows: number as u64,
            detail: serde_json::Value::Null,
        })
    }

    async fn before_commit(
        &self,
        write: &EpochWrite,
        parts: Vec<PreparedPart>,
    ) -> Outcome<Vec<PreparedPart>> {
        if self.waiting.is_none() {
            self.sink.publish(write, &parts).await?;
        }
        Ok(parts)
    }

    async fn publish(&self, write: &EpochWrite, parts: &[PreparedPart]) -> Outcome<()> {
        let Some(waiting) = &self.waiting else {
            return Ok(());
        };
        for part in parts {
            let rows = waiting
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&(write.epoch.0, part.partition));
            let write = *write;
            let partition = part.partition;
            let rows = stream::iter(rows.unwrap_or_default().into_iter().map(Ok)).boxed();
            let part = self
                .sink
                .prepare(PartWrite { write, partition }, rows)
                .await?;
            self.sink.publish(&write, &[part]).await?;
        }
        Ok(())
    }

    async fn discard(&self, write: &EpochWrite) -> Outcome<()> {
        self.sink.discard(write).await
    }

    async fn close(&self) -> Outcome<()> {
        self.sink.close().await
    }
}

#[test]
fn a_publication_before_the_commit_is_noticed() {
    assert_noticed(windows(), Outlet(Hasty::too_early), &["is there twice"]);
    let late = LateOutlet(Hasty::too_early);
    assert_noticed(
        windows_and_late_rows(),
        late,
        &["late rows", "is there twice"],
    );
}

#[test]
fn a_commit_before_the_parts_are_durable_is_noticed() {
    assert_noticed(windows(), Outlet(Hasty::from_memory), &["is missing"]);
    let late = LateOutlet(Hasty::from_memory);
    assert_noticed(windows_and_late_rows(), late, &["late rows", "is missing"]);
}
