//! The source `kafka`: topics as a stream, or as a bounded table.
//!
//! Offsets are the query's own affair: they stand in its checkpoint, and nothing is committed to Kafka. An epoch takes
//! what every partition has up to an offset that was asked for once ([`cluster`]), within the limits of the options
//! ([`plan`]); the messages come from queues that are filled ahead ([`fetcher`]) and become batches as they are read
//! ([`reading`]). Decisions are pure; what talks to brokers only carries them out.

mod bounds;
mod cluster;
mod discover;
mod fetcher;
mod initial;
mod loss;
mod offer;
mod options;
mod plan;
mod positions;
mod progress;
mod provider;
mod reading;
mod rows;
mod shared;
mod splits;
mod stream;
mod subscription;

pub use provider::KafkaSourceProvider;

/// The source in messages.
const OWNER: &str = "source 'kafka'";

/// What every client of the source is set up with, where the user has said nothing.
fn client_defaults() -> [(&'static str, String); 4] {
    [
        // As in Kafka's own clients, whose users rely on it; librdkafka has it the other way.
        ("isolation.level", "read_uncommitted".to_owned()),
        ("client.id", "headwater".to_owned()),
        ("reconnect.backoff.max.ms", "1000".to_owned()),
        ("socket.nagle.disable", "true".to_owned()),
    ]
}
