//! Puts what was aggregated of slices into their windows, and merges what comes together there.
//!
//! A key is usually in most slices of a window, so that there are far fewer groups of windows than rows that enter them:
//! merged they are exchanged and looked up in state once, or given out. The other columns of the key are numbered once for
//! all windows; then a window is gone through slice by slice, and what it has of a key is found by the key's number.
//! Windows are merged in runs of bounded length, since a row is in many of them.

use std::{
    collections::BTreeMap,
    ops::{Range, RangeInclusive},
    sync::Arc,
};

use datafusion::{
    arrow::{
        array::{ArrayRef, BooleanArray, Int64Array, RecordBatch},
        compute::{filter_record_batch, interleave, not},
        datatypes::DataType,
    },
    error::Result,
    physical_plan::aggregates::AggregateExec,
};

use super::{
    Scaled,
    slice::{instants, times},
};
use crate::{
    accumulate::{Accumulators, AggregateLayout},
    key_index::key_index_factory,
    runtime::external,
};

/// After so many rows, each counted once for each of its windows, a run ends.
const RUN: usize = 1 << 20;

/// How the partial rows of an aggregation over slices are merged by window.
#[derive(Debug)]
pub(crate) struct Combination {
    /// The column that names slices, and windows.
    column: usize,
    scaled: Scaled,
    /// Leading columns that the rows are grouped by.
    keys: usize,
    layout: AggregateLayout,
}

/// Rows of slices and windows, ready to be merged by window.
struct Gathered<'a> {
    batches: &'a [RecordBatch],
    /// The rows in order of their slices: batch and row.
    places: Vec<(usize, usize)>,
    /// By the start of a window, which parts of `places` belong to it.
    windows: BTreeMap<i64, Vec<Range<usize>>>,
    /// The number of the key, without the slice, of each of `places`, and how many keys there are.
    ids: Vec<usize>,
    known: usize,
}

