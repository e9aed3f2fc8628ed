//! The sink: rows as messages of a topic.
//!
//! * `options`, `provider`: from what the user wrote to a sink.
//! * `columns`, `messages`: which column is what, and the rows of a batch as messages.
//! * `producer`, `deliveries`: librdkafka's producer, fed by tasks and waited for by tasks.
//! * `delivering`: at least once.
//! * `transactional`, `decide`, `marks`, `notes`: exactly once. Each epoch is a transaction that carries the epoch's number.
//! * `errors`: what goes wrong, in words.

mod columns;
mod decide;
mod deliveries;
mod delivering;
mod errors;
mod marks;
mod messages;
mod notes;
mod options;
mod producer;
mod provider;
mod transactional;

pub use provider::KafkaSinkProvider;
