//! Assigns rows to time windows: tumbling and sliding.
//!
//! A row of a sliding window belongs to several windows. Where the order of rows is of no account, each batch is passed
//! on once per window position with the same columns and another start: nothing is copied but the starts. Otherwise rows
//! are copied, so that each window sees its rows in the order of their arrival.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{Array, ArrayRef, AsArray, BooleanArray, PrimitiveArray, RecordBatch, UInt32Array},
        compute::{filter_record_batch, is_not_null, take_arrays},
        datatypes::{
            ArrowPrimitiveType, DataType, Field, Schema, SchemaRef, TimeUnit,
            TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
            TimestampSecondType,
        },
    },
    error::{DataFusionError, Result},
    execution::TaskContext,
    physical_plan::{
        ExecutionPlan, PlanProperties, SendableRecordBatchStream, execution_plan::EmissionType,
        stream::RecordBatchStreamAdapter,
    },
};
use futures::{StreamExt, TryStreamExt, future::ready, stream};

use super::{Scaled, Windows, assign_slices::AssignSlicesExec};
use crate::node::{display_as, no_expressions, node_over, properties};

/// Appends the start of each window that a row belongs to, one output row per window. Rows without a time belong to
/// none.
#[derive(Debug, Clone)]
pub struct AssignWindowsExec {
    input: Arc<dyn ExecutionPlan>,
    time: usize,
    windows: Windows,
    scaled: Scaled,
    start_name: String,
    in_order: bool,
    properties: Arc<PlanProperties>,
}

/// Rows that leave at a time where rows are copied.
pub(super) const COPIED_ROWS: usize = 8_192;

/// The input's columns and the start of the window.
pub fn windowed_schema(input: &Schema, time: usize, start_name: &str) -> SchemaRef {
    let mut fields = input.fields().to_vec();
    let start = Field::new(start_name, input.field(time).data_type().clone(), false);
    fields.push(Arc::new(start));
    Arc::new(Schema::new_with_metadata(fields, input.metadata().clone()))
}

impl AssignWindowsExec {
    /// Windows over column number `time`, a timestamp; the start goes into a last column `start_name`.
    pub fn try_new(
        input: Arc<dyn ExecutionPlan>,
        time: usize,
        windows: Windows,
        start_name: String,
    ) -> Result<Self> {
        let schema = input.schema();
        let DataType::Timestamp(unit, _) = schema.field(time).data_type() else {
            return Err(DataFusionError::Plan(format!(
                "a window needs a timestamp, but '{}' is {}",
                schema.field(time).name(),
                schema.field(time).data_type()
            )));
        };
        Ok(Self {
            scaled: windows.in_unit(*unit)?,
            properties: properties(
                windowed_schema(&schema, time, &start_name),
                input.properties().output_partitioning().partition_count(),
                EmissionType::Incremental,
            ),
            input,
            time,
            windows,
            start_name,
            in_order: true,
        })
    }

    /// The same windows for a reader to whom the order of rows means nothing.
    #[must_use]
    pub fn in_any_order(&self) -> Self {
        Self {
            in_order: false,
            ..self.clone()
        }
    }

    /// The number of the column that holds the start.
    pub(super) fn start_column(&self) -> usize {
        self.schema().fields().len() - 1
    }

    /// The shape of the windows.
    pub(super) fn windows(&self) -> Windows {
        self.windows
    }

    /// The windows in units of the times.
    pub(super) fn scaled(&self) -> Scaled {
        self.scaled
    }

    /// The same rows once for each slice instead of once for each window; windows that expire `extra_micros` after
    /// their start are late for the operator above.
    pub(super) fn in_slices(&self, extra_micros: Option<i64>) -> AssignSlicesExec {
        let input = Arc::clone(&self.input);
        let name = self.start_name.clone();
        AssignSlicesExec::new(
            input,
            self.time,
            self.windows,
            self.scaled,
            name,
            extra_micros,
        )
    }
}

