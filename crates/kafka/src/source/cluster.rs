//! Questions to the cluster: which topics there are, where partitions begin and end, what comes next in one.
//!
//! They have a client of their own: a broker answers the requests of a connection one after the other, and would keep a
//! question behind a fetch that waits for messages.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use headwater_core::{Clock, Error, Result};
use parking_lot::Mutex;
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, KafkaResult},
    types::RDKafkaErrorCode,
};

use super::{
    OWNER,
    loss::named,
    positions::{Positions, TopicPartition},
    subscription::Topics,
};
use crate::client::{ClientSettings, Context, Trouble, failed, is_passing};

/// How long one try may take; the client has a way to find another broker then.
const ATTEMPT: Duration = Duration::from_secs(5);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(100);
/// How long an answer may take that nobody needs.
const NUDGE: Duration = Duration::from_secs(1);
/// How long, and how often, to look for what comes next in a partition.
const LOOK: Duration = Duration::from_millis(50);
const LOOKS: usize = 20;

/// What comes next in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// A message of this offset; there is none before.
    Message(i64),
    /// There is nothing that can be read: the partition ends.
    End,
    /// The offset looked at is none of the partition's.
    OutOfRange,
    /// No answer came in time.
    Unknown,
}

/// A connection for questions.
pub(crate) struct Cluster {
    consumer: Arc<BaseConsumer<Context>>,
    settings: ClientSettings,
    trouble: Trouble,
    clock: Arc<dyn Clock>,
    patience: Duration,
    // Locked to find the lock of a partition, of which one task at a time looks what comes next.
    looking: Mutex<BTreeMap<TopicPartition, Arc<tokio::sync::Mutex<()>>>>,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("servers", &self.settings.servers())
            .finish_non_exhaustive()
    }
}

impl Cluster {
    /// A client that waits as long as `patience` for an answer. Nothing is asked yet.
    pub(crate) fn new(
        settings: &ClientSettings,
        group: &str,
        clock: Arc<dyn Clock>,
        patience: Duration,
    ) -> Result<Self> {
        let defaults = super::client_defaults();
        let decided = [
            ("group.id", group.to_owned()),
            ("enable.auto.commit", "false".to_owned()),
            ("enable.partition.eof", "true".to_owned()),
            ("auto.offset.reset", "error".to_owned()),
            // Who looks at the end of a partition does not want to wait there.
            ("fetch.wait.max.ms", "5".to_owned()),
            ("fetch.min.bytes", "1".to_owned()),
            ("queued.min.messages", "1".to_owned()),
        ];
        let trouble = Trouble::default();
        let mut config = settings.config(&defaults, &decided);
        // The nearest replica may not know the newest messages yet.
        config.remove("client.rack");
        let consumer = config
            .create_with_context(Context::new(trouble.clone()))
            .map_err(|error| failed("making a client", settings.servers(), error, &trouble))?;
        Ok(Self {
            consumer: Arc::new(consumer),
            settings: settings.clone(),
            trouble,
            clock,
            patience,
            looking: Mutex::default(),
        })
    }

    /// The brokers as the user named them.
    pub(crate) fn servers(&self) -> &str {
        self.settings.servers()
    }

    /// The topics that there are of those `wanted`; `None`: all.
    pub(crate) async fn topics(&self, wanted: Option<BTreeSet<Arc<str>>>) -> Result<Topics> {
        self.topics_within(wanted, self.patience).await
    }

    /// As [`Self::topics`], with another patience.
    pub(crate) async fn topics_within(
        &self,
        wanted: Option<BTreeSet<Arc<str>>>,
        patience: Duration,
    ) -> Result<Topics> {
        let what = match &wanted {
            Some(topics) => {
                let names: Vec<&str> = topics.iter().map(AsRef::as_ref).collect();
                format!("looking for the topics {}", names.join(", "))
            }
            None => "listing the topics".to_owned(),
        };
        let ask = move |consumer: &BaseConsumer<Context>, timeout: Duration| {
            let mut found = Topics::new();
            let Some(wanted) = &wanted else {
                add_topics(&mut found, &consumer.fetch_metadata(None, timeout)?)?;
                return Ok(found);
            };
            for topic in wanted {
                add_topics(&mut found, &consumer.fetch_metadata(Some(topic), timeout)?)?;
            }
            Ok(found)
        };
        self.ask(what, patience, ask).await
    }

    /// The offsets that answer to `wanted`: [`Offset::Beginning`], [`Offset::End`], or as [`Offset::Offset`] a time in
    /// milliseconds since 1970, whose answer is `None` where all messages are older.
    pub(crate) async fn offsets(
        &self,
        wanted: BTreeMap<TopicPartition, Offset>,
    ) -> Result<BTreeMap<TopicPartition, Option<i64>>> {
        if wanted.is_empty() {
            return Ok(BTreeMap::new());
        }
        let names: Vec<String> = wanted.keys().take(10).map(ToString::to_string).collect();
        let more = if wanted.len() > 10 { ", …" } else { "" };
        let what = format!("asking for offsets of {}{more}", names.join(", "));
        let ask = move |consumer: &BaseConsumer<Context>, timeout: Duration| match answers(
            consumer, &wanted, timeout,
        ) {
            // While brokers start they may say so of what is there; that passes.
            Err(error) if is_unknown(&error) && all_exist(consumer, wanted.keys(), timeout)? => {
                Err(KafkaError::MetadataFetch(
                    RDKafkaErrorCode::LeaderNotAvailable,
                ))
            }
            outcome => outcome,
        };
        self.ask(what, self.patience, ask).await
    }

