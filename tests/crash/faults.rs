//! The tests notice: seeded faults of the engine, each of which a sweep must find.
//!
//! A fault is put between the engine and what it rests on: a record comes back as a faulty engine would have written
//! it, a call does what a faulty one would do. So there is no switch in the engine that anybody could turn, and what is
//! tested is what is shipped. Each test runs the very sweep that an honest engine passes, and wants it to fail, with
//! the words that belong to the fault; without a crash nothing is wrong.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, future, stream};
use headwater::{
    Result as Outcome, Storage,
    core::{
        Admission, BatchStream, CreateOutcome, Discovery, EpochWrite, Offset, OffsetRange,
        PartWrite, Prepared, PreparedPart, Sink, SinkProvider, Source, SourceProvider, Split,
    },
    prelude::{RecordBatch, SchemaRef},
};
use headwater_log::{
    Committed, Planned, WatermarkRecord,
    codec::{self, Record},
    layout,
    store::{Loss, SimMachine},
};

use super::{
    bend::{Bend, BentStorage, WrappedSink, WrappedSource},
    input,
    pipeline::{Query, Tamper},
    report::say,
    sweep::{Case, growing, sweep},
    two_runs,
};

/// Windows with enough rows that some come late in every way; the process dies, the machine does not.
fn windows() -> Case {
    let mut case = Case::over(Query::Windows, input::rows(4, 60, 3));
    case.losses = |_| vec![Loss::Nothing];
    case
}

/// The same on a machine whose power fails.
fn windows_without_power() -> Case {
    let mut case = windows();
    case.losses = |_| vec![Loss::Unsynced];
    case
}

/// The sweep over the case must find the fault, and say so in one of these words.
fn assert_noticed(mut case: Case, tamper: impl Tamper + 'static, words: &[&str]) {
    case.tamper = Box::new(tamper);
    let wrong = match sweep(&case) {
        Err(wrong) => wrong,
        Ok(swept) => panic!("nobody noticed in {} lives", swept.lives),
    };
    say(&format!("noticed: {wrong}"));
    assert!(
        !wrong.contains("nothing was cut off, and yet"),
        "without a crash there is nothing to notice: {wrong}"
    );
    let is_told = words.iter().any(|word| wrong.contains(word));
    assert!(is_told, "not in the words of {words:?}: {wrong}");
}

/// Changes a record on its way.
fn changed<T: Record>(path: &str, bytes: &Bytes, change: impl FnOnce(&mut T)) -> Bytes {
    let mut record: T = codec::decode(path, bytes).expect("the engine wrote it");
    change(&mut record);
    codec::encode(&record).expect("it has a form in JSON")
}

fn is_in(folder: &str, path: &str) -> bool {
    layout::number_of(folder, path).is_some()
}

/// Bends the checkpoint.
struct Checkpoint<B>(B);

impl<B: Bend + Clone> Tamper for Checkpoint<B> {
    fn checkpoint(&self, checkpoint: Arc<dyn Storage>) -> Arc<dyn Storage> {
        BentStorage::over(checkpoint, self.0.clone())
    }
}

/// Bends the output folder.
struct Output<B>(B);

impl<B: Bend + Clone> Tamper for Output<B> {
    fn output(&self, output: Arc<dyn Storage>) -> Arc<dyn Storage> {
        BentStorage::over(output, self.0.clone())
    }
}

/// Wraps the source.
struct Input(fn(Arc<dyn Source>) -> Arc<dyn Source>);

