//! `nexmark`: the events of an auction house, made up at a steady pace.
//!
//! People register, open auctions and bid: the tables and the distributions of the Nexmark benchmark (Tucker, Tufte,
//! Papadimos, Maier: "NEXMark – A Benchmark for Queries over Data Streams", 2008), for pipelines that need no data of
//! one's own. Of 50 events 46 are bids, 3 auctions and 1 a person; each stream reads one of the tables. Rows are a
//! function of the event's number, so a replay gives the same rows, and streams of the three tables belong together.

mod source;
pub mod tables;

pub use source::NexmarkSourceProvider;
