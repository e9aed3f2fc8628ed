//! Joins with streams: what their conditions say, before anything is planned.

mod condition;
mod linear;
mod null_refusing;
mod time_range;
mod times;

pub(crate) use condition::{drop_unmatchable, extract_keys, is_stream_join};
pub(crate) use times::{JoinTimes, Kept, SideTimes, Spot};
