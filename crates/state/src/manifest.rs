//! What a version of a query's state consists of: for each operator a snapshot and the deltas after it.
//!
//! Plain data that travels in the commit record of each epoch. Invariant: a manifest is complete in itself; restoring
//! its version reads the files it names and nothing else, so files that no retained manifest names may be deleted.

use std::collections::BTreeMap;

use headwater_core::{Epoch, Error, Result};
use serde::{Deserialize, Serialize};

use crate::store_layout::StoreLayout;

/// The files of one version of a query's state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateManifest {
    /// By operator id; an operator without any file has no state yet.
    pub operators: BTreeMap<String, OperatorFiles>,
}

/// The files of one version of one operator's state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorFiles {
    /// Number of partitions that the files are divided among.
    pub partitions: u32,
    /// What the stores hold; none in records of before this was written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stores: Vec<StoreLayout>,
    /// Rows in each store.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub live: BTreeMap<String, u64>,
    /// Where to begin; none if the deltas go back to the first epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<StateFile>,
    /// What follows it, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deltas: Vec<StateFile>,
}

/// One object of durable state: sections of one operator and one epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateFile {
    /// Path relative to the root of the checkpoint; empty if nothing had changed and nothing was written.
    pub path: String,
    /// The version it leads to.
    pub epoch: Epoch,
    /// Length in bytes.
    pub size: u64,
    /// Number of partitions of the operator when it was written.
    pub partitions: u32,
    /// Whether it is the whole state; otherwise it is the changes since the version before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub full: bool,
    /// The first version whose changes it holds, if deltas of several versions have been merged into it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Epoch>,
    /// What it holds, in order of offset. Stores of partitions without changes are left out.
    pub sections: Vec<Section>,
    /// Rows in each store at the version it leads to.
    ///
    /// Goes into [`OperatorFiles::live`] when the file becomes part of a manifest, and stays there as long as the file
    /// is the newest.
    #[serde(skip)]
    pub live: BTreeMap<String, u64>,
}

/// A part of a [`StateFile`]: one store of one partition.
///
/// In JSON it is an array of its fields in order: a manifest holds thousands, and is written every epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    from = "(String, u32, u64, u64, u32, u64)",
    into = "(String, u32, u64, u64, u32, u64)"
)]
pub struct Section {
    /// The store's name inside the operator.
    pub store: String,
    /// The partition.
    pub partition: u32,
    /// Where it begins in the file.
    pub offset: u64,
    /// Length in bytes.
    pub len: u64,
    /// CRC-32 (IEEE) of its bytes.
    pub crc32: u32,
    /// Rows it holds.
    pub rows: u64,
}

impl From<(String, u32, u64, u64, u32, u64)> for Section {
    fn from(fields: (String, u32, u64, u64, u32, u64)) -> Self {
        let (store, partition, offset, len, crc32, rows) = fields;
        Self {
            store,
            partition,
            offset,
            len,
            crc32,
            rows,
        }
    }
}

impl From<Section> for (String, u32, u64, u64, u32, u64) {
    fn from(s: Section) -> Self {
        (s.store, s.partition, s.offset, s.len, s.crc32, s.rows)
    }
}

impl StateFile {
    /// Whether nothing had changed, so that there is no object.
    pub fn is_empty(&self) -> bool {
        self.path.is_empty()
    }

    /// The first version whose changes it holds.
    pub fn first_epoch(&self) -> Epoch {
        self.since.unwrap_or(self.epoch)
    }

    /// Bytes of its sections.
    pub fn bytes(&self) -> u64 {
        self.sections.iter().map(|section| section.len).sum()
    }
}

impl StateManifest {
    /// Paths of all files that this version needs; what garbage collection must keep.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        let files = self.operators.values().flat_map(OperatorFiles::files);
        files.map(|file| file.path.as_str())
    }

    /// The manifest after these files were added: deltas of a new version, snapshots of a version it holds already,
    /// merged deltas of versions it holds. Empty files change nothing. Files may come in any order.
    ///
    /// # Errors
    /// `Internal` if a file does not continue what is there.
    pub fn with(&self, files: impl IntoIterator<Item = (String, StateFile)>) -> Result<Self> {
        let mut manifest = self.clone();
        let mut files: Vec<_> = files
            .into_iter()
            .filter(|(_, file)| !file.is_empty())
            .collect();
        files.sort_by_key(|(_, file)| file.epoch);
        for (operator, file) in files {
            let entry = manifest.operators.entry(operator.clone()).or_default();
            entry
                .add(file)
                .map_err(|error| error.context(format!("operator {operator}")))?;
        }
        Ok(manifest)
    }
}

