//! Keyed state, versioned by epoch.
//!
//! A stateful operator keeps what it must remember in stores: a [`KeyedState`] holds a value for each key, a
//! [`RowStore`] any number of rows for each key, each with an expiry of its own; Arrow both, in batches only. Each epoch
//! looks some keys up, gathers their old rows, puts new ones, expires what the watermark has passed, and commits; the
//! commit is the delta that turns the last version into the next. [`StateBackend`] makes deltas durable and loads any
//! version that a [`StateManifest`] describes. What an epoch costs depends on what it touches, never on how much there
//! is.
//!
//! Keys are divided into [`KEY_GROUPS`] by a hash of our own, so that the number of partitions may change at a restart.
//! How keys are looked up in memory is left to a [`KeyIndex`] that the operators bring; [`packed_index()`] is one for keys of a
//! few numbers.

mod backend;
mod block;
mod check;
mod columns;
#[cfg(any(test, feature = "test-util"))]
pub mod conformance;
mod delta;
mod evolve;
mod expire;
mod file;
mod grouped;
mod hash;
mod index;
mod key_group;
mod keyed;
mod layout;
mod locate;
mod maintain;
mod manifest;
mod narrow;
mod numbers;
mod packed_index;
mod pieces;
mod restore;
#[cfg(any(test, feature = "test-util"))]
mod row_index;
mod rows;
mod section;
mod segment;
mod segments;
mod snapshot;
mod spec;
mod store;
mod store_layout;
mod stored;
mod stream;
mod table;
mod touched;
mod upkeep;
mod work;

pub use backend::{Layouts, StateBackend};
pub use delta::DeltaBytes;
pub use evolve::{Misfit, misfits};
pub use expire::Expired;
pub use index::{KeyIndex, KeyIndexFactory};
pub use key_group::{KEY_GROUPS, key_groups, partition_of};
pub use keyed::KeyedState;
pub use manifest::{OperatorFiles, Section, StateFile, StateManifest};
pub use packed_index::packed_index;
#[cfg(any(test, feature = "test-util"))]
pub use row_index::{RowIndex, RowIndexFactory};
pub use rows::{Emit, Matches, NullKeys, Probe, Renewed, RowRefs, RowStore, RowsSpec, Within};
pub use snapshot::Snapshot;
pub use spec::StateSpec;
pub use store::Store;
pub use store_layout::{StoreColumn, StoreKind, StoreLayout};
pub use table::{ChangeKind, StateTable, Version};
pub use touched::Touched;
pub use upkeep::Upkeep;
pub use work::Work;
