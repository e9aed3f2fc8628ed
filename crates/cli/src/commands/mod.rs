//! The commands, one per file.

pub(crate) mod check;
pub(crate) mod checkpoint;
pub(crate) mod explain;
pub(crate) mod run;
pub(crate) mod sql;
pub(crate) mod state;
pub(crate) mod test;
