//! One state variable of one partition during an epoch: what was stored, and what the processor changes.
//!
//! All variables are stores of rows by key. Reads see the changes made before them in the epoch; nothing is written
//! before [`Variable::finish`], which removes and appends rows in two batches. Values are read ahead for all keys of the
//! epoch at once; a list or a map is read when its key asks for it, whole, so that appending to a list costs what is
//! appended. Rows whose time to live has passed are removed before anything is read.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use datafusion::arrow::{
    array::{ArrayRef, Int64Array, UInt32Array},
    datatypes::{Schema, SchemaRef},
};
use headwater_core::{Error, Result};
use headwater_state::{Emit, Probe, RowRefs, RowStore, RowsSpec};

use super::{
    declare::{StateKind, StateVariable},
    keys::TouchedKeys,
    map::MapSlot,
    row::{Row, columns_of, fitted, nullable, row_at},
};

/// Time buckets in which the rows of one time to live lie, at most: narrower ones cost more than they save.
const BUCKETS: i64 = 64;

/// The store of a variable.
pub(super) fn store_spec(variable: &StateVariable, keys: &SchemaRef) -> RowsSpec {
    let own = match &variable.kind {
        StateKind::Map(keys) => keys.iter().chain(&variable.columns).cloned().collect(),
        StateKind::Value | StateKind::List => variable.columns.to_vec(),
    };
    RowsSpec {
        keys: nullable(keys.fields().iter().cloned()),
        values: nullable(own),
        owner_columns: None,
        expires: variable.ttl_millis.is_some(),
        bucket_millis: variable.ttl_millis.map_or(1, |ttl| (ttl / BUCKETS).max(1)),
        marks: false,
    }
}

pub(super) struct Variable {
    definition: StateVariable,
    /// What messages call it.
    what: String,
    columns: Schema,
    store: RowStore,
    key_columns: usize,
    /// When a row that is written now goes.
    expiry: Option<i64>,
    content: Content,
    /// Rows and keys that the processor wrote and removed, and rows whose time to live had passed.
    pub(super) counts: Counts,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) updated: u64,
    pub(super) removed: u64,
    pub(super) expired: u64,
}

enum Content {
    Value(Values),
    List(BTreeMap<usize, ListSlot>),
    Map(BTreeMap<usize, MapSlot>),
}

/// Values by key number: those read ahead, and those that changed.
#[derive(Default)]
struct Values {
    read: Vec<(RowRefs, Vec<ArrayRef>)>,
    /// For each key the read and the row in it.
    places: Vec<Option<(usize, u32)>>,
    changed: BTreeMap<usize, Option<Row>>,
}

#[derive(Default)]
struct ListSlot {
    stored: Option<(RowRefs, Vec<Row>)>,
    is_replaced: bool,
    added: Vec<Row>,
}

/// What an epoch does to a store: rows that go, then rows that come.
#[derive(Default)]
struct Changes {
    removed: Vec<RowRefs>,
    keys: Vec<usize>,
    rows: Vec<Row>,
}

impl Variable {
    /// The variable as stored, at this processing time in milliseconds.
    pub(super) fn open(definition: StateVariable, mut store: RowStore, now: i64) -> Result<Self> {
        let expired = match definition.ttl_millis {
            Some(_) => store.expire(now, Emit::Nothing)?.removed,
            None => 0,
        };
        Ok(Self {
            what: format!("state '{}'", definition.name),
            columns: Schema::new(definition.columns.clone()),
            key_columns: store.spec().keys.fields().len(),
            expiry: definition.ttl_millis.map(|ttl| now.saturating_add(ttl)),
            content: match definition.kind {
                StateKind::Value => Content::Value(Values::default()),
                StateKind::List => Content::List(BTreeMap::new()),
                StateKind::Map(_) => Content::Map(BTreeMap::new()),
            },
            counts: Counts {
                expired: expired as u64,
                ..Counts::default()
            },
            store,
            definition,
        })
    }

    pub(super) fn definition(&self) -> &StateVariable {
        &self.definition
    }

    /// Reads what every key of `numbers` will ask for.
    pub(super) fn read_ahead(&mut self, keys: &TouchedKeys, numbers: Range<usize>) -> Result<()> {
        let Content::Value(values) = &mut self.content else {
            return Ok(());
        };
        let columns = keys.range(numbers.clone());
        let found = self.store.probe(&Probe::new(&columns, numbers.len()))?;
        values.places.resize(numbers.end, None);
        for (row, key) in (0..).zip(found.probe_rows.values()) {
            values.places[numbers.start + *key as usize] = Some((values.read.len(), row));
        }
        let wanted: Vec<usize> =
            (self.key_columns..self.key_columns + self.columns.fields().len()).collect();
        let read = self.store.gather(&found.rows, &wanted)?;
        values.read.push((found.rows, read));
        Ok(())
    }

