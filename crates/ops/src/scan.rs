//! Reads the splits of one source that an epoch takes.

use std::{sync::Arc, task::Poll};

use datafusion::{
    arrow::{
        array::RecordBatch,
        compute::cast,
        datatypes::{DataType, Schema, SchemaRef},
    },
    error::{DataFusionError, Result},
    execution::TaskContext,
    physical_plan::{
        ExecutionPlan, SendableRecordBatchStream, coop::make_cooperative,
        execution_plan::EmissionType, stream::RecordBatchStreamAdapter,
    },
};
use futures::{StreamExt, TryStreamExt, stream};
use headwater_core::{BatchStream, Source, Split};

use crate::{
    binding::{BindEpoch, EpochBinding},
    node::{display_as, no_expressions, node_over, properties},
    report::{Outbox, Report},
    runtime::{EpochRuntime, external},
};

/// Leaf of a streaming plan. Its partitions take contiguous runs of the splits, so that (partition, row) is the order
/// of arrival.
#[derive(Debug, Clone)]
pub struct SourceScanExec {
    source_id: usize,
    description: String,
    columns: ScanColumns,
    /// By partition; all empty until bound.
    splits: Vec<Vec<Split>>,
    properties: Arc<datafusion::physical_plan::PlanProperties>,
}

impl SourceScanExec {
    /// A scan of source number `source_id` whose columns are `schema` (projected already) in `partitions` partitions.
    pub fn new(
        source_id: usize,
        description: String,
        schema: SchemaRef,
        projection: Option<Vec<usize>>,
        partitions: usize,
    ) -> Self {
        let partitions = partitions.max(1);
        Self {
            source_id,
            description,
            columns: ScanColumns {
                schema: Arc::clone(&schema),
                projection,
            },
            splits: vec![Vec::new(); partitions],
            properties: properties(schema, partitions, EmissionType::Incremental),
        }
    }

    pub(crate) fn source_id(&self) -> usize {
        self.source_id
    }

    pub(crate) fn partitions(&self) -> usize {
        self.splits.len()
    }

    pub(crate) fn columns(&self) -> &ScanColumns {
        &self.columns
    }

    /// The same scan with column number `column` of what it gives, a text, as views.
    pub(crate) fn with_views(&self, column: usize) -> Result<Self> {
        let schema = self.schema();
        let mut fields = schema.fields().to_vec();
        let field = fields.get(column).ok_or_else(|| {
            DataFusionError::Internal(format!("a scan of {} has no column {column}", fields.len()))
        })?;
        let viewed = field.as_ref().clone().with_data_type(DataType::Utf8View);
        fields[column] = Arc::new(viewed);
        let schema = Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()));
        let partitions = self.partitions();
        Ok(Self {
            columns: ScanColumns {
                schema: Arc::clone(&schema),
                ..self.columns.clone()
            },
            properties: properties(schema, partitions, EmissionType::Incremental),
            ..self.clone()
        })
    }

    /// Rows that it is bound to, as far as their source knows.
    pub(crate) fn estimated_rows(&self) -> u64 {
        let splits = self.splits.iter().flatten();
        splits
            .filter_map(|split| split.estimated_rows)
            .fold(0, u64::saturating_add)
    }

    /// The splits by partition.
    pub(crate) fn deal(&self, splits: &[Split]) -> Vec<Vec<Split>> {
        deal(splits, self.splits.len())
    }
}

/// What a scan gives of its source.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ScanColumns {
    /// The wanted columns; a text that the source has as [`DataType::Utf8`] may be wanted as [`DataType::Utf8View`].
    schema: SchemaRef,
    /// Their numbers in the source, `None` for all.
    projection: Option<Vec<usize>>,
}

impl ScanColumns {
    /// The rows of some splits, one after the other.
    pub(crate) fn of_splits(self, source: Arc<dyn Source>, splits: Vec<Split>) -> BatchStream {
        let given = source.schema();
        let number = |column| match &self.projection {
            Some(projection) => projection[column],
            None => column,
        };
        let viewed: Vec<usize> = (0..self.schema.fields().len())
            .filter(|column| {
                *self.schema.field(*column).data_type() == DataType::Utf8View
                    && *given.field(number(*column)).data_type() == DataType::Utf8
            })
            .collect();
        let Self { schema, projection } = self;
        let asked = viewed.clone();
        let batches = stream::iter(splits)
            .map(move |split| source.open_with_views(&split, projection.as_deref(), &asked))
            .try_flatten();
        if viewed.is_empty() {
            return batches.boxed();
        }
        batches
            .map(move |batch| with_views(&batch?, &viewed, &schema))
            .boxed()
    }
}

