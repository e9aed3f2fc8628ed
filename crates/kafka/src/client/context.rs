//! What a client tells while it works: to the log, and kept for the error that may come of it.

use std::sync::Arc;

use parking_lot::Mutex;
use rdkafka::{
    ClientContext, Statistics, config::RDKafkaLogLevel, consumer::ConsumerContext,
    error::KafkaError, types::RDKafkaErrorCode,
};

/// The last trouble that a client has had with its brokers.
///
/// librdkafka tries again by itself; only who waits for an answer in vain asks why.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trouble {
    // Locked to set or get it.
    last: Arc<Mutex<Option<Note>>>,
}

#[derive(Debug, Clone)]
struct Note {
    text: String,
    is_refusal: bool,
}

impl Trouble {
    fn note(&self, text: &str, is_refusal: bool) {
        *self.last.lock() = Some(Note {
            text: text.to_owned(),
            is_refusal,
        });
    }

    /// What went wrong last.
    pub(crate) fn last(&self) -> Option<String> {
        self.last.lock().as_ref().map(|note| note.text.clone())
    }

    /// Whether the brokers do not know who the client is, so that there is no use in asking again.
    pub(crate) fn is_refusal(&self) -> bool {
        self.last
            .lock()
            .as_ref()
            .is_some_and(|note| note.is_refusal)
    }

    /// Forgets it, once an answer has come.
    pub(crate) fn clear(&self) {
        self.last.lock().take();
    }
}

/// Receives what librdkafka says, whenever the client is polled.
#[derive(Debug, Clone, Default)]
pub(crate) struct Context {
    trouble: Trouble,
}

impl Context {
    /// A context whose troubles can be asked for.
    pub(crate) fn new(trouble: Trouble) -> Self {
        Self { trouble }
    }
}

/// The message without what names the thread: `[thrd:host:9092/bootstrap]: host:9092/bootstrap: Connect to …`.
fn plain(message: &str) -> &str {
    match message.strip_prefix("[thrd:") {
        Some(rest) => rest.split_once("]: ").map_or(message, |(_, plain)| plain),
        None => message,
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        use RDKafkaLogLevel::{Alert, Critical, Emerg, Error, Warning};
        match level {
            Emerg | Alert | Critical | Error => {
                // What was refused stays so, whatever fails because of it.
                if !self.trouble.is_refusal() {
                    self.trouble.note(plain(message), false);
                }
                tracing::debug!(target: "librdkafka", facility, "{message}");
            }
            Warning => tracing::debug!(target: "librdkafka", facility, "{message}"),
            _ => tracing::trace!(target: "librdkafka", facility, "{message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let is_refusal = matches!(
            error.rdkafka_error_code(),
            Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed)
        );
        // That none of the brokers is there says less than why the last one is not.
        let says_less = error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown)
            && self.trouble.last().is_some();
        if is_refusal || !(says_less || self.trouble.is_refusal()) {
            self.trouble.note(reason, is_refusal);
        }
        tracing::debug!(target: "librdkafka", %error, reason);
    }

    fn stats(&self, _statistics: Statistics) {}
}

impl ConsumerContext for Context {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_trouble_is_kept_until_an_answer_comes() {
        let trouble = Trouble::default();
        let context = Context::new(trouble.clone());
        context.log(
            RDKafkaLogLevel::Error,
            "FAIL",
            "[thrd:h:1/bootstrap]: h:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused",
        );
        assert_eq!(
            trouble.last().as_deref(),
            Some("h:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused")
        );
        let down = KafkaError::Global(RDKafkaErrorCode::AllBrokersDown);
        context.error(down, "1/1 brokers are down");
        assert!(trouble.last().expect("noted").contains("refused"));
        context.log(RDKafkaLogLevel::Info, "X", "all is well");
        assert!(trouble.last().is_some());
        trouble.clear();
        assert_eq!(trouble.last(), None);
    }
}
