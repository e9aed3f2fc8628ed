//! Work of a query that no epoch waits for: deleting what nobody needs any more, and rewriting state files.
//!
//! One task at a time, owned here and awaited at the end. A failure is logged and the work is tried again later; an
//! epoch never fails because of it. Invariant: a task begins only when the files that the task before it wrote are
//! named by a commit record (or given up), and it deletes before it writes; so what it deletes is named by no record
//! that stays, and never will be.

use std::{
    collections::{BTreeMap, HashSet},
    num::NonZeroU64,
    sync::Arc,
};

use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use headwater_core::{Epoch, Error, Result, RunId};
use headwater_log::{
    EpochLog,
    gc::{self, StateInventory},
    layout,
};
use headwater_state::{Snapshot, StateBackend, StateFile, StateManifest};
use tokio::task::JoinHandle;
use tracing::Instrument;

/// State files that a task wrote, by operator.
pub(crate) type StateFiles = Vec<(String, StateFile)>;

/// Commit records read at the same time.
const PARALLEL_READS: usize = 16;

/// Manifests by the epoch whose commit record holds them.
type Manifests = BTreeMap<Epoch, Arc<StateManifest>>;

/// One file to write.
#[derive(Debug)]
pub(crate) enum Rewrite {
    /// The whole state of an operator, captured at a version.
    Snapshot {
        operator: String,
        partitions: u32,
        captured: Vec<(String, u32, Snapshot)>,
    },
    /// Deltas that become one.
    Merge {
        operator: String,
        deltas: Vec<StateFile>,
    },
}

/// Everything a task needs.
#[derive(Debug)]
pub(crate) struct Chores {
    pub(crate) log: EpochLog,
    pub(crate) backend: Arc<StateBackend>,
    pub(crate) run: RunId,
    /// The newest epoch, committed and published.
    pub(crate) newest: Epoch,
    /// Epochs to keep; `None` if it is not time to delete.
    pub(crate) retained: Option<NonZeroU64>,
    /// Whether the query keeps state at all.
    pub(crate) has_state: bool,
    pub(crate) rewrites: Vec<Rewrite>,
}

/// The background task of a query.
#[derive(Debug, Default)]
pub(crate) struct Housekeeping {
    running: Option<JoinHandle<StateFiles>>,
    /// Of the epochs that this run committed and that are kept, so that they need not be read again.
    manifests: Manifests,
}

impl Housekeeping {
    /// Remembers what an epoch's commit record refers to.
    pub(crate) fn committed(&mut self, epoch: Epoch, manifest: Arc<StateManifest>) {
        self.manifests.insert(epoch, manifest);
    }

    /// Whether the last task has ended and its files are taken.
    pub(crate) fn is_free(&self) -> bool {
        self.running.is_none()
    }

    /// Starts a task; does nothing while another is running.
    pub(crate) fn begin(&mut self, chores: Chores) {
        if !self.is_free() {
            return;
        }
        if let Some(retained) = chores.retained {
            self.manifests = self
                .manifests
                .split_off(&gc::floor_below(chores.newest, retained));
        }
        let manifests = self.manifests.clone();
        self.running = Some(tokio::spawn(run(chores, manifests).in_current_span()));
    }

    /// The files that are ready, to be named by the next commit record; none while the task still runs.
    pub(crate) fn take_files(&mut self) -> StateFiles {
        let Some(done) = self.running.as_mut().and_then(FutureExt::now_or_never) else {
            return Vec::new();
        };
        self.running = None;
        done.unwrap_or_else(|error| {
            tracing::warn!(%error, "background work stopped unexpectedly");
            Vec::new()
        })
    }

    /// Waits for the running task. Files that no record names are lost, and harmless.
    pub(crate) async fn wait(&mut self) {
        if let Some(running) = self.running.take()
            && let Err(error) = running.await
        {
            tracing::warn!(%error, "background work stopped unexpectedly");
        }
    }
}

impl Drop for Housekeeping {
    /// A task does not outlive its query; cut off anywhere, it leaves garbage at most.
    fn drop(&mut self) {
        if let Some(running) = &self.running {
            running.abort();
        }
    }
}

