//! Made-up rows at a steady pace: `rate` by the second of a clock, `rate-micro-batch` by the epoch.
//!
//! Both give `timestamp` (microseconds, UTC) and `value` (0, 1, 2, … without gaps or repeats) and can be replayed:
//! rows are a function of the offsets.

mod micro_batch;
mod per_second;
mod rows;

pub use micro_batch::RateMicroBatchSourceProvider;
pub use per_second::RateSourceProvider;
pub(crate) use per_second::{partitions, positive};
