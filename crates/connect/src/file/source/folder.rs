//! The input folder: listing it, reading from it, clearing it up.
//!
//! Local folders are read through the file system itself, so that a listing need not examine (`stat`) files it knows
//! and any file name works; every other place is reached through [`Storage`]. Nothing here remembers anything.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{ErrorKind, Read, Seek, SeekFrom},
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use futures::future::try_join_all;
use headwater_core::{Error, Options, Result, Storage};

use super::rules::ListRules;
use crate::file::place::Place;

/// A file as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileEntry {
    /// Relative to the folder, with `/`.
    pub(crate) path: String,
    /// Length in bytes.
    pub(crate) size: u64,
    /// When it was last written, in milliseconds since 1970.
    pub(crate) modified: i64,
}

/// What listings have cost so far; for tests and for those who wonder.
#[derive(Debug, Default)]
pub(crate) struct ListingCost {
    /// Times the folder was listed.
    pub(crate) listings: AtomicU64,
    /// Files whose size and time were looked up.
    pub(crate) examined: AtomicU64,
}

/// Whether a file of this name needs no further look.
pub(crate) type IsKnown = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// The input folder.
#[derive(Debug, Clone)]
pub(crate) enum Folder {
    /// On this machine.
    Local(PathBuf),
    /// Anywhere else.
    Stored(Arc<dyn Storage>),
}

impl Folder {
    /// Lists what the rules admit and `is_known` does not know, in no particular order. Empty files are left out: they
    /// have nothing to read, or not yet, when a writer has only just created them.
    pub(crate) async fn list(
        &self,
        rules: &Arc<ListRules>,
        is_known: IsKnown,
        cost: &ListingCost,
    ) -> Result<Vec<FileEntry>> {
        cost.listings.fetch_add(1, Ordering::Relaxed);
        let files = match self {
            Self::Local(root) => {
                let (root, rules) = (root.clone(), Arc::clone(rules));
                aside(move || list_local(&root, &rules, &*is_known)).await?
            }
            Self::Stored(storage) => storage
                .list("")
                .await?
                .into_iter()
                .filter(|object| {
                    object.size > 0 && rules.admits(&object.path) && !is_known(&object.path)
                })
                .map(|object| FileEntry {
                    path: object.path,
                    size: object.size,
                    modified: object.modified_millis,
                })
                .collect(),
        };
        cost.examined
            .fetch_add(files.len() as u64, Ordering::Relaxed);
        Ok(files)
    }

    /// Of paths that the system has named, those that a listing would find and `is_known` does not know; none if only a
    /// listing can tell. Paths that are gone are left out.
    pub(crate) async fn look_at(
        &self,
        paths: Vec<PathBuf>,
        rules: &Arc<ListRules>,
        is_known: IsKnown,
        cost: &ListingCost,
    ) -> Result<Option<Vec<FileEntry>>> {
        let Self::Local(root) = self else {
            return Ok(None);
        };
        if paths.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let (root, rules) = (root.clone(), Arc::clone(rules));
        let files = aside(move || Ok(look_at_local(&root, &rules, &*is_known, paths))).await?;
        let examined = files.as_ref().map_or(0, Vec::len);
        cost.examined.fetch_add(examined as u64, Ordering::Relaxed);
        Ok(files)
    }

    /// The files as they are now, where they are not as they were listed: a file that could not be read may have been
    /// replaced since. One that is gone stays as it was, and fails when it is read.
    pub(crate) async fn as_they_are(&self, listed: Vec<FileEntry>) -> Result<Vec<FileEntry>> {
        let current = match self {
            Self::Local(root) => {
                let root = root.clone();
                let files = listed.clone();
                aside(move || Ok(files.iter().filter_map(|file| stat(&root, file)).collect()))
                    .await?
            }
            Self::Stored(storage) => {
                let folders: BTreeSet<&str> = listed
                    .iter()
                    .map(|file| file.path.rsplit_once('/').map_or("", |(folder, _)| folder))
                    .collect();
                let mut current = BTreeMap::new();
                for folder in folders {
                    let objects = storage.list(folder).await?.into_iter();
                    current.extend(objects.map(|it| (it.path, (it.size, it.modified_millis))));
                }
                current
            }
        };
        let mut files = listed;
        for file in &mut files {
            match current.get(&file.path) {
                Some(&(size, modified)) if (size, modified) != (file.size, file.modified) => {
                    tracing::warn!(
                        file = file.path,
                        listed_bytes = file.size,
                        bytes = size,
                        "a file was replaced before the epoch that reads it was done: reading it as it is now"
                    );
                    (file.size, file.modified) = (size, modified);
                }
                _ => {}
            }
        }
        Ok(files)
    }

