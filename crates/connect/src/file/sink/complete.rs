//! For readers that want whole epochs only.
//!
//! Anyone who lists the folder sees no row twice and, at rest, every row; while an epoch is being published, a part of
//! it. A reader that minds needs to know which epochs are whole, and that follows from little: an epoch is published
//! before the next one is planned, so of one query's visible epochs at most the newest is in doubt. Whether it is whole
//! says one empty object a query, `_headwater/complete/{query}/{epoch}`, whose name is the newest whole epoch. It is empty
//! because Polars refuses a folder in which anything but Parquet has content.
//!
//! The sink itself looks at it when a query starts: a checkpoint that knows less than the folder has lost records, or is
//! an old copy, and going on from it would write rows twice.
//!
//! It is a bound from below and written behind the epoch, by a task of its own: no epoch waits for it, a lost write is
//! made up for by the next one, and it does not grow with the number of epochs.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use headwater_core::{Epoch, Error, QueryId, Result, Storage};
use parking_lot::Mutex;
use tokio::task::JoinHandle;

use super::naming;
use crate::file::place::Place;

const FOLDER: &str = "_headwater/complete";

/// Writes the mark of one query.
#[derive(Debug)]
pub(super) struct CompleteMark {
    storage: Arc<dyn Storage>,
    path: String,
    // Held only to exchange the handle. The task is awaited before the next one starts, and when the sink is closed.
    writing: Mutex<Option<JoinHandle<()>>>,
}

impl CompleteMark {
    pub(super) fn new(storage: Arc<dyn Storage>, query: QueryId) -> Self {
        Self {
            storage,
            path: format!("{FOLDER}/{}", naming::short(query)),
            writing: Mutex::new(None),
        }
    }

    /// The epoch that was marked last; none before the first.
    pub(super) async fn newest(&self) -> Result<Option<Epoch>> {
        let marks = self.storage.list(&self.path).await?;
        let epochs = marks.iter().filter_map(|mark| {
            let (_, name) = mark.path.rsplit_once('/')?;
            name.parse().ok().map(Epoch)
        });
        Ok(epochs.max())
    }

    /// Says, a little later, that `epoch` is whole.
    pub(super) async fn set(&self, epoch: Epoch) {
        self.settle().await;
        let (storage, folder) = (Arc::clone(&self.storage), self.path.clone());
        let task = tokio::spawn(async move {
            if let Err(error) = mark(storage.as_ref(), &folder, epoch).await {
                tracing::warn!(%epoch, %error, "cannot mark the epoch as whole; the next one will");
            }
        });
        *self.writing.lock() = Some(task);
    }

    /// Waits for the last write.
    pub(super) async fn settle(&self) {
        let task = self.writing.lock().take();
        if let Some(task) = task
            && let Err(error) = task.await
        {
            tracing::warn!(%error, "marking an epoch as whole did not finish");
        }
    }
}

/// Names `epoch` as the newest whole one and forgets the marks before it.
async fn mark(storage: &dyn Storage, folder: &str, epoch: Epoch) -> Result<()> {
    let name = format!("{folder}/{:020}", epoch.0);
    storage.create(&name, Bytes::new()).await?;
    let before: Vec<String> = storage
        .list(folder)
        .await?
        .into_iter()
        .map(|object| object.path)
        .filter(|path| *path < name)
        .collect();
    storage.delete(&before).await
}

/// The output files below `path` that belong to whole epochs, in order of their paths: what a reader sees who wants no
/// part of an epoch without the rest. Files of other writers are left out.
///
/// # Errors
/// `Invalid` for a path that cannot be read, `Unavailable` if listing fails, `Data` for a damaged mark.
pub async fn whole_epochs(path: &str) -> Result<Vec<String>> {
    let storage = Place::parse(path)?.storage(&headwater_core::Options::new())?;
    whole_epochs_in(&*storage).await
}

/// As [`whole_epochs`], in a storage whose root is the output folder.
///
/// # Errors
/// As [`whole_epochs`].
pub async fn whole_epochs_in(storage: &dyn Storage) -> Result<Vec<String>> {
    // Marks first: what they say is whole then is whole in the listing, too.
    let mut whole: HashMap<String, u64> = HashMap::new();
    for object in storage.list(FOLDER).await? {
        let mut names = object.path.rsplit('/');
        let epoch = names.next().and_then(|name| name.parse::<u64>().ok());
        let (Some(epoch), Some(query)) = (epoch, names.next()) else {
            return Err(Error::data(format!(
                "{} in {storage} is no mark of a whole epoch: its name must be a number",
                object.path
            )));
        };
        let below = whole.entry(query.to_owned()).or_default();
        *below = (*below).max(epoch + 1);
    }
    let objects = storage.list("").await?;
    let files: Vec<(&str, u64, &str)> = objects
        .iter()
        .filter_map(|object| {
            let (epoch, query) = naming::epoch_and_query(&object.path)?;
            Some((object.path.as_str(), epoch, query))
        })
        .collect();
    for (_, epoch, query) in &files {
        let below = whole.entry((*query).to_owned()).or_default();
        *below = (*below).max(*epoch);
    }
    Ok(files
        .into_iter()
        .filter(|(_, epoch, query)| whole.get(*query).is_some_and(|below| epoch < below))
        .map(|(path, _, _)| path.to_owned())
        .collect())
}
