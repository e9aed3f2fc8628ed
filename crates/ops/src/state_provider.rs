//! Keyed state of one query in one process: lives between epochs, loaded from the checkpoint when it is not there.
//!
//! An operator checks the state of its partition out at the version it reads, changes it, and checks it in with the
//! delta of the version it wrote. When all partitions of an operator are in, their deltas are written as one object
//! in the background, while the rest of the plan still runs. A state that was checked out and not checked in (the
//! epoch failed) is gone: the next checkout loads the last committed version.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use headwater_core::{Epoch, Error, Result, RunId};
use headwater_state::{
    DeltaBytes, KeyIndexFactory, KeyedState, RowStore, RowsSpec, Snapshot, StateBackend, StateFile,
    StateSpec, Store,
};
use tokio::task::JoinHandle;

use crate::{beside::spawn_beside, runtime::PlanRecorded};

/// Names one store of one partition of one operator.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StateAddress {
    /// The operator's id.
    pub operator: String,
    /// The store's name inside the operator.
    pub store: String,
    /// The partition, by key group.
    pub partition: u32,
}

struct Resident {
    /// The last version this state contains; `None` before the first epoch.
    version: Option<Epoch>,
    state: Store,
}

#[derive(Default)]
struct Inner {
    resident: HashMap<StateAddress, Resident>,
    deposited: BTreeMap<String, Vec<(String, u32, DeltaBytes)>>,
    writing: Vec<(String, JoinHandle<Result<StateFile>>)>,
    /// What the deltas of the present epoch wait for, if anything.
    recorded: Option<PlanRecorded>,
}

/// Deltas of one epoch on their way to the storage.
#[derive(Debug)]
#[must_use = "an epoch whose deltas are not durable must not be committed"]
pub struct Deltas {
    writing: Vec<(String, JoinHandle<Result<StateFile>>)>,
}

impl Deltas {
    /// Waits until all are durable; the new files by operator. Operators that changed nothing have none.
    ///
    /// # Errors
    /// Whatever the storage answers, and `Internal` if the plan of the epoch was never recorded.
    pub async fn durable(self) -> Result<Vec<(String, StateFile)>> {
        let mut files = Vec::with_capacity(self.writing.len());
        for (operator, task) in self.writing {
            let file = task.await.map_err(|error| {
                Error::internal(format!("writing the state of operator {operator} stopped"))
                    .with_source(error)
            })??;
            files.push((operator, file));
        }
        Ok(files)
    }
}

/// The state of one query in this process.
pub struct StateProvider {
    backend: Arc<StateBackend>,
    index: Arc<dyn KeyIndexFactory>,
    partitions: u32,
    run: RunId,
    // Short sections only: checkouts move whole states in and out.
    inner: Mutex<Inner>,
}

impl fmt::Debug for StateProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateProvider")
            .field("partitions", &self.partitions)
            .field("run", &self.run)
            .finish_non_exhaustive()
    }
}

impl StateProvider {
    /// State over a checkpoint whose newest committed version is the backend's manifest.
    pub fn new(
        backend: Arc<StateBackend>,
        index: Arc<dyn KeyIndexFactory>,
        partitions: u32,
        run: RunId,
    ) -> Self {
        Self {
            backend,
            index,
            partitions,
            run,
            inner: Mutex::new(Inner::default()),
        }
    }

    /// Partitions of the state of operators that are keyed.
    pub fn partitions(&self) -> u32 {
        self.partitions
    }

    /// Begins an epoch whose deltas are not written before its plan is recorded; `None` if it is. Those of the epoch
    /// before have been [taken](Self::take_deltas).
    pub fn begin(&self, recorded: Option<PlanRecorded>) {
        self.lock().recorded = recorded;
    }

    /// The state at `version` (`None`: before the first epoch), to be changed and checked in again. `partitions` is
    /// how many the operator has: [`Self::partitions`], or one for an operator over all rows.
    pub async fn check_out(
        &self,
        address: &StateAddress,
        version: Option<Epoch>,
        spec: &StateSpec,
        partitions: u32,
    ) -> Result<KeyedState> {
        if let Some(state) = self.take_resident(address, version)? {
            return state.try_into();
        }
        self.backend
            .load(
                &address.operator,
                &address.store,
                address.partition,
                partitions,
                spec.clone(),
                Arc::clone(&self.index),
            )
            .await
    }