    fn wrong_kind(&self, asked: &str) -> Error {
        Error::invalid(format!(
            "{} is declared as a {} and was used as a {asked}",
            self.what,
            match self.definition.kind {
                StateKind::Value => "value",
                StateKind::List => "list",
                StateKind::Map(_) => "map",
            }
        ))
    }

    fn fitted(&self, row: Row) -> Result<Row> {
        fitted(row, &self.columns, &self.what)
    }

    /// Refuses another kind than the one declared.
    pub(super) fn expect_value(&self) -> Result<()> {
        match self.content {
            Content::Value(_) => Ok(()),
            _ => Err(self.wrong_kind("value")),
        }
    }

    /// As [`Self::expect_value`].
    pub(super) fn expect_list(&self) -> Result<()> {
        match self.content {
            Content::List(_) => Ok(()),
            _ => Err(self.wrong_kind("list")),
        }
    }

    /// As [`Self::expect_value`].
    pub(super) fn expect_map(&self) -> Result<()> {
        match self.content {
            Content::Map(_) => Ok(()),
            _ => Err(self.wrong_kind("map")),
        }
    }

    pub(super) fn value(&self, key: usize) -> Result<Option<Row>> {
        let Content::Value(values) = &self.content else {
            return Err(self.wrong_kind("value"));
        };
        if let Some(changed) = values.changed.get(&key) {
            return Ok(changed.clone());
        }
        match values.places.get(key).copied().flatten() {
            None => Ok(None),
            Some((read, row)) => row_at(&values.read[read].1, row as usize).map(Some),
        }
    }

    /// Whether the key has a value; cheaper than the value.
    pub(super) fn has_value(&self, key: usize) -> Result<bool> {
        let Content::Value(values) = &self.content else {
            return Err(self.wrong_kind("value"));
        };
        Ok(match values.changed.get(&key) {
            Some(changed) => changed.is_some(),
            None => values.places.get(key).is_some_and(Option::is_some),
        })
    }

    pub(super) fn set_value(&mut self, key: usize, row: Option<Row>) -> Result<()> {
        let row = row.map(|row| self.fitted(row)).transpose()?;
        self.counts.updated += u64::from(row.is_some());
        self.counts.removed += u64::from(row.is_none());
        match &mut self.content {
            Content::Value(values) => {
                values.changed.insert(key, row);
                Ok(())
            }
            _ => Err(self.wrong_kind("value")),
        }
    }

    /// The rows of one key in the store, oldest first.
    fn stored(&self, keys: &TouchedKeys, key: usize) -> Result<(RowRefs, Vec<ArrayRef>)> {
        let columns = keys.range(key..key + 1);
        let found = self.store.probe(&Probe::new(&columns, 1))?;
        let all = self.key_columns + self.store.spec().values.fields().len();
        let wanted: Vec<usize> = (self.key_columns..all).collect();
        let rows = self.store.gather(&found.rows, &wanted)?;
        Ok((found.rows, rows))
    }

    fn list_slot(&mut self, keys: &TouchedKeys, key: usize, read: bool) -> Result<&mut ListSlot> {
        let is_read = |slot: Option<&ListSlot>| slot.is_some_and(|slot| slot.stored.is_some());
        let stored = match &self.content {
            Content::List(slots) if read && !is_read(slots.get(&key)) => {
                let (refs, columns) = self.stored(keys, key)?;
                let rows = (0..refs.len()).map(|row| row_at(&columns, row));
                Some((refs, rows.collect::<Result<_>>()?))
            }
            _ => None,
        };
        let wrong = self.wrong_kind("list");
        let Content::List(slots) = &mut self.content else {
            return Err(wrong);
        };
        let slot = slots.entry(key).or_default();
        if stored.is_some() {
            slot.stored = stored;
        }
        Ok(slot)
    }

    pub(super) fn list(&mut self, keys: &TouchedKeys, key: usize) -> Result<Vec<Row>> {
        let slot = self.list_slot(keys, key, true)?;
        let stored = slot.stored.iter().filter(|_| !slot.is_replaced);
        let stored = stored.flat_map(|(_, rows)| rows);
        Ok(stored.chain(&slot.added).cloned().collect())
    }

