//! Assigns rows to the slices of sliding windows.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{ArrayRef, RecordBatch},
        compute::{filter_record_batch, not},
        datatypes::SchemaRef,
    },
    error::Result,
    execution::TaskContext,
    physical_plan::{
        ExecutionPlan, PlanProperties, SendableRecordBatchStream, execution_plan::EmissionType,
        stream::RecordBatchStreamAdapter,
    },
};
use futures::{StreamExt, TryStreamExt, stream};
use headwater_core::Watermark;

use super::{
    Scaled, Windows,
    assign::{assign, windowed_schema, without_null_times},
    slice::{earliest_start, earliest_starts, slices_of},
};
use crate::{
    binding::{BindEpoch, EpochBinding},
    expiry::Expiry,
    node::{display_as, no_expressions, node_over, properties},
};

/// Appends the slice that a row lies in. A row of which a window is late comes once for each of its windows instead,
/// with the window's start, so that the late filter above sees them one by one. Rows without a time belong to no
/// window.
#[derive(Debug, Clone)]
pub(crate) struct AssignSlicesExec {
    input: Arc<dyn ExecutionPlan>,
    time: usize,
    windows: Windows,
    scaled: Scaled,
    start_name: String,
    /// How long after its start a window is late; none if no window ever is.
    extra_micros: Option<i64>,
    late_watermark: Watermark,
    properties: Arc<PlanProperties>,
}

impl AssignSlicesExec {
    pub(super) fn new(
        input: Arc<dyn ExecutionPlan>,
        time: usize,
        windows: Windows,
        scaled: Scaled,
        start_name: String,
        extra_micros: Option<i64>,
    ) -> Self {
        Self {
            properties: properties(
                windowed_schema(&input.schema(), time, &start_name),
                input.properties().output_partitioning().partition_count(),
                EmissionType::Incremental,
            ),
            input,
            time,
            windows,
            scaled,
            start_name,
            extra_micros,
            late_watermark: Watermark::START,
        }
    }

    fn slicing(&self) -> Slicing {
        Slicing {
            time: self.time,
            scaled: self.scaled,
            late: self.extra_micros.map(|extra_micros| {
                let expiry = Expiry {
                    column: 0,
                    extra_micros,
                };
                (expiry, self.late_watermark)
            }),
            schema: self.schema(),
        }
    }
}

impl BindEpoch for AssignSlicesExec {
    fn bind_epoch(&self, binding: &EpochBinding) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Self {
            late_watermark: binding.late_watermark,
            ..self.clone()
        }))
    }
}

/// How the batches of an epoch are dealt with.
#[derive(Debug, Clone)]
struct Slicing {
    time: usize,
    scaled: Scaled,
    late: Option<(Expiry, Watermark)>,
    schema: SchemaRef,
}

impl Slicing {
    fn apply(&self, batch: RecordBatch) -> Result<Vec<RecordBatch>> {
        let batch = without_null_times(batch, self.time)?;
        let Some((expiry, watermark)) = self.late else {
            return Ok(vec![self.sliced(&batch)?]);
        };
        // Nearly always one look at the earliest row will do.
        let Some(earliest) = earliest_start(&batch, self.time, self.scaled)? else {
            return Ok(vec![self.sliced(&batch)?]);
        };
        if expiry.alive(&[earliest], watermark)?.is_none() {
            return Ok(vec![self.sliced(&batch)?]);
        }
        let earliest: ArrayRef = earliest_starts(&batch, self.time, self.scaled)?;
        let Some(alive) = expiry.alive(&[earliest], watermark)? else {
            return Ok(vec![self.sliced(&batch)?]);
        };
        let mut assigned = vec![self.sliced(&filter_record_batch(&batch, &alive)?)?];
        let rest = filter_record_batch(&batch, &not(&alive)?)?;
        for position in 0..self.scaled.overlapping() {
            assigned.push(assign(
                &rest,
                self.time,
                self.scaled,
                position,
                &self.schema,
            )?);
        }
        Ok(assigned)
    }

