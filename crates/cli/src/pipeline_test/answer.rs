//! What a query gave in a test.

use datafusion::arrow::{datatypes::SchemaRef, record_batch::RecordBatch};
use headwater::OutputMode;

/// The rows of one epoch.
#[derive(Debug, Clone)]
pub(crate) struct EpochRows {
    /// The number of the epoch, counted from zero.
    pub(crate) epoch: u64,
    /// Whether it read input; otherwise it ran because the watermark had risen.
    pub(crate) has_input: bool,
    pub(crate) rows: Vec<RecordBatch>,
}

/// What came out of a query, or into its sink of late rows.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// The query's name, with `.late` behind it for the late rows.
    pub(crate) name: String,
    pub(crate) mode: OutputMode,
    pub(crate) schema: SchemaRef,
    /// Epochs without rows too, in order.
    pub(crate) epochs: Vec<EpochRows>,
}

impl Answer {
    /// The answer at the end: all rows that were given out; in complete mode the table of the last epoch.
    pub(crate) fn at_the_end(&self) -> Vec<&EpochRows> {
        match self.mode {
            OutputMode::Complete => self.epochs.last().into_iter().collect(),
            OutputMode::Append | OutputMode::Update => self.epochs.iter().collect(),
        }
    }

    /// Rows of [`Self::at_the_end`].
    pub(crate) fn row_count(&self) -> usize {
        self.at_the_end()
            .into_iter()
            .map(EpochRows::row_count)
            .sum()
    }
}

impl EpochRows {
    pub(crate) fn row_count(&self) -> usize {
        self.rows.iter().map(RecordBatch::num_rows).sum()
    }
}
