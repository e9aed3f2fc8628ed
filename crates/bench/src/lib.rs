//! Nexmark: its data, its queries, and what answers them how fast.
//!
//! [`data`] writes the event files, [`queries`] says what is asked of them, once for a stream and once for a finished
//! table, [`batch`] lets DataFusion answer over all files as one batch, which is the limit that a streaming engine on
//! top of it can reach, and [`nexmark`] sums up what a streaming run reported. Every run is one
//! [`report::Measurement`], a line of JSON. [`compare`] runs them in turns, Spark too, and sets the figures beside the
//! targets; [`plot`] draws them. [`state_size`] measures an epoch beside states of different sizes, and [`curves`] how
//! costs grow, each beside its target. [`kafka`] measures from topic to topic and to files, beside Spark.

pub mod batch;
pub mod child;
pub mod compare;
pub mod curves;
pub mod data;
pub mod kafka;
pub mod machine;
pub mod nexmark;
pub mod plot;
pub mod queries;
pub mod report;
pub mod side_input;
pub mod state_size;
pub mod verdict;

pub use headwater::connect::nexmark::tables;
