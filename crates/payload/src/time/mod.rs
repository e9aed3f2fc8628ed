//! Dates, timestamps and time zones as texts.

pub(crate) mod formats;
pub(crate) mod iso;
pub mod pattern;
pub mod text;
pub mod zone;
