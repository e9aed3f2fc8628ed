//! The model: a plain map that does one key at a time what the store does in batches.

use std::collections::BTreeMap;

/// What the store should hold.
#[derive(Debug, Clone, Default)]
pub(super) struct Model {
    pub(super) chained: bool,
    pub(super) keys: BTreeMap<u16, Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) expiry: Option<i64>,
    /// Value rows, oldest first.
    pub(super) values: Vec<i64>,
}

impl Model {
    pub(super) fn values(&self, key: u16) -> &[i64] {
        self.keys.get(&key).map_or(&[], |entry| &entry.values)
    }

    pub(super) fn put(&mut self, key: u16, expiry: Option<i64>, value: i64) {
        let entry = self.keys.entry(key).or_insert(Entry {
            expiry,
            values: vec![],
        });
        if !self.chained {
            entry.values.clear();
        }
        entry.values.push(value);
    }

    pub(super) fn remove(&mut self, key: u16) -> bool {
        self.keys.remove(&key).is_some()
    }

    /// What expires at or before `limit`.
    pub(super) fn expire(&mut self, limit: i64) -> BTreeMap<u16, Vec<i64>> {
        let expires = |entry: &Entry| entry.expiry.is_some_and(|expiry| expiry <= limit);
        let gone = self.keys.extract_if(.., |_, entry| expires(entry));
        gone.map(|(key, entry)| (key, entry.values)).collect()
    }

    pub(super) fn rows(&self) -> BTreeMap<u16, Vec<i64>> {
        let keys = self.keys.iter();
        keys.map(|(key, entry)| (*key, entry.values.clone()))
            .collect()
    }
}