async fn run(chores: Chores, manifests: Manifests) -> StateFiles {
    if let Some(retained) = chores.retained {
        match collect(&chores, retained, &manifests).await {
            Ok(deleted) => tracing::debug!(deleted, "old records and state files deleted"),
            Err(error) => tracing::warn!(%error, "could not delete old records and state files"),
        }
    }
    let mut files = Vec::new();
    for rewrite in chores.rewrites {
        let (operator, written) = match rewrite {
            Rewrite::Snapshot {
                operator,
                partitions,
                captured,
            } => {
                let (epoch, run) = (chores.newest, chores.run);
                let written = chores
                    .backend
                    .write_snapshot(&operator, epoch, run, partitions, captured)
                    .await;
                (operator, written)
            }
            Rewrite::Merge { operator, deltas } => {
                let written = chores
                    .backend
                    .merge_deltas(&operator, chores.run, &deltas)
                    .await;
                (operator, written)
            }
        };
        match written {
            Ok(file) => files.push((operator, file)),
            Err(error) => tracing::warn!(operator, %error, "could not rewrite state files"),
        }
    }
    files
}

async fn collect(chores: &Chores, retained: NonZeroU64, manifests: &Manifests) -> Result<usize> {
    gc::collect(&chores.log, chores.newest, retained, |floor| async move {
        if chores.has_state {
            inventory(&chores.log, floor, chores.newest, manifests).await
        } else {
            Ok(StateInventory::default())
        }
    })
    .await
}

/// All state files, and those that the commit records from `floor` to `newest` refer to.
async fn inventory(
    log: &EpochLog,
    floor: Epoch,
    newest: Epoch,
    manifests: &Manifests,
) -> Result<StateInventory> {
    let unknown = (floor.0..=newest.0)
        .map(Epoch)
        .filter(|epoch| !manifests.contains_key(epoch));
    let read: Vec<Arc<StateManifest>> = stream::iter(unknown)
        .map(|epoch| recorded(log, epoch))
        .buffered(PARALLEL_READS)
        .try_collect()
        .await?;
    let referenced: HashSet<String> = manifests
        .values()
        .chain(&read)
        .flat_map(|manifest| manifest.paths().map(str::to_owned))
        .collect();
    let files = log
        .storage()
        .list(layout::STATE)
        .await?
        .into_iter()
        .filter_map(|object| {
            Some(gc::StateFile {
                epoch: epoch_of(&object.path)?,
                path: object.path,
            })
        })
        .collect();
    Ok(StateInventory { files, referenced })
}

/// The manifest in a commit record.
async fn recorded(log: &EpochLog, epoch: Epoch) -> Result<Arc<StateManifest>> {
    let committed = log.commit(epoch).await?.ok_or_else(|| {
        Error::data(format!(
            "'{}' is missing from {}",
            layout::commit(epoch),
            log.storage()
        ))
    })?;
    Ok(Arc::new(manifest_of(&committed.state)?))
}

/// The state's manifest in the form in which commit records hold it.
pub(crate) fn manifest_of(state: &serde_json::Value) -> Result<StateManifest> {
    if state.is_null() {
        return Ok(StateManifest::default());
    }
    Ok(serde_json::from_value(state.clone())?)
}

/// The version of a state file, which its name begins with; `None` for anything else, which is left alone.
fn epoch_of(path: &str) -> Option<Epoch> {
    let (_, name) = path.rsplit_once('/')?;
    let (epoch, _) = name.split_once('-')?;
    epoch.parse().ok().map(Epoch)
}

/// Whether this is an epoch after which old records are deleted: often enough that no more than a tenth of what is
/// retained lies about unneeded, seldom enough to cost nothing.
pub(crate) fn is_time_to_delete(epoch: Epoch, retained: NonZeroU64) -> bool {
    epoch.0 >= retained.get() && epoch.0.is_multiple_of((retained.get() / 10).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_files_are_known_by_their_names_and_others_are_left_alone() {
        for (path, expected) in [
            ("state/agg/00000000000000000042-0f-3.delta", Some(Epoch(42))),
            ("state/agg/readme", None),
            ("state/agg/x-1", None),
        ] {
            assert_eq!(epoch_of(path), expected, "{path}");
        }
    }

    #[test]
    fn old_records_are_deleted_now_and_then() {
        let times = |retained, until| {
            let retained = NonZeroU64::new(retained).unwrap();
            (0..until)
                .filter(|epoch| is_time_to_delete(Epoch(*epoch), retained))
                .collect::<Vec<_>>()
        };
        assert_eq!(times(100, 125), [100, 110, 120]);
        assert_eq!(times(2, 5), [2, 3, 4]);
    }
}