/// The rows that belong to windows, as often as they do and in their order, and the starts of these windows.
fn rows_and_starts<T: ArrowPrimitiveType<Native = i64>>(
    times: &PrimitiveArray<T>,
    scaled: Scaled,
    positions: i64,
) -> (UInt32Array, ArrayRef) {
    let mut rows = Vec::with_capacity(times.len() * usize::try_from(positions).unwrap_or(1));
    let mut starts = Vec::with_capacity(rows.capacity());
    let last_start = scaled.last_starts();
    for (row, time) in (0_u32..).zip(times.iter()) {
        let Some(time) = time else { continue };
        let last = last_start(time);
        for position in 0..positions {
            let start = last.saturating_sub(position * scaled.slide);
            if time < start.saturating_add(scaled.size) {
                rows.push(row);
                starts.push(start);
            }
        }
    }
    let starts = PrimitiveArray::<T>::from_iter_values(starts);
    let starts = starts.with_data_type(times.data_type().clone());
    (rows.into(), Arc::new(starts))
}

/// Starts of the windows at one position: 0 is the last window that holds the time, 1 the one before, …
fn starts_at<T: ArrowPrimitiveType<Native = i64>>(
    times: &PrimitiveArray<T>,
    scaled: Scaled,
    position: i64,
) -> (ArrayRef, Option<BooleanArray>) {
    let back = position * scaled.slide;
    let last_start = scaled.last_starts();
    let starts: PrimitiveArray<T> = times
        .unary::<_, T>(|time| last_start(time).saturating_sub(back))
        .with_data_type(times.data_type().clone());
    let ends_inside = back + scaled.slide <= scaled.size;
    // Only the earliest position of windows that are no multiple of the slide can miss the time.
    let inside = (!ends_inside).then(|| {
        BooleanArray::from_iter(times.iter().zip(starts.iter()).map(|(time, start)| {
            Some(matches!((time, start), (Some(time), Some(start)) if time < start.saturating_add(scaled.size)))
        }))
    });
    (Arc::new(starts), inside)
}

/// The rows that have a time.
pub(super) fn without_null_times(batch: RecordBatch, time: usize) -> Result<RecordBatch> {
    if batch.column(time).null_count() == 0 {
        return Ok(batch);
    }
    let present = is_not_null(batch.column(time))?;
    Ok(filter_record_batch(&batch, &present)?)
}

/// Calls a generic function for the unit of a column of timestamps.
macro_rules! for_unit {
    ($times:expr, $function:ident, $($argument:expr),+) => {
        match $times.data_type() {
            DataType::Timestamp(TimeUnit::Second, _) => {
                $function($times.as_primitive::<TimestampSecondType>(), $($argument),+)
            }
            DataType::Timestamp(TimeUnit::Millisecond, _) => {
                $function($times.as_primitive::<TimestampMillisecondType>(), $($argument),+)
            }
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                $function($times.as_primitive::<TimestampMicrosecondType>(), $($argument),+)
            }
            DataType::Timestamp(TimeUnit::Nanosecond, _) => {
                $function($times.as_primitive::<TimestampNanosecondType>(), $($argument),+)
            }
            other => {
                return Err(DataFusionError::Internal(format!("a window's time has become {other}")));
            }
        }
    };
}

/// The starts of the windows at one position of these times, and which times lie inside; `None`: all.
pub(super) fn starts_of(
    times: &ArrayRef,
    scaled: Scaled,
    position: i64,
) -> Result<(ArrayRef, Option<BooleanArray>)> {
    Ok(for_unit!(times, starts_at, scaled, position))
}

/// The rows of a batch in the window at one position.
pub(super) fn assign(
    batch: &RecordBatch,
    time: usize,
    scaled: Scaled,
    position: i64,
    schema: &SchemaRef,
) -> Result<RecordBatch> {
    let (starts, inside) = starts_of(batch.column(time), scaled, position)?;
    let mut columns = batch.columns().to_vec();
    columns.push(starts);
    let assigned = RecordBatch::try_new(Arc::clone(schema), columns)?;
    match inside {
        Some(inside) => Ok(filter_record_batch(&assigned, &inside)?),
        None => Ok(assigned),
    }
}

