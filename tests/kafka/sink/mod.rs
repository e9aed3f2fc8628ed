//! The sink, against a real broker.
//!
//! * `writing`: what a row becomes, in every output mode; the contract of sinks.
//! * `once`: exactly once: an epoch that is there already, a second writer, an older checkpoint.
//! * `sweep`: the process dies at every durable step of the checkpoint in turn.
//! * `kills`: a child process is killed at random moments.
//! * `trouble`: brokers that are away, topics that are missing or deleted, messages that are too large.
//! * `secure`: TLS, logins, Event Hubs.
//!
//! `world` has the input that they share, and readers of what was written.

mod kills;
mod once;
mod secure;
mod sweep;
mod trouble;
mod world;
mod writing;
