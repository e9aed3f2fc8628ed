//! A real broker for tests: `scripts/kafka` starts it, and it ends with the process of the tests.
//!
//! Most tests share one and use topics of their own. A test that stops or sets up the broker differently takes its own.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures::future::try_join_all;
use rdkafka::{
    ClientConfig,
    admin::{
        AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier,
        TopicReplication, TopicResult,
    },
    client::DefaultClientContext,
    producer::{FutureProducer, FutureRecord},
    types::RDKafkaErrorCode,
};

/// Leaves the tests out where it is `skip`.
const SWITCH: &str = "HEADWATER_KAFKA";
const PATIENCE: Duration = Duration::from_secs(30);

/// A running broker.
#[derive(Debug)]
pub(crate) struct Broker {
    data: PathBuf,
    servers: String,
}

/// A message to send.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Message<'a> {
    pub(crate) partition: Option<i32>,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    /// Milliseconds since 1970; `None`: now.
    pub(crate) timestamp: Option<i64>,
}

impl<'a> Message<'a> {
    pub(crate) fn to(partition: i32, value: &'a str) -> Self {
        Self {
            partition: Some(partition),
            value: Some(value.as_bytes()),
            ..Self::default()
        }
    }
}

/// Whether the tests are switched off; says so past the test harness, which would hide it.
fn is_skipped() -> bool {
    let skipped = std::env::var(SWITCH).is_ok_and(|value| value == "skip");
    if skipped {
        let note = format!("{SWITCH}=skip: a test against a Kafka broker was left out\n");
        let _ = std::io::stderr().write_all(note.as_bytes());
    }
    skipped
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/kafka")
}

