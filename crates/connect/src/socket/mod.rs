//! Lines of text over TCP, in and out.
//!
//! A socket cannot be asked twice: what a source received is lost if the process dies before the epoch is committed,
//! and what a sink sent comes again if the epoch is replayed. Both are for trying things out, with `nc` at the other
//! end, not for results that must be right across a crash.

mod address;
mod buffer;
mod sink;
mod source;

pub use sink::SocketSinkProvider;
pub use source::SocketSourceProvider;
