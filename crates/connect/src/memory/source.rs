//! A stream fed by hand: each added batch is one block, one offset and one split.
//!
//! Blocks keep their order and their boundaries, and an empty block is new data like any other. Blocks stay readable
//! for every query and restart that shares the handle, unless the provider was told to let go of acknowledged ones.

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arrow::{
    array::{RecordBatch, RecordBatchOptions},
    datatypes::SchemaRef,
};
use async_trait::async_trait;
use futures::{StreamExt, stream};
use headwater_core::{
    Admission, BatchStream, Discovery, Error, Offset, OffsetRange, Result, Source, SourceContext,
    SourceProvider, Split,
};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::watch;

use crate::counting::{count_of, counts_of, discovered};

/// Handle of a stream in memory; clones share the blocks.
///
/// ```
/// # use std::sync::Arc;
/// # use arrow::{array::{Int64Array, RecordBatch}, datatypes::{DataType, Field, Schema}};
/// use headwater_connect::memory::MemoryStream;
///
/// let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]));
/// let numbers = MemoryStream::new("numbers", Arc::clone(&schema));
/// let block = RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(vec![1, 2]))])?;
/// assert_eq!(numbers.add_batch(block)?, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct MemoryStream {
    shared: Arc<Shared>,
}

struct Shared {
    name: String,
    schema: SchemaRef,
    // Locked to push, copy or drop pointers to blocks only.
    blocks: Mutex<Blocks>,
    /// Number of blocks ever added; changes under the lock of `blocks`.
    added: watch::Sender<u64>,
}

struct Blocks {
    /// Number of the first block still kept.
    first: u64,
    kept: VecDeque<RecordBatch>,
}

impl fmt::Debug for MemoryStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStream")
            .field("name", &self.shared.name)
            .field("blocks", &self.block_count())
            .finish_non_exhaustive()
    }
}

impl MemoryStream {
    /// An empty stream with these columns.
    pub fn new(name: impl Into<String>, schema: SchemaRef) -> Self {
        Self {
            shared: Arc::new(Shared {
                name: name.into(),
                schema,
                blocks: Mutex::new(Blocks {
                    first: 0,
                    kept: VecDeque::new(),
                }),
                added: watch::Sender::new(0),
            }),
        }
    }

    /// Its name: part of the identity of queries that read it.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Its columns.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.shared.schema)
    }

    /// Adds one block, even an empty one, and returns the number of blocks added so far: the offset behind it.
    ///
    /// # Errors
    /// [`headwater_core::ErrorKind::Invalid`] if the columns are not those of the stream.
    pub fn add_batch(&self, batch: RecordBatch) -> Result<u64> {
        let block = self.conform(batch)?;
        let mut blocks = self.shared.blocks.lock();
        blocks.kept.push_back(block);
        let count = blocks.first + blocks.kept.len() as u64;
        self.shared.added.send_replace(count);
        Ok(count)
    }

    /// How many blocks were added so far.
    pub fn block_count(&self) -> u64 {
        *self.shared.added.borrow()
    }

    /// The stream as a table that queries can read.
    pub fn provider(&self) -> MemorySourceProvider {
        MemorySourceProvider {
            stream: self.clone(),
            blocks_per_epoch: None,
            drop_acknowledged: false,
        }
    }

    /// Gives a batch the schema of the stream, so that nullability and metadata never differ between blocks.
    fn conform(&self, batch: RecordBatch) -> Result<RecordBatch> {
        let shape = |schema: &SchemaRef| -> Vec<_> {
            let fields = schema.fields().iter();
            fields
                .map(|f| format!("{} {}", f.name(), f.data_type()))
                .collect()
        };
        let (expected, found) = (shape(&self.shared.schema), shape(&batch.schema()));
        if expected != found {
            return Err(Error::invalid(format!(
                "memory stream '{}' has the columns [{}], the batch has [{}]: add a batch with the columns of the stream",
                self.shared.name,
                expected.join(", "),
                found.join(", ")
            )));
        }
        let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(self.schema(), batch.columns().to_vec(), &rows).map_err(
            |error| {
                Error::invalid(format!(
                    "the batch does not fit into memory stream '{}'",
                    self.shared.name
                ))
                .with_source(error)
            },
        )
    }

    fn block(&self, number: u64) -> Result<RecordBatch> {
        let blocks = self.shared.blocks.lock();
        number
            .checked_sub(blocks.first)
            .and_then(|index| blocks.kept.get(usize::try_from(index).ok()?))
            .cloned()
            .ok_or_else(|| {
                Error::data(format!(
                    "memory stream '{}' holds the blocks {}..{}, but block {number} is to be read: its contents do not outlive the process",
                    self.shared.name,
                    blocks.first,
                    blocks.first + blocks.kept.len() as u64
                ))
            })
    }

    fn drop_before(&self, number: u64) {
        let mut blocks = self.shared.blocks.lock();
        while blocks.first < number && blocks.kept.pop_front().is_some() {
            blocks.first += 1;
        }
    }
}

