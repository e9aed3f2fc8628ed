//! Where everything lies in a checkpoint.
//!
//! ```text
//! metadata                     identity of the query, and what a restart must match
//! runs/00000000000000000000    one for each start
//! plans/00000000000000000000   one for each epoch, before it runs
//! commits/00000000000000000000 one for each epoch, after it ran
//! floor/00000000000000000000   the oldest epoch that garbage collection has left
//! sources/0/…  sink/…          whatever a source or sink keeps for itself
//! state/…                      keyed state
//! _headwater/staging/…         not visible yet
//! ```
//!
//! Numbers have 20 digits, so that names sort as numbers do.

use headwater_core::Epoch;

/// The record that identifies the query.
pub const METADATA: &str = "metadata";
/// The folder of [`Started`](crate::Started) records.
pub const RUNS: &str = "runs";
/// The folder of [`Planned`](crate::Planned) records.
pub const PLANS: &str = "plans";
/// The folder of [`Committed`](crate::Committed) records.
pub const COMMITS: &str = "commits";
/// The folder of [`Floor`](crate::Floor) records.
pub const FLOOR: &str = "floor";
/// The folder of the sources' own objects, one folder for each.
pub const SOURCES: &str = "sources";
/// The folder of the sink's own objects.
pub const SINK: &str = "sink";
/// The folder of the own objects of the sink of late rows.
pub const LATE_SINK: &str = "late_sink";
/// The folder of keyed state.
pub const STATE: &str = "state";

/// The plan record of an epoch.
pub fn plan(epoch: Epoch) -> String {
    numbered(PLANS, epoch.0)
}

/// The commit record of an epoch.
pub fn commit(epoch: Epoch) -> String {
    numbered(COMMITS, epoch.0)
}

/// The folder of a source's own objects.
pub fn source(id: usize) -> String {
    format!("{SOURCES}/{id}")
}

/// The file with this number in a folder.
pub fn numbered(folder: &str, number: u64) -> String {
    format!("{folder}/{number:020}")
}

/// The number of a file in a folder; `None` if it is something else.
pub fn number_of(folder: &str, path: &str) -> Option<u64> {
    let digits = path.strip_prefix(folder)?.strip_prefix('/')?;
    let is_number = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().ok()).flatten()
}

/// What a file of a checkpoint is, by its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckpointFile {
    /// The record that identifies the query.
    Metadata,
    /// The record of a start.
    Run(u64),
    /// The plan of an epoch.
    Plan(Epoch),
    /// The commit of an epoch.
    Commit(Epoch),
    /// A record of the oldest epoch that garbage collection has left.
    Floor(u64),
    /// What a source keeps for itself.
    OfSource {
        /// The number of the source.
        source: usize,
        /// The path in the source's folder.
        path: String,
    },
    /// What a sink keeps for itself.
    OfSink,
    /// Keyed state.
    State,
    /// Nothing that belongs there.
    Unknown,
}

impl CheckpointFile {
    /// What a path relative to the checkpoint's root stands for.
    pub fn at(path: &str) -> Self {
        if path == METADATA {
            return Self::Metadata;
        }
        let numbered = [
            (RUNS, Self::Run as fn(u64) -> Self),
            (PLANS, |number| Self::Plan(Epoch(number))),
            (COMMITS, |number| Self::Commit(Epoch(number))),
            (FLOOR, Self::Floor),
        ];
        for (folder, file) in numbered {
            if let Some(number) = number_of(folder, path) {
                return file(number);
            }
        }
        match path.split_once('/') {
            Some((SINK | LATE_SINK, _)) => Self::OfSink,
            Some((STATE, _)) => Self::State,
            Some((SOURCES, rest)) => match rest.split_once('/') {
                Some((id, path)) if id.parse::<usize>().is_ok() => Self::OfSource {
                    source: id.parse().unwrap_or_default(),
                    path: path.to_owned(),
                },
                _ => Self::Unknown,
            },
            _ => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_as_numbers_and_come_back() {
        assert_eq!(plan(Epoch(7)), "plans/00000000000000000007");
        assert!(commit(Epoch(9)) < commit(Epoch(10)));
        for number in [0, 7, u64::MAX] {
            assert_eq!(number_of(PLANS, &numbered(PLANS, number)), Some(number));
        }
        for other in [
            "plans/7",
            "plans/0000000000000000000x",
            "plan/00000000000000000007",
            "plans/99999999999999999999",
        ] {
            assert_eq!(number_of(PLANS, other), None, "{other}");
        }
    }

    #[test]
    fn every_file_of_a_checkpoint_is_known_by_its_path() {
        let of_source = |source, path: &str| CheckpointFile::OfSource {
            source,
            path: path.to_owned(),
        };
        for (path, file) in [
            (METADATA, CheckpointFile::Metadata),
            (&numbered(RUNS, 3), CheckpointFile::Run(3)),
            (&plan(Epoch(4)), CheckpointFile::Plan(Epoch(4))),
            (&commit(Epoch(5)), CheckpointFile::Commit(Epoch(5))),
            (&numbered(FLOOR, 6), CheckpointFile::Floor(6)),
            ("sources/7/seen/a", of_source(7, "seen/a")),
            ("sink/x", CheckpointFile::OfSink),
            ("late_sink/x", CheckpointFile::OfSink),
            ("state/aggregate-0/x.delta", CheckpointFile::State),
            ("sources/x/y", CheckpointFile::Unknown),
            ("plans/4", CheckpointFile::Unknown),
            ("notes.txt", CheckpointFile::Unknown),
        ] {
            assert_eq!(CheckpointFile::at(path), file, "{path}");
        }
        assert_eq!(
            CheckpointFile::at(&format!("{}/x", source(2))),
            of_source(2, "x")
        );
    }
}
