//! A source read as if it had ended: what is there now, as a static table.
//!
//! So the batch answer comes from the same reader, with the same options, as the stream's rows.

use std::{fmt, num::NonZeroU64, sync::Arc};

use async_trait::async_trait;
use datafusion::{
    arrow::datatypes::SchemaRef,
    catalog::{Session, TableProvider},
    datasource::TableType,
    error::Result,
    execution::TaskContext,
    logical_expr::Expr,
    physical_plan::{
        ExecutionPlan, SendableRecordBatchStream,
        empty::EmptyExec,
        project_schema,
        stream::RecordBatchStreamAdapter,
        streaming::{PartitionStream, StreamingTableExec},
    },
};
use futures::{StreamExt, TryStreamExt, stream};
use headwater_core::{
    Admission, Clock, Discovery, OffsetRange, Source, SourceContext, SourceProvider, Split,
};
use headwater_log::MemoryStorage;
use headwater_ops::runtime::external;

/// All rows that a source has at the moment of each scan, from its configured beginning on. Nothing is acknowledged, so
/// nothing of the source is cleaned up, and nothing is remembered from one scan to the next.
#[derive(Debug)]
pub struct FinishedTable {
    provider: Arc<dyn SourceProvider>,
    clock: Arc<dyn Clock>,
}

/// A source that has been looked at.
struct Finished {
    source: Arc<dyn Source>,
    /// All of it; `None` if there is nothing.
    range: Option<OffsetRange>,
}

impl FinishedTable {
    /// The table of what `provider` streams.
    pub fn new(provider: Arc<dyn SourceProvider>, clock: Arc<dyn Clock>) -> Self {
        Self { provider, clock }
    }

    /// Looks at the source, as each scan does, for the errors that come of it.
    ///
    /// # Errors
    /// Those of the source: `Unavailable` if what it reads is not there, `Invalid` if it cannot be read this way.
    pub async fn check(&self) -> headwater_core::Result<()> {
        self.finish().await.map(drop)
    }

    /// What is there now: different whenever the rows may be.
    pub(crate) async fn version(&self) -> Result<Option<OffsetRange>> {
        let finished = self.finish().await.map_err(external)?;
        Ok(finished.range)
    }

    async fn finish(&self) -> headwater_core::Result<Finished> {
        let context = SourceContext {
            source_id: 0,
            storage: Arc::new(MemoryStorage::new()),
            clock: Arc::clone(&self.clock),
            retained: NonZeroU64::MIN,
        };
        let source = self.provider.create(context).await?;
        let range = match source.discover(None, Admission::All).await? {
            Discovery::Nothing => None,
            Discovery::Increment(increment) => Some(OffsetRange {
                start: None,
                end: increment.end,
                detail: increment.detail,
            }),
        };
        Ok(Finished { source, range })
    }
}

#[async_trait]
impl TableProvider for FinishedTable {
    fn schema(&self) -> SchemaRef {
        self.provider.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Finished { source, range } = self.finish().await.map_err(external)?;
        let schema = project_schema(&self.schema(), projection)?;
        let splits = match range {
            None => Vec::new(),
            Some(range) => {
                let parallelism = state.config().target_partitions();
                let splits = source.splits(&range, parallelism).await;
                splits.map_err(external)?
            }
        };
        if splits.is_empty() {
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        let partitions = splits.into_iter().map(|split| {
            Arc::new(SplitPartition {
                source: Arc::clone(&source),
                split,
                projection: projection.cloned(),
                schema: Arc::clone(&schema),
            }) as Arc<dyn PartitionStream>
        });
        let partitions = partitions.collect();
        let exec = StreamingTableExec::try_new(
            Arc::clone(&schema),
            partitions,
            // Each partition leaves out what is not wanted.
            None,
            [],
            false,
            limit,
        )?;
        Ok(Arc::new(exec))
    }
}

/// One split, read when the table is.
struct SplitPartition {
    source: Arc<dyn Source>,
    split: Split,
    projection: Option<Vec<usize>>,
    /// Of the columns wanted.
    schema: SchemaRef,
}

impl fmt::Debug for SplitPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SplitPartition")
            .field("split", &self.split)
            .finish_non_exhaustive()
    }
}

impl PartitionStream for SplitPartition {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let batches = match self.source.open(&self.split, self.projection.as_deref()) {
            Ok(batches) => batches,
            Err(error) => stream::once(async { Err(error) }).boxed(),
        };
        Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.schema),
            batches.map_err(external),
        ))
    }
}
