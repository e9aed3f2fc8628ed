//! The log of one query, read and written.
//!
//! Every write is one durable call. Plans and commits are created if absent, under the number of their epoch, and bear
//! the run that wrote them: of two runs on the same checkpoint only one can create each record, and the other learns
//! from it that it must stop.
//!
//! Garbage collection makes names free again, so a run that slept through it could create a record a second time.
//! Therefore [`EpochLog::put_commit`] looks at the floor after it has won: it was raised, durably, before the name
//! became free.

mod reader;

pub use reader::LogReader;

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use headwater_core::{CreateOutcome, Epoch, Error, Result, RunId, Storage};

use crate::{
    codec::{Record, decode, encode},
    decide::{Decision, Ownership, RecoveryFacts, Replay, Resume, Stored, after_create, decide},
    layout::{self, COMMITS, FLOOR, METADATA, PLANS, RUNS},
    record::{Committed, Floor, Metadata, Planned, Started},
};

/// How many records are read at the same time.
const PARALLEL_READS: usize = 16;

/// How often a checkpoint that changes under our eyes is looked at.
const MAX_LOOKS: usize = 10;

/// The log of a query, as one run of it sees it.
#[derive(Debug, Clone)]
pub struct EpochLog {
    storage: Arc<dyn Storage>,
    run: RunId,
    /// The number of the run among all starts of the query.
    number: u64,
}

/// How a run goes on from a checkpoint.
#[derive(Debug, Clone, PartialEq)]
pub enum Start {
    /// From the first epoch.
    Fresh,
    /// After a committed epoch.
    Resume(Box<Resume>),
    /// By running a planned epoch again.
    Replay(Box<Replay>),
}

/// What a run finds when it starts.
#[derive(Debug, Clone, PartialEq)]
pub struct Recovery {
    /// How to go on.
    pub start: Start,
    /// Runs before this one that may have left hidden output behind, for the newest epoch at most. It must not be
    /// discarded before this run has seen a commit of that epoch (its own, or in [`Start::Resume`] the one it found):
    /// such a run may be alive, and may win the commit.
    pub earlier_runs: Vec<RunId>,
}

impl EpochLog {
    /// Registers a run in a checkpoint: from now on a run that started earlier, and asks, learns that it was replaced.
    ///
    /// # Errors
    /// Those of the storage.
    pub async fn open(storage: Arc<dyn Storage>, started: &Started) -> Result<Self> {
        let bytes = encode(started)?;
        loop {
            let newest = numbers(storage.as_ref(), RUNS).await?.last().copied();
            let number = newest.map_or(0, |number| number + 1);
            let file = layout::numbered(RUNS, number);
            let outcome = storage.create(&file, bytes.clone()).await?;
            let is_ours = match outcome {
                CreateOutcome::Created => true,
                // Our own call that was answered late, or another run that starts at this moment.
                CreateOutcome::AlreadyExists => {
                    let existing = read::<Started>(storage.as_ref(), &file).await?;
                    existing.is_some_and(|existing| existing.run == started.run)
                }
            };
            if is_ours {
                return Ok(Self {
                    storage,
                    run: started.run,
                    number,
                });
            }
        }
    }

    /// The run this log belongs to.
    pub fn run(&self) -> RunId {
        self.run
    }

    /// The storage of the checkpoint.
    pub fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    /// The identity of the query; `None` if it never started.
    ///
    /// # Errors
    /// [`headwater_core::ErrorKind::Data`] if the record is damaged; those of the storage.
    pub async fn metadata(storage: &dyn Storage) -> Result<Option<Metadata>> {
        read(storage, METADATA).await
    }

    /// Writes the identity of the query unless it has one; gives the one it has now.
    ///
    /// # Errors
    /// As [`Self::metadata`].
    pub async fn create_metadata(storage: &dyn Storage, metadata: &Metadata) -> Result<Metadata> {
        match storage.create(METADATA, encode(metadata)?).await? {
            CreateOutcome::Created => Ok(metadata.clone()),
            CreateOutcome::AlreadyExists => Self::metadata(storage).await?.ok_or_else(|| {
                Error::unavailable(format!("'{METADATA}' in {storage} comes and goes"))
            }),
        }
    }

    /// Finds out how to go on. May be asked again after a failed write: a record that bears this run is its own.
    ///
    /// # Errors
    /// [`headwater_core::ErrorKind::Fenced`] if a run has started after this one;
    /// [`headwater_core::ErrorKind::Data`], naming the file, if one is missing or damaged; those of the storage.
    pub async fn recover(&self) -> Result<Recovery> {
        let mut last_seen = None;
        for _ in 0..MAX_LOOKS {
            let (facts, earlier_runs) = self.facts().await?;
            let start = match decide(facts.clone()) {
                Decision::Fresh => Start::Fresh,
                Decision::Resume(resume) => Start::Resume(resume),
                Decision::Replay(replay) => Start::Replay(replay),
                Decision::Fenced { by } => return Err(self.fenced("the checkpoint", by)),
                // An earlier run that is still alive may have written between two of our looks. What is really
                // damaged looks the same twice.
                Decision::Corrupt { .. } if last_seen.as_ref() != Some(&facts) => {
                    last_seen = Some(facts);
                    continue;
                }
                Decision::Corrupt { file, why } => {
                    return Err(Error::data(format!(
                        "'{file}' in the checkpoint {}: {why}",
                        self.storage
                    )));
                }
            };
            return Ok(Recovery {
                start,
                earlier_runs,
            });
        }
        Err(Error::unavailable(format!(
            "the checkpoint {} changes while it is read: an earlier run of the query is still alive",
            self.storage
        )))
    }

