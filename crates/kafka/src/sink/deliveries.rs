//! What has become of the messages that were handed to the client: a count of those in flight, and the first failure.
//!
//! librdkafka reports each message on the producer's polling thread. Tasks that wait (for the queue to shrink, for
//! everything to be acknowledged) are woken seldom: at certain counts, not at each message.

use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use rdkafka::{
    ClientContext, Message as _, Statistics, config::RDKafkaLogLevel, error::KafkaError,
    message::DeliveryResult, producer::ProducerContext,
};
use tokio::sync::Notify;

use crate::client::{Context, Trouble};

/// The messages of one sink.
#[derive(Debug)]
pub(super) struct Deliveries {
    in_flight: AtomicUsize,
    fewer: Notify,
    // Locked to look or to note a failure; never held across an await.
    failure: Mutex<Option<Failure>>,
    client: Context,
    trouble: Trouble,
}

/// A message that was not delivered.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub(super) topic: String,
    /// `None` if it had not been chosen yet.
    pub(super) partition: Option<i32>,
    pub(super) bytes: usize,
    pub(super) error: KafkaError,
}

impl Default for Deliveries {
    fn default() -> Self {
        let trouble = Trouble::default();
        Self {
            in_flight: AtomicUsize::new(0),
            fewer: Notify::new(),
            failure: Mutex::new(None),
            client: Context::new(trouble.clone()),
            trouble,
        }
    }
}

impl Deliveries {
    /// A message is about to be handed over.
    pub(super) fn begin(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    /// It was not taken, or has been reported.
    pub(super) fn end(&self) {
        // Release: whoever sees the count also sees the failure that was noted before.
        let left = self.in_flight.fetch_sub(1, Ordering::AcqRel) - 1;
        if is_worth_waking(left) {
            self.fewer.notify_waiters();
        }
    }

    /// The first message that was not delivered.
    pub(super) fn failure(&self) -> Option<Failure> {
        self.failure.lock().clone()
    }

    /// Waits until there are fewer messages in flight than at the call, by enough to be worth it.
    pub(super) async fn fewer(&self) {
        let fewer = self.fewer.notified();
        tokio::pin!(fewer);
        // From here on no wake-up is missed.
        fewer.as_mut().enable();
        if self.in_flight.load(Ordering::Acquire) > 0 {
            fewer.await;
        }
    }

    /// Waits until every message is acknowledged or has failed.
    pub(super) async fn all(&self) {
        while self.in_flight.load(Ordering::Acquire) > 0 {
            self.fewer().await;
        }
    }

    /// Forgets a failure, once the messages of its epoch are gone.
    pub(super) fn forget_failure(&self) {
        *self.failure.lock() = None;
    }

    /// What the client said last about its connections.
    pub(super) fn trouble(&self) -> &Trouble {
        &self.trouble
    }
}

/// Counts at which waiting tasks look again: nothing left, halves, and every thousand or so between.
fn is_worth_waking(left: usize) -> bool {
    left == 0 || left.is_power_of_two() || left.is_multiple_of(4096)
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.client.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.client.error(error, reason);
    }

    fn stats(&self, statistics: Statistics) {
        self.client.stats(statistics);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, delivered: &DeliveryResult<'_>, (): ()) {
        if let Err((error, message)) = delivered {
            let bytes = message.payload_len() + message.key_len();
            let mut failure = self.failure.lock();
            // A batch fails with all its messages, often because of the largest.
            if failure
                .as_ref()
                .is_none_or(|first| first.error == *error && first.bytes < bytes)
            {
                *failure = Some(Failure {
                    topic: message.topic().to_owned(),
                    partition: Some(message.partition()).filter(|partition| *partition >= 0),
                    bytes,
                    error: error.clone(),
                });
            }
        }
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn whoever_waits_for_all_is_woken_by_the_last() {
        let deliveries = Arc::new(Deliveries::default());
        for _ in 0..10_000 {
            deliveries.begin();
        }
        let waiting = tokio::spawn({
            let deliveries = Arc::clone(&deliveries);
            async move { deliveries.all().await }
        });
        let reporting = tokio::task::spawn_blocking({
            let deliveries = Arc::clone(&deliveries);
            move || (0..10_000).for_each(|_| deliveries.end())
        });
        reporting.await.expect("all reported");
        waiting.await.expect("woken");
    }

    #[tokio::test]
    async fn nothing_in_flight_is_not_waited_for() {
        let deliveries = Deliveries::default();
        deliveries.fewer().await;
        deliveries.all().await;
    }
}
