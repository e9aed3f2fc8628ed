//! A position in a source, opaque to the engine.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A position between two rows of a source, as JSON whose meaning only that source knows.
///
/// The engine stores offsets, hands them back and compares them for equality; it never orders them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Offset(pub Value);

impl Offset {
    /// An offset that is a plain count.
    pub fn count(n: u64) -> Self {
        Self(Value::from(n))
    }

    /// The count, if this offset is one.
    pub fn as_count(&self) -> Option<u64> {
        self.0.as_u64()
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The rows of one source that one epoch reads: after `start`, up to and including `end`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OffsetRange {
    /// Where the epoch before ended; `None` before the source's first row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Offset>,
    /// Where this epoch ends.
    pub end: Offset,
    /// What the source needs, beside the two offsets, to read exactly these rows again (file names, for instance).
    /// It is written to the plan record with the offsets, so a source needs no durable write of its own per epoch.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub detail: Value,
}
