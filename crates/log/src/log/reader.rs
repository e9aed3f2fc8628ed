//! A query's log, only read: nothing is written and no run is fenced, so whoever runs the query notices nothing.

use std::sync::Arc;

use headwater_core::{Condition, Epoch, Result, Storage};

use super::{epochs, numbers, read};
use crate::{
    codec::{self, Record},
    layout::{self, COMMITS, CheckpointFile, FLOOR, METADATA, PLANS, RUNS},
    record::{Committed, Floor, Metadata, Planned, Started},
    survey::Listed,
};

/// The log of a query that may be running elsewhere.
#[derive(Debug, Clone)]
pub struct LogReader {
    storage: Arc<dyn Storage>,
}

impl LogReader {
    /// The log in the checkpoint whose root is `storage`.
    pub fn new(storage: Arc<dyn Storage>) -> Self {
        Self { storage }
    }

    /// The storage of the checkpoint.
    pub fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    /// The identity of the query; `None` if it never started.
    ///
    /// # Errors
    /// [`headwater_core::ErrorKind::Data`] if the record is damaged; those of the storage.
    pub async fn metadata(&self) -> Result<Option<Metadata>> {
        read(self.storage.as_ref(), METADATA).await
    }

    /// Committed epochs whose records and state are kept, ascending.
    ///
    /// # Errors
    /// Those of the storage.
    pub async fn committed_epochs(&self) -> Result<Vec<Epoch>> {
        let commits = epochs(self.storage.as_ref(), COMMITS).await?;
        // Read after the listing: whatever is deleted meanwhile is below it.
        let floors = numbers(self.storage.as_ref(), FLOOR).await?;
        let floor = Epoch(floors.last().copied().unwrap_or(0));
        Ok(commits
            .into_iter()
            .filter(|epoch| *epoch >= floor)
            .collect())
    }

    /// The commit of an epoch; `None` if there is none, or none any more.
    ///
    /// # Errors
    /// As [`Self::metadata`].
    pub async fn commit(&self, epoch: Epoch) -> Result<Option<Committed>> {
        read(self.storage.as_ref(), &layout::commit(epoch)).await
    }

    /// The newest commit.
    ///
    /// # Errors
    /// As [`Self::metadata`].
    pub async fn newest_commit(&self) -> Result<Option<Committed>> {
        match self.committed_epochs().await?.last() {
            Some(epoch) => self.commit(*epoch).await,
            None => Ok(None),
        }
    }

    /// The plan of an epoch; `None` if there is none, or none any more.
    ///
    /// # Errors
    /// As [`Self::metadata`].
    pub async fn plan(&self, epoch: Epoch) -> Result<Option<Planned>> {
        read(self.storage.as_ref(), &layout::plan(epoch)).await
    }

    /// The record of a start, by its number; `None` if there is none, or none any more.
    ///
    /// # Errors
    /// As [`Self::metadata`].
    pub async fn run(&self, number: u64) -> Result<Option<Started>> {
        read(self.storage.as_ref(), &layout::numbered(RUNS, number)).await
    }

    /// The version of the format in which the identity of the query is stored; `None` if that cannot be told.
    ///
    /// # Errors
    /// Those of the storage.
    pub async fn format_version(&self) -> Result<Option<u32>> {
        let bytes = self.storage.read(METADATA).await?;
        Ok(bytes.and_then(|bytes| codec::version_of(&bytes)))
    }

    /// Which records there are. While the query runs, records may come and go between two looks: what is really missing
    /// is missing twice.
    ///
    /// # Errors
    /// Those of the storage.
    pub async fn listed(&self) -> Result<Listed> {
        let storage = self.storage.as_ref();
        // Read last: whatever is deleted meanwhile is below it.
        let (metadata, runs, commits, plans) = futures::try_join!(
            storage.read(METADATA),
            numbers(storage, RUNS),
            epochs(storage, COMMITS),
            epochs(storage, PLANS)
        )?;
        let floors = numbers(storage, FLOOR).await?;
        Ok(Listed {
            metadata: metadata.is_some(),
            runs,
            plans,
            commits,
            floor: Epoch(floors.last().copied().unwrap_or(0)),
        })
    }

    /// Whether a record is what it should be: its header, its length and checksum, its fields, and that it is the record
    /// of the epoch that its name says. `None` if the file is no record.
    ///
    /// # Errors
    /// Those of the storage.
    pub async fn check(&self, path: &str) -> Result<Option<Condition>> {
        let Some(check) = checker(&CheckpointFile::at(path)) else {
            return Ok(None);
        };
        let condition = match self.storage.read(path).await? {
            None => Condition::Missing,
            Some(bytes) => match check(path, &bytes) {
                None => Condition::Whole {
                    bytes: bytes.len() as u64,
                },
                Some(why) => Condition::Damaged(why),
            },
        };
        Ok(Some(condition))
    }
}

/// Looks at the bytes of a record, and says what is wrong.
type Check = Box<dyn Fn(&str, &[u8]) -> Option<String> + Send>;

/// How the record in a file is looked at; `None` for what is no record.
fn checker(file: &CheckpointFile) -> Option<Check> {
    Some(match *file {
        CheckpointFile::Metadata => as_record::<Metadata>(|_| None),
        CheckpointFile::Run(_) => as_record::<Started>(|_| None),
        CheckpointFile::Plan(epoch) => {
            as_record::<Planned>(move |planned| other_epoch(epoch, planned.epoch))
        }
        CheckpointFile::Commit(epoch) => {
            as_record::<Committed>(move |committed| other_epoch(epoch, committed.epoch))
        }
        CheckpointFile::Floor(number) => {
            as_record::<Floor>(move |floor| other_epoch(Epoch(number), floor.epoch))
        }
        CheckpointFile::OfSource { .. }
        | CheckpointFile::OfSink
        | CheckpointFile::State
        | CheckpointFile::Unknown => return None,
    })
}

fn as_record<T: Record>(misfit: impl Fn(&T) -> Option<String> + Send + 'static) -> Check {
    Box::new(move |path, bytes| match codec::decode::<T>(path, bytes) {
        Ok(record) => misfit(&record),
        // What is damaged is said where the condition is shown.
        Err(error) => {
            let message = error.message();
            let why = message.split_once(" is damaged: ");
            Some(why.map_or(message, |(_, why)| why).to_owned())
        }
    })
}

fn other_epoch(named: Epoch, found: Epoch) -> Option<String> {
    (named != found).then(|| format!("it holds the record of epoch {found}"))
}
