//! What a query can be told besides its plan: plain data, every value with a default.
//!
//! Components (clock, checkpoint, sink) are objects and stand in [`crate::QuerySpec`] instead.

use std::num::NonZeroU64;

use headwater_core::{Error, Result};
use headwater_log::{WatermarkPolicy, gc::DEFAULT_RETAINED};
use headwater_state::KEY_GROUPS;
use serde::{Deserialize, Serialize};

/// Settings of one streaming query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Partitions of every operator's state, and tasks per epoch. `None`: the number of processors at the query's
    /// first start, kept in the checkpoint. A number given at a restart holds from then on; state is dealt out anew.
    pub state_partitions: Option<usize>,
    /// Committed epochs whose records and state stay readable, at least 1; older ones are deleted in the background.
    pub min_batches_to_retain: u64,
    /// Whether an epoch without data runs when the watermark has risen, so that closed windows come out without
    /// waiting for more rows.
    pub no_data_epochs: bool,
    /// How the watermarks of several inputs become one. Fixed in the checkpoint at the query's first start; a
    /// restart with another value keeps the recorded one.
    pub watermark_policy: WatermarkPolicy,
    /// Progress reports that a query handle remembers.
    pub progress_history: usize,
    /// How long `stop` lets a running epoch finish before it is cut off, in milliseconds; `None`: as long as it
    /// takes. An epoch that was cut off runs again at the next start, as after a crash.
    pub stop_timeout_millis: Option<u64>,
    /// Bytes of memory for rows of the next epoch, which are read while the present one ends, if a backlog waits and the
    /// trigger does not; 0 reads nothing ahead, nor works on rows of the next epoch while the present one is committed.
    /// Sources that cannot tell what comes next are not read ahead.
    pub read_ahead_bytes: usize,
    /// Does as Spark 4.3 was recorded to do even where this engine does better: refuses what Spark refuses, and lets
    /// an epoch without data that was due at a stop wait for new data after the restart.
    pub strict_spark: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            state_partitions: None,
            min_batches_to_retain: DEFAULT_RETAINED.get(),
            no_data_epochs: true,
            watermark_policy: WatermarkPolicy::Min,
            progress_history: 100,
            stop_timeout_millis: None,
            read_ahead_bytes: 64 << 20,
            strict_spark: false,
        }
    }
}

impl Settings {
    /// Refuses values that cannot work.
    ///
    /// # Errors
    /// [`headwater_core::ErrorKind::Invalid`], naming the setting and what it may be.
    pub fn check(&self) -> Result<()> {
        self.retained()?;
        if let Some(partitions) = self.state_partitions {
            // More partitions than key groups would stay empty for ever.
            let most = usize::from(KEY_GROUPS);
            if partitions == 0 || partitions > most {
                return Err(Error::invalid(format!(
                    "setting state_partitions cannot be {partitions}: write a number from 1 to {most}"
                )));
            }
        }
        Ok(())
    }

    /// [`Self::min_batches_to_retain`], checked.
    pub(crate) fn retained(&self) -> Result<NonZeroU64> {
        NonZeroU64::new(self.min_batches_to_retain).ok_or_else(|| {
            Error::invalid("setting min_batches_to_retain cannot be 0: write 1 or more")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_cannot_work_are_refused_by_name() {
        assert!(Settings::default().check().is_ok());
        let no_partitions = Settings {
            state_partitions: Some(0),
            ..Settings::default()
        };
        let nothing_retained = Settings {
            min_batches_to_retain: 0,
            ..Settings::default()
        };
        for (settings, name) in [
            (no_partitions, "state_partitions"),
            (nothing_retained, "min_batches_to_retain"),
        ] {
            let error = settings.check().expect_err("a setting that cannot work");
            assert!(error.message().contains(name), "{error}");
        }
    }

    #[test]
    fn missing_settings_take_their_defaults() {
        let settings: Settings = serde_json::from_str("{\"no_data_epochs\": false}").unwrap();
        assert_eq!(
            settings,
            Settings {
                no_data_epochs: false,
                ..Settings::default()
            }
        );
    }
}
