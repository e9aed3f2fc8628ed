//! Implementations of [`Storage`]: the doors through which everything that must survive a crash goes.
//!
//! All of them keep one invariant: an object is visible whole or not at all, and an `Ok` means that it stays so after
//! a crash. What is still invisible (temporary files, prepared objects) lives under [`STAGING`], which no listing
//! shows and whose names end in no extension that a reader of data files looks for.
//!
//! * [`LocalStorage`]: a folder of a local disk, every step synced.
//! * [`ObjectStorage`]: any `object_store`, prepared objects being multipart uploads that are not completed yet.
//! * [`MemoryStorage`]: for queries without a checkpoint, and tests.
//! * [`FolderStorage`]: a folder of another storage. [`CountedStorage`]: counts what goes through.
//! * Behind the feature `test-util`: `SimMachine`, whose disks forget what was not synced; `FailingStorage`, which
//!   fails on command; `conformance`, what every storage must do.

#[cfg(any(test, feature = "test-util"))]
pub mod conformance;
mod counted;
mod disk;
#[cfg(any(test, feature = "test-util"))]
mod failing;
mod folder;
mod hidden;
mod local;
mod locate;
mod memory;
mod object;
mod path;
#[cfg(any(test, feature = "test-util"))]
mod sim;
mod steps;
mod synced;
mod upload;

pub use counted::{CountedStorage, Counters, StorageCounts};
pub use disk::{Disk, DiskEntry, OsDisk};
#[cfg(any(test, feature = "test-util"))]
pub use failing::{FailingStorage, Fault, Operation};
pub use folder::FolderStorage;
pub use local::{DiskStorage, LocalStorage};
pub use locate::{
    counted_storage_for_url, memory_object_store, object_store_for_url, storage_for_url,
};
pub use memory::MemoryStorage;
pub use object::{ObjectStorage, UploadStore};

#[cfg(any(test, feature = "test-util"))]
pub use sim::{Loss, SimDisk, SimMachine, SimStorage};

#[cfg(doc)]
use headwater_core::Storage;

#[cfg(test)]
mod tests;

/// The folder, below the root of a storage, of what is not visible yet.
pub const STAGING: &str = "_headwater/staging";
