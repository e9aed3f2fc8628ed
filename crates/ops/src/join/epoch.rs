//! One epoch of one partition of a join, without I/O.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{
            Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions,
            new_null_array,
        },
        buffer::{BooleanBuffer, NullBuffer},
        compute::{filter_record_batch, not},
    },
    common::{JoinType, cast::as_boolean_array},
    error::Result,
};
use headwater_core::Watermark;
use headwater_state::{Emit, NullKeys, Probe, RowStore, Within};

use super::{
    definition::{StreamJoin, number},
    pairs::{Pairs, holds},
    range::NearRows,
};
use crate::runtime::external;

/// Pairs that are looked at together: enough for kernels to be fast, few enough to need little memory.
const PAIRS_AT_ONCE: usize = 32 * 1_024;

const LEFT: usize = 0;

/// An epoch under way.
pub(super) struct JoinEpoch<'a> {
    definition: &'a StreamJoin,
    stores: [RowStore; 2],
    /// What expires at or before it goes, in milliseconds.
    limit: i64,
    outcome: Counts,
    output: Vec<RecordBatch>,
}

#[derive(Default)]
struct Counts {
    updated: usize,
    removed: usize,
}

/// What one epoch did to one partition.
pub(super) struct Outcome {
    pub(super) stores: [RowStore; 2],
    pub(super) output: Vec<RecordBatch>,
    pub(super) updated: usize,
    pub(super) removed: usize,
}

impl<'a> JoinEpoch<'a> {
    pub(super) fn new(
        definition: &'a StreamJoin,
        stores: [RowStore; 2],
        watermark: Watermark,
    ) -> Self {
        Self {
            definition,
            stores,
            limit: watermark.millis(),
            outcome: Counts::default(),
            output: Vec::new(),
        }
    }

    /// Takes all new rows of both sides.
    pub(super) fn take_all(&mut self, inputs: [Vec<RecordBatch>; 2]) -> Result<()> {
        let first = self.definition.first();
        for side in [first, 1 - first] {
            for batch in &inputs[side] {
                self.take(side, batch)?;
            }
        }
        Ok(())
    }

    /// Joins new rows with what is stored of the other side, and stores them.
    fn take(&mut self, side: usize, batch: &RecordBatch) -> Result<()> {
        let batch = self.own_condition(side, batch)?;
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let matched = self.matches(side, &batch)?;
        let is_semi = self.definition.join_type == JoinType::LeftSemi;
        if is_semi && side == LEFT {
            let found = filter_record_batch(&batch, &matched)?;
            self.emit(side, found.columns(), found.num_rows())?;
        }
        self.store(side, &batch, &matched)
    }

    /// The rows that satisfy the condition on their side alone. The others have no match: they come out at once where
    /// rows do so without one.
    fn own_condition(&mut self, side: usize, batch: &RecordBatch) -> Result<RecordBatch> {
        let Some(condition) = &self.definition.inputs[side].own else {
            return Ok(batch.clone());
        };
        let holds = holds(condition, batch)?;
        if holds.true_count() == batch.num_rows() {
            return Ok(batch.clone());
        }
        if self.definition.keeps(side) {
            let rest = filter_record_batch(batch, &not(&holds)?)?;
            self.emit(side, rest.columns(), rest.num_rows())?;
        }
        Ok(filter_record_batch(batch, &holds)?)
    }

    /// Gives out the matches of new rows with stored ones; which of the new rows have any.
    fn matches(&mut self, side: usize, batch: &RecordBatch) -> Result<BooleanArray> {
        let definition = self.definition;
        let other = 1 - side;
        let rows = batch.num_rows();
        let near = definition.inputs[other].near;
        let near = near
            .map(|near| NearRows::of(near, batch.columns()))
            .transpose()?;
        let is_semi = definition.join_type == JoinType::LeftSemi;
        let mut matched = vec![false; rows];
        let mut start = 0;
        while start < rows {
            let store = &mut self.stores[other];
            let found = store
                .probe(&Probe {
                    keys: &batch.columns()[..definition.keys],
                    rows: start..rows,
                    within: near.as_ref().map_or(Within::Any, NearRows::within),
                    null_keys: definition.null_keys,
                    at_most: PAIRS_AT_ONCE,
                })
                .map_err(external)?;
            start = found.end;
            if found.rows.is_empty() {
                continue;
            }
            let pairs = Pairs::new(definition, side, batch, store, found.probe_rows, found.rows);
            let pairs = pairs.that_match()?;
            for row in pairs.rows.values() {
                matched[*row as usize] = true;
            }
            if pairs.rows.is_empty() || is_semi && side == LEFT {
                continue;
            }
            let stored = pairs.stored.clone();
            if is_semi {
                self.release(&stored.distinct())?;
                continue;
            }
            self.output.push(pairs.output()?);
            if definition.keeps(other) {
                store.mark(&stored).map_err(external)?;
            }
        }
        Ok(matched.into())
    }