impl Tamper for Input {
    fn source(&self, provider: Arc<dyn SourceProvider>) -> Arc<dyn SourceProvider> {
        let wrap = self.0;
        Arc::new(WrappedSource { provider, wrap })
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

// What a restart reads.

/// The watermarks that a restart works with are not those that were written.
#[derive(Debug, Clone)]
struct OtherWatermarks(fn(&mut WatermarkRecord));

#[async_trait]
impl Bend for OtherWatermarks {
    async fn read(&self, storage: &dyn Storage, path: &str) -> Outcome<Option<Bytes>> {
        let found = storage.read(path).await?;
        Ok(found.map(|bytes| {
            if is_in(layout::COMMITS, path) {
                changed(path, &bytes, |it: &mut Committed| self.0(&mut it.next))
            } else if is_in(layout::PLANS, path) {
                changed(path, &bytes, |it: &mut Planned| self.0(&mut it.watermark))
            } else {
                bytes
            }
        }))
    }
}

#[test]
fn a_late_filter_with_the_watermark_in_force_is_noticed() {
    let wrong = OtherWatermarks(|watermarks| watermarks.previous = watermarks.global);
    let mut case = Case::over(Query::Windows, input::rows(6, 60, 3));
    case.losses = |_| vec![Loss::Nothing];
    assert_noticed(case, Checkpoint(wrong), &["expected"]);
}

#[test]
fn a_watermark_that_is_not_restored_is_noticed() {
    let wrong = OtherWatermarks(|watermarks| *watermarks = WatermarkRecord::default());
    assert_noticed(
        windows(),
        Checkpoint(wrong),
        &["is there twice", "should not be there", "watermark"],
    );
}

/// The commit record does not name the delta that its epoch wrote.
#[derive(Debug, Clone)]
struct LostDelta;

#[async_trait]
impl Bend for LostDelta {
    async fn create(
        &self,
        storage: &dyn Storage,
        path: &str,
        bytes: Bytes,
    ) -> Outcome<CreateOutcome> {
        if !is_in(layout::COMMITS, path) {
            return storage.create(path, bytes).await;
        }
        let bytes = changed(path, &bytes, |committed: &mut Committed| {
            let epoch = committed.epoch.0;
            let operators = committed.state["operators"].as_object_mut();
            for (_, files) in operators.into_iter().flatten() {
                let deltas = files["deltas"].as_array_mut().expect("a list");
                deltas.retain(|delta| delta["epoch"] != epoch);
            }
        });
        storage.create(path, bytes).await
    }
}

#[test]
fn a_lost_delta_is_noticed() {
    assert_noticed(
        windows(),
        Checkpoint(LostDelta),
        &["expected", "is missing"],
    );
}

#[test]
fn a_lost_delta_is_noticed_in_complete_mode() {
    let mut case = Case::new(Query::Complete, 5);
    case.losses = |_| vec![Loss::Nothing];
    assert_noticed(case, Checkpoint(LostDelta), &["of the ledger"]);
}

/// A restart takes the state of the epoch before the one it goes on from.
#[derive(Debug, Clone)]
struct StaleState;

#[async_trait]
impl Bend for StaleState {
    async fn read(&self, storage: &dyn Storage, path: &str) -> Outcome<Option<Bytes>> {
        let found = storage.read(path).await?;
        let before = layout::number_of(layout::COMMITS, path).and_then(|it| it.checked_sub(1));
        let (Some(bytes), Some(before)) = (&found, before) else {
            return Ok(found);
        };
        let before = layout::numbered(layout::COMMITS, before);
        let Some(stale) = storage.read(&before).await? else {
            return Ok(found);
        };
        let stale: Committed = codec::decode(&before, &stale)?;
        Ok(Some(changed(path, bytes, |it: &mut Committed| {
            it.state = stale.state;
        })))
    }
}

#[test]
fn a_stale_version_of_the_state_is_noticed() {
    assert_noticed(
        windows(),
        Checkpoint(StaleState),
        &["expected", "is missing"],
    );
}

// What is durable when.

/// Syncs whose name holds this do nothing.
struct SkippedSync(&'static str);

impl Tamper for SkippedSync {
    fn machine(&self, machine: &SimMachine) {
        let name = self.0;
        machine.skip_syncs(move |step| step.contains(name));
    }
}

#[test]
fn a_skipped_sync_of_a_record_s_bytes_is_noticed() {
    assert_noticed(
        windows_without_power(),
        SkippedSync("sync file checkpoint"),
        &["is damaged", "has no header"],
    );
}

#[test]
fn a_skipped_sync_of_the_folder_of_plans_is_noticed() {
    assert_noticed(
        windows_without_power(),
        SkippedSync("sync folder checkpoint/plans"),
        &["is missing"],
    );
}

#[test]
fn a_skipped_sync_of_the_folder_of_commits_is_noticed() {
    assert_noticed(
        windows_without_power(),
        SkippedSync("sync folder checkpoint/commits"),
        &["is there twice", "is missing"],
    );
}

#[test]
fn a_skipped_sync_of_the_folder_of_state_is_noticed() {
    assert_noticed(
        windows_without_power(),
        SkippedSync("sync folder checkpoint/state/aggregate-0"),
        &["the file is missing"],
    );
}

#[test]
fn a_skipped_sync_of_an_output_file_is_noticed() {
    assert_noticed(
        windows_without_power(),
        SkippedSync("sync file output"),
        &["is no whole file", "cannot be published", "should have"],
    );
}

#[test]
fn a_skipped_sync_of_the_output_folder_is_noticed() {
    assert_noticed(
        windows_without_power(),
        SkippedSync("sync folder output"),
        &["is missing", "cannot be published"],
    );
}

/// The plan of an epoch is written after it ran, just before its commit.
#[derive(Debug, Clone, Default)]
struct LatePlan {
    held: Arc<Mutex<Option<(String, Bytes)>>>,
}

#[async_trait]
impl Bend for LatePlan {
    async fn create(
        &self,
        storage: &dyn Storage,
        path: &str,
        bytes: Bytes,
    ) -> Outcome<CreateOutcome> {
        let lock = || self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if is_in(layout::PLANS, path) {
            *lock() = Some((path.to_owned(), bytes));
            return Ok(CreateOutcome::Created);
        }
        let held = lock().take_if(|_| is_in(layout::COMMITS, path));
        if let Some((plan, bytes)) = held {
            storage.create(&plan, bytes).await?;
        }
        storage.create(path, bytes).await
    }
}

/// Each process has a memory of its own.
struct LatePlans;

impl Tamper for LatePlans {
    fn checkpoint(&self, checkpoint: Arc<dyn Storage>) -> Arc<dyn Storage> {
        BentStorage::over(checkpoint, LatePlan::default())
    }
}

#[test]
fn a_plan_that_is_written_after_the_epoch_ran_is_noticed() {
    let mut case = growing(Query::Update);
    case.losses = |_| vec![Loss::Nothing];
    assert_noticed(case, LatePlans, &["with different rows"]);
}

/// Deletes one state file more than is garbage: the newest.
#[derive(Debug, Clone)]
struct GreedyCollector;

#[async_trait]
impl Bend for GreedyCollector {
    async fn delete(&self, storage: &dyn Storage, paths: &[String]) -> Outcome<()> {
        let mut paths = paths.to_vec();
        if paths.iter().any(|path| is_in(layout::COMMITS, path)) {
            let state = storage.list(layout::STATE).await?;
            paths.extend(state.into_iter().next_back().map(|newest| newest.path));
        }
        storage.delete(&paths).await
    }
}

#[test]
fn a_collector_that_takes_a_file_too_many_is_noticed() {
    assert_noticed(
        windows(),
        Checkpoint(GreedyCollector),
        &["the file is missing"],
    );
}

/// A record that is there already is written over.
#[derive(Debug, Clone)]
struct NotExclusive;

#[async_trait]
impl Bend for NotExclusive {
    async fn create(
        &self,
        storage: &dyn Storage,
        path: &str,
        bytes: Bytes,
    ) -> Outcome<CreateOutcome> {
        storage.replace(path, bytes).await?;
        Ok(CreateOutcome::Created)
    }
}

#[test]
fn a_commit_that_can_be_written_over_is_noticed() {
    let wrong = two_runs::every_order(&Checkpoint(NotExclusive)).expect_err("nobody is fenced");
    say(&format!("noticed: {wrong}"));
    assert!(wrong.contains("is there twice"), "{wrong}");
}

// What is published.

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
    let hasty = Outlet(|sink| {
        Arc::new(Hasty {
            sink,
            waiting: None,
        })
    });
    assert_noticed(windows(), hasty, &["is there twice"]);
}

#[test]
fn a_commit_before_the_parts_are_durable_is_noticed() {
    let hasty = Outlet(|sink| {
        Arc::new(Hasty {
            sink,
            waiting: Some(Mutex::default()),
        })
    });
    assert_noticed(windows(), hasty, &["is missing"]);
}

// What is read.

/// A source that passes everything on, but for one mistake.
#[derive(Debug)]
struct Sloppy {
    source: Arc<dyn Source>,
    /// Whether a range is acknowledged as soon as it is read.
    is_early: bool,
    /// What is being read.
    reading: Mutex<Option<OffsetRange>>,
    /// Splits of ranges that the log knew at the start.
    replayed: Mutex<BTreeSet<String>>,
    resumed: Mutex<Vec<OffsetRange>>,
}

impl Sloppy {
    fn over(source: Arc<dyn Source>, is_early: bool) -> Arc<dyn Source> {
        Arc::new(Self {
            source,
            is_early,
            reading: Mutex::default(),
            replayed: Mutex::default(),
            resumed: Mutex::default(),
        })
    }
}

#[async_trait]
impl Source for Sloppy {
    fn schema(&self) -> SchemaRef {
        self.source.schema()
    }

    fn description(&self) -> String {
        self.source.description()
    }

    async fn discover(&self, start: Option<&Offset>, admission: Admission) -> Outcome<Discovery> {
        self.source.discover(start, admission).await
    }

    async fn splits(&self, range: &OffsetRange, parallelism: usize) -> Outcome<Vec<Split>> {
        let splits = self.source.splits(range, parallelism).await?;
        *self.reading.lock().unwrap_or_else(PoisonError::into_inner) = Some(range.clone());
        let is_replayed = self
            .resumed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(range);
        if is_replayed {
            let first = splits.first().map(|split| split.descriptor.to_string());
            let mut replayed = self.replayed.lock().unwrap_or_else(PoisonError::into_inner);
            replayed.extend(first);
        }
        Ok(splits)
    }

    fn open(&self, split: &Split, projection: Option<&[usize]>) -> Outcome<BatchStream> {
        let rows = self.source.open(split, projection)?;
        if self.is_early {
            let reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
            let (source, range) = (Arc::clone(&self.source), reading.clone());
            let acknowledged = stream::once(async move {
                match &range {
                    Some(range) => source.acknowledge(range).await,
                    None => Ok(()),
                }
            });
            let nothing = acknowledged.try_filter_map(|()| future::ready(Ok(None)));
            return Ok(rows.chain(nothing).boxed());
        }
        let descriptor = split.descriptor.to_string();
        let replayed = self.replayed.lock().unwrap_or_else(PoisonError::into_inner);
        if !replayed.contains(&descriptor) {
            return Ok(rows);
        }
        // Off by one: the first row is left out.
        let mut is_first = true;
        Ok(rows
            .map_ok(move |batch| {
                let from = usize::from(std::mem::take(&mut is_first) && batch.num_rows() > 0);
                batch.slice(from, batch.num_rows() - from)
            })
            .boxed())
    }

    async fn resume(&self, range: &OffsetRange) -> Outcome<()> {
        self.source.resume(range).await?;
        let mut resumed = self.resumed.lock().unwrap_or_else(PoisonError::into_inner);
        resumed.push(range.clone());
        Ok(())
    }

    async fn acknowledge(&self, range: &OffsetRange) -> Outcome<()> {
        self.source.acknowledge(range).await
    }

    async fn freeze(&self) -> Outcome<()> {
        self.source.freeze().await
    }

    async fn changed(&self) {
        self.source.changed().await;
    }
}

#[test]
fn an_off_by_one_in_a_replay_is_noticed() {
    let sloppy = Input(|source| Sloppy::over(source, false));
    assert_noticed(windows(), sloppy, &["expected", "is missing"]);
}

#[test]
fn an_acknowledgement_before_the_commit_is_noticed() {
    let mut case = windows();
    case.source_options = vec![("cleanSource", "delete")];
    let sloppy = Input(|source| Sloppy::over(source, true));
    assert_noticed(case, sloppy, &["and is gone now"]);
}
