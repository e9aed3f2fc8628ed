//! Gives memory back to the system when all queries wait.
//!
//! The command keeps what an epoch has freed for the next one ([`headwater_allocator`]), and the system has mapped the code
//! that starting took. Queries that have had nothing to do for a while need neither.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
};

use headwater::{
    Clock, StreamingQueryListener,
    core::SystemClock,
    engine::{QueryIdle, QueryProgress},
};

/// Rows after which there may be freed memory that is worth giving back.
const WORTH_ROWS: u64 = 500_000;

/// For how long nothing happens before memory is given back: who gets rows more often keeps what they need.
const QUIET_MILLIS: i64 = 2_000;

/// Memory that can be given back.
pub(crate) trait Memory: Send + Sync + 'static {
    /// What was freed.
    fn give_back_freed(&self);
    /// What holds the program.
    fn give_back_code(&self);
}

/// That of this process.
struct OfThisProcess;

impl Memory for OfThisProcess {
    fn give_back_freed(&self) {
        headwater_allocator::give_back();
    }

    fn give_back_code(&self) {
        headwater_allocator::give_back_code();
    }
}

/// Listens to the queries of a session, and gives memory back when they are quiet.
pub(crate) struct GivesMemoryBack {
    quiet: Arc<Quiet>,
}

/// What is known of the queries.
struct Quiet {
    memory: Box<dyn Memory>,
    clock: Arc<dyn Clock>,
    /// When something happened last, in milliseconds since 1970-01-01.
    last: AtomicI64,
    /// Rows read since freed memory was given back.
    rows: AtomicU64,
    /// Whether somebody waits for quiet.
    is_awaited: AtomicBool,
}

impl Default for GivesMemoryBack {
    fn default() -> Self {
        Self::new(OfThisProcess, Arc::new(SystemClock::default()))
    }
}

impl GivesMemoryBack {
    fn new(memory: impl Memory, clock: Arc<dyn Clock>) -> Self {
        Self {
            quiet: Arc::new(Quiet {
                memory: Box::new(memory),
                last: AtomicI64::new(clock.now_millis()),
                clock,
                rows: AtomicU64::new(0),
                is_awaited: AtomicBool::new(false),
            }),
        }
    }
}

impl Quiet {
    fn something_happened(&self) {
        self.last.store(self.clock.now_millis(), Ordering::Relaxed);
    }

    /// Waits until nothing has happened for a while.
    async fn wait(&self) {
        loop {
            let until = self.last.load(Ordering::Relaxed) + QUIET_MILLIS;
            if self.clock.now_millis() >= until {
                return;
            }
            self.clock.sleep_until(until).await;
        }
    }

    fn give_back(&self) {
        if self.rows.load(Ordering::Relaxed) >= WORTH_ROWS {
            self.rows.store(0, Ordering::Relaxed);
            self.memory.give_back_freed();
        }
        self.memory.give_back_code();
    }
}

impl StreamingQueryListener for GivesMemoryBack {
    fn on_query_progress(&self, event: &QueryProgress) {
        let rows = event.progress.num_input_rows;
        self.quiet.rows.fetch_add(rows, Ordering::Relaxed);
        self.quiet.something_happened();
    }

    fn on_query_idle(&self, _event: &QueryIdle) {
        self.quiet.something_happened();
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        if self.quiet.is_awaited.swap(true, Ordering::Relaxed) {
            return;
        }
        let quiet = Arc::clone(&self.quiet);
        runtime.spawn(async move {
            quiet.wait().await;
            quiet.is_awaited.store(false, Ordering::Relaxed);
            quiet.give_back();
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use headwater::core::{QueryId, RunId};
    use headwater_core::clock::ManualClock;

    use super::*;
    use crate::status::board::tests::report;

    /// Notes what is given back.
    #[derive(Clone, Default)]
    struct Noted(Arc<Mutex<Vec<&'static str>>>);

    impl Memory for Noted {
        fn give_back_freed(&self) {
            self.0.lock().unwrap().push("freed");
        }

        fn give_back_code(&self) {
            self.0.lock().unwrap().push("code");
        }
    }

    impl Noted {
        fn taken(&self) -> Vec<&'static str> {
            std::mem::take(&mut self.0.lock().unwrap())
        }
    }

    fn idle() -> QueryIdle {
        QueryIdle {
            id: QueryId(Default::default()),
            run_id: RunId(Default::default()),
            timestamp: String::new(),
        }
    }

    /// Lets everything happen that is due.
    async fn settle() {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn memory_is_given_back_when_nothing_has_happened_for_a_while() {
        let (noted, clock) = (Noted::default(), Arc::new(ManualClock::at(0)));
        let listener = GivesMemoryBack::new(noted.clone(), Arc::clone(&clock) as _);
        let ran = |rows| {
            let progress = report(rows, 0);
            listener.on_query_progress(&QueryProgress { progress });
            listener.on_query_idle(&idle());
        };
        ran(1_000);
        settle().await;
        clock.advance(QUIET_MILLIS - 1);
        settle().await;
        assert!(noted.taken().is_empty());
        // Rows come in time.
        ran(1_000);
        clock.advance(QUIET_MILLIS - 1);
        settle().await;
        assert!(noted.taken().is_empty());
        clock.advance(1);
        settle().await;
        assert_eq!(
            noted.taken(),
            ["code"],
            "few rows leave nothing to give back"
        );
        // Once for each time of quiet.
        clock.advance(10 * QUIET_MILLIS);
        settle().await;
        assert!(noted.taken().is_empty());
        ran(WORTH_ROWS);
        settle().await;
        clock.advance(QUIET_MILLIS);
        settle().await;
        assert_eq!(noted.taken(), ["freed", "code"]);
    }
}
