//! The only way to learn the time, so that tests decide what time it is.

use std::{
    fmt,
    time::{Duration, Instant},
};

use async_trait::async_trait;

/// Processing time: what the clock on the wall says.
#[async_trait]
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    fn now_millis(&self) -> i64;

    /// Completes once [`Self::now_millis`] has reached `millis`. Dropping the future cancels the wait.
    async fn sleep_until(&self, millis: i64);

    /// Time since an arbitrary fixed point, for measuring durations; never runs backwards.
    fn monotonic(&self) -> Duration;
}

/// The clock of the operating system.
#[derive(Debug)]
pub struct SystemClock {
    origin: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self {
            #[expect(
                clippy::disallowed_methods,
                reason = "the one place that reads the system's clock"
            )]
            origin: Instant::now(),
        }
    }
}

#[async_trait]
impl Clock for SystemClock {
    fn now_millis(&self) -> i64 {
        chrono::Utc::now().timestamp_millis()
    }

    async fn sleep_until(&self, millis: i64) {
        let left = millis.saturating_sub(self.now_millis());
        if let Ok(left) = u64::try_from(left) {
            #[expect(
                clippy::disallowed_methods,
                reason = "the one place that sleeps on the system's clock"
            )]
            tokio::time::sleep(Duration::from_millis(left)).await;
        }
    }

    fn monotonic(&self) -> Duration {
        self.origin.elapsed()
    }
}

/// A clock that stands still until a test moves it.
#[cfg(any(test, feature = "test-util"))]
#[derive(Debug)]
pub struct ManualClock {
    now: tokio::sync::watch::Sender<i64>,
}

#[cfg(any(test, feature = "test-util"))]
impl ManualClock {
    /// A clock that shows `millis` since 1970.
    pub fn at(millis: i64) -> Self {
        Self {
            now: tokio::sync::watch::Sender::new(millis),
        }
    }

    /// Moves the clock forward and wakes whoever waits for a time it has reached.
    pub fn advance(&self, millis: i64) {
        self.now.send_modify(|now| *now += millis);
    }
}

#[cfg(any(test, feature = "test-util"))]
#[async_trait]
impl Clock for ManualClock {
    fn now_millis(&self) -> i64 {
        *self.now.borrow()
    }

    async fn sleep_until(&self, millis: i64) {
        let mut now = self.now.subscribe();
        // The sender lives as long as `self`, so the wait cannot end with an error.
        let _ = now.wait_for(|now| *now >= millis).await;
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.now_millis()).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn manual_clock_wakes_a_sleeper_when_its_time_has_come() {
        let clock = ManualClock::at(1_000);
        let mut sleep = clock.sleep_until(2_000);
        assert!((&mut sleep).now_or_never().is_none());
        clock.advance(1_000);
        assert!((&mut sleep).now_or_never().is_some());
    }
}
