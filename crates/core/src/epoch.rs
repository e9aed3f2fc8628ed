//! The number of a micro-batch, and the two identities of a query.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The number of one micro-batch of a query, counted from 0 without gaps, restarts included.
///
/// Users of other engines know it as the batch id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The first epoch of a query.
    pub const FIRST: Self = Self(0);

    /// The epoch after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The epoch before this one; none before the first.
    pub fn previous(self) -> Option<Self> {
        self.0.checked_sub(1).map(Self)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Identity of a query, fixed at its first start and kept in its checkpoint: it survives restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct QueryId(pub Uuid);

/// Identity of one run of a query, new at each start. A record that bears another run's id means that this run has
/// been replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub Uuid);

impl fmt::Display for QueryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl RunId {
    /// The first eight hexadecimal digits: enough to tell the runs of one query apart in file names.
    pub fn short(&self) -> String {
        self.0.simple().to_string()[..8].to_owned()
    }
}