impl OperatorFiles {
    /// All files in the order in which a restore applies them.
    pub fn files(&self) -> impl Iterator<Item = &StateFile> {
        self.snapshot.iter().chain(&self.deltas)
    }

    /// The newest version that changed anything.
    pub fn epoch(&self) -> Option<Epoch> {
        self.files().last().map(|file| file.epoch)
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files().map(|file| file.size).sum()
    }

    fn add(&mut self, mut file: StateFile) -> Result<()> {
        let live = std::mem::take(&mut file.live);
        let is_newest = self.epoch().is_none_or(|epoch| epoch <= file.epoch);
        // Merged deltas lead to a version that is there already.
        if is_newest && file.since.is_none() {
            self.live = live;
        }
        if file.full {
            self.add_full(file)
        } else if file.since.is_some() {
            self.add_merged(file);
            Ok(())
        } else {
            self.add_delta(file)
        }
    }

    fn add_delta(&mut self, file: StateFile) -> Result<()> {
        if let Some(last) = self.epoch() {
            if last >= file.epoch {
                return Err(Error::internal(format!(
                    "state file {} of version {} follows version {last}",
                    file.path, file.epoch
                )));
            }
            if file.partitions != self.partitions {
                return Err(divided_otherwise(&file, self.partitions));
            }
        }
        self.partitions = file.partitions;
        self.deltas.push(file);
        Ok(())
    }

    fn add_full(&mut self, file: StateFile) -> Result<()> {
        let newer = self.deltas.iter().find(|delta| delta.epoch > file.epoch);
        // A newer snapshot was there first, or deltas from before and after this one were merged meanwhile.
        let is_overtaken = self
            .snapshot
            .as_ref()
            .is_some_and(|old| old.epoch >= file.epoch)
            || newer.is_some_and(|delta| delta.first_epoch() <= file.epoch);
        if is_overtaken {
            return Ok(());
        }
        if newer.is_some() && file.partitions != self.partitions {
            return Err(divided_otherwise(&file, self.partitions));
        }
        self.deltas.retain(|delta| delta.epoch > file.epoch);
        self.partitions = file.partitions;
        self.snapshot = Some(file);
        Ok(())
    }

    fn add_merged(&mut self, file: StateFile) {
        let first = file.first_epoch();
        let start = self
            .deltas
            .iter()
            .position(|delta| delta.first_epoch() == first);
        let end = self
            .deltas
            .iter()
            .position(|delta| delta.epoch == file.epoch);
        // Otherwise a snapshot has replaced some of what it was merged from.
        if let (Some(start), Some(end)) = (start, end) {
            self.deltas.splice(start..=end, [file]);
        }
    }
}

fn divided_otherwise(file: &StateFile, partitions: u32) -> Error {
    Error::internal(format!(
        "state file {} is divided among {} partitions, the other files among {partitions}",
        file.path, file.partitions
    ))
}

#[cfg(test)]
mod tests {
    use headwater_core::ErrorKind;

    use super::*;

    fn file(epoch: u64) -> StateFile {
        StateFile {
            path: format!("delta-{epoch}"),
            epoch: Epoch(epoch),
            size: 100,
            partitions: 2,
            full: false,
            since: None,
            sections: vec![],
            live: BTreeMap::new(),
        }
    }

    fn snapshot(epoch: u64) -> StateFile {
        StateFile {
            path: format!("snapshot-{epoch}"),
            full: true,
            ..file(epoch)
        }
    }

    fn merged(since: u64, epoch: u64) -> StateFile {
        StateFile {
            path: format!("merged-{since}-{epoch}"),
            since: Some(Epoch(since)),
            ..file(epoch)
        }
    }

    fn with(
        manifest: &StateManifest,
        files: impl IntoIterator<Item = StateFile>,
    ) -> Result<StateManifest> {
        manifest.with(files.into_iter().map(|file| ("agg".to_owned(), file)))
    }

