//! A source read as if it had ended: everything that is there now, as a static table.
//!
//! So the batch answer comes from the same reader, with the same options, as the stream's rows.

use std::{fmt, sync::Arc};

use datafusion::{
    arrow::datatypes::SchemaRef,
    catalog::streaming::StreamingTable,
    dataframe::DataFrame as Inner,
    datasource::provider_as_source,
    execution::TaskContext,
    logical_expr::LogicalPlanBuilder,
    physical_plan::{
        SendableRecordBatchStream, stream::RecordBatchStreamAdapter, streaming::PartitionStream,
    },
};
use futures::{StreamExt, TryStreamExt, stream};
use headwater_core::{
    Admission, Discovery, OffsetRange, Result, Source, SourceContext, SourceProvider, Split,
};
use headwater_log::MemoryStorage;
use headwater_ops::runtime::external;

use crate::{error::from_datafusion, frame::DataFrame, session::Session};

/// One split, read when the table is.
struct SplitPartition {
    source: Arc<dyn Source>,
    split: Split,
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
        let batches = match self.source.open(&self.split, None) {
            Ok(batches) => batches,
            Err(error) => stream::once(async { Err(error) }).boxed(),
        };
        Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.schema),
            batches.map_err(external),
        ))
    }
}

/// What the source holds at this moment. Nothing is acknowledged, so nothing of it is cleaned up.
pub(crate) async fn finished_frame(
    session: &Session,
    name: &str,
    provider: Arc<dyn SourceProvider>,
) -> Result<DataFrame> {
    let source = provider
        .create(SourceContext {
            source_id: 0,
            storage: Arc::new(MemoryStorage::new()),
            clock: Arc::clone(session.clock()),
        })
        .await?;
    let schema = source.schema();
    let splits = match source.discover(None, Admission::All).await? {
        Discovery::Nothing => Vec::new(),
        Discovery::Increment(increment) => {
            let range = OffsetRange {
                start: None,
                end: increment.end,
                detail: increment.detail,
            };
            let parallelism = session.state().config().target_partitions();
            source.splits(&range, parallelism).await?
        }
    };
    let partitions = splits
        .into_iter()
        .map(|split| {
            Arc::new(SplitPartition {
                source: Arc::clone(&source),
                split,
                schema: Arc::clone(&schema),
            }) as Arc<dyn PartitionStream>
        })
        .collect();
    let table = StreamingTable::try_new(schema, partitions).map_err(from_datafusion)?;
    let plan = LogicalPlanBuilder::scan(name, provider_as_source(Arc::new(table)), None)
        .and_then(LogicalPlanBuilder::build)
        .map_err(from_datafusion)?;
    Ok(Inner::new(session.state(), plan).into())
}