    async fn facts(&self) -> Result<(RecoveryFacts, Vec<RunId>)> {
        let storage = self.storage.as_ref();
        // The floor is read last: if it rises meanwhile, files found missing are below it.
        let (runs, commits, plans) = futures::try_join!(
            numbers(storage, RUNS),
            numbers(storage, COMMITS),
            numbers(storage, PLANS)
        )?;
        let floor = self.floor().await?;
        let newest_plan = match plans.last() {
            Some(number) => found(storage, layout::plan(Epoch(*number))).await?,
            None => None,
        };
        let newest_commit = match commits.last() {
            Some(number) => found(storage, layout::commit(Epoch(*number))).await?,
            None => None,
        };
        let newest_run = runs.last().copied().filter(|number| *number > self.number);
        let newest_run = match newest_run {
            None => self.run,
            Some(number) => self.run_numbered(number).await?,
        };
        let earlier = runs.into_iter().filter(|number| *number < self.number);
        let earlier_runs = stream::iter(earlier)
            .map(|number| self.run_numbered(number))
            .buffered(PARALLEL_READS)
            .try_collect()
            .await?;
        let facts = RecoveryFacts {
            own_run: self.run,
            newest_run,
            floor,
            plans: plans.into_iter().map(Epoch).collect(),
            commits: commits.into_iter().map(Epoch).collect(),
            newest_plan,
            newest_commit,
        };
        Ok((facts, earlier_runs))
    }

    async fn run_numbered(&self, number: u64) -> Result<RunId> {
        let file = layout::numbered(RUNS, number);
        match read::<Started>(self.storage.as_ref(), &file).await? {
            Some(started) => Ok(started.run),
            None => Err(Error::unavailable(format!(
                "'{file}' in the checkpoint {} was listed and cannot be found: another run may be starting",
                self.storage
            ))),
        }
    }

    /// Forgets runs before this one. Called once their hidden output is discarded.
    ///
    /// # Errors
    /// Those of the storage.
    pub async fn forget_earlier_runs(&self) -> Result<()> {
        let runs = numbers(self.storage.as_ref(), RUNS).await?;
        let earlier: Vec<String> = runs
            .into_iter()
            .filter(|number| *number < self.number)
            .map(|number| layout::numbered(RUNS, number))
            .collect();
        if earlier.is_empty() {
            return Ok(());
        }
        self.storage.delete(&earlier).await
    }

    /// Writes a plan; the epoch may run when this returns. One durable call.
    ///
    /// # Errors
    /// [`headwater_core::ErrorKind::Fenced`] if another run has planned the epoch; those of the storage.
    pub async fn put_plan(&self, planned: &Planned) -> Result<()> {
        let file = layout::plan(planned.epoch);
        self.put(&file, planned, |existing| existing.run).await
    }

    /// Writes a commit; the epoch has happened, and may be published, when this returns. One durable call.
    ///
    /// # Errors
    /// [`headwater_core::ErrorKind::Fenced`] if another run has committed the epoch; those of the storage.
    pub async fn put_commit(&self, committed: &Committed) -> Result<()> {
        let file = layout::commit(committed.epoch);
        self.put(&file, committed, |existing| existing.run).await?;
        let floor = self.floor().await?;
        if committed.epoch < floor {
            return Err(Error::fenced(format!(
                "run {} has been replaced: it committed epoch {}, but another run has gone on and deleted the log up to \
                 epoch {floor} in {}",
                self.run, committed.epoch, self.storage
            )));
        }
        Ok(())
    }

    async fn put<T: Record>(&self, file: &str, record: &T, run_of: fn(&T) -> RunId) -> Result<()> {
        let bytes = encode(record)?;
        let outcome = self.storage.create(file, bytes.clone()).await?;
        if outcome == CreateOutcome::Created {
            return Ok(());
        }
        let found = self.storage.read(file).await?.ok_or_else(|| {
            Error::unavailable(format!("'{file}' in {} comes and goes", self.storage))
        })?;
        let existing: T = decode_in(self.storage.as_ref(), file, &found)?;
        match after_create(outcome, run_of(&existing), self.run) {
            Ownership::FencedBy(by) => Err(self.fenced(&format!("'{file}'"), by)),
            Ownership::OursAlready if found != bytes => Err(Error::internal(format!(
                "run {} wrote '{file}' in {} twice with different contents",
                self.run, self.storage
            ))),
            Ownership::Won | Ownership::OursAlready => Ok(()),
        }
    }

