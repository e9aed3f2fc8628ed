//! The contracts of [`Source`] and [`Sink`] as tests that any implementation can run, ours and users'.
//!
//! A fixture says how to make one and how to look at the world around it; each contract gets a new, empty one from the
//! caller's `make`. A broken contract panics with what was expected and found, so these functions belong into tests.
//!
//! What they cannot see: whether something is durable on a disk that lost power. The crash sweep does.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use arrow::{
    array::{Int64Array, RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema, SchemaRef},
    util::display::{ArrayFormatter, FormatOptions},
};
use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use headwater_core::{
    Admission, Discovery, Epoch, EpochWrite, Increment, Offset, OffsetRange, PartWrite,
    PreparedPart, RunId, Sink, SinkContext, SinkProvider, Source, SourceContext, SourceProvider,
};
use uuid::Uuid;

/// How long a source may take to notice new rows.
const PATIENCE: Duration = Duration::from_secs(30);

/// A source under test, and the world it reads from.
#[async_trait]
pub trait SourceFixture: Send + Sync {
    /// The table. Asked again, it stands for a new process over the same world.
    fn provider(&self) -> Arc<dyn SourceProvider>;

    /// What a query gives to the source. Always the same storage.
    fn context(&self) -> SourceContext;

    /// Makes more rows available and returns how many; moves the clock where the source looks at it.
    async fn grow(&self) -> usize;
}

/// Runs every contract of a source.
///
/// # Panics
/// If one is broken.
pub async fn source_conformance<F: SourceFixture>(make: impl AsyncFn() -> F) {
    rows_come_once_and_in_the_same_order(&make().await).await;
    a_range_can_be_read_again(&make().await).await;
    a_projection_reads_the_same_columns(&make().await).await;
    discovering_again_changes_nothing(&make().await).await;
    a_restart_goes_on_where_the_log_ends(&make().await).await;
    an_acknowledged_range_stays_read(&make().await).await;
    a_frozen_source_offers_what_was_there(&make().await).await;
    new_rows_are_announced(&make().await).await;
}

async fn create(fixture: &impl SourceFixture) -> Arc<dyn Source> {
    fixture
        .provider()
        .create(fixture.context())
        .await
        .expect("the source can be created")
}

/// The next range after `start`, if there is one.
async fn next(source: &dyn Source, start: Option<&Offset>) -> Option<OffsetRange> {
    match source
        .discover(start, Admission::All)
        .await
        .expect("discover works")
    {
        Discovery::Nothing => None,
        Discovery::Increment(Increment { end, detail }) => Some(OffsetRange {
            start: start.cloned(),
            end,
            detail,
        }),
    }
}

/// Every range after `start` until there is nothing more.
async fn all(source: &dyn Source, mut start: Option<Offset>) -> Vec<OffsetRange> {
    let mut ranges = Vec::new();
    while let Some(range) = next(source, start.as_ref()).await {
        assert_ne!(
            Some(&range.end),
            start.as_ref(),
            "an increment moves the offset"
        );
        start = Some(range.end.clone());
        ranges.push(range);
        assert!(
            ranges.len() < 10_000,
            "a source that nobody adds to must come to an end"
        );
    }
    ranges
}

/// Rows of batches as text.
fn shown(batches: &[RecordBatch]) -> Vec<String> {
    let options = FormatOptions::default().with_null("null");
    let mut rows = Vec::new();
    for batch in batches {
        let columns: Vec<_> = batch
            .columns()
            .iter()
            .map(|column| {
                ArrayFormatter::try_new(column, &options).expect("a type that can be shown")
            })
            .collect();
        rows.extend((0..batch.num_rows()).map(|row| {
            let values: Vec<String> = columns
                .iter()
                .map(|column| column.value(row).to_string())
                .collect();
            values.join("|")
        }));
    }
    rows
}

async fn read(
    source: &dyn Source,
    range: &OffsetRange,
    parallelism: usize,
    projection: Option<&[usize]>,
) -> Vec<String> {
    let expected = match projection {
        Some(columns) => Arc::new(
            source
                .schema()
                .project(columns)
                .expect("columns of the schema"),
        ),
        None => source.schema(),
    };
    let mut rows = Vec::new();
    for split in source
        .splits(range, parallelism)
        .await
        .expect("splits can be made")
    {
        // A split travels as text.
        let text = serde_json::to_string(&split).expect("a split is plain data");
        let split = serde_json::from_str(&text).expect("and comes back");
        let batches: Vec<RecordBatch> = source
            .open(&split, projection)
            .expect("a split can be opened")
            .try_collect()
            .await
            .expect("and read");
        for batch in &batches {
            assert_eq!(
                batch.schema().fields(),
                expected.fields(),
                "every batch has the columns that were asked for"
            );
        }
        rows.extend(shown(&batches));
    }
    rows
}

async fn read_all(source: &dyn Source, ranges: &[OffsetRange]) -> Vec<String> {
    let mut rows = Vec::new();
    for range in ranges {
        rows.extend(read(source, range, 1, None).await);
    }
    rows
}

async fn rows_come_once_and_in_the_same_order(fixture: &impl SourceFixture) {
    let mut expected = fixture.grow().await;
    let source = create(fixture).await;
    let first = all(&*source, None).await;
    assert_eq!(
        read_all(&*source, &first).await.len(),
        expected,
        "every row comes, and once"
    );
    expected = fixture.grow().await;
    let last = first.last().map(|range| range.end.clone());
    let second = all(&*source, last).await;
    assert_eq!(
        read_all(&*source, &second).await.len(),
        expected,
        "new rows only come after an offset"
    );
    for range in first.iter().chain(&second) {
        let whole = read(&*source, range, 1, None).await;
        for parallelism in [2, 5] {
            assert_eq!(
                read(&*source, range, parallelism, None).await,
                whole,
                "splits for {parallelism} tasks cover the same rows in the same order"
            );
        }
    }
}

