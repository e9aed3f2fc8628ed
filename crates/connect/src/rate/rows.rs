//! The rows of both rate sources: consecutive values whose timestamps are spread over a span of time.

use std::{ops::Range, sync::Arc};

use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch, TimestampMicrosecondArray},
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
};
use futures::{StreamExt, stream};
use headwater_core::{BatchStream, Error, Result, Split};
use serde::{Deserialize, Serialize};

use crate::counting::even_pieces;

/// Rows in one batch.
const BATCH_ROWS: u64 = 8192;

/// `timestamp`, `value`.
pub(super) fn schema() -> SchemaRef {
    let timestamp = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        Field::new("timestamp", timestamp, true),
        Field::new("value", DataType::Int64, true),
    ]))
}

/// The values `from..until` of an epoch that has the values `first..last`, spread over `span_millis` from
/// `start_millis` on. It is the descriptor of a split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct RateRows {
    pub(super) from: u64,
    pub(super) until: u64,
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) start_millis: i64,
    pub(super) span_millis: i64,
}

impl RateRows {
    /// All values of an epoch.
    pub(super) fn of_epoch(values: Range<u64>, start_millis: i64, span_millis: i64) -> Self {
        Self {
            from: values.start,
            until: values.end,
            first: values.start,
            last: values.end,
            start_millis,
            span_millis,
        }
    }

    /// Cuts the rows into at most `pieces` splits.
    pub(super) fn splits(&self, pieces: usize) -> Result<Vec<Split>> {
        even_pieces(self.from..self.until, pieces)
            .into_iter()
            .map(|values| {
                let piece = Self {
                    from: values.start,
                    until: values.end,
                    ..self.clone()
                };
                Ok(Split {
                    descriptor: serde_json::to_value(&piece)?,
                    estimated_rows: Some(values.end - values.start),
                })
            })
            .collect()
    }

    /// Reads one split.
    pub(super) fn open(split: &Split, projection: Option<&[usize]>) -> Result<BatchStream> {
        let rows: Self = serde_json::from_value(split.descriptor.clone()).map_err(|error| {
            Error::data("the descriptor of a rate split is damaged").with_source(error)
        })?;
        let schema = match projection {
            Some(columns) => Arc::new(schema().project(columns)?),
            None => schema(),
        };
        let projection = projection.map_or_else(|| vec![0, 1], <[usize]>::to_vec);
        let starts = (rows.from..rows.until).step_by(BATCH_ROWS as usize);
        Ok(stream::iter(starts)
            .map(move |from| {
                let until = rows.until.min(from + BATCH_ROWS);
                rows.batch(from..until, &schema, &projection)
            })
            .boxed())
    }

    fn batch(
        &self,
        values: Range<u64>,
        schema: &SchemaRef,
        projection: &[usize],
    ) -> Result<RecordBatch> {
        let row_count = (values.end - values.start) as usize;
        let columns = projection.iter().map(|column| -> ArrayRef {
            let values = values.clone();
            match column {
                0 => {
                    let micros = values.map(|value| self.timestamp_micros(value));
                    let array = TimestampMicrosecondArray::from_iter_values(micros);
                    Arc::new(array.with_timezone("UTC"))
                }
                // `Schema::project` has refused any column beyond the second.
                _ => Arc::new(Int64Array::from_iter_values(values.map(|v| v as i64))),
            }
        });
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(row_count));
        Ok(RecordBatch::try_new_with_options(
            Arc::clone(schema),
            columns.collect(),
            &options,
        )?)
    }

    /// Rounded to the millisecond, as Spark does.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "the recorded engine computes in doubles, and so the same times come out"
    )]
    fn timestamp_micros(&self, value: u64) -> i64 {
        let millis_per_value = self.span_millis as f64 / (self.last - self.first) as f64;
        let offset = ((value - self.first) as f64 * millis_per_value).round() as i64;
        self.start_millis
            .saturating_add(offset)
            .saturating_mul(1000)
    }
}
