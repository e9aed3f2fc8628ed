//! The vocabulary of headwater: the words every layer above speaks, and nothing that decides or does I/O.
//!
//! A **stream** is a table that never stops growing. The engine answers a query over it in **epochs**: each epoch
//! takes a range of [`Offset`]s from every [`Source`], runs one bounded plan over those rows and hands the result to
//! a [`Sink`], exactly once. Event time is tracked by a [`Watermark`] that can only rise.
//!
//! This crate depends on Arrow only: correctness of the layers that build on it can be tested in seconds.

pub mod clock;
pub mod epoch;
pub mod error;
pub mod event_time;
pub mod mode;
pub mod nearest;
pub mod offset;
pub mod options;
pub mod payload;
pub mod progress;
pub mod secret;
pub mod sink;
pub mod source;
pub mod storage;

pub use clock::{Clock, SystemClock};
pub use epoch::{Epoch, QueryId, RunId};
pub use error::{Error, ErrorKind, Result};
pub use event_time::{Delay, EventTime, Watermark};
pub use mode::{OutputMode, Trigger};
pub use nearest::nearest;
pub use offset::{Offset, OffsetRange};
pub use options::Options;
pub use payload::Payload;
pub use progress::StreamingQueryProgress;
pub use sink::{EpochWrite, PartWrite, PreparedPart, Sink, SinkContext, SinkProvider};
pub use source::{
    Admission, BatchStream, Discovery, Increment, Source, SourceContext, SourceProvider, Split,
};
pub use storage::{Condition, CreateOutcome, Prepared, PreparedWrite, Storage, StoredObject};
