//! `read_checkpoint()`: what a query's checkpoint holds, and whether it is whole.
//!
//! Only reads, as [`crate::StateReader`] does, so a query that runs meanwhile notices nothing. What it deletes while it is
//! looked at is not taken for damage.

mod findings;
mod overview;
mod verify;

use std::sync::Arc;

use headwater_core::{Error, Options, Result, Storage};
use headwater_log::LogReader;

pub use findings::{CheckpointNote, Damage, Verification};
pub use overview::{
    CheckpointOverview, EpochOverview, EpochState, OperatorOverview, QueryIdentity, RunOverview,
    SourceRange,
};

use crate::{IntoLocation, session::Session};

/// The checkpoint of a query, stopped or running; see [`Session::read_checkpoint`].
///
/// ```
/// # use headwater::{connect::memory::MemoryStream, prelude::*};
/// # use datafusion::arrow::array::StringArray;
/// # use std::sync::Arc;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// # let folder = tempfile::tempdir().expect("a folder");
/// # let checkpoint = folder.path().to_str().expect("text").to_owned();
/// # let session = Session::new();
/// # let schema = Arc::new(Schema::new(vec![Field::new("word", DataType::Utf8, true)]));
/// # let words = MemoryStream::new("words", Arc::clone(&schema));
/// # session.register_memory_stream(&words)?;
/// # let rows = StringArray::from(vec!["a", "b", "a"]);
/// # words.add_batch(RecordBatch::try_new(schema, vec![Arc::new(rows)]).expect("rows"))?;
/// let query = session.sql("SELECT word, count(*) AS n FROM words GROUP BY word").await?
///     .write_stream().output_mode(OutputMode::Complete).option("checkpointLocation", &checkpoint)
///     .to_table("counts").await?;
/// query.process_all_available().await?;
///
/// let checkpoint = session.read_checkpoint(&checkpoint).await?;
/// let overview = checkpoint.overview(Some(10)).await?;
/// assert_eq!(overview.epochs[0].rows_in, Some(3));
/// assert!(checkpoint.verify().await?.is_whole());
/// # query.stop().await
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct CheckpointReader {
    log: LogReader,
}

impl Session {
    /// A query's checkpoint (a path or URL), to be looked at while the query runs or after.
    ///
    /// # Errors
    /// `Invalid` if there is none, and those of the storage.
    pub async fn read_checkpoint(&self, checkpoint: impl IntoLocation) -> Result<CheckpointReader> {
        let location = checkpoint.into_location()?;
        let location = location.ok_or_else(|| {
            Error::invalid(
                "say where the checkpoint is: read_checkpoint(\"path of the checkpoint\")",
            )
        })?;
        let storage = headwater_log::store::storage_for_url(&location, &Options::new())?;
        self.read_checkpoint_in(storage).await
    }

    /// As [`Self::read_checkpoint`], given the storage of the checkpoint itself.
    ///
    /// # Errors
    /// As [`Self::read_checkpoint`].
    pub async fn read_checkpoint_in(&self, storage: Arc<dyn Storage>) -> Result<CheckpointReader> {
        let log = LogReader::new(storage);
        if log.listed().await?.is_empty() {
            return Err(Error::invalid(format!(
                "there is no checkpoint in {}: name the checkpointLocation of a query that was started",
                log.storage()
            )));
        }
        Ok(CheckpointReader { log })
    }
}

impl CheckpointReader {
    /// Whose checkpoint it is and what its epochs did: the newest `last` epochs, or all that are kept. Records that cannot
    /// be read are listed in [`CheckpointOverview::damaged`], and what they say is left out.
    ///
    /// # Errors
    /// Those of the storage.
    pub async fn overview(&self, last: Option<usize>) -> Result<CheckpointOverview> {
        overview::overview(&self.log, last).await
    }

    /// Reads every file that the checkpoint refers to: records, state files, and what sources keep for themselves, whole
    /// and with their checksums. What a sink has written is not part of a checkpoint.
    ///
    /// # Errors
    /// Those of the storage.
    pub async fn verify(&self) -> Result<Verification> {
        verify::verify(&self.log).await
    }
}