    /// Gives out stored left rows that have found a match in a semi join, and forgets them.
    fn release(&mut self, rows: &headwater_state::RowRefs) -> Result<()> {
        let columns: Vec<usize> = (0..self.definition.inputs[LEFT].stored).collect();
        let store = &mut self.stores[LEFT];
        let found = store.gather(rows, &columns).map_err(external)?;
        self.outcome.removed += store.remove(rows).map_err(external)?;
        self.emit(LEFT, &found, rows.len())
    }

    /// Keeps new rows for those that are still to come.
    fn store(&mut self, side: usize, batch: &RecordBatch, matched: &BooleanArray) -> Result<()> {
        let input = &self.definition.inputs[side];
        let expiry = input.expiry.map(|expiry| expiry.millis(batch.columns()));
        let expiry = expiry.transpose()?;
        let wanted = self.to_be_kept(side, batch, matched, expiry.as_ref());
        let kept;
        let (batch, expiry, matched) = match wanted {
            None => (batch, expiry, matched.clone()),
            Some(wanted) => {
                let column =
                    |column: &dyn Array| datafusion::arrow::compute::filter(column, &wanted);
                kept = filter_record_batch(batch, &wanted)?;
                let expiry = expiry.map(|expiry| column(&expiry)).transpose()?;
                let expiry = expiry.map(|e| Int64Array::from(e.to_data()));
                (&kept, expiry, as_boolean_array(&column(matched)?)?.clone())
            }
        };
        if batch.num_rows() == 0 {
            return Ok(());
        }
        self.outcome.updated += batch.num_rows();
        let (keys, rest) = batch.columns().split_at(self.definition.keys);
        let values = &rest[..input.stored - keys.len()];
        let marked = self.definition.keeps(side).then_some(&matched);
        self.stores[side]
            .append(keys, values, expiry.as_ref(), marked)
            .map_err(external)?;
        Ok(())
    }

    /// Which rows a later one may ask for; `None` if that is all of them.
    fn to_be_kept(
        &self,
        side: usize,
        batch: &RecordBatch,
        matched: &BooleanArray,
        expiry: Option<&Int64Array>,
    ) -> Option<BooleanArray> {
        let definition = self.definition;
        let keeps = definition.keeps(side);
        let is_semi = definition.join_type == JoinType::LeftSemi && side == LEFT;
        // One match is all that a semi join asks for.
        let mut useless = is_semi.then(|| matched.values().clone());
        let add = |useless: Option<BooleanBuffer>, more: BooleanBuffer| {
            Some(useless.map_or(more.clone(), |useless| &useless | &more))
        };
        if definition.null_keys == NullKeys::Never && !keeps {
            let keys = batch.columns()[..definition.keys].iter();
            let nulls = keys.fold(None, |nulls, key| {
                NullBuffer::union(nulls.as_ref(), key.logical_nulls().as_ref())
            });
            if let Some(nulls) = nulls {
                useless = add(useless, !nulls.inner());
            }
        }
        // All new rows of the other side have been taken, so nothing can ask for a row that goes in this epoch.
        if side != definition.first()
            && let Some(expiry) = expiry
        {
            let gone = BooleanBuffer::collect_bool(expiry.len(), |row| {
                expiry.is_valid(row)
                    && expiry.value(row) <= self.limit
                    && (!keeps || matched.value(row))
            });
            useless = add(useless, gone);
        }
        let useless = useless.filter(|useless| useless.count_set_bits() > 0)?;
        Some(BooleanArray::new(!&useless, None))
    }

    /// Gives out rows of one side without a match.
    fn emit(&mut self, side: usize, columns: &[ArrayRef], rows: usize) -> Result<()> {
        if rows == 0 {
            return Ok(());
        }
        let definition = self.definition;
        let output = definition.output.iter().zip(definition.schema.fields());
        let output = output.map(|(column, field)| match number(column.side) == side {
            true => Arc::clone(&columns[column.index]),
            false => new_null_array(field.data_type(), rows),
        });
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        self.output.push(RecordBatch::try_new_with_options(
            Arc::clone(&definition.schema),
            output.collect(),
            &options,
        )?);
        Ok(())
    }

    /// Removes what the watermark has passed; kept rows that never found a match come out.
    pub(super) fn finish(mut self) -> Result<Outcome> {
        for side in [0, 1] {
            if self.definition.inputs[side].expiry.is_none() {
                continue;
            }
            let emit = match self.definition.keeps(side) {
                true => Emit::Unmarked,
                false => Emit::Nothing,
            };
            let expired = self.stores[side]
                .expire(self.limit, emit)
                .map_err(external)?;
            self.outcome.removed += expired.removed;
            for rows in &expired.rows {
                self.emit(side, rows.columns(), rows.num_rows())?;
            }
        }
        Ok(Outcome {
            stores: self.stores,
            output: self.output,
            updated: self.outcome.updated,
            removed: self.outcome.removed,
        })
    }
}
