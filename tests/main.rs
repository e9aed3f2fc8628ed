//! Integration tests over the whole engine, as modules of one binary.
//!
//! * `traces`: what a reference engine was recorded doing, epoch by epoch.
//! * `bad_input`: damaged input and checkpoints, full disks, failing sinks.
//! * `processors`: arbitrary state: every kind of state and timer, under every interruption, and against models.
//! * `soak`: thousands of epochs in which nothing may grow.
//! * `kafka`: source and sink against a real broker.
//! * `crash`: power failures at every durable step, processes killed at random moments, faults of the engine seeded.

#![expect(
    clippy::panic,
    clippy::print_stdout,
    reason = "tests fail by panicking and say what they swept"
)]

mod bad_input;
mod crash;
mod kafka;
mod processors;
mod soak;
mod traces;
