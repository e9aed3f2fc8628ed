//! Puts what was aggregated of slices into their windows, and merges what comes together there.
//!
//! A key is usually in most slices of a window, so that there are far fewer groups of windows than rows that enter them:
//! merged here they are exchanged and looked up in state once. The other columns of the key are numbered once for all
//! windows; then a window is gone through slice by slice, and what it has of a key is found by the key's number. Rows are
//! merged in runs of bounded length, since all states of a run are copied once for each window.

use std::{collections::BTreeMap, ops::Range};

use datafusion::{
    arrow::{
        array::{Array, BooleanArray, Int64Array, RecordBatch, UInt32Array},
        compute::{filter_record_batch, not, take_arrays},
        datatypes::DataType,
    },
    error::Result,
    physical_plan::aggregates::AggregateExec,
};

use super::{
    Scaled,
    assign::starts_of,
    slice::{instants, times},
};
use crate::{accumulate::AggregateLayout, key_index::key_index_factory, runtime::external};

/// Rows that a run puts into windows at most, if it has several batches.
const RUN: usize = 1 << 20;

/// How the partial rows of an aggregation over slices are merged by window.
#[derive(Debug)]
pub(super) struct Combination {
    /// The column that names slices, and windows.
    column: usize,
    scaled: Scaled,
    /// Leading columns that the rows are grouped by.
    keys: usize,
    layout: AggregateLayout,
}

/// Rows of slices, in order of the slices.
struct ByWindow {
    order: Vec<u32>,
    /// By the start of a window, which parts of `order` are its slices.
    windows: BTreeMap<i64, Vec<Range<usize>>>,
}

impl Combination {
    /// That of `partial`, whose grouping column `column` names slices; `None` where states are not of fixed width, which
    /// are better not copied, or have no accumulators for many groups.
    pub(super) fn of(
        partial: &AggregateExec,
        column: usize,
        scaled: Scaled,
    ) -> Result<Option<Self>> {
        let aggregates = partial.aggr_expr();
        let layout = AggregateLayout::of_merged_groups(aggregates, &partial.input_schema())?;
        let states = layout.values().fields().iter();
        let is_possible = states.map(|state| state.data_type()).all(is_narrow)
            && !layout.order_sensitive()
            && aggregates
                .iter()
                .all(|it| it.groups_accumulator_supported());
        Ok(is_possible.then_some(Self {
            column,
            scaled,
            keys: partial.group_expr().expr().len(),
            layout,
        }))
    }

    /// How many rows of slices are merged together.
    pub(super) fn run(&self) -> usize {
        RUN / usize::try_from(self.scaled.overlapping())
            .unwrap_or(RUN)
            .clamp(1, RUN)
    }

    /// Rows of slices as rows of their windows, one for each key in each window; rows of windows stay as they are.
    pub(super) fn combine(&self, rows: &RecordBatch) -> Result<Vec<RecordBatch>> {
        if rows.num_rows() == 0 {
            return Ok(Vec::new());
        }
        let named = instants(rows.column(self.column))?;
        let last_start = self.scaled.last_starts();
        let windows = BooleanArray::from_unary(&named, |instant| last_start(instant) == instant);
        match windows.true_count() {
            0 => Ok(vec![self.merge(rows)?]),
            all if all == rows.num_rows() => Ok(vec![rows.clone()]),
            _ => Ok(vec![
                filter_record_batch(rows, &windows)?,
                self.merge(&filter_record_batch(rows, &not(&windows)?)?)?,
            ]),
        }
    }

    fn merge(&self, slices: &RecordBatch) -> Result<RecordBatch> {
        let ByWindow { order, windows } = self.by_window(slices)?;
        let (ids, known) = self.numbered(slices)?;
        // By key, the last window in which it was met and its group there.
        let mut met = vec![(usize::MAX, 0); known];
        let (mut members, mut groups): (Vec<u32>, Vec<usize>) = (Vec::new(), Vec::new());
        let (mut firsts, mut starts): (Vec<u32>, Vec<i64>) = (Vec::new(), Vec::new());
        for (window, (start, ranges)) in windows.into_iter().enumerate() {
            for row in ranges.into_iter().flat_map(|range| &order[range]) {
                let met = &mut met[ids[*row as usize]];
                if met.0 != window {
                    *met = (window, firsts.len());
                    firsts.push(*row);
                    starts.push(start);
                }
                members.push(*row);
                groups.push(met.1);
            }
        }
        let (keys, states) = slices.columns().split_at(self.keys);
        let states = take_arrays(states, &UInt32Array::from(members), None)?;
        let mut accumulators = self.layout.fresh()?;
        self.layout
            .merge_stored(&mut accumulators, &states, &groups, firsts.len())?;
        let mut columns = take_arrays(keys, &UInt32Array::from(firsts), None)?;
        let like = keys[self.column].data_type();
        columns[self.column] = times(Int64Array::from(starts), like)?;
        columns.extend(self.layout.states(&mut accumulators)?);
        Ok(RecordBatch::try_new(slices.schema(), columns)?)
    }

