//! A pipeline under test: recorded rows in, epoch by epoch on a clock of its own, rows out, compared with what is
//! expected.
//!
//! ```text
//! files ─► sections ─► recorded ─► streams (memory) ─► run (one driver a query) ─► answer ─► compare ─► report
//!                                                        │ clock: one step an epoch            └► written
//! ```
//!
//! Nothing outside a temporary folder is written, except expected files when they are asked for: sinks are replaced by
//! memory, and so is the checkpoint. Everything has one partition, so that rows keep their order from run to run.

pub(crate) mod answer;
pub(crate) mod clock;
pub(crate) mod compare;
pub(crate) mod expectation;
pub(crate) mod inference;
pub(crate) mod recorded;
pub(crate) mod report;
pub(crate) mod row_file;
pub(crate) mod rows;
pub(crate) mod run;
pub(crate) mod sections;
pub(crate) mod streams;
pub(crate) mod written;