    /// Reads some ranges of a file.
    ///
    /// # Errors
    /// `Data` if the file is gone or shorter than when it was listed.
    pub(crate) async fn read(
        &self,
        file: &FileEntry,
        ranges: Vec<Range<u64>>,
    ) -> Result<Vec<Bytes>> {
        match self {
            Self::Local(root) => {
                let path = root.join(&file.path);
                let listed = file.clone();
                aside(move || {
                    read_local(&path, &ranges).map_err(|error| read_error(&listed, error))
                })
                .await
            }
            Self::Stored(storage) => {
                try_join_all(ranges.into_iter().map(async |range| {
                    if range.is_empty() {
                        return Ok(Bytes::new());
                    }
                    storage
                        .read_range(&file.path, range)
                        .await
                        .map_err(|error| error.context(format!("cannot read file {}", file.path)))?
                        .ok_or_else(|| vanished(file))
                }))
                .await
            }
        }
    }

    /// Reads one range of a file, as [`Self::read`] does.
    pub(crate) async fn read_one(&self, file: &FileEntry, range: Range<u64>) -> Result<Bytes> {
        let mut bytes = self.read(file, Vec::from_iter([range])).await?;
        Ok(bytes.pop().unwrap_or_default())
    }

    /// Deletes a file; one that is gone already is no error.
    pub(crate) async fn delete(&self, path: &str) -> Result<()> {
        match self {
            Self::Local(root) => match fs::remove_file(root.join(path)) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    Err(Error::unavailable(format!("cannot delete file {path}")).with_source(error))
                }
                _ => Ok(()),
            },
            Self::Stored(storage) => storage.delete(&[path.to_owned()]).await,
        }
    }

    /// Moves a file to `archive`, keeping its path; one that is gone already is no error.
    pub(crate) async fn archive(&self, path: &str, archive: &Archive) -> Result<()> {
        match (self, archive) {
            (Self::Local(root), Archive::Local(target)) => {
                let from = root.join(path);
                let whole = std::path::absolute(&from).unwrap_or_else(|_| from.clone());
                let below = whole.strip_prefix("/").unwrap_or(&whole);
                move_local(&from, &target.join(below)).map_err(|error| {
                    Error::unavailable(format!("cannot move file {path} to {}", target.display()))
                        .with_source(error)
                })
            }
            (Self::Stored(from), Archive::Stored(to)) => {
                let Some(bytes) = from.read(path).await? else {
                    return Ok(());
                };
                to.replace(path, bytes).await?;
                from.delete(&[path.to_owned()]).await
            }
            _ => Err(Error::internal("archive and input are of different kinds")),
        }
    }
}

/// Where files go that were read (`sourceArchiveDir`).
#[derive(Debug, Clone)]
pub(crate) enum Archive {
    /// On this machine, below the whole path of the file.
    Local(PathBuf),
    /// Anywhere else, below the file's path in the input folder.
    Stored(Arc<dyn Storage>),
}

impl Archive {
    pub(crate) fn at(place: &Place, service: &Options) -> Result<Self> {
        Ok(match place {
            Place::Local(path) => Self::Local(path.clone()),
            Place::Remote(_) => Self::Stored(place.storage(service)?),
        })
    }
}

/// Runs what may wait for a disk aside from the threads that compute; in place where there is no runtime (a schema is
/// resolved before there need be one).
async fn aside<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => runtime.spawn_blocking(work).await.map_err(|error| {
            Error::internal("reading the input folder did not finish").with_source(error)
        })?,
        Err(_) => work(),
    }
}

/// Path, size and modification time of a file; none if it cannot be looked at.
fn stat(root: &Path, file: &FileEntry) -> Option<(String, (u64, i64))> {
    let metadata = fs::metadata(root.join(&file.path)).ok()?;
    Some((
        file.path.clone(),
        (metadata.len(), modified_millis(&metadata)),
    ))
}

fn vanished(file: &FileEntry) -> Error {
    Error::data(format!(
        "file {} was there when the epoch was planned and is gone now: put it back, or set aside the checkpoint to start over without it",
        file.path
    ))
}

fn read_error(file: &FileEntry, error: std::io::Error) -> Error {
    match error.kind() {
        ErrorKind::NotFound => vanished(file),
        ErrorKind::UnexpectedEof => Error::data(format!(
            "file {} is shorter than when it was listed: expected {} bytes",
            file.path, file.size
        )),
        _ => Error::unavailable(format!("cannot read file {}", file.path)).with_source(error),
    }
}

