//! The rows of one epoch that reached one partition, in order of arrival.
//!
//! Payload stays in the batches it came in: only key columns are brought together, and what is let through is filtered
//! out of each batch.

use datafusion::{
    arrow::{
        array::{Array, ArrayRef, BooleanArray, RecordBatch, UInt32Array},
        compute::{concat, filter_record_batch, take},
        datatypes::SchemaRef,
    },
    error::{DataFusionError, Result},
};

use crate::origin::{by_origin, origins};

/// Rows of several batches, numbered in order of arrival.
#[derive(Debug)]
pub(super) struct Arrivals {
    /// Without the tag of origin, and none of them empty.
    batches: Vec<RecordBatch>,
    rows: usize,
    /// By number the place of the row in the batches one after the other; `None`: they are in order.
    order: Option<UInt32Array>,
}

impl Arrivals {
    /// Rows of the columns `schema`; behind them, if `tagged`, is their origin, which decides the order. Within one
    /// origin the order is that of the batches.
    pub(super) fn new(batches: Vec<RecordBatch>, schema: &SchemaRef, tagged: bool) -> Result<Self> {
        let batches: Vec<_> = batches.into_iter().filter(|b| b.num_rows() > 0).collect();
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        let rows_fit = u32::try_from(rows).is_ok();
        if !rows_fit {
            return Err(DataFusionError::ResourcesExhausted(format!(
                "{rows} rows of one epoch in one partition are more than can be counted: take less data per epoch"
            )));
        }
        if !tagged {
            return Ok(Self {
                batches,
                rows,
                order: None,
            });
        }
        let last = schema.fields().len();
        let tags: Vec<u64> = batches.iter().flat_map(origins).copied().collect();
        let order = (!tags.is_sorted()).then(|| by_origin(&tags).into());
        let untagged = batches.into_iter().map(|batch| {
            let columns = batch.columns()[..last].to_vec();
            RecordBatch::try_new(SchemaRef::clone(schema), columns)
        });
        Ok(Self {
            batches: untagged.collect::<Result<_, _>>()?,
            rows,
            order,
        })
    }

    /// Number of rows.
    pub(super) fn len(&self) -> usize {
        self.rows
    }

    /// One column of all rows, in order of arrival.
    pub(super) fn column(&self, index: usize) -> Result<ArrayRef> {
        let parts: Vec<&dyn Array> = self
            .batches
            .iter()
            .map(|batch| batch.column(index).as_ref())
            .collect();
        let column = concat(&parts)?;
        Ok(match &self.order {
            None => column,
            Some(order) => take(&column, order, None)?,
        })
    }

    /// The rows with these numbers, in the batches they came in.
    pub(super) fn pick(self, numbers: &[u32]) -> Result<Vec<RecordBatch>> {
        let mut wanted = vec![false; self.rows];
        for number in numbers {
            let place = match &self.order {
                None => *number,
                Some(order) => order.value(*number as usize),
            };
            wanted[place as usize] = true;
        }
        let mut picked = Vec::new();
        let mut rest = wanted.as_slice();
        for batch in self.batches {
            let (here, after) = rest.split_at(batch.num_rows());
            rest = after;
            let count = here.iter().filter(|wanted| **wanted).count();
            if count == batch.num_rows() {
                picked.push(batch);
            } else if count > 0 {
                let mask = BooleanArray::from(here.to_vec());
                picked.push(filter_record_batch(&batch, &mask)?);
            }
        }
        Ok(picked)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::{
        array::{AsArray, Int64Array, UInt64Array},
        datatypes::{DataType, Field, Int64Type, Schema},
    };

    use super::*;
    use crate::origin::tagged_schema;

    fn values(column: &ArrayRef) -> Vec<i64> {
        column.as_primitive::<Int64Type>().values().to_vec()
    }

    #[test]
    fn rows_are_numbered_by_origin_and_then_as_they_came() {
        let value = Field::new("v", DataType::Int64, true);
        let plain = Arc::new(Schema::new(vec![value]));
        let tagged = tagged_schema(&plain);
        let batch = |rows: &[(i64, u64)]| {
            let columns: Vec<ArrayRef> = vec![
                Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0))),
                Arc::new(UInt64Array::from_iter_values(rows.iter().map(|row| row.1))),
            ];
            RecordBatch::try_new(Arc::clone(&tagged), columns).unwrap()
        };
        let batches = vec![
            batch(&[(20, 2), (0, 0)]),
            batch(&[]),
            batch(&[(21, 2)]),
            batch(&[(10, 1), (1, 0)]),
        ];
        let arrivals = Arrivals::new(batches, &plain, true).unwrap();
        assert_eq!(arrivals.len(), 5);
        assert_eq!(values(&arrivals.column(0).unwrap()), [0, 1, 10, 20, 21]);
        let picked = arrivals.pick(&[0, 1, 4]).unwrap();
        let picked: Vec<_> = picked.iter().map(|batch| values(batch.column(0))).collect();
        assert_eq!(picked, [vec![0], vec![21], vec![1]]);
    }
}
