//! One epoch of one partition, without I/O: partial rows in, state changed, rows out.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{ArrayRef, Int8Array, RecordBatch, UInt64Array},
        compute::{concat_batches, take_arrays},
    },
    error::Result,
    physical_plan::aggregates::{group_values::new_group_values, order::GroupOrdering},
};
use headwater_core::{OutputMode, Watermark};
use headwater_state::KeyedState;

use super::definition::Definition;
use crate::{
    distinct::new_values,
    runtime::external,
    window::{ClosingWindows, Span},
};

/// The stores of one partition.
pub(super) struct Stores {
    pub(super) groups: KeyedState,
    pub(super) distinct: Vec<KeyedState>,
}

/// What one epoch did to one partition.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) output: Vec<RecordBatch>,
    pub(super) updated: usize,
    pub(super) removed: usize,
}

impl Definition {
    /// One epoch of one partition, without I/O.
    pub(super) fn run(
        &self,
        stores: &mut Stores,
        partial: &RecordBatch,
        span: Span,
    ) -> Result<Outcome> {
        let mut outcome = Outcome::default();
        if partial.num_rows() > 0 {
            self.fold(stores, partial, &mut outcome)?;
        }
        if let Some(closing) = &self.closing {
            self.close(closing, stores, span, &mut outcome)?;
        } else if self.expiry.is_some() && self.mode != OutputMode::Complete {
            let emits = self.mode == OutputMode::Append;
            let limit = span.until;
            let expired = stores.groups.expire(limit, emits).map_err(external)?;
            outcome.removed = expired.removed;
            for store in &mut stores.distinct {
                store.expire(limit, false).map_err(external)?;
            }
            self.emit_stored(expired.rows, &mut outcome.output)?;
        }
        if self.mode == OutputMode::Complete {
            let all = stores.groups.scan().map_err(external)?;
            self.emit_stored(all, &mut outcome.output)?;
        }
        Ok(outcome)
    }

    /// Gives out the windows that end, and forgets the slices that are in no other.
    fn close(
        &self,
        closing: &ClosingWindows,
        stores: &mut Stores,
        span: Span,
        outcome: &mut Outcome,
    ) -> Result<()> {
        let Some(needed) = closing.needed(span) else {
            return Ok(());
        };
        let rows = stores.groups.scan_until(needed).map_err(external)?;
        for columns in closing.close(&rows, span)? {
            let rows = columns.first().map_or(0, |column| column.len());
            outcome.output.push(self.output_batch(columns, rows)?);
        }
        let expired = stores.groups.expire(span.until, false).map_err(external)?;
        outcome.removed = expired.removed;
        Ok(())
    }

    /// When the watermark next ends something that the partition holds, in milliseconds.
    pub(super) fn next_expiry(&self, groups: &KeyedState, watermark: Watermark) -> Option<i64> {
        let first = groups.earliest_expiry()?;
        Some(match &self.closing {
            None => first,
            Some(closing) => closing.next_end(first, watermark),
        })
    }

