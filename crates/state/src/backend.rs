//! Keyed state on durable storage: loading a version, writing the next.
//!
//! Invariant: a file is durable before anything names it, has a name no other attempt uses, and is never changed.
//! Whether a version counts is not decided here: the commit record that holds its manifest does that, and garbage
//! collection deletes files that no retained manifest names.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryStreamExt, future::BoxFuture, stream};
use headwater_core::{CreateOutcome, Epoch, Error, Payload, Result, RunId, Storage};

use crate::{
    delta::DeltaBytes,
    evolve::recorded,
    file::{self, Part},
    index::KeyIndexFactory,
    key_group::overlap,
    keyed::KeyedState,
    manifest::{OperatorFiles, Section, StateFile, StateManifest},
    restore::Restore,
    rows::{RowStore, RowsSpec},
    snapshot::Snapshot,
    spec::StateSpec,
    store_layout::StoreLayout,
    upkeep::{Upkeep, upkeep},
};

/// How many sections are read ahead of the one being applied.
const READ_AHEAD: usize = 8;

/// The durable state of one query.
pub struct StateBackend {
    storage: Arc<dyn Storage>,
    // Replaced as a whole, never held across an await.
    manifest: Mutex<Arc<StateManifest>>,
    /// What the stores of each operator hold from now on.
    layouts: Layouts,
    attempts: AtomicU64,
}

impl fmt::Debug for StateBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateBackend")
            .field("storage", &self.storage)
            .finish_non_exhaustive()
    }
}

/// Which store of which partition of which operator; what errors name.
#[derive(Clone, Copy)]
struct Address<'a> {
    operator: &'a str,
    store: &'a str,
    partition: u32,
}

/// What the stores of operators hold, by operator.
pub type Layouts = BTreeMap<String, Vec<StoreLayout>>;

impl StateBackend {
    /// State in the checkpoint whose root is `storage`, at the version of `manifest`: that of the last commit record,
    /// or the empty one.
    pub fn new(storage: Arc<dyn Storage>, manifest: StateManifest) -> Self {
        Self {
            storage,
            manifest: Mutex::new(Arc::new(manifest)),
            layouts: Layouts::new(),
            attempts: AtomicU64::new(0),
        }
    }

    /// The same state; the stores of these operators hold what is said here. It is recorded with the files. Where the
    /// files of the manifest hold something else, loads take over what is asked for ([`crate::misfits`] tells before
    /// whether they can), and the first commit writes the operator's state as a whole.
    pub fn with_layouts(mut self, layouts: Layouts) -> Self {
        self.layouts = layouts;
        self
    }

    /// The manifest of the last committed version.
    pub fn manifest(&self) -> Arc<StateManifest> {
        Arc::clone(&self.manifest.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The commit record that holds this manifest is durable: later loads read this version.
    pub fn adopt(&self, manifest: StateManifest) {
        *self.manifest.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(manifest);
    }

    /// The manifest to put into the next commit record: the last one and these files. Nothing changes before
    /// [`Self::adopt`].
    ///
    /// # Errors
    /// `Internal` if a file does not continue what is there.
    pub fn next_manifest(
        &self,
        files: impl IntoIterator<Item = (String, StateFile)>,
    ) -> Result<StateManifest> {
        let files: Vec<_> = files.into_iter().collect();
        let written = files.iter().filter(|(_, file)| !file.is_empty());
        let operators: BTreeSet<String> = written.map(|(operator, _)| operator.clone()).collect();
        let mut manifest = self.manifest().with(files)?;
        for operator in operators {
            let layout = self.layouts.get(&operator);
            let entry = manifest.operators.get_mut(&operator);
            if let (Some(layout), Some(entry)) = (layout, entry) {
                entry.stores.clone_from(layout);
            }
        }
        Ok(manifest)
    }

    /// One store of one of `partitions` partitions at the version of the manifest; empty if the operator is not in it.
    ///
    /// The number of partitions may differ from the one the files were written for. Then every section that may hold
    /// keys of this partition is read, and the first commit writes the state as a whole.
    ///
    /// # Errors
    /// `Data` if a file is missing, damaged, of an unknown format or of another kind of store; it names file,
    /// operator, store and partition. `Unavailable` if the storage fails.
    pub async fn load(
        &self,
        operator: &str,
        store: &str,
        partition: u32,
        partitions: u32,
        spec: StateSpec,
        index: Arc<dyn KeyIndexFactory>,
    ) -> Result<KeyedState> {
        let empty = || KeyedState::new(spec.clone(), Arc::clone(&index));
        let address = Address {
            operator,
            store,
            partition,
        };
        self.load_into(address, partitions, empty).await
    }

    /// As [`Self::load`], for a store of rows by key.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub async fn load_rows(
        &self,
        operator: &str,
        store: &str,
        partition: u32,
        partitions: u32,
        spec: RowsSpec,
    ) -> Result<RowStore> {
        let empty = || RowStore::new(spec.clone());
        let address = Address {
            operator,
            store,
            partition,
        };
        self.load_into(address, partitions, empty).await
    }

    async fn load_into<S: Restore + Send + 'static>(
        &self,
        address: Address<'_>,
        partitions: u32,
        empty: impl Fn() -> Result<S>,
    ) -> Result<S> {
        let Address {
            operator,
            partition,
            ..
        } = address;
        if partition >= partitions {
            return Err(Error::internal(format!(
                "operator {operator} has no partition {partition} of {partitions}"
            )));
        }
        let manifest = self.manifest();
        let Some(files) = manifest.operators.get(operator) else {
            return empty();
        };
        let layouts = self.layouts.get(operator);
        let recorded = recorded(&files.stores, layouts, address.store)
            .map_err(|error| error.context(format!("operator {operator}")))?;
        let is_rewritten = files.partitions != partitions || recorded.is_changed;
        let mut state = empty()?;
        match recorded.store {
            None => {}
            Some((store, picks)) if files.partitions == partitions => {
                let address = Address { store, ..address };
                state = self.restore(files, address, state, None, picks).await?;
            }
            Some((store, picks)) => {
                let wanted = (partition, partitions);
                let old = 0..files.partitions;
                for old in old.filter(|old| overlap((*old, files.partitions), wanted)) {
                    // Each on its own: what one partition expired or removed is no business of another's rows.
                    let address = Address {
                        partition: old,
                        store,
                        operator,
                    };
                    let (into, picks) = (empty()?, picks.clone());
                    let part = self.restore(files, address, into, Some(wanted), picks);
                    state.absorb(part.await?)?;
                }
            }
        }
        if is_rewritten {
            state.commit_as_a_whole();
        }
        Ok(state)
    }

