//! What every source must do.

use std::{sync::Arc, time::Duration};

use arrow::{
    array::RecordBatch,
    util::display::{ArrayFormatter, FormatOptions},
};
use async_trait::async_trait;
use futures::TryStreamExt;
use headwater_core::{
    Admission, Discovery, Increment, Offset, OffsetRange, Source, SourceContext, SourceProvider,
};

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
    only_what_came_since_is_offered(fixture, &*source, &ranges).await;
}

/// After a restart: nothing of the ranges that were `read`, and all rows that come then.
async fn only_what_came_since_is_offered(
    fixture: &impl SourceFixture,
    source: &dyn Source,
    read: &[OffsetRange],
) {
    let end = read.last().map(|range| range.end.clone());
    assert!(
        all(source, end.clone()).await.is_empty(),
        "nothing is offered twice"
    );
    let added = fixture.grow().await;
    let after = all(source, end).await;
    assert_eq!(
        read_all(source, &after).await.len(),
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
    if let Some(newest) = ranges.last() {
        source
            .resume(newest)
            .await
            .expect("an acknowledged range can be resumed");
    }
    only_what_came_since_is_offered(fixture, &*source, &ranges).await;
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
