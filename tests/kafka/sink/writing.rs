//! What a row becomes.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{AsArray, Int64Array, RecordBatch};
use headwater::{
    Storage,
    connect::conformance::{SinkFixture, sink_conformance, sink_schema},
    core::{
        BatchStream, EpochWrite, PartWrite, PreparedPart, QueryId, Sink, SinkContext, SinkProvider,
        clock::ManualClock,
    },
    prelude::*,
};
use headwater_log::MemoryStorage;

use super::{
    super::broker::Broker,
    world::{ONCE, Read, World, options, read, run, sink, spec, values},
};

async fn write(world: &World, frame: DataFrame, broker: &Broker, topic: &str) -> Result<()> {
    let checkpoint: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let sink = sink(&world.session, &options(broker, topic, &[]))?;
    run(spec(frame, sink, &checkpoint)?).await
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_values_headers_and_partitions_arrive_as_they_are() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let topic = broker.topic("written", 3).await;
    let world = World::new();
    world.add(&[("a", 0), ("b", 1), ("c", 2)]);
    let frame = world.table().select_expr([
        "CASE WHEN v <> 1 THEN k END AS key",
        "CASE WHEN v = 0 THEN '' WHEN v = 1 THEN 'größe' END AS value",
        "CAST(v AS INT) AS partition",
        "CASE WHEN v < 2 THEN [named_struct('key', 'h', 'value', CAST('x' AS BYTEA))] END AS headers",
        "v AS not_written",
    ]);
    let frame = frame.expect("a query");
    write(&world, frame, broker, &topic).await.expect("written");
    let text = |text: &str| Some(text.to_owned());
    let header = vec![("h".to_owned(), text("x"))];
    assert_eq!(
        read(broker, &topic),
        [
            Read {
                partition: 0,
                key: text("a"),
                value: text(""),
                headers: header.clone()
            },
            Read {
                partition: 1,
                key: None,
                value: text("größe"),
                headers: header
            },
            Read {
                partition: 2,
                key: text("c"),
                value: None,
                headers: vec![]
            },
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_may_name_their_topics_unless_the_option_does() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let (one, two) = (broker.topic("one", 1).await, broker.topic("two", 1).await);
    for (given, is_once) in [(false, false), (false, true), (true, false)] {
        let all = broker.topic("all", 1).await;
        let world = World::new();
        world.add(&[("a", 0), ("b", 1), ("c", 0)]);
        let topic = format!("CASE WHEN v = 0 THEN '{one}' ELSE '{two}' END AS topic");
        let frame = world.table().select_expr(["k AS value", &topic]);
        let mut options = options(broker, &all, &[]);
        if !given {
            options.take("topic");
        }
        if is_once {
            options.set("exactlyOnce", "true");
            options.set("transactionTopic", all.as_str());
        }
        let sink = sink(&world.session, &options).expect("a sink");
        let checkpoint: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
        let spec = spec(frame.expect("a query"), sink, &checkpoint).expect("a query");
        run(spec).await.expect("written");
        let expected: &[&str] = if given { &["a", "b", "c"] } else { &[] };
        assert_eq!(values(broker, &all), expected);
    }
    assert_eq!(values(broker, &one), ["a", "a", "c", "c"]);
    assert_eq!(values(broker, &two), ["b", "b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_output_mode_writes_the_rows_it_gives_out() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    for (mode, expected) in [
        (OutputMode::Update, vec!["a=1", "a=4", "b=2"]),
        (OutputMode::Complete, vec!["a=1", "a=4", "b=2", "b=2"]),
    ] {
        let topic = broker.topic("modes", 1).await;
        let world = World::new();
        world.add(&[("a", 1), ("b", 2)]);
        world.add(&[("a", 3)]);
        let frame = world
            .table()
            .group_by(["k"])
            .and_then(|groups| groups.agg([sum(col("v")).alias("v")]))
            .and_then(|totals| {
                totals.select_expr(["k AS key", "concat(k, '=', CAST(v AS VARCHAR)) AS value"])
            });
        let checkpoint: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
        let sink = sink(&world.session, &options(broker, &topic, &[ONCE])).expect("a sink");
        let mut spec = spec(frame.expect("a query"), sink, &checkpoint).expect("a query");
        spec.mode = mode;
        run(spec).await.expect("written");
        assert_eq!(values(broker, &topic), expected, "{mode:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_cannot_be_messages_are_refused_by_name() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let topic = broker.topic("refused", 1).await;
    let world = World::new();
    world.add(&[("a", 1), ("b", 2)]);
    let frame = world.table().select_expr(["v AS value"]).expect("a query");
    let error = write(&world, frame, broker, &topic).await;
    let error = error.expect_err("a number is no message").to_string();
    assert!(
        error.contains("write CAST(value AS STRING) AS value"),
        "{error}"
    );
    let frame = world
        .table()
        .select_expr(["k AS value", "CASE WHEN v = 1 THEN 'x' END AS topic"]);
    let mut options = options(broker, &topic, &[]);
    options.take("topic");
    // The first row's topic would be created.
    options.set("kafka.allow.auto.create.topics", "false");
    let sink = sink(&world.session, &options).expect("a sink");
    let checkpoint: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let spec = spec(frame.expect("a query"), sink, &checkpoint).expect("a query");
    let error = run(spec).await.expect_err("no topic").to_string();
    assert!(
        error.contains("row 2 of partition") && error.contains("has no topic"),
        "{error}"
    );
}

/// The sink under the contract of sinks, whose rows have an `id` and a `name`: they are made messages on the way.
#[derive(Debug)]
struct AsMessages(Arc<dyn SinkProvider>);

#[derive(Debug)]
struct MessageSink(Arc<dyn Sink>);

fn messages(rows: &RecordBatch) -> RecordBatch {
    let ids: &Int64Array = rows.column(0).as_primitive();
    let ids = datafusion::arrow::compute::cast(ids, &DataType::Utf8).expect("numbers are text");
    RecordBatch::try_from_iter([("value", ids)]).expect("one column")
}

#[async_trait]
impl SinkProvider for AsMessages {
    fn identity(&self) -> String {
        self.0.identity()
    }

    fn check(&self, mode: OutputMode, _schema: &SchemaRef) -> Result<()> {
        let message = messages(&RecordBatch::new_empty(sink_schema()));
        self.0.check(mode, &message.schema())
    }

    async fn create(&self, context: SinkContext) -> Result<Arc<dyn Sink>> {
        let schema = messages(&RecordBatch::new_empty(sink_schema())).schema();
        let inner = self.0.create(SinkContext { schema, ..context }).await?;
        Ok(Arc::new(MessageSink(inner)))
    }
}

#[async_trait]
impl Sink for MessageSink {
    fn description(&self) -> String {
        self.0.description()
    }

    async fn prepare(&self, part: PartWrite, rows: BatchStream) -> Result<PreparedPart> {
        use futures::{StreamExt, TryStreamExt};
        let rows = rows.map_ok(|rows| messages(&rows)).boxed();
        self.0.prepare(part, rows).await
    }

    async fn before_commit(
        &self,
        write: &EpochWrite,
        parts: Vec<PreparedPart>,
    ) -> Result<Vec<PreparedPart>> {
        self.0.before_commit(write, parts).await
    }

    async fn publish(&self, write: &EpochWrite, parts: &[PreparedPart]) -> Result<()> {
        self.0.publish(write, parts).await
    }

    async fn discard(&self, write: &EpochWrite) -> Result<()> {
        self.0.discard(write).await
    }
}

struct Topic {
    provider: Arc<dyn SinkProvider>,
    context: SinkContext,
}

#[async_trait]
impl SinkFixture for Topic {
    fn provider(&self) -> Arc<dyn SinkProvider> {
        Arc::clone(&self.provider)
    }

    fn context(&self) -> SinkContext {
        self.context.clone()
    }

    async fn visible(&self) -> Option<Vec<i64>> {
        None
    }

    /// Rows appear before they are published, though once.
    fn is_exactly_once(&self) -> bool {
        false
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_of_sinks_is_kept() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    for more in [&[][..], &[ONCE]] {
        sink_conformance(async || {
            let topic = broker.topic("contract", 2).await;
            let sink = sink(&Session::new(), &options(broker, &topic, more)).expect("a sink");
            Topic {
                provider: Arc::new(AsMessages(sink)),
                context: SinkContext {
                    query: QueryId(uuid::Uuid::new_v4()),
                    query_name: None,
                    schema: sink_schema(),
                    mode: OutputMode::Append,
                    is_late: false,
                    storage: Arc::new(MemoryStorage::new()),
                    clock: Arc::new(ManualClock::at(0)),
                },
            }
        })
        .await;
    }
}
