//! A plain [`KeyIndex`] over Arrow's row format, for tests that must not build a query engine.
//!
//! Zeros of either sign are one key, and so are all NaN, as in key groups; only floats that are key columns
//! themselves are normalised, not those inside lists and structs.

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use arrow::{
    array::{ArrayRef, AsArray},
    datatypes::{DataType, Float32Type, Float64Type, SchemaRef},
    row::{RowConverter, Rows, SortField},
};
use hashbrown::HashTable;
use headwater_core::Result;

use crate::index::{KeyIndex, KeyIndexFactory};

/// Makes [`RowIndex`]es.
#[derive(Debug, Clone, Copy, Default)]
pub struct RowIndexFactory;

impl KeyIndexFactory for RowIndexFactory {
    fn create(&self, keys: &SchemaRef) -> Result<Box<dyn KeyIndex>> {
        Ok(Box::new(RowIndex::new(keys)?))
    }
}

/// Keys as encoded rows, found through a hash table of their numbers.
#[derive(Debug)]
pub struct RowIndex {
    converter: RowConverter,
    rows: Rows,
    table: HashTable<usize>,
    hasher: RandomState,
}

impl RowIndex {
    /// An empty index of keys with these columns.
    pub fn new(keys: &SchemaRef) -> Result<Self> {
        let fields = keys.fields().iter();
        let fields = fields.map(|field| SortField::new(field.data_type().clone()));
        let converter = RowConverter::new(fields.collect())?;
        Ok(Self {
            rows: converter.empty_rows(0, 0),
            converter,
            table: HashTable::new(),
            hasher: RandomState::new(),
        })
    }
}

impl KeyIndex for RowIndex {
    fn intern(&mut self, keys: &[ArrayRef], slots: &mut Vec<usize>) -> Result<()> {
        let keys: Vec<ArrayRef> = keys.iter().map(normalised).collect();
        let incoming = self.converter.convert_columns(&keys)?;
        slots.clear();
        for row in &incoming {
            let (rows, hasher) = (&mut self.rows, &self.hasher);
            let hash = hasher.hash_one(row.as_ref());
            let found = self
                .table
                .find(hash, |slot| rows.row(*slot).as_ref() == row.as_ref());
            slots.push(match found {
                Some(slot) => *slot,
                None => {
                    let slot = rows.num_rows();
                    rows.push(row);
                    let hash_of = |slot: &usize| hasher.hash_one(rows.row(*slot).as_ref());
                    self.table.insert_unique(hash, slot, hash_of);
                    slot
                }
            });
        }
        Ok(())
    }

    fn len(&self) -> usize {
        self.rows.num_rows()
    }

    fn memory_bytes(&self) -> usize {
        self.rows.size() + self.table.allocation_size()
    }
}

fn normalised(column: &ArrayRef) -> ArrayRef {
    fn zero_or_nan(value: f64) -> f64 {
        if value.is_nan() {
            f64::NAN
        } else {
            value + 0.0
        }
    }
    match column.data_type() {
        DataType::Float64 => Arc::new(
            column
                .as_primitive::<Float64Type>()
                .unary::<_, Float64Type>(zero_or_nan),
        ),
        DataType::Float32 => Arc::new(
            column
                .as_primitive::<Float32Type>()
                .unary::<_, Float32Type>(|v| zero_or_nan(f64::from(v)) as f32),
        ),
        _ => Arc::clone(column),
    }
}
