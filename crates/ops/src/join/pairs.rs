//! Pairs of a new row and a stored row of the other side: which of them match, and what comes out.

use std::{collections::HashMap, sync::Arc};

use datafusion::{
    arrow::{
        array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array},
        compute::{filter, prep_null_mask_filter, take},
    },
    common::cast::{as_boolean_array, as_uint32_array},
    error::Result,
    physical_expr::PhysicalExpr,
    physical_plan::joins::utils::{ColumnIndex, JoinFilter},
};
use headwater_state::{RowRefs, RowStore};

use super::definition::{StreamJoin, number};
use crate::runtime::external;

/// Pairs with the same key. Columns are copied when they are first asked for, and filtered rather than copied again.
pub(super) struct Pairs<'a> {
    definition: &'a StreamJoin,
    /// The side of the new rows.
    side: usize,
    batch: &'a RecordBatch,
    store: &'a RowStore,
    /// The new row of each pair.
    pub(super) rows: UInt32Array,
    /// The stored row of each pair.
    pub(super) stored: RowRefs,
    known: HashMap<(usize, usize), ArrayRef>,
}

impl<'a> Pairs<'a> {
    pub(super) fn new(
        definition: &'a StreamJoin,
        side: usize,
        batch: &'a RecordBatch,
        store: &'a RowStore,
        rows: UInt32Array,
        stored: RowRefs,
    ) -> Self {
        Self {
            definition,
            side,
            batch,
            store,
            rows,
            stored,
            known: HashMap::new(),
        }
    }

    /// Those for which the rest of the condition holds.
    pub(super) fn that_match(mut self) -> Result<Self> {
        let definition = self.definition;
        let Some(condition) = &definition.filter else {
            return Ok(self);
        };
        let columns = self.columns(condition.column_indices())?;
        let candidates = batch(condition, columns, self.rows.len())?;
        let holds = holds(condition.expression(), &candidates)?;
        if holds.true_count() == self.rows.len() {
            return Ok(self);
        }
        self.rows = as_uint32_array(&filter(&self.rows, &holds)?)?.clone();
        self.stored = self.stored.filter(&holds).map_err(external)?;
        for column in self.known.values_mut() {
            *column = filter(column, &holds)?;
        }
        Ok(self)
    }

    /// What comes out.
    pub(super) fn output(mut self) -> Result<RecordBatch> {
        let definition = self.definition;
        let columns = self.columns(&definition.output)?;
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows.len()));
        Ok(RecordBatch::try_new_with_options(
            Arc::clone(&definition.schema),
            columns,
            &options,
        )?)
    }

    /// These columns of the pairs.
    fn columns(&mut self, wanted: &[ColumnIndex]) -> Result<Vec<ArrayRef>> {
        let names = wanted
            .iter()
            .map(|column| (number(column.side), column.index));
        let names: Vec<(usize, usize)> = names.collect();
        let mut stored = Vec::new();
        for name in &names {
            if self.known.contains_key(name) || stored.contains(&name.1) && name.0 != self.side {
                continue;
            }
            match name.0 == self.side {
                true => {
                    let column = take(self.batch.column(name.1), &self.rows, None)?;
                    self.known.insert(*name, column);
                }
                false => stored.push(name.1),
            }
        }
        if !stored.is_empty() {
            let columns = self.store.gather(&self.stored, &stored).map_err(external)?;
            let other = 1 - self.side;
            let named = stored.into_iter().map(|column| (other, column));
            self.known.extend(named.zip(columns));
        }
        let columns = names.iter().map(|name| Arc::clone(&self.known[name]));
        Ok(columns.collect())
    }
}

/// For which rows a condition is true: NULL is not.
pub(super) fn holds(condition: &Arc<dyn PhysicalExpr>, rows: &RecordBatch) -> Result<BooleanArray> {
    let holds = condition.evaluate(rows)?.into_array(rows.num_rows())?;
    let holds = as_boolean_array(&holds)?;
    Ok(match holds.null_count() {
        0 => holds.clone(),
        _ => prep_null_mask_filter(holds),
    })
}

fn batch(condition: &JoinFilter, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(
        Arc::clone(condition.schema()),
        columns,
        &options,
    )?)
}
