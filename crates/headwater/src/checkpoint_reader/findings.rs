//! What was found in a checkpoint, and what follows from it: pure.

use std::collections::{BTreeMap, HashSet};

use headwater_core::{Condition, Epoch};
use headwater_log::layout::CheckpointFile;
use headwater_state::{StateFile, StateManifest};
use serde::Serialize;

/// Whether a checkpoint is whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verification {
    /// Files that were read and are whole.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that the checkpoint needs and that are damaged or missing, by path.
    pub damaged: Vec<Damage>,
    /// What is there and harms nobody, by path.
    pub notes: Vec<CheckpointNote>,
}

/// A file that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Damage {
    /// Its path in the checkpoint.
    pub path: String,
    /// What it is: `commit record of epoch 7`.
    pub what: String,
    /// What is wrong with it.
    pub why: String,
    /// Whether it is gone altogether.
    pub is_missing: bool,
}

/// A file that the checkpoint does not need, or that cannot be checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckpointNote {
    /// Its path in the checkpoint.
    pub path: String,
    /// What is to be said of it.
    pub note: String,
}

impl Verification {
    /// Whether nothing is damaged or missing.
    pub fn is_whole(&self) -> bool {
        self.damaged.is_empty()
    }

    /// Takes in what was found of a file that must be there.
    pub(super) fn found(&mut self, path: &str, what: String, condition: Condition) {
        let (why, is_missing) = match condition {
            Condition::Whole { bytes } => {
                self.files += 1;
                self.bytes += bytes;
                return;
            }
            Condition::Missing => ("it is missing".to_owned(), true),
            Condition::Damaged(why) => (why, false),
        };
        self.damaged.push(Damage {
            path: path.to_owned(),
            what,
            why,
            is_missing,
        });
    }

    pub(super) fn note(&mut self, path: &str, note: &str) {
        self.notes.push(CheckpointNote {
            path: path.to_owned(),
            note: note.to_owned(),
        });
    }

    pub(super) fn sort(&mut self) {
        self.damaged.sort_by(|a, b| a.path.cmp(&b.path));
        self.notes.sort_by(|a, b| a.path.cmp(&b.path));
    }

    /// The second look decides about what the first has found: a file that garbage collection removed in between is
    /// needed by neither, and one that was not there yet is. What is really damaged looks the same twice.
    pub(super) fn confirmed_by(self, second: Self) -> Self {
        let known: HashSet<String> = self.damaged.into_iter().map(|it| it.path).collect();
        let is_confirmed = |damage: &Damage| known.contains(&damage.path);
        Self {
            damaged: second.damaged.into_iter().filter(is_confirmed).collect(),
            ..second
        }
    }
}

/// What a file of the log is, for people.
pub(super) fn what(path: &str) -> String {
    match CheckpointFile::at(path) {
        CheckpointFile::Metadata => "identity of the query".to_owned(),
        CheckpointFile::Run(number) => format!("record of start {number}"),
        CheckpointFile::Plan(epoch) => format!("plan record of epoch {epoch}"),
        CheckpointFile::Commit(epoch) => format!("commit record of epoch {epoch}"),
        CheckpointFile::Floor(epoch) => format!("record of the floor {epoch}"),
        CheckpointFile::OfSource { source, .. } => format!("kept by source {source}"),
        CheckpointFile::OfSink => "kept by the sink".to_owned(),
        CheckpointFile::State => "keyed state".to_owned(),
        CheckpointFile::Unknown => match path {
            headwater_log::layout::RUNS => "records of starts".to_owned(),
            _ => "unknown".to_owned(),
        },
    }
}

/// A state file that commits refer to.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct NeededState {
    pub(super) operator: String,
    pub(super) file: StateFile,
    /// The first and the last epoch whose commit names it.
    pub(super) epochs: (Epoch, Epoch),
}

