//! What is durably known about the progress of a query.

pub mod store;

pub use store::{
    CountedStorage, Counters, FolderStorage, LocalStorage, MemoryStorage, ObjectStorage, STAGING,
    StorageCounts, storage_for_url,
};