/// The rows of a batch in all their windows, row after row.
pub(super) fn assign_in_order(
    batch: &RecordBatch,
    time: usize,
    scaled: Scaled,
    positions: i64,
    schema: &SchemaRef,
) -> Result<RecordBatch> {
    let times = batch.column(time);
    let (rows, starts) = for_unit!(times, rows_and_starts, scaled, positions);
    let mut columns = take_arrays(batch.columns(), &rows, None)?;
    columns.push(starts);
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

display_as!(AssignWindowsExec, |this, f| {
    write!(
        f,
        "AssignWindowsExec: time={}, size={}us, slide={}us, offset={}us",
        this.input.schema().field(this.time).name(),
        this.windows.size_micros,
        this.windows.slide_micros,
        this.windows.offset_micros
    )
});

impl ExecutionPlan for AssignWindowsExec {
    node_over!("AssignWindowsExec", [input], |this| {
        Ok(Arc::new(Self {
            in_order: this.in_order,
            ..Self::try_new(input, this.time, this.windows, this.start_name.clone())?
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
        let (time, scaled, schema) = (self.time, self.scaled, self.schema());
        let positions = self.windows.overlapping();
        let copies = self.in_order && positions > 1;
        let slice = COPIED_ROWS / usize::try_from(positions).unwrap_or(COPIED_ROWS).max(1);
        let slice = slice.max(1);
        let batches = self
            .input
            .execute(partition, context)?
            .and_then(move |batch| ready(without_null_times(batch, time)))
            .map_ok(move |batch| {
                let schema = Arc::clone(&schema);
                if copies {
                    let firsts = (0..batch.num_rows()).step_by(slice);
                    let slices = firsts.map(move |first| {
                        let rows = batch.slice(first, slice.min(batch.num_rows() - first));
                        assign_in_order(&rows, time, scaled, positions, &schema)
                    });
                    stream::iter(slices).boxed()
                } else {
                    let assigned = (0..positions)
                        .map(move |position| assign(&batch, time, scaled, position, &schema));
                    stream::iter(assigned).boxed()
                }
            })
            .try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            self.schema(),
            batches,
        )))
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::TimestampMicrosecondArray;

    use super::*;
    use crate::window::window_starts;

    const SECOND: i64 = 1_000_000;

    fn windows(size: i64, slide: i64, offset: i64) -> Windows {
        Windows {
            size_micros: size * SECOND,
            slide_micros: slide * SECOND,
            offset_micros: offset * SECOND,
        }
    }

    #[test]
    fn in_order_each_window_sees_its_rows_as_they_came() {
        let shape = windows(10, 5, 0);
        let micros = [12, 3, 7, 11, 8].map(|second| second * SECOND);
        let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(micros.to_vec()));
        let schema = Schema::new(vec![Field::new("t", times.data_type().clone(), true)]);
        let batch = RecordBatch::try_new(Arc::new(schema.clone()), vec![times]).unwrap();
        let out = windowed_schema(&schema, 0, "w");
        let scaled = shape.in_unit(TimeUnit::Microsecond).unwrap();
        let assigned = assign_in_order(&batch, 0, scaled, shape.overlapping(), &out).unwrap();
        let column = |n: usize| {
            assigned
                .column(n)
                .as_primitive::<TimestampMicrosecondType>()
        };
        let in_window: Vec<i64> = (0..assigned.num_rows())
            .filter(|row| column(1).value(*row) == 5 * SECOND)
            .map(|row| column(0).value(row) / SECOND)
            .collect();
        assert_eq!(in_window, [12, 7, 11, 8]);
    }

    #[test]
    fn every_position_together_gives_every_window_of_every_row() {
        let shape = windows(10, 3, 1);
        let micros: Vec<i64> = (-50..50).map(|n| n * 777_777).collect();
        let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(micros.clone()));
        let schema = Schema::new(vec![Field::new("t", times.data_type().clone(), true)]);
        let batch = RecordBatch::try_new(Arc::new(schema.clone()), vec![times]).unwrap();
        let out = windowed_schema(&schema, 0, "w");
        let mut found: Vec<(i64, i64)> = Vec::new();
        let scaled = shape.in_unit(TimeUnit::Microsecond).unwrap();
        for position in 0..shape.overlapping() {
            let assigned = assign(&batch, 0, scaled, position, &out).unwrap();
            let column = |n: usize| {
                assigned
                    .column(n)
                    .as_primitive::<TimestampMicrosecondType>()
            };
            found
                .extend((0..assigned.num_rows()).map(|r| (column(0).value(r), column(1).value(r))));
        }
        found.sort_unstable();
        let mut expected: Vec<(i64, i64)> = micros
            .iter()
            .flat_map(|t| window_starts(*t, &shape).into_iter().map(|s| (*t, s)))
            .collect();
        expected.sort_unstable();
        assert_eq!(found, expected);
    }
}