    /// Where partitions begin.
    pub(crate) async fn earliest(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<Positions> {
        self.ends_of(partitions, Offset::Beginning).await
    }

    /// Where partitions end: with read_committed, before the first open transaction.
    pub(crate) async fn latest(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<Positions> {
        self.ends_of(partitions, Offset::End).await
    }

    async fn ends_of(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
        offset: Offset,
    ) -> Result<Positions> {
        let wanted = partitions.into_iter().map(|p| (p, offset)).collect();
        let answers = self.offsets(wanted).await?;
        let known = answers
            .into_iter()
            .filter_map(|(p, offset)| Some((p, offset?)));
        Ok(known.collect())
    }

    /// What can be read next of a partition from an offset on. What lies between is none of a reader's business: control
    /// records, messages of aborted transactions, messages that compaction has removed.
    pub(crate) async fn next(&self, partition: &TopicPartition, from: i64) -> Result<Next> {
        let lock = Arc::clone(self.looking.lock().entry(partition.clone()).or_default());
        let lock = lock.lock_owned().await;
        let what = format!("looking at {} from offset {from} on", named(partition));
        let (consumer, partition) = (Arc::clone(&self.consumer), partition.clone());
        let look = move || {
            let _lock = lock;
            let mut list = TopicPartitionList::with_capacity(1);
            list.add_partition_offset(&partition.topic, partition.partition, Offset::Offset(from))?;
            let queue = consumer.split_partition_queue(&partition.topic, partition.partition);
            consumer.incremental_assign(&list)?;
            let mut seen = None;
            for queue in queue.iter().cycle().take(LOOKS) {
                seen = queue.poll(LOOK);
                // The library may sleep over a new wish for a second; a question wakes it. Where no answer comes nothing
                // else will, and a program that ends waits for whoever still looks.
                if seen.is_some() || !nudge(&consumer, &partition) {
                    break;
                }
            }
            let next = match seen {
                Some(Ok(message)) => Ok(Next::Message(message.offset())),
                Some(Err(KafkaError::PartitionEOF(_))) => Ok(Next::End),
                Some(Err(error)) if is_out_of_range(&error) => Ok(Next::OutOfRange),
                Some(Err(error)) if is_passing(&error) || is_unknown(&error) => Ok(Next::Unknown),
                Some(Err(error)) => Err(error),
                None => Ok(Next::Unknown),
            };
            consumer.incremental_unassign(&list)?;
            next
        };
        let looked = tokio::task::spawn_blocking(look).await;
        looked
            .map_err(cut_off)?
            .map_err(|error| failed(&what, self.servers(), error, &self.trouble))
    }

    /// Asks again and again until an answer comes, one that will not change, or patience ends.
    async fn ask<T: Send + 'static>(
        &self,
        what: String,
        patience: Duration,
        question: impl Fn(&BaseConsumer<Context>, Duration) -> KafkaResult<T> + Send + 'static,
    ) -> Result<T> {
        let (consumer, clock) = (Arc::clone(&self.consumer), Arc::clone(&self.clock));
        let (trouble, servers) = (self.trouble.clone(), self.servers().to_owned());
        let asking = move || {
            let began = clock.monotonic();
            loop {
                let left = patience.saturating_sub(clock.monotonic().saturating_sub(began));
                match question(&consumer, left.min(ATTEMPT)) {
                    Ok(answer) => {
                        trouble.clear();
                        serve(&consumer);
                        return Ok(answer);
                    }
                    Err(error) if is_passing(&error) && left > PAUSE && !trouble.is_refusal() => {
                        tracing::debug!(%error, what, "will ask the brokers again");
                        pause(&consumer, &*clock);
                    }
                    Err(error) => {
                        serve(&consumer);
                        return Err(failed(&what, &servers, error, &trouble));
                    }
                }
            }
        };
        tokio::task::spawn_blocking(asking).await.map_err(cut_off)?
    }

    /// Lets the client say what it has to say.
    pub(crate) fn serve(&self) {
        serve(&self.consumer);
    }
}

/// What the leaders of partitions say to [`Cluster::offsets`].
fn answers(
    consumer: &BaseConsumer<Context>,
    wanted: &BTreeMap<TopicPartition, Offset>,
    timeout: Duration,
) -> KafkaResult<BTreeMap<TopicPartition, Option<i64>>> {
    let mut list = TopicPartitionList::with_capacity(wanted.len());
    for (partition, offset) in wanted {
        list.add_partition_offset(&partition.topic, partition.partition, *offset)?;
    }
    let answers = consumer.offsets_for_times(list, timeout)?;
    let answer = |partition: &TopicPartition| {
        let answer = answers.find_partition(&partition.topic, partition.partition);
        let missing = KafkaError::OffsetFetch(RDKafkaErrorCode::UnknownPartition);
        let answer = answer.ok_or(missing)?;
        answer.error()?;
        let offset = match answer.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        };
        Ok((partition.clone(), offset))
    };
    wanted.keys().map(answer).collect()
}

