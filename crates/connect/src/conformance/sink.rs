//! What every sink must do.

use std::{collections::BTreeSet, sync::Arc};

use arrow::{
    array::{Int64Array, RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use async_trait::async_trait;
use futures::{StreamExt, stream};
use headwater_core::{
    Epoch, EpochWrite, Error, PartWrite, PreparedPart, RunId, Sink, SinkContext, SinkProvider,
};
use uuid::Uuid;

/// The rows a sink under test receives: `id` (Int64, not null) and `name` (Utf8).
pub fn sink_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("name", DataType::Utf8, true),
    ]))
}

/// A sink under test, and the world it writes to.
#[async_trait]
pub trait SinkFixture: Send + Sync {
    /// The sink. Asked again, it stands for a new process over the same world.
    fn provider(&self) -> Arc<dyn SinkProvider>;

    /// What a query gives to the sink; its schema is [`sink_schema`]. Always the same query and storage.
    fn context(&self) -> SinkContext;

    /// The `id`s a reader sees now, in any order; `None` if nobody can look.
    async fn visible(&self) -> Option<Vec<i64>>;

    /// Whether rows appear only when they are published, and never twice. `false` for sinks that deliver (a socket, user
    /// code): of those only the order of calls is tested.
    fn is_exactly_once(&self) -> bool {
        true
    }
}

/// Runs every contract of a sink.
///
/// # Panics
/// If one is broken.
pub async fn sink_conformance<F: SinkFixture>(make: impl AsyncFn() -> F) {
    an_epoch_appears_when_it_is_published(&make().await).await;
    publishing_twice_changes_nothing(&make().await).await;
    a_discarded_epoch_leaves_nothing(&make().await).await;
    a_replay_after_a_crash_appears_once(&make().await).await;
    a_failing_input_fails_the_part(&make().await).await;
    an_empty_epoch_is_an_epoch(&make().await).await;
}

fn run(number: u128) -> RunId {
    // The first digits tell runs apart in names.
    RunId(Uuid::from_u128(number << 96 | 0x51))
}

fn epoch(context: &SinkContext, epoch: u64, by: u128) -> EpochWrite {
    EpochWrite {
        query: context.query,
        run: run(by),
        epoch: Epoch(epoch),
        mode: context.mode,
    }
}

async fn create_sink(fixture: &impl SinkFixture) -> Arc<dyn Sink> {
    let context = fixture.context();
    let provider = fixture.provider();
    provider
        .check(context.mode, &context.schema)
        .expect("the sink takes its own fixture's rows");
    provider
        .create(context)
        .await
        .expect("the sink can be created")
}

fn rows(ids: &[i64]) -> RecordBatch {
    let names = StringArray::from_iter(
        ids.iter()
            .map(|id| (id % 3 != 0).then(|| format!("name {id}"))),
    );
    RecordBatch::try_new(
        sink_schema(),
        vec![Arc::new(Int64Array::from(ids.to_vec())), Arc::new(names)],
    )
    .expect("rows of the test schema")
}

/// Prepares one partition per list of ids and passes the result through text, as the commit record does.
async fn prepare(sink: &dyn Sink, write: &EpochWrite, partitions: &[&[i64]]) -> Vec<PreparedPart> {
    let mut parts = Vec::new();
    for (partition, ids) in partitions.iter().enumerate() {
        let middle = ids.len() / 2;
        let batches = [rows(&ids[..middle]), rows(&ids[middle..])];
        let part = PartWrite {
            write: *write,
            partition,
        };
        let prepared = sink
            .prepare(part, stream::iter(batches.map(Ok)).boxed())
            .await
            .expect("a partition can be prepared");
        assert_eq!(
            prepared.partition, partition,
            "a part says which partition it is"
        );
        assert_eq!(
            prepared.rows,
            ids.len() as u64,
            "and how many rows it received"
        );
        parts.push(prepared);
    }
    let parts = sink
        .before_commit(write, parts)
        .await
        .expect("before_commit works");
    let text = serde_json::to_string(&parts).expect("prepared parts are plain data");
    serde_json::from_str(&text).expect("and come back")
}

async fn expect_visible(fixture: &impl SinkFixture, expected: &[i64], when: &str) {
    if !fixture.is_exactly_once() {
        return;
    }
    if let Some(mut found) = fixture.visible().await {
        found.sort_unstable();
        assert_eq!(found, expected, "{when}");
        let distinct: BTreeSet<i64> = found.iter().copied().collect();
        assert_eq!(distinct.len(), found.len(), "no row twice, {when}");
    }
}

