//! The terminal: its mode and its keys.

pub(super) mod keyboard;
pub(super) mod keys;
pub(crate) mod raw;
