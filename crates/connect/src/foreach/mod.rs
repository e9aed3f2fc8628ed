//! Sinks that hand rows to code of the user.
//!
//! That code runs before the epoch is committed, so it sees every epoch **at least once**: after a crash the same
//! epoch comes again, with the same number and the same rows. Code that stores the query's id and the epoch's number
//! together with its effect, in one transaction of its own, gets each epoch exactly once.

mod epoch_rows;
mod writer;

pub use epoch_rows::{EpochRows, ForeachBatchSinkProvider};
pub use writer::{ForeachSinkProvider, ForeachWriter};

#[cfg(test)]
mod sqlite_example;