/// Windows that were merged: a row for each key in each of them.
pub(crate) struct Merged<'a> {
    gathered: &'a Gathered<'a>,
    /// For each row a place that has its key, and the start of its window.
    firsts: Vec<(usize, usize)>,
    starts: Vec<i64>,
    accumulators: Accumulators,
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

    /// How many columns the rows are grouped by.
    pub(super) fn keys(&self) -> usize {
        self.keys
    }

    /// The windows in units of the times.
    pub(super) fn scaled(&self) -> Scaled {
        self.scaled
    }

    /// How many rows of slices are merged together.
    pub(super) fn run(&self) -> usize {
        RUN / usize::try_from(self.scaled.overlapping())
            .unwrap_or(RUN)
            .clamp(1, RUN)
    }

    /// The same merging of rows whose slice is their last key.
    pub(crate) fn with_slice_last(&self) -> Self {
        Self {
            column: self.keys - 1,
            layout: self.layout.clone(),
            ..*self
        }
    }

    /// Rows of slices as rows of their windows, one for each key in each window; rows of windows stay as they are.
    pub(super) fn combine(&self, rows: &RecordBatch) -> Result<Vec<RecordBatch>> {
        if rows.num_rows() == 0 {
            return Ok(Vec::new());
        }
        let named = instants(rows.column(self.column))?;
        let last_start = self.scaled.last_starts();
        let windows = BooleanArray::from_unary(&named, |instant| last_start(instant) == instant);
        let (mut combined, slices) = match windows.true_count() {
            0 => (Vec::new(), rows.clone()),
            all if all == rows.num_rows() => return Ok(vec![rows.clone()]),
            _ => {
                let slices = filter_record_batch(rows, &not(&windows)?)?;
                (vec![filter_record_batch(rows, &windows)?], slices)
            }
        };
        self.merge(&[slices], i64::MIN..=i64::MAX, |merged| {
            let mut columns = merged.keys(self, 0..merged.len())?;
            columns.extend(merged.into_states(self)?);
            combined.push(RecordBatch::try_new(rows.schema(), columns)?);
            Ok(())
        })?;
        Ok(combined)
    }

    /// Merges rows of slices and windows into those windows whose start is `wanted`, the earliest first, and gives them out
    /// run by run. What it costs follows the rows and how often they are in a window that is wanted.
    pub(crate) fn merge(
        &self,
        batches: &[RecordBatch],
        wanted: RangeInclusive<i64>,
        mut give: impl FnMut(Merged<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut gathered = self.gather(batches, &wanted)?;
        let windows = std::mem::take(&mut gathered.windows);
        if windows.is_empty() {
            return Ok(());
        }
        let states = gathered.states(self.keys)?;
        // By key, the last window in which it was met and its group there.
        let mut met = vec![(usize::MAX, 0); gathered.known];
        let (mut run, mut rows, mut groups) = (self.begin(&gathered)?, 0, Vec::new());
        for (window, (start, ranges)) in windows.into_iter().enumerate() {
            for range in ranges {
                groups.clear();
                for place in range.clone() {
                    let met = &mut met[gathered.ids[place]];
                    if met.0 != window {
                        *met = (window, run.firsts.len());
                        run.firsts.push(gathered.places[place]);
                        run.starts.push(start);
                    }
                    groups.push(met.1);
                }
                rows += range.len();
                let of_range: Vec<ArrayRef> = states
                    .iter()
                    .map(|state| state.slice(range.start, range.len()))
                    .collect();
                let known = run.firsts.len();
                let layout = &self.layout;
                layout.merge_stored(&mut run.accumulators, &of_range, &groups, known)?;
            }
            if rows >= RUN {
                give(std::mem::replace(&mut run, self.begin(&gathered)?))?;
                rows = 0;
            }
        }
        match run.firsts.is_empty() {
            true => Ok(()),
            false => give(run),
        }
    }

    fn begin<'a>(&self, gathered: &'a Gathered<'a>) -> Result<Merged<'a>> {
        Ok(Merged {
            gathered,
            firsts: Vec::new(),
            starts: Vec::new(),
            accumulators: self.layout.fresh()?,
        })
    }

    fn gather<'a>(
        &self,
        batches: &'a [RecordBatch],
        wanted: &RangeInclusive<i64>,
    ) -> Result<Gathered<'a>> {
        let mut named: Vec<i64> = Vec::new();
        let mut places = Vec::new();
        for (number, batch) in batches.iter().enumerate() {
            named.extend(instants(batch.column(self.column))?.values());
            places.extend((0..batch.num_rows()).map(|row| (number, row)));
        }
        let InOrder {
            order,
            instants,
            ranges,
        } = InOrder::of(&named);
        let mut windows: BTreeMap<i64, Vec<Range<usize>>> = BTreeMap::new();
        for (instant, range) in instants.into_iter().zip(ranges) {
            for start in self.scaled.windows_named(instant, wanted) {
                let parts = windows.entry(start).or_default();
                match parts.last_mut() {
                    Some(last) if last.end == range.start => last.end = range.end,
                    _ => parts.push(range.clone()),
                }
            }
        }
        let (ids, known) = self.numbered(batches)?;
        Ok(Gathered {
            batches,
            places: order.iter().map(|row| places[*row]).collect(),
            windows,
            ids: order.iter().map(|row| ids[*row]).collect(),
            known,
        })
    }

    /// The number of each row's key without the column of slices, and how many there are.
    fn numbered(&self, batches: &[RecordBatch]) -> Result<(Vec<usize>, usize)> {
        let others: Vec<usize> = (0..self.keys).filter(|key| *key != self.column).collect();
        let Some(first) = batches.first().filter(|_| !others.is_empty()) else {
            let rows = batches.iter().map(RecordBatch::num_rows).sum();
            return Ok((vec![0; rows], 1));
        };
        let schema = Arc::new(first.schema().project(&others)?);
        let mut index = key_index_factory().create(&schema).map_err(external)?;
        let (mut ids, mut of_batch) = (Vec::new(), Vec::new());
        for batch in batches {
            let keys: Vec<ArrayRef> = others
                .iter()
                .map(|key| Arc::clone(batch.column(*key)))
                .collect();
            index.intern(&keys, &mut of_batch).map_err(external)?;
            ids.append(&mut of_batch);
        }
        Ok((ids, index.len()))
    }
}

