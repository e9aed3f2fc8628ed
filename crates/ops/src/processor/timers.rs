//! The timers of one partition: rows of key and time that expire when they are due.
//!
//! Setting and deleting look up what they touch, and only that: a probe for the very time. Due ones come out of the
//! store as what it expires. Changes are collected and written in batches.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::arrow::{
    array::{Array, ArrayRef, AsArray, Int64Array, TimestampMillisecondArray, UInt32Array},
    compute::{concat, take_arrays},
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit, TimestampMillisecondType},
};
use headwater_core::Result;
use headwater_state::{Emit, NullKeys, Probe, RowStore, RowsSpec, Within};
use std::sync::Arc;

use super::{keys::TouchedKeys, row::nullable};

/// Minimum width of a time bucket of timers; it widens by itself where they lie far apart.
const BUCKET_MILLIS: i64 = 1_000;

/// How the timers of a key go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TimerRule {
    /// A key may have many; each fires once, at its time or as soon after it as an epoch runs.
    Each,
    /// A key has at most one, which is replaced whenever the key is called; it fires when its time is over.
    Last,
}

/// The store of timers.
pub(super) fn store_spec(keys: &SchemaRef) -> RowsSpec {
    let at = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    RowsSpec {
        keys: nullable(keys.fields().iter().cloned()),
        values: Arc::new(Schema::new(vec![Field::new("at", at, true)])),
        owner_columns: None,
        expires: true,
        bucket_millis: BUCKET_MILLIS,
        marks: false,
    }
}

pub(super) struct Timers {
    store: RowStore,
    rule: TimerRule,
    added: BTreeSet<(usize, i64)>,
    deleted: BTreeSet<(usize, i64)>,
    /// Keys whose timers go, and the one that comes instead.
    replaced: BTreeMap<usize, Option<i64>>,
    /// Timers that the processor set, that it deleted, that fired.
    pub(super) registered: u64,
    pub(super) removed: u64,
    pub(super) fired: u64,
}

/// Timers that are due, by time.
#[derive(Debug)]
pub(super) struct Due {
    /// Key columns.
    pub(super) keys: Vec<ArrayRef>,
    /// When each was due, in milliseconds.
    pub(super) at: Vec<i64>,
}

impl Timers {
    pub(super) fn open(store: RowStore, rule: TimerRule) -> Self {
        Self {
            store,
            rule,
            added: BTreeSet::new(),
            deleted: BTreeSet::new(),
            replaced: BTreeMap::new(),
            registered: 0,
            removed: 0,
            fired: 0,
        }
    }

    /// Sets a timer; one that is set already stays as it is.
    pub(super) fn register(&mut self, key: usize, at: i64) {
        self.deleted.remove(&(key, at));
        if self.added.insert((key, at)) {
            self.registered += 1;
        }
    }

    /// Deletes a timer, if there is one at this time.
    pub(super) fn delete(&mut self, key: usize, at: i64) {
        self.added.remove(&(key, at));
        if self.deleted.insert((key, at)) {
            self.removed += 1;
        }
    }

    /// The one timer of a key from now on.
    pub(super) fn replace(&mut self, key: usize, at: Option<i64>) {
        self.registered += u64::from(at.is_some());
        self.replaced.insert(key, at);
    }

    /// The timers of a key, earliest first.
    pub(super) fn of_key(&self, keys: &TouchedKeys, key: usize) -> Result<Vec<i64>> {
        let columns = keys.range(key..key + 1);
        let found = self.store.probe(&Probe::new(&columns, 1))?;
        let stored = self.store.expiry_of(&found.rows)?;
        let mut all: BTreeSet<i64> = stored.iter().flatten().collect();
        all.retain(|at| !self.deleted.contains(&(key, *at)));
        let added = self.added.range((key, i64::MIN)..=(key, i64::MAX));
        all.extend(added.map(|(_, at)| *at));
        Ok(all.into_iter().collect())
    }

