//! One line of JSON for each query that ran, with the field names that the other engines' scripts print.

use headwater_core::Result;
use serde::{Deserialize, Serialize};

/// How one query went. Fields that mean nothing for an engine are null or left out.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Measurement {
    /// Who answered.
    pub engine: String,
    /// Which query.
    pub query: String,
    /// Rows read from all inputs.
    pub rows: u64,
    /// From the start of the query until it ended, planning included.
    pub seconds: f64,
    /// `rows` over `seconds`.
    pub rows_per_s: u64,
    /// Epochs that ran.
    pub triggers: u64,
    /// Median duration of an epoch in milliseconds.
    pub trigger_ms_p50: Option<f64>,
    /// Longest epoch in milliseconds.
    pub trigger_ms_max: Option<f64>,
    /// Most rows of state that an operator held.
    pub state_rows_max: Option<u64>,
    /// Rows that reached the sink, if it keeps them.
    pub rows_out: Option<u64>,
    /// Most bytes of state in memory.
    pub state_bytes_max: Option<u64>,
    /// Bytes of the checkpoint when the query ended.
    pub checkpoint_bytes: Option<u64>,
    /// Most resident memory of the process while the query ran.
    pub peak_rss_bytes: Option<u64>,
    /// Syncs of files and folders, checkpoint and sink together, for each epoch.
    pub syncs_per_epoch: Option<f64>,
    /// Median time in milliseconds that the device takes to make a small new file durable: two syncs, of its bytes
    /// and of its name.
    pub device_file_ms: Option<f64>,
}

impl Measurement {
    /// Fills in what follows from the durations (in milliseconds) of the epochs, and the throughput.
    #[must_use]
    pub fn with_durations(mut self, seconds: f64, mut epochs: Vec<f64>) -> Self {
        epochs.sort_by(f64::total_cmp);
        self.seconds = round(seconds);
        self.rows_per_s = (self.rows as f64 / seconds.max(1e-9)) as u64;
        self.triggers = epochs.len() as u64;
        self.trigger_ms_p50 = epochs.get(epochs.len() / 2).copied().map(round);
        self.trigger_ms_max = epochs.last().copied().map(round);
        self
    }

    /// The line to print.
    ///
    /// # Errors
    /// `Data` if a number is not finite.
    pub fn to_line(&self) -> Result<String> {
        Ok(serde_json::to_string(self)?)
    }
}

/// To thousandths: enough for milliseconds, and short to read.
pub(crate) fn round(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

/// The middle value; zero of none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![9.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![]), 0.0);
    }

    #[test]
    fn median_and_maximum_are_those_of_the_epochs() {
        let measured = Measurement {
            rows: 1_000,
            ..Measurement::default()
        }
        .with_durations(0.5, vec![3.0, 1.0, 2.0]);
        assert_eq!(measured.rows_per_s, 2_000);
        assert_eq!(measured.triggers, 3);
        assert_eq!(measured.trigger_ms_p50, Some(2.0));
        assert_eq!(measured.trigger_ms_max, Some(3.0));
    }

    #[test]
    fn a_query_without_epochs_has_no_durations() {
        let measured = Measurement::default().with_durations(0.0, vec![]);
        assert_eq!(measured.trigger_ms_p50, None);
        assert!(
            measured
                .to_line()
                .unwrap()
                .contains("\"trigger_ms_max\":null")
        );
    }
}
