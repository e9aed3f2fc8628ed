//! Apache Kafka as a source and a sink.
//!
//! [`register`] makes the format `kafka` known to a session's connectors. Clients are librdkafka's; what users write as
//! `kafka.…` goes to them.

mod client;
mod sink;
mod source;

use std::sync::Arc;

use headwater_connect::registry::ConnectorRegistry;

pub use sink::KafkaSinkProvider;
pub use source::KafkaSourceProvider;

/// Makes `format("kafka")` known.
pub fn register(registry: &ConnectorRegistry) {
    registry.register_source("kafka", |request| {
        request.deny_path()?;
        let provider = if request.is_bounded {
            KafkaSourceProvider::table(&request.options)?
        } else {
            KafkaSourceProvider::stream(&request.options)?
        };
        request.checked(Arc::new(provider))
    });
    registry.register_sink("kafka", |request| {
        request.deny_path_and_partitions()?;
        Ok(Arc::new(KafkaSinkProvider::try_new(&request.options)?))
    });
}