    pub(super) fn append(&mut self, keys: &TouchedKeys, key: usize, row: Row) -> Result<()> {
        let row = self.fitted(row)?;
        self.list_slot(keys, key, false)?.added.push(row);
        self.counts.updated += 1;
        Ok(())
    }

    /// Replaces the list; by none, it is removed.
    pub(super) fn replace_list(
        &mut self,
        keys: &TouchedKeys,
        key: usize,
        rows: Vec<Row>,
    ) -> Result<()> {
        let rows: Vec<Row> = rows
            .into_iter()
            .map(|row| self.fitted(row))
            .collect::<Result<_>>()?;
        self.counts.updated += rows.len() as u64;
        self.counts.removed += u64::from(rows.is_empty());
        let slot = self.list_slot(keys, key, true)?;
        slot.is_replaced = true;
        slot.added = rows;
        Ok(())
    }

    /// The map of one key, read whole when it is first asked for.
    pub(super) fn map(&mut self, keys: &TouchedKeys, key: usize) -> Result<&mut MapSlot> {
        let read = match &self.content {
            Content::Map(slots) if !slots.contains_key(&key) => {
                let (refs, columns) = self.stored(keys, key)?;
                let map_columns = self.map_key_columns();
                Some(MapSlot::read(refs, &columns, map_columns)?)
            }
            _ => None,
        };
        let wrong = self.wrong_kind("map");
        let Content::Map(slots) = &mut self.content else {
            return Err(wrong);
        };
        if let Some(read) = read {
            slots.insert(key, read);
        }
        slots.get_mut(&key).ok_or(wrong)
    }

    fn map_key_columns(&self) -> usize {
        match &self.definition.kind {
            StateKind::Map(keys) => keys.len(),
            StateKind::Value | StateKind::List => 0,
        }
    }

    /// An entry's key and value brought to the declared types.
    pub(super) fn fitted_entry(&self, key: Row, value: Option<Row>) -> Result<(Row, Option<Row>)> {
        let StateKind::Map(keys) = &self.definition.kind else {
            return Err(self.wrong_kind("map"));
        };
        let keys = Schema::new(keys.clone());
        let key = fitted(key, &keys, &format!("the entries of {}", self.what))?;
        Ok((key, value.map(|value| self.fitted(value)).transpose()?))
    }

    /// Writes the changes into the store.
    pub(super) fn finish(
        mut self,
        keys: &TouchedKeys,
    ) -> Result<(StateVariable, RowStore, Counts)> {
        let mut changes = Changes::default();
        match self.content {
            Content::Value(values) => values.changes(&mut changes)?,
            Content::List(slots) => {
                for (key, slot) in slots {
                    if let Some((refs, _)) = slot.stored.filter(|_| slot.is_replaced) {
                        changes.removed.push(refs);
                    }
                    changes.add(key, slot.added);
                }
            }
            Content::Map(slots) => {
                for (key, slot) in slots {
                    let (removed, rows) = slot.changes()?;
                    changes.removed.extend(removed);
                    changes.add(key, rows);
                }
            }
        }
        for refs in &changes.removed {
            self.store.remove(refs)?;
        }
        if !changes.rows.is_empty() {
            let count = changes.rows.len();
            let values = columns_of(changes.rows, &Arc::clone(&self.store.spec().values))?;
            let expiry = self.expiry.map(|at| Int64Array::from_value(at, count));
            let keys = keys.columns(&changes.keys)?;
            self.store.append(&keys, &values, expiry.as_ref(), None)?;
        }
        Ok((self.definition, self.store, self.counts))
    }
}

impl Values {
    fn changes(self, changes: &mut Changes) -> Result<()> {
        let mut gone: Vec<Vec<u32>> = vec![Vec::new(); self.read.len()];
        for (key, row) in self.changed {
            if let Some((read, at)) = self.places.get(key).copied().flatten() {
                gone[read].push(at);
            }
            changes.add(key, row.into_iter().collect());
        }
        for ((refs, _), rows) in self.read.iter().zip(gone) {
            if !rows.is_empty() {
                changes.removed.push(refs.take(&UInt32Array::from(rows))?);
            }
        }
        Ok(())
    }
}

impl Changes {
    fn add(&mut self, key: usize, rows: Vec<Row>) {
        self.keys.resize(self.keys.len() + rows.len(), key);
        self.rows.extend(rows);
    }
}
