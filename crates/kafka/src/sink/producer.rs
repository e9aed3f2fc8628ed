//! The producer of a sink: hands rows to librdkafka without blocking a task, and waits without spinning.
//!
//! All partitions of an epoch share one producer: it is thread-safe, and it is what a transaction belongs to.

use std::{sync::Arc, time::Duration};

use arrow::array::RecordBatch;
use headwater_core::{Error, PartWrite, Result};
use rdkafka::{
    error::{KafkaError, RDKafkaErrorCode},
    metadata::Metadata,
    producer::{BaseRecord, Producer as _, PurgeConfig, ThreadedProducer},
};

use crate::client::{ClientSettings, Trouble};

use super::{
    columns::Columns,
    deliveries::{Deliveries, Failure},
    errors,
    messages::{Message, Messages},
};

/// What the sink sets unless the user does, by name or by the second name that it has. Latency: nothing lingers, since
/// batches build up while requests are under way. Memory: no more than this is queued. Keys go to the partition that
/// Java's clients choose.
const DEFAULTS: [(&str, &str, &str); 8] = [
    ("client.id", "", "headwater"),
    ("socket.nagle.disable", "", "true"),
    ("reconnect.backoff.max.ms", "", "1000"),
    ("enable.idempotence", "", "true"),
    ("linger.ms", "queue.buffering.max.ms", "0"),
    ("queue.buffering.max.kbytes", "", "65536"),
    (MESSAGE, "delivery.timeout.ms", "120000"),
    ("partitioner", "", "murmur2_random"),
];

const MESSAGE: &str = "message.timeout.ms";

/// How long a transaction may be open, in milliseconds.
pub(super) const TRANSACTION: &str = "transaction.timeout.ms";

/// Rows after which a task lets others run.
const ROWS_AT_ONCE: usize = 1024;

/// How long the first answer of the cluster may take.
const FIRST_ANSWER: Duration = Duration::from_secs(30);

/// How long a topic that was just created may be unknown.
const UNKNOWN_FOR: Duration = Duration::from_secs(3);

/// A producer and what became of its messages.
pub(super) struct Producer {
    client: ThreadedProducer<Deliveries>,
    /// The brokers, for messages.
    servers: String,
    /// How long they may take to answer.
    patience: Duration,
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer").finish_non_exhaustive()
    }
}

impl Producer {
    /// A producer with the user's settings and those that the sink has decided; nothing is connected yet.
    pub(super) fn new(settings: &ClientSettings, decided: &[(&str, String)]) -> Result<Self> {
        let is_said =
            |name: &str, alias: &str| settings.get(name).is_some() || settings.get(alias).is_some();
        let mut defaults: Vec<(&str, String)> = DEFAULTS
            .into_iter()
            .filter(|(name, alias, _)| !is_said(name, alias))
            .map(|(name, _, value)| (name, value.to_owned()))
            .collect();
        let longest = decided.iter().find(|(name, _)| *name == TRANSACTION);
        for (_, value) in defaults.iter_mut().filter(|(name, _)| *name == MESSAGE) {
            // A message must not be tried for longer than its transaction lasts.
            let millis = |text: &str| text.parse::<u64>().unwrap_or(u64::MAX);
            if let Some((_, longest)) = longest.filter(|(_, it)| millis(it) < millis(value)) {
                value.clone_from(longest);
            }
        }
        let client = settings
            .config(&defaults, decided)
            .create_with_context(Deliveries::default())
            .map_err(|error| {
                Error::invalid("sink 'kafka' cannot make a producer of its options")
                    .with_source(error)
            })?;
        Ok(Self {
            client,
            servers: settings.servers().to_owned(),
            patience: settings.patience_or(FIRST_ANSWER),
        })
    }

    fn deliveries(&self) -> &Deliveries {
        self.client.client().context()
    }

    pub(super) fn client(&self) -> &ThreadedProducer<Deliveries> {
        &self.client
    }

    /// What the client said last about its connections.
    pub(super) fn trouble(&self) -> &Trouble {
        self.deliveries().trouble()
    }

    /// Makes sure that the cluster answers and has the topic. Blocks.
    ///
    /// # Errors
    /// `Unavailable` if it does not answer, `Invalid` if it refuses us or has no such topic.
    pub(super) fn find_topic(&self, topic: &str) -> Result<()> {
        let mut waited = Duration::ZERO;
        loop {
            let found = self.describe(Some(topic))?;
            let described = found.topics().iter().find(|it| it.name() == topic);
            let fault = described.and_then(|it| it.error());
            let is_there = described.is_some_and(|it| !it.partitions().is_empty());
            match fault.map(RDKafkaErrorCode::from) {
                None if is_there => return Ok(()),
                Some(RDKafkaErrorCode::TopicAuthorizationFailed) => {
                    return Err(Error::invalid(format!(
                        "the broker does not let this user see topic '{topic}': give it the rights DESCRIBE and WRITE"
                    )));
                }
                Some(RDKafkaErrorCode::InvalidTopic) => {
                    return Err(Error::invalid(format!(
                        "the broker refuses the name of topic '{topic}'"
                    )));
                }
                // The broker may be about to create it.
                _ if waited < UNKNOWN_FOR => {
                    let pause = Duration::from_millis(100);
                    std::thread::sleep(pause);
                    waited += pause;
                }
                _ => {
                    return Err(Error::invalid(format!(
                        "there is no topic '{topic}': create it (kafka-topics.sh --create --topic {topic} …), or let the \
                         broker create topics ('auto.create.topics.enable')"
                    )));
                }
            }
        }
    }

