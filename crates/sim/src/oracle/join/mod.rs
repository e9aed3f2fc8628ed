//! The oracle for joins of two streams.
//!
//! For a random join, a random input cut into epochs at random, late rows, restarts, other numbers of partitions and
//! lost commit records: all rows together are DataFusion's batch answer over the rows that did not come too late, where
//! rows without a match count once the watermark has passed all that could match them. Where a windowed aggregation
//! follows, its rows are the batch answer over the windows that have closed behind the join, and none of the rows that
//! the join gave out was late for it. An epoch that runs again gives the same rows again, and as many rows are reported
//! as late as were late.
//!
//! What is late and when a row goes is decided here by a few lines that share no code with the engine; the watermark in
//! force is taken from the engine's own report.

mod case;
mod check;
mod shape;

pub use case::{JoinCase, JoinRow, JoinStep};
pub use check::check_join;
pub use shape::{Condition, JoinKind, JoinShape, Range};
