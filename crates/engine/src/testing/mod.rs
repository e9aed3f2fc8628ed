//! Doubles for the tests of this crate: a table that tests append to, and a sink that is as durable as its storage.

mod sink;
mod source;

pub(crate) use sink::{FailAt, LedgerSink};
pub(crate) use source::TestTable;