async fn a_range_can_be_read_again(fixture: &impl SourceFixture) {
    fixture.grow().await;
    let source = create(fixture).await;
    if !source.is_replayable() {
        return;
    }
    let ranges = all(&*source, None).await;
    let first = read_all(&*source, &ranges).await;
    fixture.grow().await;
    assert_eq!(
        read_all(&*source, &ranges).await,
        first,
        "a range is the same rows every time"
    );
}

async fn a_projection_reads_the_same_columns(fixture: &impl SourceFixture) {
    fixture.grow().await;
    let source = create(fixture).await;
    if !source.is_replayable() {
        return;
    }
    let width = source.schema().fields().len();
    let everything: Vec<usize> = (0..width).collect();
    for range in &all(&*source, None).await {
        let whole = read(&*source, range, 1, None).await;
        assert_eq!(
            read(&*source, range, 1, Some(&everything)).await,
            whole,
            "all columns by number"
        );
        assert_eq!(
            read(&*source, range, 1, Some(&[])).await.len(),
            whole.len(),
            "no columns, but the same number of rows"
        );
        let mut by_column: Vec<Vec<String>> = Vec::new();
        for column in 0..width {
            by_column.push(read(&*source, range, 1, Some(&[column])).await);
        }
        let joined: Vec<String> = (0..whole.len())
            .map(|row| {
                let values: Vec<&str> = by_column
                    .iter()
                    .map(|column| column[row].as_str())
                    .collect();
                values.join("|")
            })
            .collect();
        assert_eq!(
            joined, whole,
            "each column alone has the values it has among the others"
        );
    }
}

async fn discovering_again_changes_nothing(fixture: &impl SourceFixture) {
    fixture.grow().await;
    let source = create(fixture).await;
    let first = next(&*source, None).await.expect("rows are there");
    let again = next(&*source, None).await.expect("they are still there");
    if source.is_replayable() {
        let (first, again) = (
            read(&*source, &first, 1, None).await,
            read(&*source, &again, 1, None).await,
        );
        assert_eq!(
            first,
            again[..first.len()],
            "the same start offers the same rows, or more"
        );
    }
    assert!(
        next(&*source, Some(&again.end)).await.is_none(),
        "nothing beyond the end"
    );
}

async fn a_restart_goes_on_where_the_log_ends(fixture: &impl SourceFixture) {
    fixture.grow().await;
    let source = create(fixture).await;
    if !source.is_replayable() {
        return;
    }
    let ranges = all(&*source, None).await;
    let before = read_all(&*source, &ranges).await;
    drop(source);
    let source = create(fixture).await;
    for range in &ranges {
        source
            .resume(range)
            .await
            .expect("a logged range can be resumed");
    }
    assert_eq!(
        read_all(&*source, &ranges).await,
        before,
        "a logged range is the same after a restart"
    );
    let end = ranges.last().map(|range| range.end.clone());
    assert!(
        all(&*source, end.clone()).await.is_empty(),
        "nothing is offered twice"
    );
    let added = fixture.grow().await;
    let after = all(&*source, end).await;
    assert_eq!(
        read_all(&*source, &after).await.len(),
        added,
        "what came since is offered"
    );
}

async fn an_acknowledged_range_stays_read(fixture: &impl SourceFixture) {
    fixture.grow().await;
    let source = create(fixture).await;
    if !source.is_replayable() {
        return;
    }
    let ranges = all(&*source, None).await;
    for range in ranges.iter().chain(ranges.last()) {
        source
            .acknowledge(range)
            .await
            .expect("a range can be acknowledged, twice too");
    }
    drop(source);
    // The query's log keeps the newest range only.
    let source = create(fixture).await;
    let end = ranges.last().map(|range| range.end.clone());
    if let Some(newest) = ranges.last() {
        source
            .resume(newest)
            .await
            .expect("an acknowledged range can be resumed");
    }
    assert!(
        all(&*source, end.clone()).await.is_empty(),
        "nothing is offered twice"
    );
    let added = fixture.grow().await;
    let after = all(&*source, end).await;
    assert_eq!(
        read_all(&*source, &after).await.len(),
        added,
        "what came since is offered"
    );
}

async fn a_frozen_source_offers_what_was_there(fixture: &impl SourceFixture) {
    let expected = fixture.grow().await;
    let source = create(fixture).await;
    source.freeze().await.expect("a source can be frozen");
    fixture.grow().await;
    let ranges = all(&*source, None).await;
    if source.is_replayable() {
        assert_eq!(
            read_all(&*source, &ranges).await.len(),
            expected,
            "what was there, and no more"
        );
    }
    let end = ranges.last().map(|range| range.end.clone());
    assert!(
        next(&*source, end.as_ref()).await.is_none(),
        "nothing more, ever"
    );
}

async fn new_rows_are_announced(fixture: &impl SourceFixture) {
    fixture.grow().await;
    let source = create(fixture).await;
    let end = all(&*source, None)
        .await
        .last()
        .map(|range| range.end.clone());
    fixture.grow().await;
    let mut start = end;
    loop {
        tokio::time::timeout(PATIENCE, source.changed())
            .await
            .expect("a source says so when rows have come");
        match next(&*source, start.as_ref()).await {
            Some(range) => {
                start = Some(range.end);
                break;
            }
            // It may say so without reason, but not for ever.
            None => tokio::task::yield_now().await,
        }
    }
    assert!(start.is_some());
}

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
    let broken = stream::iter([
        Ok(rows(&[1, 2])),
        Err(headwater_core::Error::data("the input broke")),
    ]);
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