/// Whether the cluster has all of these partitions.
fn all_exist<'a>(
    consumer: &BaseConsumer<Context>,
    partitions: impl Iterator<Item = &'a TopicPartition>,
    timeout: Duration,
) -> KafkaResult<bool> {
    let mut found = Topics::new();
    for partition in partitions {
        if !found.contains_key(&partition.topic) {
            let answer = consumer.fetch_metadata(Some(&partition.topic), timeout)?;
            add_topics(&mut found, &answer)?;
        }
        let numbers = found.get(&partition.topic);
        if numbers.is_none_or(|numbers| !numbers.contains(&partition.partition)) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The topics of an answer that can be read.
fn add_topics(topics: &mut Topics, metadata: &rdkafka::metadata::Metadata) -> KafkaResult<()> {
    for topic in metadata.topics() {
        match topic.error().map(RDKafkaErrorCode::from) {
            None => {
                let partitions = topic.partitions().iter().map(|partition| partition.id());
                topics.insert(Arc::from(topic.name()), partitions.collect());
            }
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {}
            Some(code) => return Err(KafkaError::MetadataFetch(code)),
        }
    }
    Ok(())
}

/// Takes what lies in the client's own queue: logs and errors, which go to its context.
pub(super) fn serve(consumer: &BaseConsumer<Context>) {
    // There is an end to what may have come, whoever keeps sending.
    for _ in 0..100 {
        if consumer.poll(Duration::ZERO).is_none() {
            return;
        }
    }
}

/// Waits a little, and takes what the client has to say meanwhile.
fn pause(consumer: &BaseConsumer<Context>, clock: &dyn Clock) {
    let began = clock.monotonic();
    loop {
        let passed = clock.monotonic().saturating_sub(began);
        let left = PAUSE.saturating_sub(passed);
        if left.is_zero() || consumer.poll(left).is_none() {
            return;
        }
    }
}

/// Asks the leader of a partition something, so that what the client wants to fetch is looked at. `false` if it does not
/// answer.
pub(super) fn nudge(consumer: &BaseConsumer<Context>, partition: &TopicPartition) -> bool {
    let answer = consumer.fetch_watermarks(&partition.topic, partition.partition, NUDGE);
    if let Err(error) = &answer {
        tracing::debug!(%error, %partition, "no answer");
    }
    answer.is_ok()
}

/// The offset asked for is none of the partition's.
pub(super) fn is_out_of_range(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange)
    )
}

/// There is no such topic or partition, or not yet on the broker that was asked.
pub(super) fn is_unknown(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::UnknownPartition
                | RDKafkaErrorCode::UnknownTopicId
        )
    )
}

/// A thread that asked has panicked, or the runtime has ended.
pub(super) fn cut_off(error: tokio::task::JoinError) -> Error {
    Error::internal(format!("{OWNER} was cut off while it waited for an answer")).with_source(error)
}

#[cfg(test)]
mod tests {
    use headwater_core::{Options, SystemClock};
    use rdkafka::{
        mocking::MockCluster,
        types::{RDKafkaApiKey, RDKafkaRespErr},
    };

    use super::*;
    use crate::client::Role;

    /// A real broker says so for a moment after its start only, so this one is made up.
    #[tokio::test]
    async fn who_does_not_know_a_partition_that_is_there_is_asked_again() {
        let mock = MockCluster::new(1).expect("a cluster");
        mock.create_topic("t", 2, 1).expect("a topic");
        let unknown = RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
        mock.request_errors(RDKafkaApiKey::ListOffsets, &[unknown; 3]);
        let mut options = Options::new();
        options.set("kafka.bootstrap.servers", mock.bootstrap_servers());
        let settings = ClientSettings::from_options("test", Role::Source, &options);
        let clock = Arc::new(SystemClock::default());
        let cluster = Cluster::new(
            &settings.expect("settings"),
            "group",
            clock,
            Duration::from_secs(20),
        );
        let cluster = cluster.expect("a client");
        let partition = |number| TopicPartition::new(&Arc::from("t"), number);
        let latest = cluster.latest([partition(0), partition(1)]).await;
        let latest = latest.expect("the cluster has them");
        assert_eq!(latest.get(&partition(1)), Some(0));

        // One that is not there is not waited for.
        let error = cluster.latest([partition(7)]).await;
        let error = error.expect_err("there is none").to_string();
        assert!(error.contains("t-7"), "{error}");
    }
}
