//! What is durably known about the progress of a query.
//!
//! An epoch is **planned** before it runs ([`Planned`]: offsets, watermarks, time) and **committed** after its state
//! and output are durable ([`Committed`]). The newest two records decide what a restart does ([`decide`]), and creating
//! them only if absent decides which of two runs owns a query. Everything goes through a
//! [`Storage`](headwater_core::Storage), whose implementations are in [`store`].
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`store`] | local disk, object stores, memory, and doubles for tests |
//! | [`record`], [`codec`], [`layout`] | the records, their bytes, their places |
//! | [`decide`], [`compat`], [`gc`] | pure decisions: restart, changed queries, what may be deleted |
//! | [`log`] | the records read and written |
//!
//! Bytes on disk are drawn in `docs/formats.md`.

pub mod codec;
pub mod compat;
pub mod decide;
pub mod gc;
pub mod layout;
pub mod log;
pub mod record;
pub mod store;

pub use compat::check_restart;
pub use decide::{Decision, RecoveryFacts, Replay, Resume, decide};
pub use log::{EpochLog, Recovery, Start};
pub use record::{
    Committed, Floor, Metadata, NodeWatermark, OperatorRecord, Planned, SourceStep, Started,
    WatermarkPolicy, WatermarkRecord,
};
pub use store::{
    CountedStorage, Counters, FolderStorage, LocalStorage, MemoryStorage, ObjectStorage, STAGING,
    StorageCounts, storage_for_url,
};
