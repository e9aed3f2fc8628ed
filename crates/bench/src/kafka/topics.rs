//! The topics of a run: made, filled, counted, and deleted at its end.

use std::time::Duration;

use headwater_core::{Clock, Error, Result};
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseProducer, BaseRecord, Producer},
};

/// A broker that does not answer for so long is not there.
const PATIENCE: Duration = Duration::from_secs(60);

/// A broker, and the topics that were made on it.
pub(super) struct Topics {
    bootstrap: String,
    admin: AdminClient<DefaultClientContext>,
    runtime: tokio::runtime::Runtime,
    partitions: i32,
    /// Begins the names of this run's topics.
    prefix: String,
    made: Vec<String>,
}

impl Topics {
    /// Topics of so many partitions, under names of their own.
    pub(super) fn on(bootstrap: &str, partitions: i32, clock: &dyn Clock) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| Error::unavailable("cannot start a runtime").with_source(e))?;
        let admin = {
            let _within = runtime.enter();
            client(bootstrap)
                .create()
                .map_err(|e| failed(bootstrap, "make a client", e))?
        };
        Ok(Self {
            bootstrap: bootstrap.to_owned(),
            admin,
            runtime,
            partitions,
            prefix: format!("bench-{}-{}", clock.now_millis(), std::process::id()),
            made: Vec::new(),
        })
    }

    pub(super) fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// The partitions of each topic.
    pub(super) fn partitions(&self) -> std::ops::Range<i32> {
        0..self.partitions
    }

    /// Makes a topic; its whole name.
    pub(super) fn make(&mut self, name: &str) -> Result<String> {
        let name = format!("{}-{}-{name}", self.prefix, self.made.len());
        let topic = NewTopic::new(&name, self.partitions, TopicReplication::Fixed(1));
        let made = self
            .runtime
            .block_on(self.admin.create_topics([&topic], &options()));
        let made = made.map_err(|e| failed(&self.bootstrap, "make a topic", e))?;
        if let Some(Err((name, code))) = made.into_iter().next() {
            let error = KafkaError::AdminOp(code);
            return Err(failed(
                &self.bootstrap,
                &format!("make topic {name}"),
                error,
            ));
        }
        self.made.push(name.clone());
        Ok(name)
    }

    /// Sends the messages, in turn to each partition, and waits until the broker has them.
    pub(super) fn fill(&self, topic: &str, messages: impl Iterator<Item = String>) -> Result<()> {
        let cannot = |e| failed(&self.bootstrap, &format!("fill topic {topic}"), e);
        let producer: BaseProducer = client(&self.bootstrap)
            .set("linger.ms", "20")
            .set("batch.size", "1000000")
            // Each partition keeps the order of its messages.
            .set("enable.idempotence", "true")
            .create()
            .map_err(cannot)?;
        for (partition, message) in self.partitions().cycle().zip(messages) {
            let mut record = BaseRecord::<(), str>::to(topic)
                .partition(partition)
                .payload(&message);
            while let Err((error, again)) = producer.send(record) {
                if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                    return Err(cannot(error));
                }
                producer.poll(Duration::from_millis(10));
                record = again;
            }
            producer.poll(Duration::ZERO);
        }
        producer.flush(PATIENCE).map_err(cannot)
    }

    /// Who reads a topic from its beginning, committed messages only, and is told where partitions end.
    pub(super) fn reader(&self, topic: &str) -> Result<BaseConsumer> {
        let cannot = |e| failed(&self.bootstrap, &format!("read topic {topic}"), e);
        let consumer: BaseConsumer = client(&self.bootstrap)
            // A group must be named, though none is joined.
            .set("group.id", "bench")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("isolation.level", "read_committed")
            .create()
            .map_err(cannot)?;
        let mut assigned = TopicPartitionList::new();
        for partition in self.partitions() {
            assigned
                .add_partition_offset(topic, partition, Offset::Beginning)
                .map_err(cannot)?;
        }
        consumer.assign(&assigned).map_err(cannot)?;
        Ok(consumer)
    }

    /// How many messages of a topic a reader of committed messages gets.
    pub(super) fn count(&self, topic: &str) -> Result<u64> {
        let consumer = self.reader(topic)?;
        let (mut messages, mut left) = (0, self.partitions);
        while left > 0 {
            match consumer.poll(PATIENCE) {
                Some(Ok(_)) => messages += 1,
                Some(Err(KafkaError::PartitionEOF(_))) => left -= 1,
                Some(Err(error)) => {
                    let what = format!("read topic {topic}");
                    return Err(failed(&self.bootstrap, &what, error));
                }
                None => {
                    return Err(Error::unavailable(format!(
                        "broker {}: topic {topic} does not come to an end",
                        self.bootstrap
                    )));
                }
            }
        }
        Ok(messages)
    }
}

impl Drop for Topics {
    fn drop(&mut self) {
        let names: Vec<_> = self.made.iter().map(String::as_str).collect();
        if !names.is_empty() {
            // Best effort: they are in nobody's way.
            let _ = self
                .runtime
                .block_on(self.admin.delete_topics(&names, &options()));
        }
    }
}

/// Settings of a client of this broker.
pub(super) fn client(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    config
}

pub(super) fn failed(bootstrap: &str, what: &str, error: KafkaError) -> Error {
    Error::unavailable(format!("broker {bootstrap}: cannot {what}")).with_source(error)
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .operation_timeout(Some(PATIENCE))
        .request_timeout(Some(PATIENCE))
}