    /// Writes the changes into the store.
    pub(super) fn flush(&mut self, keys: &TouchedKeys) -> Result<()> {
        let mut new: Vec<(usize, i64)> = Vec::new();
        let replaced = std::mem::take(&mut self.replaced);
        if !replaced.is_empty() {
            let numbers: Vec<usize> = replaced.keys().copied().collect();
            let columns = keys.columns(&numbers)?;
            let found = self.store.probe(&Probe::new(&columns, numbers.len()))?;
            self.store.remove(&found.rows)?;
            new.extend(
                replaced
                    .into_iter()
                    .filter_map(|(key, at)| Some((key, at?))),
            );
        }
        let deleted: Vec<_> = std::mem::take(&mut self.deleted).into_iter().collect();
        if !deleted.is_empty() {
            let found = self.find(keys, &deleted)?;
            self.store.remove(&found.rows)?;
        }
        let added: Vec<_> = std::mem::take(&mut self.added).into_iter().collect();
        if !added.is_empty() {
            let found = self.find(keys, &added)?;
            let mut there = found.probe_rows.values().iter().copied().peekable();
            for (number, timer) in (0..).zip(added) {
                if there.next_if_eq(&number).is_none() {
                    new.push(timer);
                }
            }
        }
        self.append(keys, &new)
    }

    fn find(
        &self,
        keys: &TouchedKeys,
        timers: &[(usize, i64)],
    ) -> Result<headwater_state::Matches> {
        let numbers: Vec<usize> = timers.iter().map(|(key, _)| *key).collect();
        let columns = keys.columns(&numbers)?;
        let at = Int64Array::from_iter_values(timers.iter().map(|(_, at)| *at));
        self.store.probe(&Probe {
            keys: &columns,
            rows: 0..timers.len(),
            within: Within::Range {
                low: &at,
                high: &at,
            },
            null_keys: NullKeys::Match,
            at_most: usize::MAX,
        })
    }

    fn append(&mut self, keys: &TouchedKeys, timers: &[(usize, i64)]) -> Result<()> {
        if timers.is_empty() {
            return Ok(());
        }
        let numbers: Vec<usize> = timers.iter().map(|(key, _)| *key).collect();
        let columns = keys.columns(&numbers)?;
        let times = || timers.iter().map(|(_, at)| *at);
        let at: ArrayRef =
            Arc::new(TimestampMillisecondArray::from_iter_values(times()).with_timezone("UTC"));
        let expiry = Int64Array::from_iter_values(times());
        self.store.append(&columns, &[at], Some(&expiry), None)?;
        Ok(())
    }

    /// Takes the timers that are due at this time, in milliseconds, out of the store. They must be written.
    pub(super) fn due(&mut self, now: i64) -> Result<Due> {
        let limit = match self.rule {
            TimerRule::Each => now,
            TimerRule::Last => now.saturating_sub(1),
        };
        let expired = self.store.expire(limit, Emit::All)?;
        self.fired += expired.removed as u64;
        let mut columns = Vec::new();
        for column in 0..=self.store.spec().keys.fields().len() {
            let parts = expired
                .rows
                .iter()
                .map(|batch| batch.column(column).as_ref());
            let parts: Vec<&dyn Array> = parts.collect();
            if parts.is_empty() {
                return Ok(Due {
                    keys: Vec::new(),
                    at: Vec::new(),
                });
            }
            columns.push(concat(&parts)?);
        }
        let times = columns
            .last()
            .map(|at| at.as_primitive::<TimestampMillisecondType>().values())
            .cloned()
            .unwrap_or_default();
        let mut order: Vec<u32> = (0..times.len() as u32).collect();
        order.sort_by_key(|row| times[*row as usize]);
        let at = order.iter().map(|row| times[*row as usize]).collect();
        columns.pop();
        Ok(Due {
            keys: take_arrays(&columns, &UInt32Array::from(order), None)?,
            at,
        })
    }

    /// The store, and when the next epoch is to run for a timer, in milliseconds.
    pub(super) fn finish(mut self, keys: &TouchedKeys) -> Result<(RowStore, Option<i64>)> {
        self.flush(keys)?;
        let next = self.store.earliest_expiry().map(|at| match self.rule {
            TimerRule::Each => at,
            TimerRule::Last => at.saturating_add(1),
        });
        Ok((self.store, next))
    }
}
