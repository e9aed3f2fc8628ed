//! Watches event times pass and reports their range; the driver makes watermarks of it between epochs.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{Array, ArrayRef, AsArray, PrimitiveArray},
        compute,
        datatypes::{
            ArrowPrimitiveType, DataType, TimeUnit, TimestampMicrosecondType,
            TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
        },
    },
    error::{DataFusionError, Result},
    execution::TaskContext,
    physical_plan::{
        ExecutionPlan, PlanProperties, SendableRecordBatchStream, execution_plan::EmissionType,
        stream::RecordBatchStreamAdapter,
    },
};
use futures::StreamExt;

use crate::{
    node::{display_as, no_expressions, node_over, properties},
    report::{Outbox, Report},
    runtime::EpochRuntime,
};

/// Units of a timestamp type per millisecond as a fraction `(units, millis)`; seconds are `(1, 1000)`.
pub(crate) fn units_per_milli(unit: TimeUnit) -> (i64, i64) {
    match unit {
        TimeUnit::Second => (1, 1_000),
        TimeUnit::Millisecond => (1, 1),
        TimeUnit::Microsecond => (1_000, 1),
        TimeUnit::Nanosecond => (1_000_000, 1),
    }
}

/// A time in `unit`, floored to milliseconds.
#[inline]
pub(crate) fn floor_millis(value: i64, unit: TimeUnit) -> i64 {
    // Each divisor is a constant, so that nothing is divided: this runs for every row.
    match unit {
        TimeUnit::Second => value.saturating_mul(1_000),
        TimeUnit::Millisecond => value,
        TimeUnit::Microsecond => value.div_euclid(1_000),
        TimeUnit::Nanosecond => value.div_euclid(1_000_000),
    }
}

/// A time in `unit`, raised to the next whole millisecond: `time <= watermark` holds exactly when this does.
#[inline]
pub(crate) fn ceil_millis(value: i64, unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => value.saturating_mul(1_000),
        TimeUnit::Millisecond => value,
        TimeUnit::Microsecond => value.div_euclid(1_000) + i64::from(value.rem_euclid(1_000) > 0),
        TimeUnit::Nanosecond => {
            value.div_euclid(1_000_000) + i64::from(value.rem_euclid(1_000_000) > 0)
        }
    }
}

/// Passes rows on unchanged and reports the event times among them.
#[derive(Debug, Clone)]
pub struct EventTimeExec {
    input: Arc<dyn ExecutionPlan>,
    node: String,
    column: usize,
    unit: TimeUnit,
    properties: Arc<PlanProperties>,
}

impl EventTimeExec {
    /// Watches column number `column`, a timestamp, for the watermark node `node`.
    pub fn try_new(input: Arc<dyn ExecutionPlan>, node: String, column: usize) -> Result<Self> {
        let schema = input.schema();
        let DataType::Timestamp(unit, _) = schema.field(column).data_type() else {
            return Err(DataFusionError::Plan(format!(
                "the watermark column '{}' is {}, not a timestamp",
                schema.field(column).name(),
                schema.field(column).data_type()
            )));
        };
        Ok(Self {
            unit: *unit,
            properties: properties(
                Arc::clone(&schema),
                input.properties().output_partitioning().partition_count(),
                EmissionType::Incremental,
            ),
            input,
            node,
            column,
        })
    }
}

/// Range of the event times seen by one partition; reports itself when dropped.
struct Seen {
    node: String,
    unit: TimeUnit,
    range: Option<(i64, i64)>,
    sum: f64,
    rows: u64,
    nulls: u64,
    outbox: Outbox,
}

impl Seen {
    fn watch(&mut self, column: &ArrayRef) {
        let counted = column.len() - column.null_count();
        self.nulls += column.null_count() as u64;
        if counted == 0 {
            return;
        }
        let stats = match self.unit {
            TimeUnit::Second => stats(column.as_primitive::<TimestampSecondType>()),
            TimeUnit::Millisecond => stats(column.as_primitive::<TimestampMillisecondType>()),
            TimeUnit::Microsecond => stats(column.as_primitive::<TimestampMicrosecondType>()),
            TimeUnit::Nanosecond => stats(column.as_primitive::<TimestampNanosecondType>()),
        };
        if let Some((min, max, sum)) = stats {
            self.range = Some(match self.range {
                Some((low, high)) => (low.min(min), high.max(max)),
                None => (min, max),
            });
            self.sum += sum;
            self.rows += counted as u64;
        }
    }
}

/// Smallest, largest and sum, in the column's unit.
fn stats<T: ArrowPrimitiveType<Native = i64>>(
    column: &PrimitiveArray<T>,
) -> Option<(i64, i64, f64)> {
    let min = compute::min(column)?;
    let max = compute::max(column)?;
    #[expect(clippy::cast_precision_loss, reason = "a mean for the eye")]
    let sum = match column.null_count() {
        0 => column.values().iter().map(|value| *value as f64).sum(),
        _ => column.iter().flatten().map(|value| value as f64).sum(),
    };
    Some((min, max, sum))
}

impl Drop for Seen {
    fn drop(&mut self) {
        if self.nulls > 0 {
            self.outbox.post(Report::NullTimes {
                node: self.node.clone(),
                rows: self.nulls,
            });
        }
        let Some((min, max)) = self.range else { return };
        let (units, millis) = units_per_milli(self.unit);
        #[expect(clippy::cast_precision_loss, reason = "a mean for the eye")]
        let mean = self.sum / self.rows as f64 / units as f64 * millis as f64;
        self.outbox.post(Report::EventTimes {
            node: self.node.clone(),
            min: floor_millis(min, self.unit),
            max: floor_millis(max, self.unit),
            mean,
            rows: self.rows,
        });
    }
}

display_as!(EventTimeExec, |this, f| {
    write!(
        f,
        "EventTimeExec: column={}, node={}",
        this.schema().field(this.column).name(),
        this.node
    )
});

impl ExecutionPlan for EventTimeExec {
    node_over!("EventTimeExec", [input], |this| {
        Ok(Arc::new(Self::try_new(
            input,
            this.node.clone(),
            this.column,
        )?))
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
        let runtime = EpochRuntime::of(&context)?;
        let mut seen = Seen {
            node: self.node.clone(),
            unit: self.unit,
            range: None,
            sum: 0.0,
            rows: 0,
            nulls: 0,
            outbox: runtime.outbox.clone(),
        };
        let column = self.column;
        let batches = self
            .input
            .execute(partition, context)?
            .inspect(move |batch| {
                if let Ok(batch) = batch {
                    seen.watch(batch.column(column));
                }
            });
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            self.schema(),
            batches,
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_floored_and_raised_to_milliseconds() {
        assert_eq!(floor_millis(1_999, TimeUnit::Microsecond), 1);
        assert_eq!(floor_millis(-1, TimeUnit::Microsecond), -1);
        assert_eq!(ceil_millis(1_000, TimeUnit::Microsecond), 1);
        assert_eq!(ceil_millis(1_001, TimeUnit::Microsecond), 2);
        assert_eq!(ceil_millis(3, TimeUnit::Second), 3_000);
    }
}
