//! What judges the engine: recorded scenarios, the batch answer, and crashes.
//!
//! * [`scenario`], [`run`], [`compare`]: plays what a reference engine was recorded doing, and finds the first difference
//!   ([`conformance`] does it for files; the command `conformance` for folders).
//!
//! * [`oracle`]: random queries, inputs and restarts against DataFusion's batch answer.
//!
//! Not published; nothing in the engine depends on it.

pub mod calls;
pub mod cell;
pub mod compare;
pub mod conformance;
mod epochs;
pub mod listed;
pub mod oracle;
pub mod processors;
pub mod run;
pub mod scenario;
pub mod types;
pub mod values;
