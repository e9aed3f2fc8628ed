//! The checkpoint of a world: deltas, snapshots and merged files of one operator with one store, as an engine writes
//! them.

use std::sync::Arc;

use headwater_core::{Epoch, Result, RunId, Storage};
use uuid::Uuid;

use crate::{DeltaBytes, Snapshot, StateBackend, StateFile, StateManifest, StoreLayout};

pub(super) const OPERATOR: &str = "agg/1";
pub(super) const STORE: &str = "groups";

/// All partitions of a version.
struct Captured {
    /// Commits to let pass before it is written.
    waits: u8,
    epoch: Epoch,
    snapshots: Vec<(String, u32, Snapshot)>,
}

pub(super) struct Checkpoint {
    storage: Arc<dyn Storage>,
    layout: StoreLayout,
    pub(super) backend: StateBackend,
    run: RunId,
    /// The epoch to be committed next.
    pub(super) epoch: Epoch,
    captured: Vec<Captured>,
    files: Vec<(String, StateFile)>,
}

impl Checkpoint {
    pub(super) fn new(storage: Arc<dyn Storage>, layout: StoreLayout) -> Self {
        Self {
            backend: backend(&storage, &layout, StateManifest::default()),
            layout,
            storage,
            run: run_id(0),
            epoch: Epoch::FIRST,
            captured: vec![],
            files: vec![],
        }
    }

    /// Writes the deltas of all partitions, and what the manifest is to take up with them; the manifest.
    pub(super) async fn commit(&mut self, deltas: Vec<DeltaBytes>) -> Result<StateManifest> {
        let partitions = deltas.len() as u32;
        let sections = (0..).zip(deltas);
        let sections = sections.map(|(partition, delta)| (STORE.to_owned(), partition, delta));
        let delta = self.backend.write_delta(
            OPERATOR,
            self.epoch,
            self.run,
            partitions,
            sections.collect(),
        );
        self.files.push((OPERATOR.to_owned(), delta.await?));
        for mut captured in std::mem::take(&mut self.captured) {
            if captured.waits > 0 {
                captured.waits -= 1;
                self.captured.push(captured);
                continue;
            }
            let (epoch, snapshots) = (captured.epoch, captured.snapshots);
            let written = self
                .backend
                .write_snapshot(OPERATOR, epoch, self.run, partitions, snapshots);
            self.files.push((OPERATOR.to_owned(), written.await?));
        }
        let manifest = self
            .backend
            .next_manifest(std::mem::take(&mut self.files))?;
        // It travels as JSON.
        let manifest: StateManifest = serde_json::from_slice(&serde_json::to_vec(&manifest)?)?;
        self.backend.adopt(manifest.clone());
        self.epoch = self.epoch.next();
        Ok(manifest)
    }

    /// Keeps the snapshots of all partitions until the commit after the next.
    pub(super) fn keep(&mut self, epoch: Epoch, snapshots: impl Iterator<Item = Snapshot>) {
        let snapshots = (0..).zip(snapshots);
        let snapshots = snapshots.map(|(p, snapshot)| (STORE.to_owned(), p, snapshot));
        self.captured.push(Captured {
            waits: 1,
            epoch,
            snapshots: snapshots.collect(),
        });
    }

    /// Merges this many of the newest deltas, if there are.
    pub(super) async fn merge(&mut self, deltas: usize) -> Result<()> {
        let manifest = self.backend.manifest();
        let files = manifest.operators.get(OPERATOR);
        let all = files.map_or(&[][..], |files| &files.deltas);
        // One upkeep at a time: no merging while a snapshot is on its way.
        if all.len() >= deltas && self.captured.is_empty() && self.files.is_empty() {
            let newest = &all[all.len() - deltas..];
            let merged = self
                .backend
                .merge_deltas(OPERATOR, self.run, newest)
                .await?;
            self.files.push((OPERATOR.to_owned(), merged));
        }
        Ok(())
    }

    /// A new run begins at this version.
    pub(super) fn reopen(&mut self, manifest: StateManifest) {
        self.backend = self.at(manifest);
        // Its file names must not meet those of the last.
        self.run = run_id(self.run.0.as_u128() + 1);
        self.captured.clear();
        self.files.clear();
    }

    /// A backend that reads this version.
    pub(super) fn at(&self, manifest: StateManifest) -> StateBackend {
        backend(&self.storage, &self.layout, manifest)
    }

    /// Where everything lies.
    pub(super) fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    /// What the store holds.
    pub(super) fn layout(&self) -> &StoreLayout {
        &self.layout
    }
}

fn backend(
    storage: &Arc<dyn Storage>,
    layout: &StoreLayout,
    manifest: StateManifest,
) -> StateBackend {
    let layouts = [(OPERATOR.to_owned(), vec![layout.clone()])];
    StateBackend::new(Arc::clone(storage), manifest).with_layouts(layouts.into())
}

fn run_id(number: u128) -> RunId {
    RunId(Uuid::from_u128(number))
}
