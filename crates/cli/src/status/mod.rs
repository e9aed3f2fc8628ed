//! What a person sees while queries run.
//!
//! Queries report their epochs to a [`Board`]; every tenth of a second (on a terminal) or every second (elsewhere) the
//! board is looked at, and what has changed is shown: as lines that are drawn over ([`live`]) or that follow each other
//! ([`lines`]). Many short epochs make one line.

pub(crate) mod board;
pub(crate) mod lines;
pub(crate) mod live;
pub(crate) mod log;
pub(crate) mod numbers;
mod terminal;

pub(crate) use board::Board;
pub(crate) use live::Live;
