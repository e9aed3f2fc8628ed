//! The files of a range, and the pieces of them that tasks read.

use headwater_core::{Error, OffsetRange, Result, Split};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    decode::{Piece, parquet},
    folder::{FileEntry, Folder},
};
use crate::file::FileFormat;

/// Smaller files are never cut.
const UNCUT_BYTES: u64 = 1 << 20;

/// A guess, where the format does not say: used for balancing only.
const BYTES_PER_ROW: u64 = 64;

/// What stands in [`OffsetRange::detail`]: path, size, modification time in milliseconds.
#[derive(Debug, Serialize, Deserialize)]
struct Detail {
    files: Vec<(String, u64, i64)>,
}

/// The files of an increment, for the plan record.
pub(crate) fn detail(files: &[FileEntry]) -> Result<Value> {
    let files = files
        .iter()
        .map(|file| (file.path.clone(), file.size, file.modified))
        .collect();
    Ok(serde_json::to_value(Detail { files })?)
}

/// The number of files before a range, and its files.
pub(crate) fn files(range: &OffsetRange) -> Result<(u64, Vec<FileEntry>)> {
    let start = match &range.start {
        None => Some(0),
        Some(offset) => offset.as_count(),
    };
    let malformed = || {
        Error::data(format!(
            "the files up to offset {} cannot be told from the plan record",
            range.end
        ))
    };
    let (Some(start), Some(end)) = (start, range.end.as_count()) else {
        return Err(malformed());
    };
    let detail =
        Detail::deserialize(&range.detail).map_err(|error| malformed().with_source(error))?;
    if end.checked_sub(start) != Some(detail.files.len() as u64) {
        return Err(malformed());
    }
    let files = detail
        .files
        .into_iter()
        .map(|(path, size, modified)| FileEntry {
            path,
            size,
            modified,
        })
        .collect();
    Ok((start, files))
}

/// What stands in [`Split::descriptor`].
#[derive(Debug, Serialize, Deserialize)]
struct Descriptor {
    path: String,
    size: u64,
    modified: i64,
    /// First row group, and the one after the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    row_groups: Option<(usize, usize)>,
}

/// One split per file, in order; Parquet files are cut between row groups where whole files would keep few tasks busy.
pub(crate) async fn plan(
    folder: &Folder,
    format: FileFormat,
    files: Vec<FileEntry>,
    parallelism: usize,
) -> Result<Vec<Split>> {
    let sizes: Vec<u64> = files.iter().map(|file| file.size).collect();
    let target = match format {
        FileFormat::Parquet => cut_above(&sizes, parallelism),
        _ => None,
    };
    let mut splits = Vec::with_capacity(files.len());
    for file in files {
        match target {
            Some(target) if file.size > target => {
                let groups = parquet::row_groups(folder, &file).await?;
                for (range, rows) in cut(&groups, target) {
                    splits.push(split(&file, Some(range), rows)?);
                }
            }
            _ => {
                let rows = file.size / BYTES_PER_ROW + 1;
                splits.push(split(&file, None, rows)?);
            }
        }
    }
    Ok(splits)
}

fn split(file: &FileEntry, row_groups: Option<(usize, usize)>, rows: u64) -> Result<Split> {
    Ok(Split {
        descriptor: serde_json::to_value(Descriptor {
            path: file.path.clone(),
            size: file.size,
            modified: file.modified,
            row_groups,
        })?,
        estimated_rows: Some(rows),
    })
}

/// The piece a split stands for.
pub(crate) fn piece(split: &Split) -> Result<Piece> {
    let descriptor = Descriptor::deserialize(&split.descriptor).map_err(|error| {
        Error::data(format!(
            "a split of a file source cannot be {}",
            split.descriptor
        ))
        .with_source(error)
    })?;
    Ok(Piece {
        file: FileEntry {
            path: descriptor.path,
            size: descriptor.size,
            modified: descriptor.modified,
        },
        row_groups: descriptor.row_groups.map(|(start, end)| start..end),
    })
}

/// The size above which files are cut, if whole files cannot be shared out evenly: handing the largest remaining file
/// to the least loaded task would leave one task with a quarter more than its share.
fn cut_above(sizes: &[u64], parallelism: usize) -> Option<u64> {
    if parallelism < 2 {
        return None;
    }
    let total: u64 = sizes.iter().sum();
    let tasks = parallelism as u64;
    let target = (total / (tasks * 4)).max(UNCUT_BYTES);
    if sizes.len() >= parallelism * 8 && sizes.iter().all(|size| *size <= target) {
        return None;
    }
    let mut largest_first = sizes.to_vec();
    largest_first.sort_unstable_by(|a, b| b.cmp(a));
    let mut loads = vec![0_u64; parallelism];
    for size in largest_first {
        if let Some(least) = loads.iter_mut().min() {
            *least += size;
        }
    }
    let heaviest = loads.into_iter().max().unwrap_or(0);
    (heaviest > total / tasks + total / (tasks * 4)).then_some(target)
}

/// Runs of row groups of at least `target` bytes each, the last one excepted, and their rows.
fn cut(groups: &[(u64, u64)], target: u64) -> Vec<((usize, usize), u64)> {
    let mut pieces = Vec::new();
    let (mut start, mut rows, mut bytes) = (0, 0, 0);
    for (index, (group_rows, group_bytes)) in groups.iter().enumerate() {
        rows += group_rows;
        bytes += group_bytes;
        if bytes >= target || index + 1 == groups.len() {
            pieces.push(((start, index + 1), rows));
            (start, rows, bytes) = (index + 1, 0, 0);
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use headwater_core::Offset;

    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn files_are_cut_only_where_tasks_would_wait_for_one() {
        for (sizes, tasks, cuts) in [
            (vec![40 * MIB; 4], 2, false),
            (vec![40 * MIB], 2, true),
            (vec![40 * MIB], 1, false),
            (vec![90 * MIB, MIB, MIB], 2, true),
            (vec![1_000; 3], 2, false),
            (vec![], 2, false),
        ] {
            let cut =
                cut_above(&sizes, tasks).is_some_and(|at| sizes.iter().any(|size| *size > at));
            assert_eq!(cut, cuts, "{sizes:?} over {tasks}");
        }
    }

    #[test]
    fn pieces_cover_the_row_groups_exactly() {
        let groups = [(10, 5), (10, 5), (10, 20), (3, 1)];
        assert_eq!(
            cut(&groups, 8),
            vec![((0, 2), 20), ((2, 3), 10), ((3, 4), 3)]
        );
        assert!(cut(&[], 8).is_empty());
    }

    #[test]
    fn a_record_whose_files_do_not_match_its_offsets_is_refused() {
        let file = FileEntry {
            path: "a".to_owned(),
            size: 1,
            modified: 2,
        };
        let range = OffsetRange {
            start: Some(Offset::count(3)),
            end: Offset::count(4),
            detail: detail(std::slice::from_ref(&file)).expect("detail"),
        };
        assert_eq!(files(&range).expect("files"), (3, vec![file]));
        assert_eq!(range.detail.to_string(), r#"{"files":[["a",1,2]]}"#);
        let wrong = OffsetRange {
            end: Offset::count(5),
            ..range
        };
        assert!(files(&wrong).is_err());
    }
}
