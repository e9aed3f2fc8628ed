//! The contracts of sources and sinks as tests that any implementation can run, ours and users'.
//!
//! A fixture says how to make one and how to look at the world around it; each contract gets a new, empty one from the
//! caller's `make`. A broken contract panics with what was expected and found, so these functions belong into tests.
//!
//! What they cannot see: whether something is durable on a disk that lost power. The crash sweep does.

mod sink;
mod source;

pub use sink::{SinkFixture, sink_conformance, sink_schema};
pub use source::{SourceFixture, source_conformance};
