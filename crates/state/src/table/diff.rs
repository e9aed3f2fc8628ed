//! The changes between two versions whose rows are known: for epochs that wrote the state as a whole.

use std::{collections::HashSet, ops::Range, sync::Arc};

use arrow::{
    array::{ArrayRef, RecordBatch, UInt32Array},
    compute::{concat_batches, take_record_batch},
    datatypes::{Schema, SchemaRef},
};
use headwater_core::Result;

use super::replay::{ChangeKind, Changed, columns_of};
use crate::{index::KeyIndexFactory, store_layout::StoreKind};

/// Which columns of rows mean what.
pub(super) struct Columns {
    /// Those of the key.
    pub(super) keys: Range<usize>,
    /// Those by which a row is told from others: all but its number, which is another one after the state was dealt out
    /// anew.
    pub(super) compared: Vec<usize>,
}

/// What became of the rows `before`, given those `after`.
///
/// Rows are compared as a whole: one that is there before and after is no change, however often it moved.
pub(super) fn diff(
    schema: &SchemaRef,
    kind: StoreKind,
    columns: &Columns,
    before: &[RecordBatch],
    after: &[RecordBatch],
    index: &dyn KeyIndexFactory,
) -> Result<Changed> {
    let before = concat_batches(schema, before)?;
    let after = concat_batches(schema, after)?;
    let compared = |rows: &RecordBatch| -> Vec<ArrayRef> {
        let columns = columns.compared.iter();
        columns
            .map(|column| Arc::clone(rows.column(*column)))
            .collect()
    };
    let names: SchemaRef = Arc::new(schema.project(&columns.compared)?);
    let [old, new] = numbered(&names, [compared(&before), compared(&after)], index)?;
    let mut left = vec![0_usize; old.iter().chain(&new).max().map_or(0, |last| last + 1)];
    old.iter().for_each(|id| left[*id] += 1);
    let mut came = Vec::new();
    for (row, id) in new.iter().enumerate() {
        match left[*id] {
            0 => came.push(row as u32),
            _ => left[*id] -= 1,
        }
    }
    let mut went = Vec::new();
    for (row, id) in old.iter().enumerate() {
        if left[*id] > 0 {
            left[*id] -= 1;
            went.push(row as u32);
        }
    }
    let put = match kind {
        StoreKind::Value => ChangeKind::Upsert,
        StoreKind::Chain | StoreKind::Rows => ChangeKind::Insert,
    };
    if kind == StoreKind::Value {
        went = without_replaced(schema, columns, &before, went, &after, index)?;
    }
    let rows = |batch: &RecordBatch, rows: Vec<u32>| -> Result<RecordBatch> {
        Ok(take_record_batch(batch, &UInt32Array::from(rows))?)
    };
    Ok(vec![
        (ChangeKind::Delete, rows(&before, went)?),
        (put, rows(&after, came)?),
    ])
}

/// Of the rows that went, those whose key has no other row now.
fn without_replaced(
    schema: &SchemaRef,
    columns: &Columns,
    before: &RecordBatch,
    went: Vec<u32>,
    after: &RecordBatch,
    index: &dyn KeyIndexFactory,
) -> Result<Vec<u32>> {
    if columns.keys.is_empty() {
        // There is one key.
        return Ok(went.into_iter().filter(|_| after.num_rows() == 0).collect());
    }
    let names: Vec<usize> = columns.keys.clone().collect();
    let names = Arc::new(schema.project(&names)?);
    let keys = [before, after].map(|rows| columns_of(rows, columns.keys.clone()));
    let [old, new] = numbered(&names, keys, index)?;
    let new: HashSet<usize> = new.into_iter().collect();
    Ok(went
        .into_iter()
        .filter(|row| !new.contains(&old[*row as usize]))
        .collect())
}

/// Numbers of rows of two batches: the same for equal rows.
fn numbered(
    schema: &Arc<Schema>,
    rows: [Vec<ArrayRef>; 2],
    index: &dyn KeyIndexFactory,
) -> Result<[Vec<usize>; 2]> {
    let mut numbers = index.create(schema)?;
    let [before, after] = rows;
    let mut ids = [Vec::new(), Vec::new()];
    numbers.intern(&before, &mut ids[0])?;
    numbers.intern(&after, &mut ids[1])?;
    Ok(ids)
}