    fn fenced(&self, what: &str, by: RunId) -> Error {
        Error::fenced(format!(
            "{what} in {} belongs to run {by}, which has replaced run {}",
            self.storage, self.run
        ))
    }

    /// The plan of an epoch.
    ///
    /// # Errors
    /// [`headwater_core::ErrorKind::Data`] if it is damaged; those of the storage.
    pub async fn plan(&self, epoch: Epoch) -> Result<Option<Planned>> {
        read(self.storage.as_ref(), &layout::plan(epoch)).await
    }

    /// The commit of an epoch.
    ///
    /// # Errors
    /// [`headwater_core::ErrorKind::Data`] if it is damaged; those of the storage.
    pub async fn commit(&self, epoch: Epoch) -> Result<Option<Committed>> {
        read(self.storage.as_ref(), &layout::commit(epoch)).await
    }

    /// The plans that the log still holds, oldest first: what sources resume from.
    ///
    /// # Errors
    /// [`headwater_core::ErrorKind::Data`], naming the file, if one is damaged; those of the storage.
    pub async fn history(&self) -> Result<Vec<Planned>> {
        let plans = self.planned_epochs().await?;
        // Read after the listing: whatever is deleted meanwhile is below it.
        let floor = self.floor().await?;
        stream::iter(plans.into_iter().filter(|epoch| *epoch >= floor))
            .map(|epoch| async move {
                self.plan(epoch).await?.ok_or_else(|| {
                    Error::data(format!(
                        "'{}' in the checkpoint {} was listed and cannot be found",
                        layout::plan(epoch),
                        self.storage
                    ))
                })
            })
            .buffered(PARALLEL_READS)
            .try_collect()
            .await
    }

    /// Epochs that have a plan, in order, remains below the floor included.
    ///
    /// # Errors
    /// Those of the storage.
    pub async fn planned_epochs(&self) -> Result<Vec<Epoch>> {
        epochs(self.storage.as_ref(), PLANS).await
    }

    /// Epochs that have a commit, in order, remains below the floor included.
    ///
    /// # Errors
    /// Those of the storage.
    pub async fn committed_epochs(&self) -> Result<Vec<Epoch>> {
        epochs(self.storage.as_ref(), COMMITS).await
    }

    /// The oldest epoch whose records are all there.
    ///
    /// # Errors
    /// Those of the storage.
    pub async fn floor(&self) -> Result<Epoch> {
        let floors = numbers(self.storage.as_ref(), FLOOR).await?;
        Ok(Epoch(floors.last().copied().unwrap_or(0)))
    }

    /// Declares that records of epochs below `floor` may be deleted. It can only rise, whoever else raises it: each
    /// floor is a file of its own, and the highest counts.
    ///
    /// # Errors
    /// Those of the storage.
    pub async fn raise_floor(&self, floor: Epoch) -> Result<()> {
        let file = layout::numbered(FLOOR, floor.0);
        let bytes = encode(&Floor { epoch: floor })?;
        self.storage.create(&file, bytes).await?;
        let floors = numbers(self.storage.as_ref(), FLOOR).await?;
        let passed: Vec<String> = floors
            .into_iter()
            .filter(|number| *number < floor.0)
            .map(|number| layout::numbered(FLOOR, number))
            .collect();
        self.storage.delete(&passed).await
    }
}

async fn read<T: Record>(storage: &dyn Storage, file: &str) -> Result<Option<T>> {
    let bytes = storage.read(file).await?;
    bytes
        .map(|bytes| decode_in(storage, file, &bytes))
        .transpose()
}

fn decode_in<T: Record>(storage: &dyn Storage, file: &str, bytes: &Bytes) -> Result<T> {
    decode(file, bytes).map_err(|error| error.context(format!("in the checkpoint {storage}")))
}

/// As [`read`], with damage as a fact and not an error.
async fn found<T: Record>(storage: &dyn Storage, file: String) -> Result<Option<Stored<T>>> {
    let bytes = storage.read(&file).await?;
    Ok(bytes.map(|bytes| match decode(&file, &bytes) {
        Ok(record) => Stored::Readable(record),
        Err(error) => Stored::Damaged(error.message().to_owned()),
    }))
}

/// The numbers of the files in a folder, in order.
async fn numbers(storage: &dyn Storage, folder: &str) -> Result<Vec<u64>> {
    let files = storage.list(folder).await?;
    Ok(files
        .iter()
        .filter_map(|file| layout::number_of(folder, &file.path))
        .collect())
}

async fn epochs(storage: &dyn Storage, folder: &str) -> Result<Vec<Epoch>> {
    Ok(numbers(storage, folder)
        .await?
        .into_iter()
        .map(Epoch)
        .collect())
}

#[cfg(test)]
mod sweep;
#[cfg(test)]
mod tests;