    /// Makes sure that the cluster answers. Blocks.
    ///
    /// # Errors
    /// As [`Self::find_topic`].
    pub(super) fn find_cluster(&self) -> Result<()> {
        self.describe(None).map(drop)
    }

    fn describe(&self, topic: Option<&str>) -> Result<Metadata> {
        let described = self.client.client().fetch_metadata(topic, self.patience);
        described.map_err(|error| {
            let why = topic.map_or_else(String::new, |it| format!(" to write to topic '{it}'"));
            let what = format!(
                "sink 'kafka' cannot reach the Kafka brokers {}{why}",
                self.servers
            );
            errors::of_call(&what, &error, self.deliveries().trouble())
        })
    }

    /// Hands the rows of a batch over; `before` rows of the part came before them.
    ///
    /// # Errors
    /// `Data` if a row cannot be a message, naming it, and whatever happened to earlier messages.
    pub(super) async fn send(
        &self,
        part: PartWrite,
        before: u64,
        batch: &RecordBatch,
        columns: &Columns,
    ) -> Result<()> {
        let messages = Messages::of(batch, columns)?;
        for row in 0..messages.len() {
            let name = || {
                let row = before + row as u64 + 1;
                format!("row {row} of partition {}", part.partition)
            };
            let message = messages.get(row).map_err(|error| {
                let why = format!("{} {}", name(), error.message());
                Error::new(error.kind(), why)
            })?;
            self.hand_over(message)
                .await
                .map_err(|error| error.context(name()))?;
            if row % ROWS_AT_ONCE == ROWS_AT_ONCE - 1 {
                self.check()?;
                tokio::task::yield_now().await;
            }
        }
        self.check()
    }

    /// Hands one message over, once the queue has room.
    async fn hand_over(&self, message: Message<'_>) -> Result<()> {
        let mut record = BaseRecord::<[u8], [u8], ()>::to(message.topic);
        record.partition = message.partition;
        record.key = message.key;
        record.payload = message.value;
        record.headers = message.headers;
        loop {
            self.deliveries().begin();
            let Err((error, refused)) = self.client.send(record) else {
                return Ok(());
            };
            self.deliveries().end();
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                let bytes = |part: Option<&[u8]>| part.map_or(0, <[u8]>::len);
                let is_too_large =
                    error.rdkafka_error_code() == Some(RDKafkaErrorCode::MessageSizeTooLarge);
                let failure = Failure {
                    topic: refused.topic.to_owned(),
                    partition: refused.partition,
                    bytes: bytes(refused.payload) + bytes(refused.key),
                    error,
                };
                return Err(match is_too_large {
                    true => errors::too_large_for_the_client(&failure),
                    false => self.told(failure),
                });
            }
            record = refused;
            self.check()?;
            self.deliveries().fewer().await;
        }
    }

    /// A failure in words.
    fn told(&self, mut failure: Failure) -> Error {
        // A client that has ended for good drops what it has; why it ended is what matters.
        if let Some((code, _)) = self.client.client().fatal_error() {
            failure.error = KafkaError::MessageProduction(code);
        }
        errors::of_delivery(&failure, self.trouble())
    }

    /// Fails once a message has failed.
    fn check(&self) -> Result<()> {
        match self.deliveries().failure() {
            None => Ok(()),
            Some(failure) => Err(self.told(failure)),
        }
    }

    /// Waits until everything is acknowledged.
    ///
    /// # Errors
    /// The first failure among the messages.
    pub(super) async fn all_delivered(&self) -> Result<()> {
        self.deliveries().all().await;
        self.check()
    }

    /// Throws away what is queued, and waits until nothing is in flight.
    pub(super) async fn drop_queue(&self) {
        self.client.purge(PurgeConfig::default().queue().inflight());
        // What it answers is about messages that nobody wants any more.
        self.deliveries().all().await;
        self.deliveries().forget_failure();
    }
}

/// Runs a call of the client that blocks where it may.
pub(super) async fn blocking<T: Send + 'static>(
    producer: &Arc<Producer>,
    call: impl FnOnce(&Producer) -> Result<T> + Send + 'static,
) -> Result<T> {
    let producer = Arc::clone(producer);
    let running = tokio::task::spawn_blocking(move || call(&producer));
    running.await.map_err(|error| {
        Error::internal("a call of the Kafka client ended unexpectedly").with_source(error)
    })?
}
