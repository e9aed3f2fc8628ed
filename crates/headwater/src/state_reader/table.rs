//! Versions and changes as tables of DataFusion, read when they are scanned.

use std::{fmt, future::Future, sync::Arc};

use datafusion::{
    arrow::{array::RecordBatch, datatypes::SchemaRef},
    catalog::streaming::StreamingTable,
    error::DataFusionError,
    execution::TaskContext,
    physical_plan::{
        SendableRecordBatchStream, stream::RecordBatchStreamAdapter, streaming::PartitionStream,
    },
};
use futures::{StreamExt, TryStreamExt, future::BoxFuture, stream};
use headwater_core::{Epoch, Result};
use headwater_ops::runtime::external;
use headwater_state::{StateTable, Version};

use super::Inner;
use crate::{DataFrame, error::from_datafusion};

/// Reads the rows of one partition of a table.
type Read = Box<dyn Fn() -> BoxFuture<'static, Result<Vec<RecordBatch>>> + Send + Sync>;

/// A partition of a table.
struct Part {
    schema: SchemaRef,
    read: Read,
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part").finish_non_exhaustive()
    }
}

impl PartitionStream for Part {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let read = (self.read)();
        let batches = stream::once(async move { read.await.map_err(external) })
            .map_ok(|batches| stream::iter(batches.into_iter().map(Ok::<_, DataFusionError>)))
            .try_flatten()
            .boxed();
        Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.schema),
            batches,
        ))
    }
}

fn part<Done>(
    schema: &SchemaRef,
    read: impl Fn() -> Done + Send + Sync + 'static,
) -> Arc<dyn PartitionStream>
where
    Done: Future<Output = Result<Vec<RecordBatch>>> + Send + 'static,
{
    Arc::new(Part {
        schema: Arc::clone(schema),
        read: Box::new(move || Box::pin(read())),
    })
}

fn frame(
    inner: &Inner,
    schema: SchemaRef,
    parts: Vec<Arc<dyn PartitionStream>>,
) -> Result<DataFrame> {
    let table = StreamingTable::try_new(schema, parts).map_err(from_datafusion)?;
    let frame = inner.session.context().read_table(Arc::new(table));
    Ok(frame.map_err(from_datafusion)?.into())
}

/// The rows of a version, each partition of the state as one of the table.
pub(super) fn version_frame(
    inner: &Arc<Inner>,
    table: StateTable,
    version: Version,
) -> Result<DataFrame> {
    let schema = Arc::clone(table.schema());
    let (table, version) = (Arc::new(table), Arc::new(version));
    let parts = (0..table.partitions(&version)).map(|partition| {
        let (inner, table, version) = (Arc::clone(inner), Arc::clone(&table), Arc::clone(&version));
        part(&schema, move || {
            let (inner, table) = (Arc::clone(&inner), Arc::clone(&table));
            let version = Arc::clone(&version);
            async move {
                match table.rows(&version, partition).await {
                    Ok(rows) => Ok(rows),
                    Err(error) => Err(inner.explained(version.epoch, error).await),
                }
            }
        })
    });
    frame(inner, Arc::clone(&schema), parts.collect())
}

/// The changes after `from` of `versions`.
pub(super) fn changes_frame(
    inner: &Arc<Inner>,
    table: StateTable,
    from: Option<Version>,
    versions: Vec<Version>,
) -> Result<DataFrame> {
    let schema = table.changes_schema();
    let (table, asked) = (Arc::new(table), Arc::new((from, versions)));
    let reader = Arc::clone(inner);
    let all = part(&schema, move || {
        let (inner, table) = (Arc::clone(&reader), Arc::clone(&table));
        let asked = Arc::clone(&asked);
        async move {
            let (from, versions) = asked.as_ref();
            match table.changes(from.as_ref(), versions).await {
                Ok(changes) => Ok(changes),
                Err(error) => {
                    let oldest = from.iter().chain(versions).next().map(|it| it.epoch);
                    Err(inner.explained(oldest.unwrap_or(Epoch::FIRST), error).await)
                }
            }
        }
    });
    frame(inner, schema, vec![all])
}
