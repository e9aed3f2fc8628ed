//! Appends the epoch's recorded processing time as a column: what `now()` and its kin read in a streaming query.
//!
//! The plan is made once, so the time cannot be a constant in it; a replay of the epoch gets the same time.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{RecordBatch, TimestampMicrosecondArray},
        datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
    },
    error::Result,
    execution::TaskContext,
    physical_plan::{
        ExecutionPlan, PlanProperties, SendableRecordBatchStream, execution_plan::EmissionType,
        stream::RecordBatchStreamAdapter,
    },
};
use futures::StreamExt;

use crate::{
    binding::{BindEpoch, EpochBinding},
    node::{display_as, no_expressions, node_over, properties},
};

/// The type of the appended column: microseconds in UTC.
pub fn epoch_time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// The input's columns and the epoch's time.
pub fn timed_schema(input: &Schema, name: &str) -> SchemaRef {
    let mut fields = input.fields().to_vec();
    fields.push(Arc::new(Field::new(name, epoch_time_type(), false)));
    Arc::new(Schema::new_with_metadata(fields, input.metadata().clone()))
}

/// Appends one constant column.
#[derive(Debug, Clone)]
pub struct EpochTimeExec {
    input: Arc<dyn ExecutionPlan>,
    column_name: String,
    time_micros: i64,
    properties: Arc<PlanProperties>,
}

impl EpochTimeExec {
    /// The epoch's time as a last column `column_name`.
    pub fn new(input: Arc<dyn ExecutionPlan>, column_name: String) -> Self {
        Self {
            properties: properties(
                timed_schema(&input.schema(), &column_name),
                input.properties().output_partitioning().partition_count(),
                EmissionType::Incremental,
            ),
            input,
            column_name,
            time_micros: 0,
        }
    }
}

impl BindEpoch for EpochTimeExec {
    fn bind_epoch(&self, binding: &EpochBinding) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Self {
            time_micros: binding.time_millis.saturating_mul(1_000),
            ..self.clone()
        }))
    }
}

display_as!(EpochTimeExec, |this, f| write!(
    f,
    "EpochTimeExec: {}",
    this.column_name
));

impl ExecutionPlan for EpochTimeExec {
    node_over!("EpochTimeExec", [input], |this| {
        Ok(Arc::new(Self {
            time_micros: this.time_micros,
            ..Self::new(input, this.column_name.clone())
        }))
    });
    no_expressions!();

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let (schema, time) = (self.schema(), self.time_micros);
        let batches = self.input.execute(partition, context)?.map(move |batch| {
            let batch = batch?;
            let times =
                TimestampMicrosecondArray::from_value(time, batch.num_rows()).with_timezone("UTC");
            let mut columns = batch.columns().to_vec();
            columns.push(Arc::new(times));
            Ok(RecordBatch::try_new(Arc::clone(&schema), columns)?)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            self.schema(),
            batches,
        )))
    }
}
