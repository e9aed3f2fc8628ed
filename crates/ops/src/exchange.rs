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
        array::{ArrayRef, AsArray, RecordBatch, UInt64Array},
        datatypes::{DataType, Field, Schema, UInt64Type},
    },
    error::{DataFusionError, Result},
    logical_expr::ColumnarValue,
    physical_expr::{PhysicalExpr, expressions::Column},
    physical_plan::{
        ExecutionPlan, Partitioning,
        coalesce_partitions::CoalescePartitionsExec,
        metrics::Time,
        repartition::{BatchPartitioner, RepartitionExec},
    },
};
use headwater_state::{key_groups, partition_of};

use crate::runtime::external;

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

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::Int64Array;

    use super::*;

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
