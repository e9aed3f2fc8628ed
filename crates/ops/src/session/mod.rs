//! Sessions: an event-time window of a key that lasts as long as its rows follow each other closely enough.
//!
//! Each row opens an interval from its time to its time plus its gap; intervals of a key that overlap or touch are one
//! session (`intervals`). A plan does that in two steps: [`LocalSessionsExec`] gives the rows of each partition the
//! bounds of the session they make among themselves, by which an ordinary partial aggregation then groups; behind the
//! exchange [`SessionAggregateExec`] merges these with each other and with the sessions in state.

mod aggregate;
mod intervals;
mod keys;
mod local;

pub use aggregate::{SessionAggregateExec, SessionDefinition};
pub use local::LocalSessionsExec;

#[cfg(test)]
mod tests;
