//! Gives memory back to the system when a query has caught up.
//!
//! The command keeps what an epoch has freed for the next one ([`headwater_allocator`]). A query that has worked off a
//! backlog and waits for new rows will not need as much again.

use std::sync::atomic::{AtomicU64, Ordering};

use headwater::{
    StreamingQueryListener,
    engine::{QueryIdle, QueryProgress},
};

/// Rows after which there may be something worth giving back.
const WORTH_ROWS: u64 = 500_000;

/// Listens to the queries of a session, and gives memory back where it is worth the time.
pub(crate) struct GivesMemoryBack<F = fn()> {
    /// Rows read since memory was given back.
    rows: AtomicU64,
    give_back: F,
}

impl Default for GivesMemoryBack {
    fn default() -> Self {
        Self {
            rows: AtomicU64::new(0),
            give_back: headwater_allocator::give_back,
        }
    }
}

impl<F: Fn() + Send + Sync + 'static> StreamingQueryListener for GivesMemoryBack<F> {
    fn on_query_progress(&self, event: &QueryProgress) {
        let rows = event.progress.num_input_rows;
        self.rows.fetch_add(rows, Ordering::Relaxed);
    }

    fn on_query_idle(&self, _event: &QueryIdle) {
        if self.rows.load(Ordering::Relaxed) >= WORTH_ROWS {
            self.rows.store(0, Ordering::Relaxed);
            (self.give_back)();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use headwater::core::{QueryId, RunId};

    use super::*;
    use crate::status::board::tests::report;

    #[test]
    fn memory_is_given_back_once_a_large_backlog_is_done() {
        let given = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&given);
        let listener = GivesMemoryBack {
            rows: AtomicU64::new(0),
            give_back: move || {
                count.fetch_add(1, Ordering::Relaxed);
            },
        };
        let ran = |rows| {
            let progress = report(rows, 0);
            listener.on_query_progress(&QueryProgress { progress });
        };
        let idle = || {
            listener.on_query_idle(&QueryIdle {
                id: QueryId(Default::default()),
                run_id: RunId(Default::default()),
                timestamp: String::new(),
            });
            given.load(Ordering::Relaxed)
        };
        ran(1_000);
        assert_eq!(idle(), 0);
        ran(WORTH_ROWS);
        ran(WORTH_ROWS);
        assert_eq!((idle(), idle()), (1, 1));
    }
}
