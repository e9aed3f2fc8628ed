//! Writes that fail: a full disk, a sink that gives up halfway, user code that fails or panics.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use async_trait::async_trait;
use futures::StreamExt;
use headwater::{
    Result as Outcome,
    connect::memory::MemoryStream,
    core::{BatchStream, EpochWrite, PartWrite, PreparedPart, Sink, SinkContext, SinkProvider},
    prelude::*,
};
use headwater_log::{MemoryStorage, store::SimMachine};

use super::{
    full_disk::{FullDisk, Room},
    shop::assert_says,
};
use crate::crash::{
    check, input,
    ledger::Ledger,
    pipeline::{Honest, Query, RETAINED, Reports, Tamper, World},
    sweep::Case,
};

/// One run of a case on a machine whose disk has this much room.
async fn run(
    case: &Case,
    machine: &SimMachine,
    room: &Arc<Room>,
    tamper: &dyn Tamper,
) -> Outcome<()> {
    let disk = |name: &str| {
        Arc::new(FullDisk {
            storage: Arc::new(machine.storage(name)),
            room: Arc::clone(room),
        })
    };
    let reports = Mutex::new(Reports::new());
    let world = World {
        query: case.query,
        input: case.input_folder(),
        source_options: &[],
        retained: RETAINED,
        checkpoint: disk("checkpoint"),
        output: disk("output"),
        late: None,
        ledger: Ledger::default(),
        tamper,
        reports: &reports,
    };
    world.run().await
}

fn assert_nothing_wrong(case: &Case, machine: &SimMachine) {
    let seen = check::content(&machine.files("output")).expect("the output can be read");
    check::only_expected(&seen, case.answer()).expect("nothing wrong is written");
}

fn assert_complete(case: &Case, machine: &SimMachine) {
    let seen = check::content(&machine.files("output")).expect("the output can be read");
    check::everything(&seen, case.answer()).expect("nothing is lost");
}

#[tokio::test]
async fn a_disk_that_is_full_from_any_write_on_stops_the_query_until_there_is_room() {
    let case = Case::new(Query::Windows, 4);
    let plenty = Room::for_writes(usize::MAX);
    run(&case, &SimMachine::new(), &plenty, &Honest)
        .await
        .expect("there is room");
    let (mut stopped, mut objects) = (0, BTreeSet::new());
    for writes in 0..plenty.writes() {
        let machine = SimMachine::new();
        let room = Room::for_writes(writes);
        if let Err(error) = run(&case, &machine, &room, &Honest).await {
            stopped += 1;
            assert_says(&error, &["query 'crashed'", "no space left on device"]);
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
            let text = error.to_string();
            let object = text.split('\'').nth(3).unwrap_or_default();
            objects.insert(
                object
                    .split('/')
                    .next()
                    .unwrap_or_default()
                    .chars()
                    .take_while(|c| !c.is_numeric())
                    .collect::<String>(),
            );
        }
        assert_nothing_wrong(&case, &machine);
        room.make();
        let again = run(&case, &machine, &room, &Honest).await;
        again.unwrap_or_else(|error| panic!("full after {writes} writes: {error}"));
        assert_complete(&case, &machine);
    }
    println!(
        "stopped after {stopped} of {} writes, at objects {objects:?}",
        plenty.writes()
    );
    // Only marks and the last upkeep are written behind the epochs.
    assert!(
        stopped * 10 > plenty.writes() * 8,
        "{stopped} of {}",
        plenty.writes()
    );
}

/// Where a sink gives up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GivesUp {
    AfterSomeRows,
    BeforeTheCommit,
    BeforePublishing,
    HalfwayThroughPublishing,
}

/// A sink that gives up from the epoch of this number on, for as long as it is broken.
#[derive(Debug, Clone)]
struct Weak<S> {
    inner: S,
    how: GivesUp,
    epoch: u64,
    is_broken: Arc<AtomicBool>,
}

impl<S> Weak<S> {
    fn fails(&self, write: &EpochWrite, how: GivesUp) -> Outcome<()> {
        if self.how == how && write.epoch.0 >= self.epoch && self.is_broken.load(SeqCst) {
            return Err(Error::unavailable(format!("the sink gives up: {how:?}")));
        }
        Ok(())
    }
}

#[async_trait]
impl SinkProvider for Weak<Arc<dyn SinkProvider>> {
    fn identity(&self) -> String {
        self.inner.identity()
    }

    fn check(&self, mode: OutputMode, schema: &SchemaRef) -> Outcome<()> {
        self.inner.check(mode, schema)
    }

    async fn create(&self, context: SinkContext) -> Outcome<Arc<dyn Sink>> {
        Ok(Arc::new(Weak {
            inner: self.inner.create(context).await?,
            how: self.how,
            epoch: self.epoch,
            is_broken: Arc::clone(&self.is_broken),
        }))
    }
}

#[async_trait]
impl Sink for Weak<Arc<dyn Sink>> {
    fn description(&self) -> String {
        self.inner.description()
    }

