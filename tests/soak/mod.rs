//! Soaks: thousands of epochs under an advancing watermark, in which nothing may grow.
//!
//! Each query gets a few rows an epoch whose keys never come again, so that whatever is not forgotten adds up. The input
//! repeats itself every [`input::PERIOD`] epochs but for times and ids: the rows in state, the memory they take and the bytes
//! that an epoch writes to its checkpoint (snapshots included) must be the same late as early, and so must the size of
//! the checkpoint. It catches what is never removed: keys, expiries, index entries, files. It cannot catch growth that
//! needs more than two thousand epochs to show by a tenth.

mod input;
mod queries;
mod run;
mod visits;