    fn paths(manifest: &StateManifest) -> String {
        manifest.paths().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_snapshot_replaces_the_deltas_up_to_its_version() -> Result<()> {
        let manifest = with(&StateManifest::default(), (0..5).map(file))?;
        let manifest = with(&manifest, [file(5), snapshot(2)])?;
        assert_eq!(paths(&manifest), "snapshot-2 delta-3 delta-4 delta-5");
        // One that was overtaken changes nothing.
        assert_eq!(with(&manifest, [snapshot(1)])?, manifest);
        Ok(())
    }

    #[test]
    fn merged_deltas_replace_what_they_were_merged_from() -> Result<()> {
        let manifest = with(&StateManifest::default(), (0..6).map(file))?;
        let manifest = with(&manifest, [merged(1, 3)])?;
        assert_eq!(paths(&manifest), "delta-0 merged-1-3 delta-4 delta-5");
        assert_eq!(
            paths(&with(&manifest, [merged(0, 3)])?),
            "merged-0-3 delta-4 delta-5"
        );
        // A snapshot in the middle of a merged file, or a merged file that a snapshot has cut, is of no use.
        assert_eq!(with(&manifest, [snapshot(2)])?, manifest);
        let cut = with(&manifest, [snapshot(4)])?;
        assert_eq!(with(&cut, [merged(1, 4)])?, cut);
        Ok(())
    }

    #[test]
    fn files_that_do_not_continue_the_state_are_refused() -> Result<()> {
        let manifest = with(&StateManifest::default(), [file(0), file(3)])?;
        let again = with(&manifest, [file(3)]).unwrap_err();
        assert_eq!(
            again.to_string(),
            "operator agg: state file delta-3 of version 3 follows version 3"
        );
        let mut other = file(4);
        other.partitions = 3;
        assert_eq!(
            with(&manifest, [other]).unwrap_err().kind(),
            ErrorKind::Internal
        );
        let mut all = snapshot(4);
        all.partitions = 3;
        assert_eq!(with(&manifest, [all])?.operators["agg"].partitions, 3);
        Ok(())
    }

    #[test]
    fn layouts_and_live_rows_are_part_of_an_entry_and_may_be_missing() -> Result<()> {
        let mut one = file(7);
        one.live.insert("groups".to_owned(), 3);
        let mut manifest = with(&StateManifest::default(), [one])?;
        let layout = r#"{"name":"groups","kind":"value","keys":[["host","Utf8"]],"values":[["count(*)[count]","Int64"]],"expires":"window_start + 10 s"}"#;
        for entry in manifest.operators.values_mut() {
            entry.stores = vec![serde_json::from_str(layout)?];
        }
        let json = serde_json::to_string(&manifest)?;
        let expected = format!(
            r#"{{"operators":{{"agg":{{"partitions":2,"stores":[{layout}],"live":{{"groups":3}},"deltas":[{{"path":"delta-7","epoch":7,"size":100,"partitions":2,"sections":[]}}]}}}}}}"#
        );
        assert_eq!(json, expected);
        assert_eq!(serde_json::from_str::<StateManifest>(&json)?, manifest);
        // Merged deltas lead nowhere new: the number of rows stays.
        let merged = with(&manifest, [merged(7, 7)])?;
        assert_eq!(merged.operators["agg"].live, manifest.operators["agg"].live);
        Ok(())
    }

    #[test]
    fn json_is_compact_and_comes_back() -> Result<()> {
        let mut one = file(7);
        one.sections.push(Section {
            store: "groups".to_owned(),
            partition: 1,
            offset: 16,
            len: 84,
            crc32: 9,
            rows: 3,
        });
        let manifest = with(&StateManifest::default(), [one])?;
        let json = serde_json::to_string(&manifest)?;
        assert_eq!(
            json,
            r#"{"operators":{"agg":{"partitions":2,"deltas":[{"path":"delta-7","epoch":7,"size":100,"partitions":2,"sections":[["groups",1,16,84,9,3]]}]}}}"#
        );
        assert_eq!(serde_json::from_str::<StateManifest>(&json)?, manifest);
        Ok(())
    }
}
