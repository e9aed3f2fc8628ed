//! A text that is being typed: several lines, with a history, completed and searched.

pub(super) mod buffer;
pub(super) mod editor;
pub(super) mod history;
pub(super) mod layout;
