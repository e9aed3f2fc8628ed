//! Doubles for the tests of this crate: a table that tests append to, a sink that is as durable as its storage, and
//! queries over both.

mod fixture;
mod sink;
mod source;

pub(crate) use fixture::{Fixture, Query, batch_ids, idle, ran};
pub(crate) use sink::{Call, FailAt, LedgerSink};
pub(crate) use source::TestTable;
