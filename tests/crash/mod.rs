//! Crashes, and what is left of a query after them.
//!
//! * `sweep`: the power of a simulated machine fails at every durable step in turn.
//! * `s3`: a process dies at every request to a server that speaks S3.
//! * `two_runs`: a run that was thought dead goes on beside its successor.
//! * `faults`: the sweep notices an engine that is wrong.
//! * `kill`: a child process is killed at random moments and started again until it is done; what it wrote is read by
//!   DataFusion, DuckDB, Polars and pyarrow, none of which knows our manifest.
//!
//! `input` makes files and the answers they must give, `pipeline` the queries, `check` and `ledger` look at what came
//! out.

mod bend;
mod by_hand;
pub(crate) mod check;
mod faults;
pub(crate) mod input;
mod kill;
pub(crate) mod ledger;
mod mortal;
pub(crate) mod pipeline;
pub(crate) mod readers;
pub(crate) mod report;
mod s3;
pub(crate) mod sweep;
mod two_runs;
