//! The number of the last epoch in Kafka: an offset of a consumer group that nobody is a member of.
//!
//! A transaction can commit offsets of a group together with its messages. The sink has a group of its own whose offset
//! of partition 0 of one topic is the number of the first epoch that is *not* in Kafka; beside it stands, as text, who
//! wrote it. It is read back with the client's stable read, which waits for transactions in doubt.

use std::time::Duration;

use headwater_core::{Epoch, Error, Result};
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata},
    error::{KafkaError, KafkaResult},
    producer::{Producer as _, ThreadedProducer},
    util::Timeout,
};

use super::{
    decide::{Author, Mark, newest},
    deliveries::Deliveries,
    errors,
};
use crate::client::{ClientSettings, Context, Trouble, is_passing};

/// How long the group's coordinator may take to answer.
const ANSWER: Duration = Duration::from_secs(60);

/// The partition whose offset is the number.
const PARTITION: i32 = 0;

/// How often a coordinator that moves is asked, and the time between.
const QUESTIONS: usize = 100;
const PAUSE: Duration = Duration::from_millis(100);

/// How often a call is repeated that the client says can be.
const TRIES: usize = 5;

/// Where the number of one sink is kept.
pub(super) struct Marks {
    group: String,
    topic: String,
    settings: ClientConfig,
    trouble: Trouble,
    member: ConsumerGroupMetadata,
}

impl std::fmt::Debug for Marks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Marks")
            .field("group", &self.group)
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}

impl Marks {
    /// Finds the place of a sink's number, beside this topic from now on, and reads it: also beside the topic where it
    /// was kept before, if that is known to be another. Blocks.
    ///
    /// # Errors
    /// `Unavailable` if the cluster does not answer, `Invalid` if it refuses.
    pub(super) fn open(
        settings: &ClientSettings,
        group: &str,
        topic: &str,
        kept_at: Option<&str>,
    ) -> Result<(Self, Option<Mark>)> {
        let settings = settings.config(
            &[],
            &[
                ("group.id", group.to_owned()),
                ("isolation.level", "read_committed".to_owned()),
                ("enable.auto.commit", "false".to_owned()),
            ],
        );
        let trouble = Trouble::default();
        let asking = client(&settings, &trouble)?;
        let member = asking
            .group_metadata()
            .ok_or_else(|| Error::internal("a Kafka client without a consumer group"))?;
        let marks = Self {
            group: group.to_owned(),
            topic: topic.to_owned(),
            settings,
            trouble,
            member,
        };
        let present = marks.ask(&asking, topic)?;
        let mark = match kept_at.filter(|kept_at| *kept_at != topic) {
            Some(kept_at) => newest(marks.ask(&asking, kept_at)?, present),
            None => present,
        };
        Ok((marks, mark))
    }

    /// Reads the number again. Blocks.
    pub(super) fn read(&self) -> Result<Option<Mark>> {
        self.ask(&client(&self.settings, &self.trouble)?, &self.topic)
    }

    fn ask(&self, asking: &BaseConsumer<Context>, topic: &str) -> Result<Option<Mark>> {
        let what = format!(
            "sink 'kafka' cannot read the number of its last epoch beside topic '{topic}' from the consumer group '{}'",
            self.group
        );
        let mut tries = 1;
        let found = loop {
            let mut wanted = TopicPartitionList::new();
            wanted.add_partition(topic, PARTITION);
            match asking.committed_offsets(wanted, ANSWER) {
                // The coordinator moves, above all while a cluster is young.
                Err(error) if is_passing(&error) && tries < QUESTIONS => {
                    tracing::debug!(%error, tries, "the coordinator of the group is asked again");
                    std::thread::sleep(PAUSE);
                    tries += 1;
                }
                answer => break answer,
            }
        };
        let failed = |error: KafkaError| errors::of_call(&what, &error, &self.trouble);
        let found = found.map_err(failed)?;
        let Some(found) = found.find_partition(topic, PARTITION) else {
            return Ok(None);
        };
        found.error().map_err(failed)?;
        match found.offset() {
            Offset::Offset(next) => mark(next, found.metadata()).map(Some).ok_or_else(|| {
                Error::data(format!(
                    "the offset {next} of the consumer group '{}' is no number of an epoch",
                    self.group
                ))
            }),
            _ => Ok(None),
        }
    }

    /// Puts the number into the open transaction and commits it. Blocks.
    pub(super) fn commit(
        &self,
        producer: &ThreadedProducer<Deliveries>,
        mark: Mark,
    ) -> KafkaResult<()> {
        let offsets = self.offsets(mark)?;
        again(|| producer.send_offsets_to_transaction(&offsets, &self.member, ANSWER))?;
        // As long as the transaction may stay open.
        again(|| producer.commit_transaction(Timeout::Never))
    }

    fn offsets(&self, mark: Mark) -> KafkaResult<TopicPartitionList> {
        let mut offsets = TopicPartitionList::new();
        let next = i64::try_from(mark.next.0).unwrap_or(i64::MAX);
        let mut number = offsets.add_partition(&self.topic, PARTITION);
        number.set_offset(Offset::Offset(next))?;
        number.set_metadata(text(mark.by));
        Ok(offsets)
    }

    pub(super) fn group(&self) -> &str {
        &self.group
    }

    pub(super) fn topic(&self) -> &str {
        &self.topic
    }
}

fn client(settings: &ClientConfig, trouble: &Trouble) -> Result<BaseConsumer<Context>> {
    settings
        .create_with_context(Context::new(trouble.clone()))
        .map_err(|error| {
            Error::invalid("sink 'kafka' cannot make a client of its options").with_source(error)
        })
}

/// Repeats a call as long as the client says that it can be repeated.
pub(super) fn again(call: impl Fn() -> KafkaResult<()>) -> KafkaResult<()> {
    let mut tries = 1;
    loop {
        match call() {
            Err(KafkaError::Transaction(error)) if error.is_retriable() && tries < TRIES => {
                tracing::info!(%error, tries, "a call of a Kafka transaction is repeated");
                tries += 1;
            }
            outcome => return outcome,
        }
    }
}

/// What stands beside the number.
fn text(by: Option<Author>) -> String {
    by.and_then(|author| serde_json::to_string(&author).ok())
        .unwrap_or_default()
}

fn mark(next: i64, beside: &str) -> Option<Mark> {
    Some(Mark {
        next: Epoch(u64::try_from(next).ok()?),
        by: serde_json::from_str(beside).ok(),
    })
}

#[cfg(test)]
mod tests {
    use headwater_core::RunId;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_mark_is_read_as_it_was_written() {
        let by = Some(Author {
            run: RunId(Uuid::from_u128(7)),
            rows: 12,
        });
        assert_eq!(
            text(by),
            r#"{"run":"00000000-0000-0000-0000-000000000007","rows":12}"#
        );
        let next = Epoch(3);
        assert_eq!(mark(3, &text(by)), Some(Mark { next, by }));
        assert_eq!(mark(3, ""), Some(Mark { next, by: None }));
        assert_eq!(mark(-1, ""), None);
    }
}