    /// The rows by slice, and where the slices of each window lie among them.
    fn by_window(&self, slices: &RecordBatch) -> Result<ByWindow> {
        let column = slices.column(self.column);
        let named = instants(column)?;
        let mut order: Vec<u32> = (0..named.len() as u32).collect();
        order.sort_by_key(|row| named.value(*row as usize));
        let mut ranges: Vec<Range<usize>> = Vec::new();
        for of_slice in order.chunk_by(|a, b| named.value(*a as usize) == named.value(*b as usize))
        {
            let start = ranges.last().map_or(0, |before| before.end);
            ranges.push(start..start + of_slice.len());
        }
        let distinct = ranges
            .iter()
            .map(|range| named.value(order[range.start] as usize));
        let distinct = times(distinct.collect(), column.data_type())?;
        let mut windows: BTreeMap<i64, Vec<Range<usize>>> = BTreeMap::new();
        for position in 0..self.scaled.overlapping() {
            let (starts, inside) = starts_of(&distinct, self.scaled, position)?;
            let starts = instants(&starts)?;
            for (slice, range) in ranges.iter().enumerate() {
                if inside.as_ref().is_none_or(|inside| inside.value(slice)) {
                    let window = windows.entry(starts.value(slice)).or_default();
                    window.push(range.clone());
                }
            }
        }
        Ok(ByWindow { order, windows })
    }

    /// The number of each row's key without the column of slices, and how many there are.
    fn numbered(&self, slices: &RecordBatch) -> Result<(Vec<usize>, usize)> {
        let others: Vec<usize> = (0..self.keys).filter(|key| *key != self.column).collect();
        if others.is_empty() {
            return Ok((vec![0; slices.num_rows()], 1));
        }
        let others = slices.project(&others)?;
        let mut index = key_index_factory()
            .create(&others.schema())
            .map_err(external)?;
        let mut ids = Vec::new();
        index.intern(others.columns(), &mut ids).map_err(external)?;
        Ok((ids, index.len()))
    }
}

/// Whether a value takes a few bytes whatever it is.
fn is_narrow(state: &DataType) -> bool {
    state.is_primitive() || matches!(state, DataType::Boolean)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::{
        arrow::{
            array::{ArrayRef, AsArray, TimestampMillisecondArray},
            datatypes::{Field, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMillisecondType},
        },
        functions_aggregate::{count::count_udaf, min_max::max_udaf},
        physical_expr::{aggregate::AggregateExprBuilder, expressions::col},
    };
    use proptest::prelude::*;

    use super::*;
    use crate::window::slice::expand;

    fn schema() -> SchemaRef {
        let time = DataType::Timestamp(TimeUnit::Millisecond, None);
        Arc::new(Schema::new(vec![
            Field::new("key", DataType::Int64, true),
            Field::new("w", time, false),
            Field::new("count", DataType::Int64, true),
            Field::new("max", DataType::Int64, true),
        ]))
    }

    fn combination(scaled: Scaled) -> Combination {
        let input = Arc::new(Schema::new(vec![Field::new("v", DataType::Int64, true)]));
        let aggregates = [count_udaf(), max_udaf()].map(|function| {
            let argument = col("v", &input).unwrap();
            let name = function.name().to_owned();
            let aggregate = AggregateExprBuilder::new(function, vec![argument]);
            let aggregate = aggregate.schema(Arc::clone(&input)).alias(name);
            Arc::new(aggregate.build().unwrap())
        });
        Combination {
            column: 1,
            scaled,
            keys: 2,
            layout: AggregateLayout::of_merged_groups(&aggregates, &input).unwrap(),
        }
    }

    /// Counts and maxima by key and window.
    type Totals = BTreeMap<(Option<i64>, i64), (i64, i64)>;

    /// How many rows there are, and their totals.
    fn totals<'a>(batches: impl IntoIterator<Item = &'a RecordBatch>) -> (usize, Totals) {
        let mut totals = BTreeMap::new();
        let mut rows = 0;
        for batch in batches {
            rows += batch.num_rows();
            let number = |column: usize| batch.column(column).as_primitive::<Int64Type>();
            let starts = batch.column(1).as_primitive::<TimestampMillisecondType>();
            for row in 0..batch.num_rows() {
                let key = number(0).iter().nth(row).flatten();
                let total = totals
                    .entry((key, starts.value(row)))
                    .or_insert((0, i64::MIN));
                total.0 += number(2).value(row);
                total.1 = total.1.max(number(3).value(row));
            }
        }
        (rows, totals)
    }

    proptest! {
        #[test]
        fn what_meets_in_a_window_is_merged_and_nothing_else(
            (slide, more) in (2_i64..6, 1_i64..20),
            offset in 0_i64..5,
            rows in prop::collection::vec(
                (prop::option::weighted(0.9, 0_i64..4), -40_i64..40, prop::bool::weighted(0.8), 1_i64..9, any::<i8>()),
                0..60,
            ),
        ) {
            let scaled = Scaled { size: slide + more, slide, offset };
            prop_assume!(scaled.can_be_sliced());
            let named = rows.iter().map(|row| match row.2 {
                true => scaled.slice_of(row.1),
                false => scaled.last_start(row.1),
            });
            let columns: Vec<ArrayRef> = vec![
                Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>()),
                Arc::new(TimestampMillisecondArray::from_iter_values(named)),
                Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.3))),
                Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| i64::from(row.4)))),
            ];
            let batch = RecordBatch::try_new(schema(), columns).unwrap();
            let combined = combination(scaled).combine(&batch).unwrap();
            let (_, expected) = totals(&expand(&batch, 1, scaled).unwrap());
            prop_assert_eq!(&totals(&combined).1, &expected);
            // What was in windows before stays as it is; of the rest there is one row for each key and window.
            let merged = combined.last().filter(|_| rows.iter().any(|row| row.2));
            let (rows, groups) = totals(merged);
            prop_assert_eq!(rows, groups.len());
        }
    }
}