impl NeededState {
    pub(super) fn what(&self) -> String {
        let form = match (self.file.full, self.file.since) {
            (true, _) => "snapshot".to_owned(),
            (false, Some(since)) => format!("changes from {since}"),
            (false, None) => "changes".to_owned(),
        };
        let (first, last) = self.epochs;
        let needed = match first == last {
            true => format!("epoch {first}"),
            false => format!("epochs {first} to {last}"),
        };
        format!(
            "state of {}, {form} at version {}, needed by {needed}",
            self.operator, self.file.epoch
        )
    }
}

/// The files that the manifests of commits name, each once, by path.
pub(super) fn needed_state(
    manifests: &BTreeMap<Epoch, StateManifest>,
) -> BTreeMap<String, NeededState> {
    let mut needed: BTreeMap<String, NeededState> = BTreeMap::new();
    for (epoch, manifest) in manifests {
        for (operator, files) in &manifest.operators {
            for file in files.files() {
                let entry = needed.entry(file.path.clone());
                let entry = entry.or_insert_with(|| NeededState {
                    operator: operator.clone(),
                    file: file.clone(),
                    epochs: (*epoch, *epoch),
                });
                entry.epochs.1 = *epoch;
            }
        }
    }
    needed
}

/// Why a state file that no commit names may be there. None while its epoch may be running.
pub(super) fn unneeded(path: &str, newest: Option<Epoch>) -> Option<&'static str> {
    let name = path.rsplit('/').next().unwrap_or_default();
    let epoch = name.split('-').next().and_then(|epoch| epoch.parse().ok());
    match epoch.map(Epoch) {
        None => Some("it is no state file, and nothing refers to it"),
        Some(epoch) if newest.is_some_and(|newest| epoch <= newest) => Some(
            "no commit record refers to it: it was replaced, is left over, or waits to be named by the next commit",
        ),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use headwater_state::OperatorFiles;

    use super::*;

    fn file(path: &str) -> StateFile {
        StateFile {
            path: path.to_owned(),
            epoch: Epoch(3),
            size: 16,
            partitions: 1,
            full: false,
            since: None,
            sections: Vec::new(),
            live: BTreeMap::new(),
        }
    }

    #[test]
    fn a_state_file_is_needed_by_all_epochs_that_name_it() {
        let manifest = |paths: &[&str]| StateManifest {
            operators: BTreeMap::from([(
                "a-0".to_owned(),
                OperatorFiles {
                    deltas: paths.iter().map(|path| file(path)).collect(),
                    ..OperatorFiles::default()
                },
            )]),
        };
        let manifests = BTreeMap::from([
            (Epoch(3), manifest(&["x"])),
            (Epoch(4), manifest(&["x", "y"])),
            (Epoch(5), manifest(&["x", "y"])),
        ]);
        let needed = needed_state(&manifests);
        assert_eq!(
            needed["x"].what(),
            "state of a-0, changes at version 3, needed by epochs 3 to 5"
        );
        assert_eq!(needed["y"].epochs, (Epoch(4), Epoch(5)));
        assert_eq!(needed.len(), 2);
    }

    #[test]
    fn what_the_second_look_does_not_find_was_on_its_way() {
        let look = |damaged: &[&str]| {
            let mut look = Verification::default();
            for path in damaged {
                look.found(path, what(path), Condition::Missing);
            }
            look
        };
        let confirmed = look(&["a", "b"]).confirmed_by(look(&["b", "c"]));
        let paths: Vec<&str> = confirmed
            .damaged
            .iter()
            .map(|it| it.path.as_str())
            .collect();
        assert_eq!(paths, ["b"]);
        assert!(look(&["a"]).confirmed_by(look(&["b"])).is_whole());
    }

    #[test]
    fn a_file_of_an_epoch_that_may_be_running_is_no_news() {
        let path = "state/a-0/00000000000000000005-x-0.delta";
        assert_eq!(unneeded(path, Some(Epoch(4))), None);
        assert_eq!(unneeded(path, None), None);
        assert!(unneeded(path, Some(Epoch(5))).is_some());
        assert!(unneeded("state/notes.txt", None).is_some());
    }
}
