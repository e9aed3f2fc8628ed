//! A query's log, only read: nothing is written and no run is fenced, so whoever runs the query notices nothing.

use std::sync::Arc;

use headwater_core::{Epoch, Result, Storage};

use super::{epochs, numbers, read};
use crate::{
    layout::{self, COMMITS, FLOOR, METADATA},
    record::{Committed, Metadata},
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
}