fn read_local(path: &Path, ranges: &[Range<u64>]) -> std::io::Result<Vec<Bytes>> {
    let mut file = fs::File::open(path)?;
    ranges
        .iter()
        .map(|range| {
            let length = range.end.saturating_sub(range.start);
            let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
            file.seek(SeekFrom::Start(range.start))?;
            let read = (&mut file).take(length).read_to_end(&mut bytes)?;
            if read as u64 == length {
                Ok(bytes.into())
            } else {
                Err(ErrorKind::UnexpectedEof.into())
            }
        })
        .collect()
}

fn move_local(from: &Path, to: &Path) -> std::io::Result<()> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent)?;
    }
    match fs::rename(from, to) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == ErrorKind::CrossesDevices => {
            fs::copy(from, to)?;
            fs::remove_file(from)
        }
        other => other,
    }
}

/// Walks the folder. Names come from the folder itself; only unknown files are examined.
fn list_local(
    root: &Path,
    rules: &ListRules,
    is_known: &(dyn Fn(&str) -> bool + Send + Sync),
) -> Result<Vec<FileEntry>> {
    let mut files = Vec::new();
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        let absolute = root.join(&folder);
        let entries = match fs::read_dir(&absolute) {
            // A folder that went away after its parent was read holds no files.
            Err(error) if error.kind() == ErrorKind::NotFound && !folder.is_empty() => continue,
            other => other.map_err(|error| list_error(&absolute, error))?,
        };
        for entry in entries {
            let entry = entry.map_err(|error| list_error(&absolute, error))?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else {
                return Err(Error::data(format!(
                    "file name {name:?} in {} is not UTF-8: rename it",
                    absolute.display()
                )));
            };
            let kind = entry
                .file_type()
                .map_err(|error| list_error(&absolute, error))?;
            let path = if folder.is_empty() {
                name.to_owned()
            } else {
                format!("{folder}/{name}")
            };
            if kind.is_dir() {
                if rules.admits_folder(name) {
                    folders.push(path);
                }
                continue;
            }
            let may_be_file = rules.admits_file(name) && !is_known(&path);
            let may_be_folder = kind.is_symlink() && rules.admits_folder(name);
            if !may_be_file && !may_be_folder {
                continue;
            }
            // Follows links. A file that went away in between is as good as never there.
            let Ok(metadata) = fs::metadata(entry.path()) else {
                continue;
            };
            if metadata.is_dir() {
                if rules.admits_folder(name) {
                    folders.push(path);
                }
            } else if may_be_file && metadata.len() > 0 {
                files.push(FileEntry {
                    path,
                    size: metadata.len(),
                    modified: modified_millis(&metadata),
                });
            }
        }
    }
    Ok(files)
}

/// Examines these paths only; none if one of them is a folder or not to be understood.
fn look_at_local(
    root: &Path,
    rules: &ListRules,
    is_known: &(dyn Fn(&str) -> bool + Send + Sync),
    mut paths: Vec<PathBuf>,
) -> Option<Vec<FileEntry>> {
    let root = std::path::absolute(root).ok()?;
    // A file that is created, written and closed is named more than once.
    paths.sort_unstable();
    paths.dedup();
    let mut files = Vec::new();
    for absolute in paths {
        let path = absolute.strip_prefix(&root).ok()?.to_str()?;
        let (_, name) = path.rsplit_once('/').unwrap_or(("", path));
        let may_be_file = rules.admits(path) && !is_known(path);
        if !may_be_file && !rules.admits_folder(name) {
            continue;
        }
        let Ok(metadata) = fs::metadata(&absolute) else {
            continue;
        };
        if metadata.is_dir() {
            return None;
        }
        if may_be_file && metadata.len() > 0 {
            files.push(FileEntry {
                path: path.to_owned(),
                size: metadata.len(),
                modified: modified_millis(&metadata),
            });
        }
    }
    Some(files)
}

fn list_error(folder: &Path, error: std::io::Error) -> Error {
    let message = format!("cannot list folder {}", folder.display());
    match error.kind() {
        ErrorKind::NotFound => Error::invalid(format!(
            "{message}: there is no such folder, create it first"
        )),
        _ => Error::unavailable(message).with_source(error),
    }
}

fn modified_millis(metadata: &fs::Metadata) -> i64 {
    metadata
        .modified()
        .ok()
        .and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok())
        .and_then(|since| i64::try_from(since.as_millis()).ok())
        .unwrap_or(0)
}