impl Gathered<'_> {
    /// One column of these places.
    fn column(&self, column: usize, places: &[(usize, usize)]) -> Result<ArrayRef> {
        let columns = self
            .batches
            .iter()
            .map(|batch| batch.column(column).as_ref());
        Ok(interleave(&columns.collect::<Vec<_>>(), places)?)
    }

    /// The states of all rows in order of their slices.
    fn states(&self, keys: usize) -> Result<Vec<ArrayRef>> {
        let columns = self.batches.first().map_or(keys, RecordBatch::num_columns);
        (keys..columns)
            .map(|column| self.column(column, &self.places))
            .collect()
    }
}

impl Merged<'_> {
    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        self.firsts.len()
    }

    /// The keys of some of the rows, with starts of windows where there were slices.
    pub(crate) fn keys(&self, of: &Combination, rows: Range<usize>) -> Result<Vec<ArrayRef>> {
        let firsts = &self.firsts[rows.clone()];
        let keys = (0..of.keys).map(|key| {
            if key != of.column {
                return self.gathered.column(key, firsts);
            }
            let starts = Int64Array::from_iter_values(self.starts[rows.clone()].iter().copied());
            times(starts, self.gathered.batches[0].column(key).data_type())
        });
        keys.collect()
    }

    fn into_states(mut self, of: &Combination) -> Result<Vec<ArrayRef>> {
        of.layout.states(&mut self.accumulators)
    }

    /// What the aggregates answer, a row each; nothing is left to be asked again.
    pub(crate) fn take_results(&mut self, of: &Combination) -> Result<Vec<ArrayRef>> {
        of.layout.results(&mut self.accumulators)
    }
}

/// Rows in order of what they are named by.
struct InOrder {
    order: Vec<usize>,
    /// The different instants, ascending.
    instants: Vec<i64>,
    /// Which part of `order` each has.
    ranges: Vec<Range<usize>>,
}

impl InOrder {
    /// Counts the rows of each instant: there are few of them, and neighbours are mostly of the same.
    fn of(named: &[i64]) -> Self {
        let mut numbers: BTreeMap<i64, usize> = BTreeMap::new();
        let mut counts: Vec<usize> = Vec::new();
        let mut last = None;
        let mut of_row = Vec::with_capacity(named.len());
        for instant in named {
            let number = match last {
                Some((before, number)) if before == *instant => number,
                _ => *numbers.entry(*instant).or_insert(counts.len()),
            };
            if number == counts.len() {
                counts.push(0);
            }
            counts[number] += 1;
            last = Some((*instant, number));
            of_row.push(number);
        }
        let mut next = vec![0; counts.len()];
        let (mut instants, mut ranges) = (Vec::new(), Vec::new());
        let mut start = 0;
        for (instant, number) in numbers {
            next[number] = start;
            instants.push(instant);
            ranges.push(start..start + counts[number]);
            start += counts[number];
        }
        let mut order = vec![0; of_row.len()];
        for (row, number) in of_row.into_iter().enumerate() {
            order[next[number]] = row;
            next[number] += 1;
        }
        Self {
            order,
            instants,
            ranges,
        }
    }
}

/// Whether a value takes a few bytes whatever it is.
fn is_narrow(state: &DataType) -> bool {
    state.is_primitive() || matches!(state, DataType::Boolean)
}

#[cfg(test)]
pub(super) mod tests {
    use datafusion::{
        arrow::{
            array::{AsArray, TimestampMillisecondArray},
            datatypes::{Field, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMillisecondType},
        },
        functions_aggregate::{count::count_udaf, min_max::max_udaf},
        physical_expr::{aggregate::AggregateExprBuilder, expressions::col},
    };
    use proptest::prelude::*;

    use super::*;
    use crate::window::slice::expand;

    /// A key, what names a slice or window, a count and a maximum.
    pub(in crate::window) fn schema() -> SchemaRef {
        let time = DataType::Timestamp(TimeUnit::Millisecond, None);
        Arc::new(Schema::new(vec![
            Field::new("key", DataType::Int64, true),
            Field::new("w", time, false),
            Field::new("count", DataType::Int64, true),
            Field::new("max", DataType::Int64, true),
        ]))
    }

    /// Of rows of [`schema`].
    pub(in crate::window) fn combination(scaled: Scaled) -> Combination {
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