    async fn restore<S: Restore + Send + 'static>(
        &self,
        files: &OperatorFiles,
        address: Address<'_>,
        mut state: S,
        wanted: Option<(u32, u32)>,
        picks: Option<Arc<[usize]>>,
    ) -> Result<S> {
        let of_ours = |section: &&Section| {
            section.partition == address.partition && section.store == address.store
        };
        // Boxed one by one: as a combinator over references the future could not be sent to another thread.
        let reads: Vec<BoxFuture<'_, Result<(&StateFile, Bytes)>>> = files
            .files()
            .flat_map(|file| file.sections.iter().filter(of_ours).map(move |s| (file, s)))
            .map(|(file, section)| {
                let read = async move {
                    let bytes = self.read_section(file, section).await;
                    bytes
                        .map(|bytes| (file, bytes))
                        .map_err(|error| address.explain(file, error))
                };
                read.boxed()
            })
            .collect();
        let mut read = stream::iter(reads).buffered(READ_AHEAD);
        while let Some((file, bytes)) = read.try_next().await? {
            // Decoding may take long; the threads of the runtime are for those who wait.
            let picks = picks.clone();
            let applied = tokio::task::spawn_blocking(move || {
                let picks = picks.as_deref();
                state.apply_sections(&bytes, wanted, picks).map(|()| state)
            });
            let applied = applied.await.map_err(|error| {
                Error::internal("restoring stopped unexpectedly").with_source(error)
            });
            state = applied
                .flatten()
                .map_err(|error| address.explain(file, error))?;
        }
        Ok(state)
    }

    /// The bytes of a section, checked.
    pub(crate) async fn read_named(
        &self,
        operator: &str,
        file: &StateFile,
        section: &Section,
    ) -> Result<Bytes> {
        let address = Address {
            operator,
            store: &section.store,
            partition: section.partition,
        };
        let bytes = self.read_section(file, section).await;
        bytes.map_err(|error| address.explain(file, error))
    }

    async fn read_section(&self, file: &StateFile, section: &Section) -> Result<Bytes> {
        let end = section.offset.saturating_add(section.len);
        let range = section.offset..end;
        let bytes = self.storage.read_range(&file.path, range.clone()).await?;
        let bytes = bytes.ok_or_else(|| Error::data("the file is missing"))?;
        let crc32 = crc32fast::hash(&bytes);
        if bytes.len() as u64 != section.len || crc32 != section.crc32 {
            return Err(Error::data(format!(
                "bytes {}..{} are damaged: {} bytes with checksum {crc32:08x}, expected {} with {:08x}",
                range.start,
                range.end,
                bytes.len(),
                section.len,
                section.crc32
            )));
        }
        Ok(bytes)
    }

    /// Writes the deltas of one operator and one epoch as one object, durable on return. If all of them are empty
    /// nothing is written, and the file is empty.
    ///
    /// # Errors
    /// `Unavailable` if the storage fails; the object may then exist, and nothing names it.
    pub async fn write_delta(
        &self,
        operator: &str,
        epoch: Epoch,
        run: RunId,
        partitions: u32,
        sections: Vec<(String, u32, DeltaBytes)>,
    ) -> Result<StateFile> {
        let (payload, mut file) = file::assemble(epoch, partitions, &sections)
            .map_err(|error| error.context(format!("operator {operator}")))?;
        if file.sections.is_empty() {
            return Ok(StateFile { size: 0, ..file });
        }
        let kind = if file.full { "snapshot" } else { "delta" };
        file.path = self.create(operator, epoch, run, kind, payload).await?;
        Ok(file)
    }

    /// Writes a snapshot of all stores and partitions of one operator, captured when it was at version `epoch`.
    /// Meant to run in the background while later epochs go on.
    ///
    /// # Errors
    /// As [`Self::write_delta`]; `Internal` if the captures are not of that version, or one is missing.
    pub async fn write_snapshot(
        &self,
        operator: &str,
        epoch: Epoch,
        run: RunId,
        partitions: u32,
        snapshots: Vec<(String, u32, Snapshot)>,
    ) -> Result<StateFile> {
        if let Some((store, partition, other)) = snapshots
            .iter()
            .find(|(_, _, s)| s.version() != Some(epoch))
        {
            return Err(Error::internal(format!(
                "operator {operator}: store {store} of partition {partition} is at version {:?}, not {epoch}",
                other.version()
            )));
        }
        let encoded = tokio::task::spawn_blocking(move || -> Result<Vec<Part>> {
            let parts = snapshots.into_iter();
            parts
                .map(|(store, partition, snapshot)| Ok((store, partition, snapshot.encode()?)))
                .collect()
        });
        let parts = encoded.await.map_err(|error| {
            Error::internal("encoding a snapshot stopped unexpectedly").with_source(error)
        })??;
        self.write_delta(operator, epoch, run, partitions, parts)
            .await
    }

    /// What should be done in the background about the files of the operators, by the manifest of the last committed
    /// version: at most one snapshot, of the operator that needs it most. Do it for an operator only when the last
    /// upkeep of it has ended, and give the file that comes out to [`Self::next_manifest`].
    pub fn upkeep(&self) -> Vec<(String, Upkeep)> {
        upkeep(&self.manifest().operators)
    }

    /// Merges deltas of one operator, consecutive and oldest first, into one file, so that manifests stay short and a
    /// restore reads few files.
    ///
    /// # Errors
    /// As [`Self::load`] and [`Self::write_delta`].
    pub async fn merge_deltas(
        &self,
        operator: &str,
        run: RunId,
        deltas: &[StateFile],
    ) -> Result<StateFile> {
        let (Some(first), Some(last)) = (deltas.first(), deltas.last()) else {
            return Err(Error::internal(format!(
                "operator {operator} has no deltas to merge"
            )));
        };
        let mut merged: BTreeMap<(&str, u32), (Payload, u64)> = BTreeMap::new();
        for file in deltas {
            for section in &file.sections {
                let (store, partition) = (section.store.as_str(), section.partition);
                let bytes = self.read_section(file, section).await.map_err(|error| {
                    let address = Address {
                        operator,
                        store,
                        partition,
                    };
                    address.explain(file, error)
                })?;
                let (all, rows) = merged.entry((store, partition)).or_default();
                all.push(bytes);
                *rows += section.rows;
            }
        }
        let parts: Vec<Part> = merged
            .into_iter()
            .map(|((store, partition), (bytes, rows))| {
                let delta = DeltaBytes {
                    bytes,
                    rows,
                    full: false,
                    live: 0,
                };
                (store.to_owned(), partition, delta)
            })
            .collect();
        let (payload, mut file) = file::assemble(last.epoch, last.partitions, &parts)?;
        file.since = Some(first.first_epoch());
        file.path = self
            .create(operator, last.epoch, run, "merged", payload)
            .await?;
        Ok(file)
    }

    async fn create(
        &self,
        operator: &str,
        epoch: Epoch,
        run: RunId,
        kind: &str,
        payload: Payload,
    ) -> Result<String> {
        loop {
            let attempt = self.attempts.fetch_add(1, Relaxed);
            let path = file::path(operator, epoch, run, attempt, kind);
            let created = self.storage.create_own(&path, payload.clone());
            let created = created.await?;
            if created == CreateOutcome::Created {
                return Ok(path);
            }
            // A storage that repeats a request of which it saw no answer meets its own object; nobody has promised that
            // it is durable.
            let found = self.storage.read(&path).await?;
            if found.is_some_and(|found| payload.is(&found)) {
                self.storage.replace(&path, payload.into_bytes()).await?;
                return Ok(path);
            }
        }
    }
}

impl Address<'_> {
    fn explain(self, file: &StateFile, error: Error) -> Error {
        error.context(format!(
            "state file {} of operator {}, store {}, partition {}",
            file.path, self.operator, self.store, self.partition
        ))
    }
}

#[cfg(test)]
mod tests;