    async fn prepare(&self, part: PartWrite, rows: BatchStream) -> Outcome<PreparedPart> {
        let end = match self.fails(&part.write, GivesUp::AfterSomeRows) {
            Ok(()) => futures::stream::iter(None),
            Err(error) => futures::stream::iter(Some(Err(error))),
        };
        self.inner.prepare(part, rows.chain(end).boxed()).await
    }

    async fn before_commit(
        &self,
        write: &EpochWrite,
        parts: Vec<PreparedPart>,
    ) -> Outcome<Vec<PreparedPart>> {
        self.fails(write, GivesUp::BeforeTheCommit)?;
        self.inner.before_commit(write, parts).await
    }

    async fn publish(&self, write: &EpochWrite, parts: &[PreparedPart]) -> Outcome<()> {
        self.fails(write, GivesUp::BeforePublishing)?;
        if let Err(error) = self.fails(write, GivesUp::HalfwayThroughPublishing) {
            self.inner.publish(write, &parts[..1]).await?;
            return Err(error);
        }
        self.inner.publish(write, parts).await
    }

    async fn discard(&self, write: &EpochWrite) -> Outcome<()> {
        self.inner.discard(write).await
    }

    async fn close(&self) -> Outcome<()> {
        self.inner.close().await
    }
}

struct WeakSink {
    how: GivesUp,
    is_broken: Arc<AtomicBool>,
}

impl Tamper for WeakSink {
    fn sink(&self, inner: Arc<dyn SinkProvider>) -> Arc<dyn SinkProvider> {
        Arc::new(Weak {
            inner,
            how: self.how,
            epoch: 3,
            is_broken: Arc::clone(&self.is_broken),
        })
    }
}

#[tokio::test]
async fn a_sink_that_fails_halfway_stops_the_query_and_loses_nothing() {
    for how in [
        GivesUp::AfterSomeRows,
        GivesUp::BeforeTheCommit,
        GivesUp::BeforePublishing,
        GivesUp::HalfwayThroughPublishing,
    ] {
        let case = Case::over(Query::Windows, input::rows(5, 40, 5));
        let (machine, room) = (SimMachine::new(), Room::for_writes(usize::MAX));
        let is_broken = Arc::new(AtomicBool::new(true));
        let weak = WeakSink {
            how,
            is_broken: Arc::clone(&is_broken),
        };
        // The first run, and one that tries again.
        for _ in 0..2 {
            let error = run(&case, &machine, &room, &weak).await;
            let error = error.expect_err("the sink gives up");
            println!("{error}");
            assert_says(&error, &["query 'crashed'", "epoch", "the sink gives up"]);
            assert_nothing_wrong(&case, &machine);
        }
        is_broken.store(false, SeqCst);
        run(&case, &machine, &room, &weak)
            .await
            .expect("the sink is well again");
        assert_complete(&case, &machine);
    }
}

/// A query over a memory stream of these values, into user code.
fn doubled(session: &Session, values: &[i64]) -> Outcome<DataFrame> {
    use datafusion::arrow::array::Int64Array;
    let schema = Arc::new(Schema::new(vec![Field::new("v", DataType::Int64, true)]));
    let stream = MemoryStream::new("values", Arc::clone(&schema));
    session.register_memory_stream(&stream)?;
    for value in values {
        let column = Arc::new(Int64Array::from(vec![*value]));
        stream.add_batch(RecordBatch::try_new(Arc::clone(&schema), vec![column])?)?;
    }
    futures::executor::block_on(session.table("values"))?.select_expr(["v * 2 AS v"])
}

#[tokio::test(flavor = "multi_thread")]
async fn user_code_that_fails_or_panics_stops_the_query_and_sees_the_epoch_again() {
    for panics in [false, true] {
        let session = Session::new();
        let frame = doubled(&session, &[1, 2, 3]).expect("a query");
        let checkpoint = Arc::new(MemoryStorage::new());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let start = async |is_broken: bool| {
            let seen = Arc::clone(&seen);
            let checkpoint: Arc<dyn headwater::Storage> = Arc::clone(&checkpoint) as _;
            let query = frame
                .clone()
                .write_stream()
                .query_name("user")
                .checkpoint(checkpoint)
                .trigger(Trigger::available_now())
                .foreach_batch(move |rows, epoch| {
                    let seen = Arc::clone(&seen);
                    async move {
                        let rows = rows.collect().await?;
                        let number = rows.iter().map(RecordBatch::num_rows).sum::<usize>();
                        if is_broken && panics {
                            panic!("the user's own bug");
                        }
                        if is_broken {
                            return Err(Error::unavailable("the user's database is away"));
                        }
                        seen.lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .push((epoch.0, number));
                        Ok(())
                    }
                })
                .start(None)
                .await?;
            query.await_termination().await
        };
        let error = start(true).await.expect_err("user code fails");
        let text = error.to_string();
        println!("{text}");
        let word = if panics {
            "the user's own bug"
        } else {
            "the user's database is away"
        };
        for word in ["query 'user'", "epoch 0", word] {
            assert!(text.contains(word), "{text}");
        }
        start(false).await.expect("user code works");
        assert_eq!(
            *seen.lock().unwrap_or_else(PoisonError::into_inner),
            [(0, 3)]
        );
    }
}
