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
//! | [`decide`], [`compat`], [`gc`], [`survey`] | pure decisions: restart, changed queries, what may be deleted, what is missing |
//! | [`log`] | the records read and written |
//!
//! Bytes on disk are drawn in `docs/formats.md`.
//!
//! ```
//! use std::sync::Arc;
//!
//! use headwater_core::{Epoch, RunId};
//! use headwater_log::{EpochLog, MemoryStorage, Planned, Start, Started, WatermarkRecord};
//!
//! # async fn example() -> headwater_core::Result<()> {
//! let run = RunId(uuid::Uuid::new_v4());
//! let started = Started { run, started_millis: 0, engine: "example".to_owned() };
//! let log = EpochLog::open(Arc::new(MemoryStorage::new()), &started).await?;
//! assert_eq!(log.recover().await?.start, Start::Fresh);
//!
//! log.put_plan(&Planned {
//!     epoch: Epoch::FIRST,
//!     run,
//!     time_millis: 0,
//!     watermark: WatermarkRecord::default(),
//!     sources: vec![],
//!     has_data: true,
//! })
//! .await?;
//! // Whoever starts now has to run epoch 0 again.
//! assert!(matches!(log.recover().await?.start, Start::Replay(_)));
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(example()).unwrap();
//! ```

pub mod codec;
pub mod compat;
pub mod decide;
pub mod gc;
pub mod layout;
pub mod log;
pub mod record;
pub mod store;
pub mod survey;

pub use decide::{Decision, RecoveryFacts, Replay, Resume};
pub use log::{EpochLog, LogReader, Recovery, Start};
pub use record::{
    Committed, Floor, LateOutput, Metadata, NodeWatermark, OperatorRecord, Planned, SourceStep,
    Started, WatermarkPolicy, WatermarkRecord,
};
pub use store::{
    CountedStorage, Counters, FolderStorage, LocalStorage, MemoryStorage, ObjectStorage, STAGING,
    StorageCounts, storage_for_url,
};
