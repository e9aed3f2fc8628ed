//! The time in a test: it stands still while an epoch runs, and moves by a step between epochs.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use headwater::{Clock, core::SystemClock};

/// A clock that shows what it is told to.
#[derive(Debug)]
pub(crate) struct VirtualClock {
    millis: AtomicI64,
    /// How long things took is still measured.
    system: SystemClock,
}

impl VirtualClock {
    /// A clock that shows `millis` since 1970.
    pub(crate) fn at(millis: i64) -> Self {
        Self {
            millis: AtomicI64::new(millis),
            system: SystemClock::default(),
        }
    }

    /// Shows another time, an earlier one too: each query begins at the same instant.
    pub(crate) fn set(&self, millis: i64) {
        self.millis.store(millis, Ordering::SeqCst);
    }
}

#[async_trait]
impl Clock for VirtualClock {
    fn now_millis(&self) -> i64 {
        self.millis.load(Ordering::SeqCst)
    }

    /// At once: epochs run when the test steps, and nobody waits for a time in between.
    async fn sleep_until(&self, _millis: i64) {}

    fn monotonic(&self) -> Duration {
        self.system.monotonic()
    }
}
