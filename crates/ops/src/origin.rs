//! Where rows come from, for operators whose answer depends on the order of arrival: behind an exchange the tag of a row
//! is what is left of it.
//!
//! An origin is a partition and, where several read the rows of one in turns, the number of the turn. Rows of one origin
//! stay in order, whichever way they go, as long as they go together; ascending origins are the order of arrival.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{AsArray, RecordBatch, UInt32Array, UInt64Array},
        compute::take_record_batch,
        datatypes::{DataType, Field, Schema, SchemaRef, UInt64Type},
    },
    error::Result,
    execution::TaskContext,
    physical_plan::{
        ExecutionPlan, PlanProperties, SendableRecordBatchStream, execution_plan::EmissionType,
        stream::RecordBatchStreamAdapter,
    },
};
use futures::StreamExt;

use crate::node::{display_as, no_expressions, node_over, properties};

/// Bits of an origin that are its turn: more than batches of an epoch.
const TURN_BITS: u32 = 40;

/// The origin of rows of partition number `partition` in turn number `turn`.
pub(crate) fn origin(partition: usize, turn: u64) -> u64 {
    (partition as u64) << TURN_BITS | turn
}

/// The columns of `schema`, and the tag of origin behind them.
pub(crate) fn tagged_schema(schema: &Schema) -> SchemaRef {
    let mut fields = schema.fields().to_vec();
    fields.push(Arc::new(Field::new("__origin", DataType::UInt64, false)));
    Arc::new(Schema::new(fields))
}

/// The rows of a batch that have one origin, in a [`tagged_schema`].
pub(crate) fn tag(batch: &RecordBatch, origin: u64, tagged: &SchemaRef) -> Result<RecordBatch> {
    let mut columns = batch.columns().to_vec();
    columns.push(Arc::new(UInt64Array::from_value(origin, batch.num_rows())));
    Ok(RecordBatch::try_new(Arc::clone(tagged), columns)?)
}

/// The rows of a stream that have one origin, in a [`tagged_schema`].
pub(crate) fn tag_all(
    rows: SendableRecordBatchStream,
    origin: u64,
    tagged: SchemaRef,
) -> SendableRecordBatchStream {
    let schema = Arc::clone(&tagged);
    let rows = rows.map(move |batch| tag(&batch?, origin, &tagged));
    Box::pin(RecordBatchStreamAdapter::new(schema, rows))
}

/// The origins of tagged rows.
pub(crate) fn origins(tagged: &RecordBatch) -> &[u64] {
    let last = tagged.num_columns() - 1;
    tagged.column(last).as_primitive::<UInt64Type>().values()
}

/// Removes the tags again, rows in order of origin; the order within an origin is kept.
pub(crate) fn in_order_of_origin(batch: &RecordBatch, untagged: &SchemaRef) -> Result<RecordBatch> {
    let last = batch.num_columns() - 1;
    let tags = origins(batch);
    let plain = RecordBatch::try_new(Arc::clone(untagged), batch.columns()[..last].to_vec())?;
    if tags.is_sorted() {
        return Ok(plain);
    }
    let order = UInt32Array::from(by_origin(tags));
    Ok(take_record_batch(&plain, &order)?)
}

/// Row numbers by origin, in order within each. Rows that went together stand together, so runs are sorted, not rows.
pub(crate) fn by_origin(tags: &[u64]) -> Vec<u32> {
    let mut start = 0;
    let runs = tags.chunk_by(|a, b| a == b).map(|run| {
        let first = start;
        start += run.len() as u32;
        (run[0], first..start)
    });
    let mut runs: Vec<_> = runs.collect();
    runs.sort_by_key(|(origin, _)| *origin);
    runs.into_iter().flat_map(|(_, rows)| rows).collect()
}

/// Appends the origin of each row, the partition that it is in.
#[derive(Debug, Clone)]
pub(crate) struct TagOriginExec {
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

impl TagOriginExec {
    /// Tags the rows of `input` in a last column.
    pub(crate) fn new(input: Arc<dyn ExecutionPlan>) -> Self {
        Self {
            properties: properties(
                tagged_schema(&input.schema()),
                input.properties().output_partitioning().partition_count(),
                EmissionType::Incremental,
            ),
            input,
        }
    }
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
        let rows = self.input.execute(partition, context)?;
        Ok(tag_all(rows, origin(partition, 0), self.schema()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_keep_their_order_within_an_origin() {
        assert_eq!(by_origin(&[2, 0, 2, 1, 0]), [1, 4, 3, 0, 2]);
        assert!(by_origin(&[]).is_empty());
    }

    #[test]
    fn turns_of_a_partition_come_before_the_next_partition() {
        let origins = [origin(0, 0), origin(0, 1), origin(0, 1 << 39), origin(1, 0)];
        assert!(origins.is_sorted_by(|a, b| a < b));
    }
}