async fn an_epoch_appears_when_it_is_published(fixture: &impl SinkFixture) {
    let context = fixture.context();
    let sink = create_sink(fixture).await;
    let first = epoch(&context, 0, 1);
    let parts = prepare(&*sink, &first, &[&[1, 2, 3], &[4], &[]]).await;
    expect_visible(fixture, &[], "before it is published").await;
    sink.publish(&first, &parts)
        .await
        .expect("publishing works");
    expect_visible(fixture, &[1, 2, 3, 4], "after it is published").await;
    let second = epoch(&context, 1, 1);
    let parts = prepare(&*sink, &second, &[&[5, 6]]).await;
    expect_visible(fixture, &[1, 2, 3, 4], "while the next epoch is prepared").await;
    sink.publish(&second, &parts)
        .await
        .expect("publishing works");
    expect_visible(fixture, &[1, 2, 3, 4, 5, 6], "after both").await;
    sink.close().await.expect("a sink can be closed");
    expect_visible(fixture, &[1, 2, 3, 4, 5, 6], "after closing").await;
}

async fn publishing_twice_changes_nothing(fixture: &impl SinkFixture) {
    let context = fixture.context();
    let sink = create_sink(fixture).await;
    let write = epoch(&context, 0, 1);
    let parts = prepare(&*sink, &write, &[&[1, 2], &[3]]).await;
    sink.publish(&write, &parts)
        .await
        .expect("publishing works");
    sink.publish(&write, &parts)
        .await
        .expect("publishing again works");
    expect_visible(fixture, &[1, 2, 3], "after publishing twice").await;
    drop(sink);
    let restarted = create_sink(fixture).await;
    restarted
        .publish(&write, &parts)
        .await
        .expect("a new process can publish again from the record");
    expect_visible(
        fixture,
        &[1, 2, 3],
        "after publishing again in a new process",
    )
    .await;
}

async fn a_discarded_epoch_leaves_nothing(fixture: &impl SinkFixture) {
    let context = fixture.context();
    let sink = create_sink(fixture).await;
    let kept = epoch(&context, 0, 1);
    let parts = prepare(&*sink, &kept, &[&[1]]).await;
    sink.publish(&kept, &parts).await.expect("publishing works");
    let failed = epoch(&context, 1, 1);
    prepare(&*sink, &failed, &[&[2], &[3]]).await;
    sink.discard(&failed).await.expect("discarding works");
    sink.discard(&failed)
        .await
        .expect("discarding what is gone works");
    sink.discard(&epoch(&context, 7, 9))
        .await
        .expect("discarding what never was works");
    expect_visible(fixture, &[1], "after discarding").await;
    let parts = prepare(&*sink, &failed, &[&[2], &[3]]).await;
    sink.publish(&failed, &parts)
        .await
        .expect("the same run may try again");
    expect_visible(fixture, &[1, 2, 3], "after the second try").await;
}

async fn a_replay_after_a_crash_appears_once(fixture: &impl SinkFixture) {
    let context = fixture.context();
    let sink = create_sink(fixture).await;
    let died = epoch(&context, 0, 1);
    let lost = prepare(&*sink, &died, &[&[1, 2], &[3]]).await;
    drop((sink, lost));
    let sink = create_sink(fixture).await;
    sink.discard(&died)
        .await
        .expect("what a dead run prepared can be discarded");
    let replay = epoch(&context, 0, 2);
    let parts = prepare(&*sink, &replay, &[&[1, 2], &[3]]).await;
    sink.publish(&replay, &parts)
        .await
        .expect("publishing works");
    sink.discard(&died)
        .await
        .expect("discarding again harms nothing");
    expect_visible(fixture, &[1, 2, 3], "after the replay").await;
}

async fn a_failing_input_fails_the_part(fixture: &impl SinkFixture) {
    let context = fixture.context();
    let sink = create_sink(fixture).await;
    let write = epoch(&context, 0, 1);
    let part = PartWrite {
        write,
        partition: 0,
    };
    let broken = stream::iter([Ok(rows(&[1, 2])), Err(Error::data("the input broke"))]);
    let error = sink
        .prepare(part, broken.boxed())
        .await
        .expect_err("an error of the input is an error of the part");
    assert!(
        error.to_string().contains("the input broke"),
        "the cause is told: {error}"
    );
    sink.discard(&write)
        .await
        .expect("what is left can be discarded");
    expect_visible(fixture, &[], "after a failure").await;
}

async fn an_empty_epoch_is_an_epoch(fixture: &impl SinkFixture) {
    let context = fixture.context();
    let sink = create_sink(fixture).await;
    let write = epoch(&context, 0, 1);
    let parts = prepare(&*sink, &write, &[&[], &[]]).await;
    sink.publish(&write, &parts)
        .await
        .expect("an epoch without rows can be published");
    let write = epoch(&context, 1, 1);
    sink.publish(&write, &[])
        .await
        .expect("and one without partitions");
    expect_visible(fixture, &[], "after empty epochs").await;
}
