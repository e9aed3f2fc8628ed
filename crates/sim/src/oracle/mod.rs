//! The oracle: what a query over a stream gave must be what DataFusion answers over the finished table.
//!
//! For a random query, a random input cut into epochs at random, late rows, restarts and lost commit records:
//!
//! * complete mode: after every epoch the rows are the batch answer over the input so far, for sessions without late rows;
//! * append mode: all rows together are the batch answer over the closed windows, without the (row, window) pairs that
//!   came too late;
//!   For sessions a model that ends them when the watermark passes says which rows make one: a session that has ended
//!   takes in nothing more, which no answer over the finished table shows;
//!   Where duplicates are dropped below, the batch answer drops them too, of the rows that did not come too late; those
//!   within the watermark, which forgets keys, are dropped by a model;
//! * update mode: the last row of each key is its row in the batch answer, again without what came too late;
//! * an epoch that runs again gives the same rows again;
//! * as many (row, window) pairs are reported as late as were late, and where there is a sink of late rows it gets a
//!   record of each of them, in that epoch, with all columns of the row: what came and what came out adds up to all.
//!
//! Which pairs are late is decided here by a model of a few lines that shares no code with the engine, and the
//! watermark that the engine reports is checked against that model.
//!
//! What it can catch: wrong results, lost or doubled rows over restarts, wrong lateness, wrong emission. What it cannot:
//! an error that DataFusion's batch answer shares (a wrong function), and anything about files.

mod answer;
mod case;
mod check;
mod duplicates;
mod join;
mod late;
mod model;
mod run;
#[cfg(test)]
mod seeds;
mod sessions;
mod shape;

pub use case::{Case, CaseStep, Event};
pub use check::check;
pub use duplicates::Duplicates;
pub use join::{Condition, JoinCase, JoinKind, JoinRow, JoinShape, JoinStep, Range, check_join};
pub use run::Interruption;
pub use shape::{Filter, Gap, QueryShape, Windows};