impl Broker {
    /// The broker of this process; `None` if the tests are switched off.
    ///
    /// # Panics
    /// With what to install where Java or Maven is missing.
    pub(crate) fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Broker> = OnceLock::new();
        if is_skipped() {
            return None;
        }
        Some(SHARED.get_or_init(|| Self::start_new("")))
    }

    /// A broker for one test, with further settings as `scripts/kafka` takes them; `None` if the tests are switched
    /// off. It ends when it is dropped.
    pub(crate) fn own(properties: &str) -> Option<Own> {
        (!is_skipped()).then(|| Own(Self::start_new(properties)))
    }

    fn start_new(properties: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("kafka-{}-{number}", std::process::id());
        let data = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&data).expect("a folder for the broker");
        std::fs::write(data.join("extra.properties"), properties).expect("settings");
        let mut broker = Self {
            data,
            servers: String::new(),
        };
        broker.servers = broker.run(&["start"]);
        broker
    }

    /// Runs `scripts/kafka` and gives what it prints.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let done = self
            .command(arguments)
            .stderr(Stdio::piped())
            .output()
            .expect("scripts/kafka can be run: it needs bash");
        assert!(
            done.status.success(),
            "scripts/kafka {arguments:?} failed ({SWITCH}=skip leaves the tests of Kafka out): {}",
            String::from_utf8_lossy(&done.stderr)
        );
        String::from_utf8_lossy(&done.stdout).trim().to_owned()
    }

    /// `scripts/kafka` with these arguments, about this broker.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(script());
        command
            .args(arguments)
            .env("KAFKA_DATA", &self.data)
            .env("KAFKA_PROPERTIES", self.data.join("extra.properties"))
            .env("KAFKA_OWNER", std::process::id().to_string())
            .env("KAFKA_HEAP_OPTS", "-Xms128m -Xmx512m")
            // It starts sooner, and is fast enough.
            .env("KAFKA_JVM_OPTS", "-XX:+UseSerialGC -XX:TieredStopAtLevel=1")
            .env_remove("KAFKA_BOOTSTRAP");
        command
    }

    /// For `kafka.bootstrap.servers`. The same after a restart.
    pub(crate) fn servers(&self) -> &str {
        &self.servers
    }

    /// The folder with the broker's data, ports and output.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    pub(crate) fn start(&self) {
        self.run(&["start"]);
    }

    pub(crate) fn stop(&self) {
        self.run(&["stop"]);
    }

    pub(crate) fn kill(&self) {
        self.run(&["kill"]);
    }

    pub(crate) fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.servers);
        config
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.config().create().expect("a client")
    }

    /// Creates a topic under a name of its own that begins with `name`.
    pub(crate) async fn topic(&self, name: &str, partitions: i32) -> String {
        self.topic_with(name, partitions, &[]).await
    }

    /// The same with settings of the topic.
    pub(crate) async fn topic_with(
        &self,
        name: &str,
        partitions: i32,
        settings: &[(&str, &str)],
    ) -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{name}-{number}");
        self.create_topic(&name, partitions, settings).await;
        name
    }

    /// Creates a topic of just this name, as soon as the one before is gone.
    pub(crate) async fn create_topic(
        &self,
        name: &str,
        partitions: i32,
        settings: &[(&str, &str)],
    ) {
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        for (name, value) in settings {
            topic = topic.set(name, value);
        }
        let admin = self.admin();
        let mut tries = 0;
        loop {
            let options = options();
            let created = admin.create_topics([&topic], &options).await;
            match result(created) {
                Err(RDKafkaErrorCode::TopicAlreadyExists) if tries < 100 => tries += 1,
                outcome => return outcome.expect("the topic can be created"),
            }
        }
    }

    pub(crate) async fn delete_topic(&self, name: &str) {
        let options = options();
        let deleted = self.admin().delete_topics(&[name], &options).await;
        result(deleted).expect("the topic can be deleted");
    }

    /// Changes a setting of a topic.
    pub(crate) async fn set_topic(&self, topic: &str, name: &str, value: &str) {
        let change = AlterConfig::new(ResourceSpecifier::Topic(topic)).set(name, value);
        let options = options();
        let changed = self.admin().alter_configs([&change], &options).await;
        let changed = changed.expect("the broker answers");
        assert!(changed.iter().all(Result::is_ok), "{changed:?}");
    }

    /// Lets a topic have this many partitions.
    pub(crate) async fn add_partitions(&self, topic: &str, partitions: usize) {
        let more = NewPartitions::new(topic, partitions);
        let options = options();
        let added = self.admin().create_partitions([&more], &options).await;
        result(added).expect("partitions can be added");
    }

    /// Sends messages in their order, and returns when the broker has all of them.
    pub(crate) async fn send(&self, topic: &str, messages: &[Message<'_>]) {
        let producer: FutureProducer = self
            .config()
            .set("linger.ms", "0")
            .set("enable.idempotence", "true")
            .create()
            .expect("a producer");
        let sent = messages.iter().map(|message| {
            let mut record = FutureRecord::<[u8], [u8]>::to(topic);
            record.partition = message.partition;
            record.key = message.key;
            record.payload = message.value;
            record.timestamp = message.timestamp;
            producer.send_result(record).expect("the queue has room")
        });
        let sent: Vec<_> = sent.collect();
        let delivered = try_join_all(sent).await.expect("the producer lives");
        for delivery in delivered {
            delivery.expect("the broker takes the message");
        }
    }

    /// Sends values to a partition.
    pub(crate) async fn send_to(&self, topic: &str, partition: i32, values: &[&str]) {
        let messages: Vec<Message<'_>> = values
            .iter()
            .map(|value| Message::to(partition, value))
            .collect();
        self.send(topic, &messages).await;
    }
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .operation_timeout(Some(PATIENCE))
        .request_timeout(Some(PATIENCE))
}

/// What came of something done to one topic.
fn result(done: rdkafka::error::KafkaResult<Vec<TopicResult>>) -> Result<(), RDKafkaErrorCode> {
    let done = done.expect("the broker answers");
    let outcome = done.into_iter().next().expect("about the one topic");
    outcome.map(drop).map_err(|(_, code)| code)
}

/// A broker that ends with its test.
#[derive(Debug)]
pub(crate) struct Own(Broker);

impl std::ops::Deref for Own {
    type Target = Broker;

    fn deref(&self) -> &Broker {
        &self.0
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // If it fails, the broker ends with the process.
        let _ = self.0.command(&["reset"]).output();
    }
}
