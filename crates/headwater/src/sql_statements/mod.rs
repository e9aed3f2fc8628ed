//! Pipelines as SQL text: streams, sinks and queries that statements define.
//!
//! [`Session::sql`](crate::Session::sql) carries one statement out at once; [`Session::pipeline`](crate::Session::pipeline)
//! plans a whole script and starts nothing. Both read the text once ([`headwater_sql::statement`]), keep what it defines
//! in the session's [`Definitions`], and give errors with the line that they are about ([`fault`]).

mod definitions;
mod execute;
mod explain;
mod fault;
mod pipeline;
mod queries;
mod rows;
mod show;
mod sink_table;
mod sinks;
mod streams;

pub use definitions::{SinkDefinition, StreamDefinition};
pub use pipeline::{Pipeline, PipelineStep, StreamInput};
pub use queries::{PipelineQuery, StartOptions, StartWith};

pub(crate) use definitions::Definitions;
