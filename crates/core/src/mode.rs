//! Which rows a sink receives, and when an epoch runs.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Which rows of the result table a sink receives in each epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutputMode {
    /// Rows that are new and will never change again.
    #[default]
    Append,
    /// Rows that this epoch touched, with their present values.
    Update,
    /// The whole result table, every time.
    Complete,
}

impl fmt::Display for OutputMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Append => "append",
            Self::Update => "update",
            Self::Complete => "complete",
        })
    }
}

impl FromStr for OutputMode {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.to_ascii_lowercase().as_str() {
            "append" => Ok(Self::Append),
            "update" => Ok(Self::Update),
            "complete" => Ok(Self::Complete),
            _ => Err(Error::invalid(format!(
                "unknown output mode '{text}': write append, update or complete"
            ))),
        }
    }
}

/// When the next epoch of a query runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// As soon as the epoch before is committed and a source has new rows.
    #[default]
    Default,
    /// At multiples of an interval since 1970; an epoch that takes longer skips the ticks it missed.
    ProcessingTime(Duration),
    /// One epoch over everything that is there, then the query ends.
    Once,
    /// As many epochs as the sources' rate limits ask for over everything that is there at the start, then the query
    /// ends.
    AvailableNow,
}

impl Trigger {
    /// An epoch at each multiple of `interval`.
    pub fn processing_time(interval: Duration) -> Self {
        Self::ProcessingTime(interval)
    }

    /// One epoch over everything there is.
    pub fn once() -> Self {
        Self::Once
    }

    /// Everything there is at the start, in rate-limited epochs.
    pub fn available_now() -> Self {
        Self::AvailableNow
    }
}
