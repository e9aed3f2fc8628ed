//! How much work a store has done.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Work done so far, for tests and reports: what an epoch costs must depend on what it touches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Work {
    /// Rows whose keys were looked up.
    pub rows_indexed: u64,
    /// Stored rows that were copied: gathered, moved by garbage collection, scanned or emitted at expiry.
    pub rows_copied: u64,
    /// Stored rows that were compared one by one: their expiry with a limit, or their key with one that has the same
    /// hash.
    pub rows_compared: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) indexed: AtomicU64,
    pub(crate) copied: AtomicU64,
    pub(crate) compared: AtomicU64,
}

impl Counters {
    pub(crate) fn work(&self) -> Work {
        Work {
            rows_indexed: self.indexed.load(Relaxed),
            rows_copied: self.copied.load(Relaxed),
            rows_compared: self.compared.load(Relaxed),
        }
    }
}
