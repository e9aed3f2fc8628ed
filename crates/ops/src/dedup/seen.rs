//! The keys that have come.
//!
//! Where a key says itself when it is forgotten, keys lie by that time and are looked up there. Where the row that came
//! first says it, a later row with the key knows nothing of that time: then an index over all times finds the key.

use datafusion::{
    arrow::{
        array::{ArrayRef, Int64Array},
        datatypes::{Schema, SchemaRef},
    },
    error::Result,
};
use headwater_core::Epoch;
use headwater_state::{
    Emit, KeyedState, Renewed, RowStore, RowsSpec, StateSpec, Store, StoreLayout,
};
use std::sync::Arc;

use super::Remember;
use crate::{
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

/// What rows did to the keys of one partition.
pub(super) struct Entered {
    /// The rows that are the first with their key, ascending.
    pub(super) new: Vec<u32>,
    /// How many keys were forgotten then.
    pub(super) forgotten: usize,
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

    /// The columns of the keys.
    pub(super) fn keys(&self) -> &SchemaRef {
        match self {
            Self::ByKey(spec) => &spec.keys,
            Self::SinceFirst(spec) => &spec.keys,
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

    /// Remembers the keys of these rows, then forgets those whose time the watermark, in milliseconds, has passed.
    pub(super) fn enter(
        &mut self,
        keys: &[ArrayRef],
        expiry: Option<&Int64Array>,
        watermark: i64,
    ) -> Result<Entered> {
        match self {
            Self::ByKey(state) => {
                let touched = state.touch(keys, expiry).map_err(external)?;
                let new = touched.new_ids();
                state
                    .put_ids(&touched, &new, Vec::new())
                    .map_err(external)?;
                let first = touched.first_rows();
                Ok(Entered {
                    new: new.into_iter().map(|id| first[id]).collect(),
                    forgotten: self.forget(watermark)?,
                })
            }
            Self::SinceFirst(rows) => {
                let renewed = rows.append_new_then_expire(keys, &[], expiry, watermark);
                let Renewed { new, removed } = renewed.map_err(external)?;
                Ok(Entered {
                    new: new.values().to_vec(),
                    forgotten: removed,
                })
            }
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
