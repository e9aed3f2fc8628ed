//! Sends rows to the partition that owns their key group.
//!
//! The exchange itself is DataFusion's ordinary hash repartition; what is hashed is chosen so that *our* stable hash
//! decides: each partition has a representative number that DataFusion's hash is known to send there, found at start.
//! Durable state therefore never depends on DataFusion's hash.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use datafusion::{
    arrow::{
        array::{ArrayRef, AsArray, RecordBatch, UInt32Array, UInt64Array},
        compute::take_record_batch,
        datatypes::{DataType, Field, Schema, SchemaRef, UInt32Type, UInt64Type},
    },
    error::{DataFusionError, Result},
    execution::TaskContext,
    logical_expr::ColumnarValue,
    physical_expr::{PhysicalExpr, expressions::Column},
    physical_plan::{
        ExecutionPlan, Partitioning, PlanProperties, SendableRecordBatchStream,
        coalesce_partitions::CoalescePartitionsExec,
        execution_plan::EmissionType,
        metrics::Time,
        repartition::{BatchPartitioner, RepartitionExec},
        stream::RecordBatchStreamAdapter,
    },
};
use futures::StreamExt;
use headwater_state::{key_groups, partition_of};

use crate::{
    node::{display_as, no_expressions, node_over, properties},
    runtime::external,
};

/// Distributes `input` over `partitions` by its first `keys` columns. Without keys all rows go to one partition.
pub fn exchange_by_key(
    input: Arc<dyn ExecutionPlan>,
    keys: usize,
    partitions: usize,
) -> Result<Arc<dyn ExecutionPlan>> {
    let keys: Vec<usize> = (0..keys).collect();
    exchange_by_columns(input, &keys, partitions)
}

/// Distributes `input` over `partitions` by the columns `keys`, in this order: it decides where a key belongs.
pub fn exchange_by_columns(
    input: Arc<dyn ExecutionPlan>,
    keys: &[usize],
    partitions: usize,
) -> Result<Arc<dyn ExecutionPlan>> {
    if partitions == 1 {
        return gather(input);
    }
    let schema = input.schema();
    let columns = keys
        .iter()
        .map(|index| Arc::new(Column::new(schema.field(*index).name(), *index)) as _)
        .collect();
    let owner = Arc::new(KeyOwner {
        keys: columns,
        representatives: representatives(partitions)?.into(),
    });
    Ok(Arc::new(RepartitionExec::try_new(
        input,
        Partitioning::Hash(vec![owner], partitions),
    )?))
}

/// All partitions in one.
pub fn gather(input: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    Ok(
        if input.properties().output_partitioning().partition_count() == 1 {
            input
        } else {
            Arc::new(CoalescePartitionsExec::new(input))
        },
    )
}

/// For each partition a number that DataFusion's hash sends there.
fn representatives(partitions: usize) -> Result<Vec<u64>> {
    let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::UInt64, false)]));
    let mut found: Vec<Option<u64>> = vec![None; partitions];
    let mut candidates = 0_u64..;
    while found.iter().any(Option::is_none) {
        let column: ArrayRef = Arc::new(UInt64Array::from_iter_values(
            candidates.by_ref().take(16 * partitions),
        ));
        let batch = RecordBatch::try_new(Arc::clone(&schema), vec![column])?;
        let by_number: Arc<dyn PhysicalExpr> = Arc::new(Column::new("n", 0));
        BatchPartitioner::new_hash_partitioner(vec![by_number], partitions, Time::new())?
            .partition(batch, |partition, batch| {
                let first = batch.column(0).as_primitive::<UInt64Type>().value(0);
                found[partition].get_or_insert(first);
                Ok(())
            })?;
    }
    Ok(found.into_iter().flatten().collect())
}

/// Evaluates to the representative of the partition that owns a row's key group.
#[derive(Debug, Clone)]
struct KeyOwner {
    keys: Vec<Arc<dyn PhysicalExpr>>,
    representatives: Arc<[u64]>,
}

impl PartialEq for KeyOwner {
    fn eq(&self, other: &Self) -> bool {
        self.keys == other.keys && self.representatives == other.representatives
    }
}

impl Eq for KeyOwner {}

impl Hash for KeyOwner {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.keys.hash(state);
        self.representatives.hash(state);
    }
}

impl fmt::Display for KeyOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_sql(f)
    }
}

impl PhysicalExpr for KeyOwner {
    fn data_type(&self, _schema: &Schema) -> Result<DataType> {
        Ok(DataType::UInt64)
    }