    /// Merges partial rows into the state of the keys they touch; update mode gives those out.
    ///
    /// Groups are numbered with the known keys first: DataFusion's accumulators take it that whatever lies below the
    /// number of groups they are told has had a row, and forget nulls otherwise.
    fn fold(
        &self,
        stores: &mut Stores,
        partial: &RecordBatch,
        outcome: &mut Outcome,
    ) -> Result<()> {
        let keys = self.keys_of(partial);
        let states = &partial.columns()[self.keys..];
        let expiry = self.expiry_of(&keys)?;
        let touched = stores
            .groups
            .touch(&keys, expiry.as_ref())
            .map_err(external)?;
        let groups = touched.len();
        let layout = &self.layout;
        let mut accumulators = layout.fresh()?;
        let order = if layout.chained() {
            (0..groups).collect()
        } else {
            let (mut known, values) = stores.groups.gather(&touched).map_err(external)?;
            if !known.is_empty() {
                let numbers: Vec<usize> = (0..known.len()).collect();
                layout.merge_stored(&mut accumulators, &values, &numbers, known.len())?;
            }
            known.extend(touched.new_ids());
            known
        };
        let row_groups = renumbered(touched.row_ids(), &order);
        layout.merge_incoming(&mut accumulators, states, &row_groups, groups)?;
        for (distinct, store) in layout.distinct().zip(&mut stores.distinct) {
            let lists = &states[distinct.column];
            let new = new_values(store, &keys, expiry.as_ref(), &row_groups, lists)?;
            let number = distinct.number;
            layout.update_distinct(&mut accumulators, number, &new.values, &new.ids, groups)?;
        }
        let merged = layout.states(&mut accumulators)?;
        stores
            .groups
            .put_ids(&touched, &order, merged.clone())
            .map_err(external)?;
        outcome.updated = groups;
        if self.mode == OutputMode::Update {
            let mut accumulators = layout.fresh()?;
            if layout.chained() {
                let (ids, values) = stores.groups.gather(&touched).map_err(external)?;
                layout.merge_stored(&mut accumulators, &values, &ids, groups)?;
            } else {
                let numbers: Vec<usize> = (0..groups).collect();
                layout.merge_stored(&mut accumulators, &merged, &numbers, groups)?;
            }
            let order = UInt64Array::from_iter_values(order.iter().map(|id| *id as u64));
            let mut columns = take_arrays(&touched.keys()[..self.keys], &order, None)?;
            columns.extend(layout.results(&mut accumulators)?);
            outcome.output.push(self.output_batch(columns, groups)?);
        }
        Ok(())
    }

    /// Gives out stored rows: keys as they are, states evaluated.
    fn emit_stored(&self, rows: Vec<RecordBatch>, output: &mut Vec<RecordBatch>) -> Result<()> {
        let key_columns = self.spec.keys.fields().len();
        let Some(first) = rows.first() else {
            return Ok(());
        };
        // A chain may lie across batches, so those are evaluated together.
        let rows = if self.layout.chained() {
            vec![concat_batches(&first.schema(), &rows)?]
        } else {
            rows
        };
        for batch in rows.into_iter().filter(|batch| batch.num_rows() > 0) {
            let (stored_keys, states) = batch.columns().split_at(key_columns);
            let (mut columns, ids, groups) = if self.layout.chained() {
                let mut index =
                    new_group_values(Arc::clone(&self.spec.keys), &GroupOrdering::None)?;
                let mut ids = Vec::new();
                index.intern(stored_keys, &mut ids)?;
                let groups = index.len();
                (
                    index.emit(datafusion::logical_expr::EmitTo::All)?,
                    ids,
                    groups,
                )
            } else {
                let rows = batch.num_rows();
                (stored_keys.to_vec(), (0..rows).collect(), rows)
            };
            let mut accumulators = self.layout.fresh()?;
            self.layout
                .merge_stored(&mut accumulators, states, &ids, groups)?;
            columns.truncate(self.keys);
            columns.extend(self.layout.results(&mut accumulators)?);
            output.push(self.output_batch(columns, groups)?);
        }
        Ok(())
    }

    fn keys_of(&self, partial: &RecordBatch) -> Vec<ArrayRef> {
        match &self.closing {
            _ if self.keys == 0 => vec![Arc::new(Int8Array::from_value(0, partial.num_rows()))],
            None => partial.columns()[..self.keys].to_vec(),
            Some(closing) => {
                let order = closing.key_order().into_iter();
                order.map(|key| Arc::clone(partial.column(key))).collect()
            }
        }
    }

    fn output_batch(&self, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
        let options =
            datafusion::arrow::array::RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(
            Arc::clone(&self.output),
            columns,
            &options,
        )?)
    }
}

/// The number of each row's group, where `order[number]` is the group's id.
fn renumbered(row_ids: &[usize], order: &[usize]) -> Vec<usize> {
    if order.is_sorted() {
        return row_ids.to_vec();
    }
    let mut numbers = vec![0; order.len()];
    for (number, id) in order.iter().enumerate() {
        numbers[*id] = number;
    }
    row_ids.iter().map(|id| numbers[*id]).collect()
}
