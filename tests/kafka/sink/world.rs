//! Input that is given by hand, a query over it into a topic, and what readers find there.

use std::{sync::Arc, time::Duration};

use datafusion::arrow::array::{Int64Array, StringArray};
use futures::future::BoxFuture;
use headwater::{
    Storage,
    connect::{memory::MemoryStream, registry::SinkRequest},
    core::{Options, SinkProvider},
    engine::{Driver, QuerySpec, Step},
    prelude::*,
};
use rdkafka::{
    Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    message::Headers as _,
};

use super::super::broker::Broker;

const PATIENCE: Duration = Duration::from_secs(30);

/// A stream of keys and numbers, a block for each epoch, and a session that knows it.
pub(super) struct World {
    pub(super) session: Session,
    stream: MemoryStream,
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("k", DataType::Utf8, true),
        Field::new("v", DataType::Int64, true),
    ]))
}

impl World {
    pub(super) fn new() -> Self {
        let session = Session::new();
        let stream = MemoryStream::new("input", schema());
        session
            .register_memory_stream(&stream)
            .expect("a new session");
        Self { session, stream }
    }

    /// Adds one epoch's rows.
    pub(super) fn add(&self, rows: &[(&str, i64)]) {
        let keys = StringArray::from_iter_values(rows.iter().map(|(key, _)| *key));
        let values = Int64Array::from_iter_values(rows.iter().map(|(_, value)| *value));
        let rows = RecordBatch::try_new(schema(), vec![Arc::new(keys), Arc::new(values)]);
        self.stream
            .add_batch(rows.expect("rows of the schema"))
            .expect("rows of the schema");
    }

    /// The stream, one block an epoch.
    pub(super) fn table(&self) -> DataFrame {
        self.session
            .read_stream()
            .format("memory")
            .option("blocksPerEpoch", "1")
            .load("input")
            .expect("it is registered")
    }

    /// Each key once, when it first comes, as messages `value = k=v`.
    pub(super) fn first_of_each_key(&self) -> DataFrame {
        self.table()
            .drop_duplicates(&["k"])
            .and_then(|frame| frame.select_expr(["k AS key", MESSAGE]))
            .expect("a query")
    }

    /// Each row as a message `value = k=v`.
    pub(super) fn rows(&self) -> DataFrame {
        self.table()
            .select_expr(["k AS key", MESSAGE])
            .expect("a query")
    }
}

const MESSAGE: &str = "concat(k, '=', CAST(v AS VARCHAR)) AS value";

/// Options of a sink that writes to a topic, and more.
pub(super) fn options(broker: &Broker, topic: &str, more: &[(&str, &str)]) -> Options {
    let mut options: Options = more.iter().copied().collect();
    options.set("kafka.bootstrap.servers", broker.servers());
    options.set("topic", topic);
    options
}

pub(super) const ONCE: (&str, &str) = ("exactlyOnce", "true");

/// The sink of these options.
pub(super) fn sink(session: &Session, options: &Options) -> Result<Arc<dyn SinkProvider>> {
    session.connectors().sink(&SinkRequest {
        format: "kafka".to_owned(),
        options: options.clone(),
        ..SinkRequest::default()
    })
}

/// A query that ends when everything there is is written.
pub(super) fn spec(
    frame: DataFrame,
    sink: Arc<dyn SinkProvider>,
    checkpoint: &Arc<dyn Storage>,
) -> Result<QuerySpec> {
    frame
        .write_stream()
        .query_name("written")
        .checkpoint(Arc::clone(checkpoint))
        .trigger(Trigger::available_now())
        .sink(sink)
        .into_spec(None)
}

/// Runs a query to its end.
pub(super) fn run(spec: QuerySpec) -> BoxFuture<'static, Result<()>> {
    Box::pin(async move {
        let mut driver = Driver::start(spec).await?;
        while !matches!(driver.step().await?, Step::Finished) {}
        driver.shut_down().await;
        Ok(())
    })
}

/// A message as it was read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Read {
    pub(super) partition: i32,
    pub(super) key: Option<String>,
    pub(super) value: Option<String>,
    pub(super) headers: Vec<(String, Option<String>)>,
}

/// All messages of a topic that are committed, partition by partition.
pub(super) fn read(broker: &Broker, topic: &str) -> Vec<Read> {
    let consumer: BaseConsumer = broker
        .config()
        .set("group.id", "tests")
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .create()
        .expect("a consumer");
    let described = consumer
        .fetch_metadata(Some(topic), PATIENCE)
        .expect("the broker answers");
    let partitions: Vec<i32> = described.topics()[0]
        .partitions()
        .iter()
        .map(|it| it.id())
        .collect();
    let mut all = Vec::new();
    for partition in partitions {
        let mut one = TopicPartitionList::new();
        one.add_partition_offset(topic, partition, Offset::Beginning)
            .expect("an offset");
        consumer.assign(&one).expect("assigned");
        loop {
            match consumer.poll(PATIENCE).expect("an answer in time") {
                Ok(message) => all.push(Read {
                    partition,
                    key: message.key().map(text),
                    value: message.payload().map(text),
                    headers: message.headers().map_or_else(Vec::new, |headers| {
                        let pair = |it: rdkafka::message::Header<'_, &[u8]>| {
                            (it.key.to_owned(), it.value.map(text))
                        };
                        headers.iter().map(pair).collect()
                    }),
                }),
                Err(rdkafka::error::KafkaError::PartitionEOF(_)) => break,
                Err(error) => panic!("{topic} cannot be read: {error}"),
            }
        }
    }
    all
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The values of all committed messages, sorted.
pub(super) fn values(broker: &Broker, topic: &str) -> Vec<String> {
    let read = read(broker, topic).into_iter();
    let mut values: Vec<String> = read.filter_map(|it| it.value).collect();
    values.sort();
    values
}
