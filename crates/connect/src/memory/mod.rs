//! Tables in memory: a stream that a program adds batches to, and a sink that it can query.
//!
//! Both are handles whose contents live as long as the process; they are the tools of tests and notebooks. What was
//! added to a [`MemoryStream`] can be read again by a replay as long as its handle lives.

mod sink;
mod source;
mod table;

pub use sink::{MemorySink, MemorySinkProvider};
pub use source::{MemorySourceProvider, MemoryStream};
pub use table::MemorySinkTable;