    fn sliced(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let mut columns = batch.columns().to_vec();
        columns.push(slices_of(batch, self.time, self.scaled)?);
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}

display_as!(AssignSlicesExec, |this, f| {
    write!(
        f,
        "AssignSlicesExec: time={}, size={}us, slide={}us, offset={}us",
        this.input.schema().field(this.time).name(),
        this.windows.size_micros,
        this.windows.slide_micros,
        this.windows.offset_micros
    )
});

impl ExecutionPlan for AssignSlicesExec {
    node_over!("AssignSlicesExec", [input], |this| {
        Ok(Arc::new(Self {
            late_watermark: this.late_watermark,
            ..Self::new(
                input,
                this.time,
                this.windows,
                this.scaled,
                this.start_name.clone(),
                this.extra_micros,
            )
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
        let slicing = self.slicing();
        let batches = self
            .input
            .execute(partition, context)?
            .map(move |batch| slicing.apply(batch?))
            .map_ok(|batches| stream::iter(batches.into_iter().map(Ok)))
            .try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            self.schema(),
            batches,
        )))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use datafusion::arrow::{
        array::{AsArray, TimestampMicrosecondArray},
        datatypes::{Field, Schema, TimestampMicrosecondType},
    };
    use headwater_core::{Delay, EventTime};
    use proptest::prelude::*;

    use super::*;
    use crate::window::{slice::expand, window_starts};

    const MILLI: i64 = 1_000;

    /// How often each window that is not late comes, after the late filter and expansion.
    fn alive_windows(
        windows: &Windows,
        times: &[Option<i64>],
        watermark: Watermark,
    ) -> (BTreeMap<i64, usize>, usize) {
        let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(times.to_vec()));
        let schema = Schema::new(vec![Field::new("t", times.data_type().clone(), true)]);
        let batch = RecordBatch::try_new(Arc::new(schema.clone()), vec![times]).unwrap();
        let expiry = Expiry {
            column: 1,
            extra_micros: windows.size_micros,
        };
        let slicing = Slicing {
            time: 0,
            scaled: Scaled {
                size: windows.size_micros,
                slide: windows.slide_micros,
                offset: windows.offset_micros,
            },
            late: Some((
                Expiry {
                    column: 0,
                    ..expiry
                },
                watermark,
            )),
            schema: windowed_schema(&schema, 0, "w"),
        };
        let mut counts = BTreeMap::new();
        let mut late = 0;
        for batch in slicing.apply(batch).unwrap() {
            let kept = match expiry.alive(batch.columns(), watermark).unwrap() {
                None => batch.clone(),
                Some(alive) => filter_record_batch(&batch, &alive).unwrap(),
            };
            late += batch.num_rows() - kept.num_rows();
            for batch in expand(&kept, 1, slicing.scaled).unwrap() {
                let starts = batch.column(1).as_primitive::<TimestampMicrosecondType>();
                for start in starts.values() {
                    *counts.entry(*start).or_insert(0) += 1;
                }
            }
        }
        (counts, late)
    }

    proptest! {
        #[test]
        fn windows_that_are_late_are_told_one_by_one_and_the_others_are_complete(
            slide in 2_i64..10,
            more in 1_i64..30,
            offset in 0_i64..10,
            times in prop::collection::vec(prop::option::of(0_i64..60_000), 0..30),
            watermark in 0_i64..60,
        ) {
            let windows = Windows {
                size_micros: (slide + more) * MILLI,
                slide_micros: slide * MILLI,
                offset_micros: offset * MILLI,
            };
            let passed = Watermark::START.advanced(EventTime(watermark), Delay(0));
            let mut expected = BTreeMap::new();
            let mut expected_late = 0;
            for time in times.iter().flatten() {
                for start in window_starts(*time, &windows) {
                    if start + windows.size_micros <= watermark * MILLI {
                        expected_late += 1;
                    } else {
                        *expected.entry(start).or_insert(0) += 1;
                    }
                }
            }
            prop_assert_eq!(alive_windows(&windows, &times, passed), (expected, expected_late));
        }
    }
}