    fn nullable(&self, _schema: &Schema) -> Result<bool> {
        Ok(false)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let keys = self
            .keys
            .iter()
            .map(|key| key.evaluate(batch)?.into_array(batch.num_rows()))
            .collect::<Result<Vec<_>>>()?;
        let groups = key_groups(&keys, batch.num_rows()).map_err(external)?;
        let partitions = u32::try_from(self.representatives.len())
            .map_err(|_| DataFusionError::Internal("too many partitions".to_owned()))?;
        let owners = groups
            .into_iter()
            .map(|group| self.representatives[partition_of(group, partitions) as usize]);
        Ok(ColumnarValue::Array(Arc::new(
            UInt64Array::from_iter_values(owners),
        )))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        self.keys.iter().collect()
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        Ok(Arc::new(Self {
            keys: children,
            representatives: Arc::clone(&self.representatives),
        }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key_owner(")?;
        for (n, key) in self.keys.iter().enumerate() {
            write!(f, "{}{key}", if n > 0 { ", " } else { "" })?;
        }
        write!(f, ")")
    }
}

/// Appends the number of the partition each row comes from, so that an operator whose answer depends on the order of
/// arrival can restore it behind an exchange.
#[derive(Debug, Clone)]
pub struct TagOriginExec {
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

impl TagOriginExec {
    /// Tags the rows of `input` in a last column.
    pub fn new(input: Arc<dyn ExecutionPlan>) -> Self {
        let mut fields = input.schema().fields().to_vec();
        fields.push(Arc::new(Field::new("__origin", DataType::UInt32, false)));
        Self {
            properties: properties(
                Arc::new(Schema::new(fields)),
                input.properties().output_partitioning().partition_count(),
                EmissionType::Incremental,
            ),
            input,
        }
    }
}

/// Removes the tag column again, rows in order of origin; the order within an origin is kept.
pub(crate) fn in_order_of_origin(batch: &RecordBatch, untagged: &SchemaRef) -> Result<RecordBatch> {
    let last = batch.num_columns() - 1;
    let tags = batch.column(last).as_primitive::<UInt32Type>().values();
    let plain = RecordBatch::try_new(Arc::clone(untagged), batch.columns()[..last].to_vec())?;
    if tags.is_sorted() {
        return Ok(plain);
    }
    let order = UInt32Array::from(by_origin(tags));
    Ok(take_record_batch(&plain, &order)?)
}

/// Row numbers by origin, in order within each. There are as many origins as partitions: rows are counted, not compared.
pub(crate) fn by_origin(tags: &[u32]) -> Vec<u32> {
    let origins = tags.iter().max().map_or(0, |last| *last as usize + 1);
    let mut next = vec![0_u32; origins + 1];
    for tag in tags {
        next[*tag as usize + 1] += 1;
    }
    for origin in 0..origins {
        next[origin + 1] += next[origin];
    }
    let mut order = vec![0; tags.len()];
    for (row, tag) in (0..).zip(tags) {
        let place = &mut next[*tag as usize];
        order[*place as usize] = row;
        *place += 1;
    }
    order
}

display_as!(TagOriginExec, |_this, f| write!(f, "TagOriginExec"));

impl ExecutionPlan for TagOriginExec {
    node_over!("TagOriginExec", [input], |_this| Ok(Arc::new(Self::new(
        input
    ))));
    no_expressions!();

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let schema = self.schema();
        let tag = u32::try_from(partition)
            .map_err(|_| DataFusionError::Internal("too many partitions".to_owned()))?;
        let batches = self.input.execute(partition, context)?.map(move |batch| {
            let batch = batch?;
            let mut columns = batch.columns().to_vec();
            columns.push(Arc::new(UInt32Array::from_value(tag, batch.num_rows())));
            Ok(RecordBatch::try_new(Arc::clone(&schema), columns)?)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            self.schema(),
            batches,
        )))
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::Int64Array;

    use super::*;

    #[test]
    fn rows_keep_their_order_within_an_origin() {
        assert_eq!(by_origin(&[2, 0, 2, 1, 0]), [1, 4, 3, 0, 2]);
        assert!(by_origin(&[]).is_empty());
    }

    #[test]
    fn the_owner_of_a_key_group_receives_its_rows_whatever_datafusion_hashes() {
        for partitions in [2, 3, 8] {
            let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(0..1_000));
            let schema = Arc::new(Schema::new(vec![Field::new("k", DataType::Int64, false)]));
            let batch = RecordBatch::try_new(schema, vec![Arc::clone(&keys)]).unwrap();
            let owner = Arc::new(KeyOwner {
                keys: vec![Arc::new(Column::new("k", 0))],
                representatives: representatives(partitions).unwrap().into(),
            });
            let mut rows = 0;
            BatchPartitioner::new_hash_partitioner(vec![owner], partitions, Time::new())
                .unwrap()
                .partition(batch, |partition, batch| {
                    rows += batch.num_rows();
                    for group in key_groups(batch.columns(), batch.num_rows()).unwrap() {
                        assert_eq!(partition_of(group, partitions as u32) as usize, partition);
                    }
                    Ok(())
                })
                .unwrap();
            assert_eq!(rows, 1_000);
        }
    }
}
