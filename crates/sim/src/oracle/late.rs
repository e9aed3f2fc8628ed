//! Records of late rows, as they must be.

use std::sync::Arc;

use datafusion::arrow::{
    array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray},
    datatypes::{Field, Schema},
};
use headwater_core::Result;

/// What a record says besides the row itself.
#[derive(Debug, Clone)]
pub(super) struct LateMark {
    /// `left` or `right`.
    pub(super) input: Option<&'static str>,
    /// Bounds in microseconds.
    pub(super) window: Option<(i64, i64)>,
}

/// The records of `rows`, dropped by `operator` at `watermark`, in milliseconds, in an epoch.
pub(super) fn records(
    rows: &RecordBatch,
    marks: &[LateMark],
    operator: &str,
    watermark: i64,
    epoch: u64,
) -> Result<RecordBatch> {
    let times = |times: Vec<Option<i64>>| -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC"))
    };
    let bounds = |bound: fn((i64, i64)) -> i64| {
        times(marks.iter().map(|mark| mark.window.map(bound)).collect())
    };
    let count = rows.num_rows();
    let inputs: StringArray = marks.iter().map(|mark| mark.input).collect();
    let added: [(&str, ArrayRef); 6] = [
        (
            "late_operator",
            Arc::new(StringArray::from(vec![operator; count])),
        ),
        ("late_input", Arc::new(inputs)),
        ("late_window_start", bounds(|window| window.0)),
        ("late_window_end", bounds(|window| window.1)),
        (
            "late_watermark",
            times(vec![Some(watermark * 1_000); count]),
        ),
        (
            "late_epoch",
            Arc::new(Int64Array::from(vec![
                i64::try_from(epoch).unwrap_or(0);
                count
            ])),
        ),
    ];
    let mut fields = rows.schema().fields().to_vec();
    let mut columns = rows.columns().to_vec();
    for (name, column) in added {
        fields.push(Arc::new(Field::new(name, column.data_type().clone(), true)));
        columns.push(column);
    }
    Ok(RecordBatch::try_new(
        Arc::new(Schema::new(fields)),
        columns,
    )?)
}
