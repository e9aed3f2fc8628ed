//! Arbitrary state over the whole engine: what code that is called by key remembers, when its timers fire, and that no
//! interruption makes a difference.
//!
//! The suite of `headwater-sim` shows that interruptions change nothing; that the rows are right is shown here, by
//! DataFusion's batch answer, by counts worked out by hand, and by the recorded scenarios. What it cannot see: files, and
//! processes that are killed.

mod clock;
mod input;
mod memory;
mod refusals;
mod suite;
