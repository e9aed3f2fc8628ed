//! A table that a test appends blocks of rows to; it outlives the queries that read it.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use datafusion::arrow::{
    array::{Int64Array, RecordBatch, TimestampMicrosecondArray},
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
};
use futures::{StreamExt, stream};
use headwater_core::{
    Admission, BatchStream, Discovery, Error, Increment, Offset, OffsetRange, Result, Source,
    SourceContext, SourceProvider, Split,
};
use serde_json::{Value, json};
use tokio::sync::watch;

/// Rows `(ts, v)`: milliseconds of event time and a value.
type Rows = Vec<(i64, i64)>;

#[derive(Debug)]
struct Inner {
    name: String,
    blocks: watch::Sender<Vec<Rows>>,
    /// Blocks offered to one epoch under the configured admission.
    blocks_per_epoch: usize,
    /// What queries called, in order: `resume 0..2`, `acknowledge 0..2`.
    calls: Mutex<Vec<String>>,
    /// Blocks that queries began to read, in order.
    opened: Mutex<Vec<usize>>,
    /// The block that cannot be opened without a panic.
    panics_at: Mutex<Option<usize>>,
}

/// A growing table with columns `ts` and `v`. Offsets count blocks.
#[derive(Debug, Clone)]
pub(crate) struct TestTable {
    inner: Arc<Inner>,
}

impl TestTable {
    pub(crate) fn new(name: &str) -> Self {
        Self::with_limit(name, usize::MAX)
    }

    /// Offers at most so many blocks to an epoch.
    pub(crate) fn with_limit(name: &str, blocks_per_epoch: usize) -> Self {
        Self {
            inner: Arc::new(Inner {
                name: name.to_owned(),
                blocks: watch::Sender::new(Vec::new()),
                blocks_per_epoch,
                calls: Mutex::default(),
                opened: Mutex::default(),
                panics_at: Mutex::default(),
            }),
        }
    }

    /// Appends one block; seconds of event time and a value each.
    pub(crate) fn append(&self, rows: &[(i64, i64)]) {
        let rows = rows.iter().map(|(s, v)| (s * 1_000, *v)).collect();
        self.inner.blocks.send_modify(|blocks| blocks.push(rows));
    }

    pub(crate) fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.inner.calls.lock().unwrap())
    }

    /// Blocks that queries began to read, in order.
    pub(crate) fn opened(&self) -> Vec<usize> {
        self.inner.opened.lock().unwrap().clone()
    }

    /// Lets whoever opens this block panic.
    pub(crate) fn panic_at(&self, block: usize) {
        *self.inner.panics_at.lock().unwrap() = Some(block);
    }

    fn schema() -> SchemaRef {
        let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        Arc::new(Schema::new(vec![
            Field::new("ts", utc, true),
            Field::new("v", DataType::Int64, true),
        ]))
    }
}

#[async_trait]
impl SourceProvider for TestTable {
    fn schema(&self) -> SchemaRef {
        Self::schema()
    }

    fn identity(&self) -> String {
        format!("test {}", self.inner.name)
    }

    async fn create(&self, _context: SourceContext) -> Result<Arc<dyn Source>> {
        Ok(Arc::new(TestSource {
            inner: Arc::clone(&self.inner),
            frozen: Mutex::new(None),
            offered: Mutex::new(0),
        }))
    }
}

#[derive(Debug)]
struct TestSource {
    inner: Arc<Inner>,
    frozen: Mutex<Option<usize>>,
    offered: Mutex<usize>,
}

impl TestSource {
    /// Where an increment from `start` ends.
    fn end(&self, start: usize, admission: Admission) -> usize {
        let there = self.inner.blocks.borrow().len();
        let there = self.frozen.lock().unwrap().unwrap_or(there);
        match admission {
            Admission::All => there,
            Admission::Configured => there.min(start.saturating_add(self.inner.blocks_per_epoch)),
        }
    }
}

fn blocks_of(offset: Option<&Offset>) -> usize {
    offset.and_then(Offset::as_count).unwrap_or(0) as usize
}

fn shown(range: &OffsetRange) -> String {
    format!("{}..{}", blocks_of(range.start.as_ref()), range.end)
}

#[async_trait]
impl Source for TestSource {
    fn schema(&self) -> SchemaRef {
        TestTable::schema()
    }

    fn description(&self) -> String {
        format!("TestTable[{}]", self.inner.name)
    }

    async fn discover(&self, start: Option<&Offset>, admission: Admission) -> Result<Discovery> {
        let start = blocks_of(start);
        let end = self.end(start, admission);
        *self.offered.lock().unwrap() = end;
        if end <= start {
            return Ok(Discovery::Nothing);
        }
        Ok(Discovery::Increment(Increment {
            end: Offset::count(end as u64),
            detail: Value::Null,
        }))
    }

    fn peek(&self, start: &Offset) -> Option<Increment> {
        let start = blocks_of(Some(start));
        let end = self.end(start, Admission::Configured);
        (end > start).then(|| Increment {
            end: Offset::count(end as u64),
            detail: Value::Null,
        })
    }

    async fn splits(&self, range: &OffsetRange, _parallelism: usize) -> Result<Vec<Split>> {
        Ok(
            (blocks_of(range.start.as_ref())..blocks_of(Some(&range.end)))
                .map(|block| Split {
                    descriptor: json!(block),
                    estimated_rows: None,
                })
                .collect(),
        )
    }

    fn open(&self, split: &Split, projection: Option<&[usize]>) -> Result<BatchStream> {
        let block = split.descriptor.as_u64().unwrap_or(u64::MAX) as usize;
        let rows = self.inner.blocks.borrow().get(block).cloned();
        let rows = rows.ok_or_else(|| Error::data(format!("no block {block}")))?;
        self.inner.opened.lock().unwrap().push(block);
        let panics = *self.inner.panics_at.lock().unwrap() == Some(block);
        assert!(!panics, "block {block} cannot be opened");
        let ts = rows.iter().map(|(ms, _)| ms * 1_000);
        let batch = RecordBatch::try_new(
            TestTable::schema(),
            vec![
                Arc::new(TimestampMicrosecondArray::from_iter_values(ts).with_timezone("UTC")),
                Arc::new(Int64Array::from_iter_values(rows.iter().map(|(_, v)| *v))),
            ],
        )?;
        let batch = match projection {
            Some(columns) => batch.project(columns)?,
            None => batch,
        };
        Ok(stream::iter([Ok(batch)]).boxed())
    }

    async fn resume(&self, range: &OffsetRange) -> Result<()> {
        let call = format!("resume {}", shown(range));
        self.inner.calls.lock().unwrap().push(call);
        Ok(())
    }

    async fn acknowledge(&self, range: &OffsetRange) -> Result<()> {
        let call = format!("acknowledge {}", shown(range));
        self.inner.calls.lock().unwrap().push(call);
        Ok(())
    }

    async fn freeze(&self) -> Result<()> {
        let there = self.inner.blocks.borrow().len();
        *self.frozen.lock().unwrap() = Some(there);
        Ok(())
    }

    async fn changed(&self) {
        let offered = *self.offered.lock().unwrap();
        let mut blocks = self.inner.blocks.subscribe();
        let _ = blocks.wait_for(|blocks| blocks.len() > offered).await;
    }

    async fn latest(&self) -> Option<Offset> {
        Some(Offset::count(self.inner.blocks.borrow().len() as u64))
    }
}
