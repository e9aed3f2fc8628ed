//! The contract of every source, kept by this one against a real broker.

use std::{
    num::NonZeroU64,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use headwater::core::{SourceContext, SourceProvider, SystemClock};
use headwater_connect::{
    conformance::{SourceFixture, source_conformance},
    registry::{ConnectorRegistry, SourceRequest},
};
use headwater_log::MemoryStorage;

use super::{
    broker::{Broker, Message},
    query::send_numbered,
};

/// A topic of three partitions that grows unevenly.
struct Topic {
    broker: &'static Broker,
    name: String,
    connectors: ConnectorRegistry,
    options: Vec<(&'static str, String)>,
    storage: Arc<MemoryStorage>,
    sent: AtomicUsize,
}

impl Topic {
    async fn new(broker: &'static Broker, options: &[(&'static str, &str)]) -> Self {
        let name = broker.topic("contract", 3).await;
        let session = headwater::Session::new();
        let always = [
            ("kafka.bootstrap.servers", broker.servers()),
            ("subscribe", &name),
            ("startingOffsets", "earliest"),
            ("includeHeaders", "true"),
        ];
        Self {
            broker,
            connectors: session.connectors().clone(),
            options: always
                .iter()
                .chain(options)
                .map(|(name, value)| (*name, (*value).to_owned()))
                .collect(),
            name,
            storage: Arc::new(MemoryStorage::new()),
            sent: AtomicUsize::new(0),
        }
    }
}

#[async_trait]
impl SourceFixture for Topic {
    fn provider(&self) -> Arc<dyn SourceProvider> {
        let request = SourceRequest {
            format: "kafka".to_owned(),
            options: self.options.iter().cloned().collect(),
            ..SourceRequest::default()
        };
        self.connectors.source(&request).expect("valid options")
    }

    fn context(&self) -> SourceContext {
        SourceContext {
            source_id: 0,
            storage: Arc::clone(&self.storage) as _,
            clock: Arc::new(SystemClock::default()),
            retained: NonZeroU64::MIN,
        }
    }

    async fn grow(&self) -> usize {
        let before = self.sent.fetch_add(20, Ordering::Relaxed);
        send_numbered(self.broker, &self.name, 0, "v", before..before + 12).await;
        send_numbered(self.broker, &self.name, 2, "v", before + 12..before + 19).await;
        let keyed = Message {
            key: Some(b"key"),
            ..Message::to(1, "last")
        };
        self.broker.send(&self.name, &[keyed]).await;
        20
    }
}

#[tokio::test]
async fn a_topic_is_a_source() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    source_conformance(async || Topic::new(broker, &[]).await).await;
}

#[tokio::test]
async fn a_topic_in_pieces_is_a_source_too() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let options = [("minPartitions", "8"), ("maxOffsetsPerTrigger", "13")];
    source_conformance(async || Topic::new(broker, &options).await).await;
}