    /// As [`Self::check_out`], for a store of rows by key.
    pub async fn check_out_rows(
        &self,
        address: &StateAddress,
        version: Option<Epoch>,
        spec: &RowsSpec,
        partitions: u32,
    ) -> Result<RowStore> {
        if let Some(state) = self.take_resident(address, version)? {
            return state.try_into();
        }
        self.backend
            .load_rows(
                &address.operator,
                &address.store,
                address.partition,
                partitions,
                spec.clone(),
            )
            .await
    }

    fn take_resident(
        &self,
        address: &StateAddress,
        version: Option<Epoch>,
    ) -> Result<Option<Store>> {
        match self.lock().resident.remove(address) {
            Some(resident) if resident.version != version => Err(Error::internal(format!(
                "state of operator {} partition {} is at version {:?}, expected {version:?}",
                address.operator, address.partition, resident.version,
            ))),
            resident => Ok(resident.map(|resident| resident.state)),
        }
    }

    /// Puts back every store of one partition of one operator, of either kind, after it wrote version `epoch`.
    pub fn check_in<S: Into<Store>>(
        &self,
        operator: &str,
        partition: u32,
        epoch: Epoch,
        stores: Vec<(String, S)>,
        partitions: u32,
    ) -> Result<()> {
        let mut deltas = Vec::with_capacity(stores.len());
        let mut states = Vec::with_capacity(stores.len());
        for (store, state) in stores {
            let mut state: Store = state.into();
            deltas.push((store.clone(), partition, state.commit(epoch)?));
            states.push((store, state));
        }
        let stores_per_partition = states.len();
        let mut inner = self.lock();
        for (store, state) in states {
            let address = StateAddress {
                operator: operator.to_owned(),
                store,
                partition,
            };
            inner.resident.insert(
                address,
                Resident {
                    version: Some(epoch),
                    state,
                },
            );
        }
        let deposited = inner.deposited.entry(operator.to_owned()).or_default();
        deposited.extend(deltas);
        if deposited.len() == stores_per_partition * partitions as usize {
            let sections = inner.deposited.remove(operator).unwrap_or_default();
            if sections.iter().all(|(_, _, delta)| delta.is_empty()) {
                return Ok(());
            }
            let (backend, run) = (Arc::clone(&self.backend), self.run);
            let name = operator.to_owned();
            let recorded = inner.recorded.clone();
            let writing = spawn_beside(async move {
                if let Some(mut recorded) = recorded {
                    recorded.wait().await?;
                }
                backend
                    .write_delta(&name, epoch, run, partitions, sections)
                    .await
            });
            inner.writing.push((operator.to_owned(), writing));
        }
        Ok(())
    }

    /// The deltas of an epoch whose plan has run, which are being written. The next epoch may begin.
    ///
    /// # Errors
    /// `Internal` if not all partitions of an operator have checked their state in.
    pub fn take_deltas(&self) -> Result<Deltas> {
        let (writing, incomplete) = {
            let mut inner = self.lock();
            (
                std::mem::take(&mut inner.writing),
                std::mem::take(&mut inner.deposited),
            )
        };
        if let Some(operator) = incomplete.keys().next() {
            return Err(Error::internal(format!(
                "operator {operator} did not finish all partitions of its state"
            )));
        }
        Ok(Deltas { writing })
    }

    /// Captures every resident state of `operator`, for a snapshot written in the background. Call when the plan
    /// of an epoch has run, before the next one begins.
    pub fn capture(&self, operator: &str) -> Vec<(String, u32, Snapshot)> {
        let inner = self.lock();
        let mut captured: Vec<_> = inner
            .resident
            .iter()
            .filter(|(address, _)| address.operator == operator)
            .map(|(address, resident)| {
                (
                    address.store.clone(),
                    address.partition,
                    resident.state.snapshot(),
                )
            })
            .collect();
        captured.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
        captured
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
