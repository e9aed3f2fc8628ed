//! The epoch loop: discover, plan, run, commit, publish, recover.
//!
//! A [`Driver`] is one query, stepped by hand: each [`Driver::step`] is one trigger and runs at most one **epoch**, a
//! bounded plan over what the sources have grown by. A [`StreamingQueryManager`] runs drivers as supervised tasks and
//! gives out handles ([`StreamingQuery`]).
//!
//! What makes an epoch happen exactly once is the order of its durable steps, which stands in `commit.rs` on one
//! screen; what a restart makes of any point between them stands in `recover.rs`. Everything that is decided (which
//! epoch runs, how watermarks move, when a trigger ticks) is a pure function with a table of cases beside it.
//!
//! | module | what it holds |
//! | --- | --- |
//! | `driver` | one trigger: gather facts, decide, carry out, report |
//! | `discover` | what the sources offer |
//! | `run` | executes a bound plan and collects its reports |
//! | `commit` | the order of durable steps |
//! | `ahead`, `begun` | what is read, and worked on, before an epoch's plan is recorded |
//! | `sinks` | the sink of the result and that of late rows, as one |
//! | `recover` | from a checkpoint to a driver |
//! | [`trigger`] | when an epoch runs, and which kind |
//! | [`watermarks`] | how watermarks move between epochs |
//! | `tally`, `progress` | reports of partitions, added up; the report of the epoch |
//! | `housekeeping` | deletion and snapshots, beside the loop |
//! | `supervise` | the loop as an owned task: shutdown, panics, events |
//! | [`diagnose`] | why nothing comes out of a query |
//! | `handle`, `listener`, `registry` | what users hold: a query, its events, all queries of a session |

mod ahead;
mod begun;
mod commit;
pub mod diagnose;
mod discover;
mod driver;
mod handle;
mod held_back;
mod housekeeping;
mod listener;
mod progress;
mod recover;
mod registry;
mod run;
mod settings;
mod sinks;
mod supervise;
mod tally;
pub mod trigger;
mod upgrade;
pub mod watermarks;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use diagnose::Diagnosis;
pub use driver::{Driver, QuerySpec, Step};
pub use handle::{StreamingQuery, StreamingQueryStatus};
pub use headwater_log::WatermarkPolicy;
pub use listener::{
    ListenerId, QueryIdle, QueryProgress, QueryStarted, QueryTerminated, StreamingQueryEvent,
    StreamingQueryListener,
};
pub use registry::StreamingQueryManager;
pub use settings::Settings;
