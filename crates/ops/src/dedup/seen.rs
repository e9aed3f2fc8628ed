//! The keys that have come.
//!
//! Where a key says itself when it is forgotten, keys lie by that time and are looked up there. Where the row that came
//! first says it, a later row with the key knows nothing of that time: then an index over all times finds the key.

use datafusion::{
    arrow::{
        array::{Array, ArrayRef, AsArray, Int64Array, UInt32Array},
        compute::{take, take_arrays},
        datatypes::{Schema, SchemaRef},
    },
    error::Result,
};
use headwater_core::Epoch;
use headwater_state::{Emit, KeyedState, Probe, RowStore, RowsSpec, StateSpec, Store, StoreLayout};
use std::sync::Arc;

use super::Remember;
use crate::{
    key_index_factory,
    runtime::external,
    state_provider::{StateAddress, StateProvider},
};

/// Minimum width of a time bucket of keys.
const BUCKET_MILLIS: i64 = 10_000;

/// Time buckets in which the keys of one delay lie, at most: narrower ones cost more than they save.
const BUCKETS: i64 = 64;

/// What is kept of a key.
#[derive(Debug)]
pub(super) enum SeenSpec {
    ByKey(StateSpec),
    SinceFirst(RowsSpec),
}

/// The keys of one partition.
pub(super) enum Seen {
    ByKey(KeyedState),
    SinceFirst(RowStore),
}

impl SeenSpec {
    pub(super) fn new(keys: SchemaRef, remember: Remember) -> Self {
        let values = Arc::new(Schema::empty());
        match remember {
            Remember::Forever | Remember::WhileInTime(_) => Self::ByKey(StateSpec {
                keys,
                values,
                owner_columns: None,
                expires: remember != Remember::Forever,
                bucket_millis: BUCKET_MILLIS,
                chained: false,
            }),
            Remember::SinceFirst(expiry) => Self::SinceFirst(RowsSpec {
                keys,
                values,
                owner_columns: None,
                expires: true,
                bucket_millis: (expiry.extra_micros / 1_000 / BUCKETS).max(1_000),
                marks: false,
            }),
        }
    }

    pub(super) fn layout(&self, name: &str) -> StoreLayout {
        match self {
            Self::ByKey(spec) => spec.layout(name),
            Self::SinceFirst(spec) => spec.layout(name),
        }
    }

    pub(super) async fn check_out(
        &self,
        provider: &StateProvider,
        address: &StateAddress,
        version: Option<Epoch>,
    ) -> headwater_core::Result<Seen> {
        let partitions = provider.partitions();
        Ok(match self {
            Self::ByKey(spec) => {
                let checked_out = provider.check_out(address, version, spec, partitions);
                Seen::ByKey(checked_out.await?)
            }
            Self::SinceFirst(spec) => {
                let checked_out = provider.check_out_rows(address, version, spec, partitions);
                Seen::SinceFirst(checked_out.await?)
            }
        })
    }
}

impl From<Seen> for Store {
    fn from(seen: Seen) -> Self {
        match seen {
            Seen::ByKey(state) => state.into(),
            Seen::SinceFirst(rows) => rows.into(),
        }
    }
}

impl Seen {
    /// When the first key is forgotten, if one is; it may be too early.
    pub(super) fn earliest_expiry(&self) -> Option<i64> {
        match self {
            Self::ByKey(state) => state.earliest_expiry(),
            Self::SinceFirst(rows) => rows.earliest_expiry(),
        }
    }

    /// Number of keys.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::ByKey(state) => state.len(),
            Self::SinceFirst(rows) => rows.len(),
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        match self {
            Self::ByKey(state) => state.memory_bytes(),
            Self::SinceFirst(rows) => rows.memory_bytes(),
        }
    }

    /// Remembers the keys of these rows. Gives the rows that are the first with their key, ascending.
    pub(super) fn enter(
        &mut self,
        keys: &[ArrayRef],
        expiry: Option<&Int64Array>,
    ) -> Result<Vec<u32>> {
        match self {
            Self::ByKey(state) => {
                let touched = state.touch(keys, expiry).map_err(external)?;
                let new = touched.new_ids();
                state
                    .put_ids(&touched, &new, Vec::new())
                    .map_err(external)?;
                let first = touched.first_rows();
                Ok(new.into_iter().map(|id| first[id]).collect())
            }
            Self::SinceFirst(rows) => enter_since_first(rows, keys, expiry),
        }
    }

    /// Forgets the keys whose time the watermark, in milliseconds, has passed; says how many those were.
    pub(super) fn forget(&mut self, watermark: i64) -> Result<usize> {
        let expired = match self {
            Self::ByKey(state) => state.expire(watermark, false),
            Self::SinceFirst(rows) => rows.expire(watermark, Emit::Nothing),
        };
        Ok(expired.map_err(external)?.removed)
    }
}

/// Looks all rows up first: what has come before needs no comparison with the rest of its batch.
fn enter_since_first(
    store: &mut RowStore,
    keys: &[ArrayRef],
    expiry: Option<&Int64Array>,
) -> Result<Vec<u32>> {
    let rows = keys.first().map_or(0, |key| key.len());
    let found = store.probe(&Probe::new(keys, rows)).map_err(external)?;
    let unknown = others(rows, found.probe_rows.values());
    if unknown.is_empty() {
        return Ok(unknown);
    }
    let candidates = UInt32Array::from(unknown);
    let unknown_keys = take_arrays(keys, &candidates, None)?;
    let mut slots = Vec::new();
    let mut index = key_index_factory()
        .create(&store.spec().keys)
        .map_err(external)?;
    index.intern(&unknown_keys, &mut slots).map_err(external)?;
    // Slots are numbered in order of first appearance.
    let mut next = 0;
    let first: Vec<u32> = candidates
        .values()
        .iter()
        .zip(&slots)
        .filter(|(_, slot)| {
            let is_new = **slot == next;
            next += usize::from(is_new);
            is_new
        })
        .map(|(row, _)| *row)
        .collect();
    let new_rows = UInt32Array::from(first.clone());
    let new_keys = take_arrays(keys, &new_rows, None)?;
    let new_expiry = expiry
        .map(|expiry| take(expiry, &new_rows, None))
        .transpose()?;
    let new_expiry = new_expiry.as_ref().map(|expiry| expiry.as_primitive());
    store
        .append(&new_keys, &[], new_expiry, None)
        .map_err(external)?;
    Ok(first)
}

/// The numbers below `count` that are not among `known`, which is ascending.
fn others(count: usize, known: &[u32]) -> Vec<u32> {
    let mut known = known.iter().copied().peekable();
    let mut others = Vec::with_capacity(count);
    for number in 0..count as u32 {
        if known.peek() == Some(&number) {
            while known.next_if_eq(&number).is_some() {}
        } else {
            others.push(number);
        }
    }
    others
}
