//! The map of one key during an epoch.

use std::collections::HashMap;

use datafusion::arrow::array::{ArrayRef, UInt32Array};
use headwater_core::Result;
use headwater_state::RowRefs;

use super::row::{Row, row_at};

pub(super) struct MapSlot {
    /// The stored entries.
    refs: RowRefs,
    /// In the order in which they were written.
    entries: Vec<Entry>,
    /// Where in `entries` a key is.
    places: HashMap<Row, usize>,
}

struct Entry {
    key: Row,
    /// None once it is removed.
    value: Option<Row>,
    /// Its number among the stored entries.
    stored: Option<u32>,
    is_changed: bool,
}

impl MapSlot {
    /// The entries in these columns, of which the first `key_columns` are their keys.
    pub(super) fn read(refs: RowRefs, columns: &[ArrayRef], key_columns: usize) -> Result<Self> {
        let (keys, values) = columns.split_at(key_columns.min(columns.len()));
        let mut entries = Vec::with_capacity(refs.len());
        let mut places = HashMap::with_capacity(refs.len());
        for (at, stored) in (0..refs.len()).zip(0..) {
            let key = row_at(keys, at)?;
            places.insert(key.clone(), at);
            entries.push(Entry {
                key,
                value: Some(row_at(values, at)?),
                stored: Some(stored),
                is_changed: false,
            });
        }
        Ok(Self {
            refs,
            entries,
            places,
        })
    }

    pub(super) fn get(&self, key: &Row) -> Option<&Row> {
        self.entries[*self.places.get(key)?].value.as_ref()
    }

    /// Sets or removes an entry.
    pub(super) fn set(&mut self, key: Row, value: Option<Row>) {
        match self.places.get(&key) {
            Some(at) => {
                let entry = &mut self.entries[*at];
                entry.value = value;
                entry.is_changed = true;
            }
            None if value.is_none() => {}
            None => {
                self.places.insert(key.clone(), self.entries.len());
                self.entries.push(Entry {
                    key,
                    value,
                    stored: None,
                    is_changed: true,
                });
            }
        }
    }

    /// Removes all entries.
    pub(super) fn clear(&mut self) {
        for entry in &mut self.entries {
            entry.value = None;
            entry.is_changed = true;
        }
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (&Row, &Row)> {
        let entries = self.entries.iter();
        entries.filter_map(|entry| Some((&entry.key, entry.value.as_ref()?)))
    }

    /// The stored rows that go, and the rows that come.
    pub(super) fn changes(self) -> Result<(Option<RowRefs>, Vec<Row>)> {
        let (mut gone, mut rows) = (Vec::new(), Vec::new());
        for entry in self.entries.into_iter().filter(|entry| entry.is_changed) {
            gone.extend(entry.stored);
            if let Some(value) = entry.value {
                rows.push(entry.key.into_iter().chain(value).collect());
            }
        }
        let removed = match gone.is_empty() {
            true => None,
            false => Some(self.refs.take(&UInt32Array::from(gone))?),
        };
        Ok((removed, rows))
    }
}