/// The same rows with these columns as views, which a source need not have given.
fn with_views(
    batch: &RecordBatch,
    viewed: &[usize],
    schema: &SchemaRef,
) -> headwater_core::Result<RecordBatch> {
    let mut columns = batch.columns().to_vec();
    for column in viewed {
        columns[*column] = cast(&columns[*column], &DataType::Utf8View)?;
    }
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

/// Deals splits out to partitions in contiguous runs of about equal size, keeping their order.
fn deal(splits: &[Split], partitions: usize) -> Vec<Vec<Split>> {
    let weight = |split: &Split| split.estimated_rows.unwrap_or(1).max(1);
    let total: u64 = splits.iter().map(weight).sum();
    let mut dealt = vec![Vec::new(); partitions];
    let mut before = 0_u64;
    for split in splits {
        // The partition in which the middle of this split falls.
        let middle = before + weight(split) / 2;
        let partition =
            (u128::from(middle) * partitions as u128 / u128::from(total.max(1))) as usize;
        dealt[partition.min(partitions - 1)].push(split.clone());
        before += weight(split);
    }
    dealt
}

impl BindEpoch for SourceScanExec {
    fn bind_epoch(&self, binding: &EpochBinding) -> Result<Arc<dyn ExecutionPlan>> {
        let splits = binding.splits.get(self.source_id).ok_or_else(|| {
            DataFusionError::Internal(format!("no splits for source {}", self.source_id))
        })?;
        Ok(Arc::new(Self {
            splits: self.deal(splits),
            ..self.clone()
        }))
    }
}

display_as!(SourceScanExec, |this, f| {
    write!(
        f,
        "SourceScanExec: {}, splits={:?}",
        this.description,
        this.splits.iter().map(Vec::len).collect::<Vec<_>>()
    )
});

/// Counts rows and reports them when the stream ends or is dropped.
struct RowCount {
    source_id: usize,
    rows: u64,
    outbox: Outbox,
}

impl RowCount {
    fn add(&mut self, rows: usize) {
        self.rows += rows as u64;
    }
}

impl Drop for RowCount {
    fn drop(&mut self) {
        if self.rows > 0 {
            self.outbox.post(Report::SourceRows {
                source_id: self.source_id,
                rows: self.rows,
            });
        }
    }
}

impl ExecutionPlan for SourceScanExec {
    node_over!("SourceScanExec", [], |this| Ok(this));

    no_expressions!();

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let runtime = EpochRuntime::of(&context)?;
        let source = runtime
            .sources
            .get(self.source_id)
            .cloned()
            .ok_or_else(|| DataFusionError::Internal(format!("no source {}", self.source_id)))?;
        let mut count = RowCount {
            source_id: self.source_id,
            rows: 0,
            outbox: runtime.outbox.clone(),
        };
        let mut until_the_end = Some(runtime.scans_end.one_of());
        let (source_id, columns) = (self.source_id, self.columns.clone());
        let splits = self.splits[partition].clone();
        let rows = async move {
            let ahead = &runtime.read_ahead;
            match ahead.take(source_id, partition, &columns).await {
                Some(rows) => rows,
                None => columns.of_splits(source, splits),
            }
        };
        let batches = stream::once(rows).flatten().map(move |batch| {
            let batch = batch.map_err(external)?;
            count.add(batch.num_rows());
            Ok(batch)
        });
        let end = stream::poll_fn(move |_| {
            until_the_end.take();
            Poll::Ready(None)
        });
        let batches = batches.chain(end);
        let batches = RecordBatchStreamAdapter::new(self.schema(), batches);
        // A source that never waits, below a filter that lets nothing through, would keep the thread for the whole epoch.
        Ok(make_cooperative(Box::pin(batches)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(rows: u64) -> Split {
        Split {
            descriptor: rows.into(),
            estimated_rows: Some(rows),
        }
    }

    #[test]
    fn splits_are_dealt_in_order_and_about_evenly() {
        let splits: Vec<Split> = [10, 10, 10, 10].map(split).into();
        let dealt = deal(&splits, 2);
        assert_eq!(dealt[0].len(), 2);
        assert_eq!(dealt.concat(), splits);
        let dealt = deal(&[split(100), split(1), split(1)], 2);
        assert_eq!(dealt.concat().len(), 3);
        assert!(deal(&[], 3).iter().all(Vec::is_empty));
    }
}
