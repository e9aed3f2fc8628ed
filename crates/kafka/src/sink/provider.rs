//! From options to a sink.

use std::{sync::Arc, time::Duration};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use headwater_core::{Options, OutputMode, Result, Sink, SinkContext, SinkProvider};
use rdkafka::producer::Producer as _;

use super::{
    columns::{Columns, Topic},
    decide::WhenUnknown,
    delivering::DeliveringSink,
    errors,
    marks::{Marks, again},
    notes::Notes,
    options::{Guarantee, SinkOptions},
    producer::{Producer, TRANSACTION, blocking},
    transactional::{Parts, TransactionalSink},
};

/// How long the coordinator of transactions may take; the first one of a cluster takes longest.
const INIT: Duration = Duration::from_secs(60);

/// Makes sinks that write to topics of Kafka.
///
/// The rows have a column `value` (text or bytes) and may have `key`, `topic`, `partition` and `headers`. Every output
/// mode is taken: an updated row is one more message.
#[derive(Debug, Clone)]
pub struct KafkaSinkProvider {
    options: SinkOptions,
}

impl KafkaSinkProvider {
    /// A sink with these options.
    ///
    /// # Errors
    /// `Invalid`, naming the option that is missing, not known or wrong.
    pub fn try_new(options: &Options) -> Result<Self> {
        Ok(Self {
            options: SinkOptions::of(options)?,
        })
    }

    /// Whether each epoch is written in one transaction, which needs a checkpoint that stays.
    pub fn is_exactly_once(&self) -> bool {
        matches!(self.options.guarantee, Guarantee::ExactlyOnce { .. })
    }
}

#[async_trait]
impl SinkProvider for KafkaSinkProvider {
    /// The topic may change between runs of a query, as in Spark, and so may the names of the brokers.
    fn identity(&self) -> String {
        "kafka".to_owned()
    }

    fn check(&self, _mode: OutputMode, schema: &SchemaRef) -> Result<()> {
        Columns::of(schema, self.options.topic.as_deref()).map(drop)
    }

    async fn create(&self, context: SinkContext) -> Result<Arc<dyn Sink>> {
        let SinkOptions {
            topic,
            guarantee,
            client,
        } = &self.options;
        let columns = Columns::of(&context.schema, topic.as_deref())?;
        let name = match &columns.topic {
            Topic::Fixed(topic) => format!("KafkaSink[{topic}]"),
            Topic::Column(_) => "KafkaSink[by column]".to_owned(),
        };
        let known = match &columns.topic {
            Topic::Fixed(topic) => Some(topic.clone()),
            Topic::Column(_) => None,
        };
        match guarantee {
            Guarantee::AtLeastOnce => {
                let producer = Arc::new(Producer::new(client, &[])?);
                blocking(&producer, move |producer| match known {
                    Some(topic) => producer.find_topic(&topic),
                    None => producer.find_cluster(),
                })
                .await?;
                Ok(Arc::new(DeliveringSink::new(name, columns, producer)))
            }
            Guarantee::ExactlyOnce {
                topic,
                when_unknown,
                longest,
            } => {
                let keeper = Keeper {
                    id: transactional_id(&context),
                    topic: topic.clone().or_else(|| known.clone()).unwrap_or_default(),
                    known,
                    longest: *longest,
                };
                let sink = self.transactional(name, columns, keeper, *when_unknown, context);
                Ok(Arc::new(sink.await?))
            }
        }
    }
}

/// What identifies a sink to the broker.
struct Keeper {
    /// Transactional id, and the group that keeps the number.
    id: String,
    /// Beside which topic the number is kept.
    topic: String,
    /// The topic that all rows go to, if it is one.
    known: Option<String>,
    longest: Duration,
}

impl KafkaSinkProvider {
    async fn transactional(
        &self,
        name: String,
        columns: Columns,
        keeper: Keeper,
        when_unknown: WhenUnknown,
        context: SinkContext,
    ) -> Result<TransactionalSink> {
        let notes = Notes::read(context.storage.as_ref()).await?;
        let kept_at = notes.last_topic().map(str::to_owned);
        let decided = [
            ("transactional.id", keeper.id.clone()),
            (TRANSACTION, keeper.longest.as_millis().to_string()),
        ];
        let client = &self.options.client;
        let producer = Arc::new(Producer::new(client, &decided)?);
        let asking = client.clone();
        let longest = keeper.longest;
        let opened = blocking(&producer, move |producer| {
            producer.find_topic(&keeper.topic)?;
            if let Some(topic) = keeper.known.filter(|topic| *topic != keeper.topic) {
                producer.find_topic(&topic)?;
            }
            // Ends what an earlier run has begun, and shuts it out.
            again(|| producer.client().init_transactions(INIT)).map_err(|error| {
                let what = format!(
                    "sink 'kafka' cannot take over the transactions '{}'",
                    keeper.id
                );
                errors::of_call(&what, &error, producer.trouble())
            })?;
            Marks::open(&asking, &keeper.id, &keeper.topic, kept_at.as_deref())
        });
        let (marks, mark) = opened.await?;
        Ok(TransactionalSink::new(Parts {
            name,
            columns,
            producer,
            marks: Arc::new(marks),
            mark,
            notes,
            when_unknown,
            longest,
            storage: context.storage,
            clock: context.clock,
        }))
    }
}

/// One for each sink of a query: the same after a restart, another for a query with a new checkpoint.
fn transactional_id(context: &SinkContext) -> String {
    let late = if context.is_late { "-late" } else { "" };
    format!("headwater-{}{late}", context.query)
}