/// A [`MemoryStream`] as a table of a session.
#[derive(Debug, Clone)]
pub struct MemorySourceProvider {
    stream: MemoryStream,
    blocks_per_epoch: Option<u64>,
    drop_acknowledged: bool,
}

impl MemorySourceProvider {
    /// Lets an epoch take at most `blocks` blocks; 0 is taken for 1. Without it an epoch takes all there are.
    #[must_use]
    pub fn blocks_per_epoch(mut self, blocks: u64) -> Self {
        self.blocks_per_epoch = Some(blocks.max(1));
        self
    }

    /// Drops blocks once an epoch that read them is published, so that memory stays bounded. Only one query may read
    /// the stream then, and only once.
    #[must_use]
    pub fn drop_acknowledged(mut self) -> Self {
        self.drop_acknowledged = true;
        self
    }
}

#[async_trait]
impl SourceProvider for MemorySourceProvider {
    fn schema(&self) -> SchemaRef {
        self.stream.schema()
    }

    fn identity(&self) -> String {
        format!("memory {}", self.stream.name())
    }

    async fn create(&self, _context: SourceContext) -> Result<Arc<dyn Source>> {
        Ok(Arc::new(MemorySource {
            settings: self.clone(),
            offered: AtomicU64::new(0),
            frozen_at: Mutex::new(None),
        }))
    }
}

#[derive(Debug)]
struct MemorySource {
    settings: MemorySourceProvider,
    /// Where the last discovery ended.
    offered: AtomicU64,
    // Holds one number; locked to copy it.
    frozen_at: Mutex<Option<u64>>,
}

impl MemorySource {
    fn stream(&self) -> &MemoryStream {
        &self.settings.stream
    }
}

#[async_trait]
impl Source for MemorySource {
    fn schema(&self) -> SchemaRef {
        self.stream().schema()
    }

    fn description(&self) -> String {
        format!("MemoryStream[{}]", self.stream().name())
    }

    async fn discover(&self, start: Option<&Offset>, admission: Admission) -> Result<Discovery> {
        let start = count_of(&self.description(), start)?;
        let count = self.stream().block_count();
        if start > count {
            return Err(Error::data(format!(
                "memory stream '{}' holds {count} blocks but the query has read {start}: \
                 add the same blocks again before a restart, or start with a new checkpoint",
                self.stream().name()
            )));
        }
        let mut end = (*self.frozen_at.lock()).unwrap_or(count).max(start);
        if let (Admission::Configured, Some(limit)) = (admission, self.settings.blocks_per_epoch) {
            end = end.min(start.saturating_add(limit));
        }
        self.offered.store(end, Ordering::Relaxed);
        Ok(discovered(start, end))
    }

    async fn splits(&self, range: &OffsetRange, _parallelism: usize) -> Result<Vec<Split>> {
        counts_of(&self.description(), range)?
            .map(|number| {
                Ok(Split {
                    descriptor: Value::from(number),
                    estimated_rows: Some(self.stream().block(number)?.num_rows() as u64),
                })
            })
            .collect()
    }

    fn open(&self, split: &Split, projection: Option<&[usize]>) -> Result<BatchStream> {
        let number = split.descriptor.as_u64().ok_or_else(|| {
            Error::data(format!(
                "{} cannot read split {}: expected the number of a block",
                self.description(),
                split.descriptor
            ))
        })?;
        let stream = self.stream().clone();
        let projection = projection.map(<[usize]>::to_vec);
        Ok(stream::once(async move {
            let block = stream.block(number)?;
            Ok(match projection {
                Some(columns) => block.project(&columns)?,
                None => block,
            })
        })
        .boxed())
    }

    async fn acknowledge(&self, range: &OffsetRange) -> Result<()> {
        if self.settings.drop_acknowledged {
            self.stream()
                .drop_before(count_of(&self.description(), Some(&range.end))?);
        }
        Ok(())
    }

    async fn freeze(&self) -> Result<()> {
        *self.frozen_at.lock() = Some(self.stream().block_count());
        Ok(())
    }

    async fn changed(&self) {
        let mut added = self.stream().shared.added.subscribe();
        let offered = self.offered.load(Ordering::Relaxed);
        // After a freeze nothing will be offered beyond it, however much is added.
        let frozen_at = (*self.frozen_at.lock()).unwrap_or(u64::MAX);
        // The sender lives in the handle that `self` holds, so the wait cannot end with an error.
        let _ = added
            .wait_for(|count| (*count).min(frozen_at) > offered)
            .await;
    }

    async fn latest(&self) -> Option<Offset> {
        Some(Offset::count(self.stream().block_count()))
    }
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::{Int64Array, StringArray},
        datatypes::{DataType, Field, Schema},
    };
    use futures::{FutureExt, TryStreamExt};

    use super::*;
    use crate::test_support::{end_of, range, source_context};

    fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![
            Field::new("n", DataType::Int64, true),
            Field::new("s", DataType::Utf8, true),
        ]))
    }

    fn block(values: &[i64]) -> RecordBatch {
        let texts: Vec<String> = values.iter().map(ToString::to_string).collect();
        let columns: Vec<arrow::array::ArrayRef> = vec![
            Arc::new(Int64Array::from(values.to_vec())),
            Arc::new(StringArray::from(texts)),
        ];
        RecordBatch::try_new(schema(), columns).expect("columns match")
    }

    async fn read(source: &Arc<dyn Source>, from: u64, until: u64) -> Vec<RecordBatch> {
        let mut batches = Vec::new();
        for split in source
            .splits(&range(from, until), 1)
            .await
            .expect("blocks are there")
        {
            let rows = source.open(&split, Some(&[0])).expect("a block");
            batches.extend(rows.try_collect::<Vec<_>>().await.expect("readable"));
        }
        batches
    }

    #[tokio::test]
    async fn each_block_is_a_split_in_order_and_an_empty_one_is_new_data() {
        let stream = MemoryStream::new("m", schema());
        let source = stream
            .provider()
            .create(source_context())
            .await
            .expect("created");
        assert_eq!(end_of(&source, None).await, None);
        for values in [&[1, 2][..], &[], &[3]] {
            stream.add_batch(block(values)).expect("fits");
        }
        assert_eq!(end_of(&source, None).await, Some(3));
        assert_eq!(end_of(&source, Some(1)).await, Some(3));
        assert_eq!(end_of(&source, Some(3)).await, None);
        let rows: Vec<usize> = read(&source, 0, 3)
            .await
            .iter()
            .map(RecordBatch::num_rows)
            .collect();
        assert_eq!(rows, [2, 0, 1]);
        assert_eq!(read(&source, 1, 3).await[1].num_columns(), 1);
    }

    #[tokio::test]
    async fn changed_wakes_when_a_block_is_added_after_the_last_discovery() {
        let stream = MemoryStream::new("m", schema());
        let source = stream
            .provider()
            .create(source_context())
            .await
            .expect("created");
        stream.add_batch(block(&[1])).expect("fits");
        end_of(&source, None).await;
        let mut changed = source.changed();
        assert!((&mut changed).now_or_never().is_none());
        stream.add_batch(block(&[])).expect("fits");
        assert!((&mut changed).now_or_never().is_some());
        source.freeze().await.expect("frozen");
        end_of(&source, Some(1)).await;
        stream.add_batch(block(&[2])).expect("fits");
        assert_eq!(end_of(&source, Some(2)).await, None);
        assert!(source.changed().now_or_never().is_none());
    }

    #[tokio::test]
    async fn a_limit_holds_for_configured_admission_only() {
        let stream = MemoryStream::new("m", schema());
        for n in 0..5 {
            stream.add_batch(block(&[n])).expect("fits");
        }
        let provider = stream.provider().blocks_per_epoch(2);
        let source = provider.create(source_context()).await.expect("created");
        assert_eq!(end_of(&source, None).await, Some(2));
        assert!(
            source.changed().now_or_never().is_some(),
            "more is there already"
        );
        let all = source.discover(None, Admission::All).await.expect("found");
        assert!(matches!(all, Discovery::Increment(step) if step.end == Offset::count(5)));
    }

    #[tokio::test]
    async fn acknowledged_blocks_go_only_when_asked_for() {
        let stream = MemoryStream::new("m", schema());
        for n in 0..3 {
            stream.add_batch(block(&[n])).expect("fits");
        }
        let keeping = stream
            .provider()
            .create(source_context())
            .await
            .expect("created");
        keeping.acknowledge(&range(0, 2)).await.expect("noted");
        assert_eq!(read(&keeping, 0, 3).await.len(), 3);
        let dropping = stream.provider().drop_acknowledged();
        let dropping = dropping.create(source_context()).await.expect("created");
        dropping.acknowledge(&range(0, 2)).await.expect("dropped");
        assert_eq!(read(&dropping, 2, 3).await.len(), 1);
        let error = dropping
            .splits(&range(0, 3), 1)
            .await
            .expect_err("they are gone");
        assert!(error.message().contains("block 0"), "{error}");
        assert_eq!(stream.add_batch(block(&[])).expect("fits"), 4);
    }

    #[tokio::test]
    async fn a_batch_with_other_columns_and_a_checkpoint_ahead_are_refused() {
        let stream = MemoryStream::new("m", schema());
        let error = stream
            .add_batch(block(&[1]).project(&[0]).expect("a column"))
            .expect_err("a column is missing");
        assert!(
            error
                .message()
                .contains("[n Int64, s Utf8], the batch has [n Int64]"),
            "{error}"
        );
        let source = stream
            .provider()
            .create(source_context())
            .await
            .expect("created");
        let error = source
            .discover(Some(&Offset::count(4)), Admission::All)
            .await;
        assert!(
            error
                .expect_err("blocks are missing")
                .message()
                .contains("holds 0 blocks")
        );
    }
}
