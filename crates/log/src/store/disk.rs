//! A file system in the few verbs that durability needs.
//!
//! [`DiskStorage`](super::DiskStorage) is written once over this trait, so that the crash sweep runs the very code
//! that writes to a real disk, against a disk that forgets. The rules are those of POSIX: bytes are durable after
//! [`Disk::sync_file`], names (new, renamed, of folders too) after [`Disk::sync_dir`] of the folder they are in; a
//! rename is atomic.

use std::{
    fmt, fs,
    io::{self, IoSlice, Read, Seek, SeekFrom, Write},
    ops::Range,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use bytes::Bytes;

/// A name in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskEntry {
    /// The name, without its folder.
    pub name: String,
    /// Whether it is a folder.
    pub is_dir: bool,
    /// Length in bytes, of a file.
    pub size: u64,
    /// When it was last written, in milliseconds since 1970.
    pub modified_millis: i64,
}

/// A file system below one root. Paths are relative to it; the empty path is the root itself.
///
/// The calls block; whoever makes them keeps them off the async threads if [`Self::BLOCKS`].
pub trait Disk: fmt::Debug + fmt::Display + Send + Sync + 'static {
    /// A file open for writing.
    type File: Send + 'static;

    /// Whether calls wait for a device, so that they need a thread of their own and gain from running in parallel.
    const BLOCKS: bool;

    /// A word that tells temporary files of this instance from those of others on the same root.
    fn instance(&self) -> String;

    /// Creates an empty file; [`io::ErrorKind::AlreadyExists`] if the name is taken.
    fn create_new(&self, path: &str) -> io::Result<Self::File>;

    /// Appends pieces to a file, one after the other.
    fn append(&self, file: &mut Self::File, pieces: &[Bytes]) -> io::Result<()>;

    /// Makes the bytes of a file durable.
    fn sync_file(&self, file: &Self::File) -> io::Result<()>;

    /// Renames a file, replacing one of the new name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Renames a file unless the new name is taken ([`io::ErrorKind::AlreadyExists`]).
    fn rename_new(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &str) -> io::Result<()>;

    /// Creates a folder whose parent exists, unless it is there; `true` if it was not. The root is created with all
    /// its parents, durably.
    fn make_dir(&self, path: &str) -> io::Result<bool>;

    /// Makes the names in a folder durable.
    fn sync_dir(&self, path: &str) -> io::Result<()>;

    /// The bytes of a file; [`io::ErrorKind::UnexpectedEof`] if the range reaches beyond its end.
    fn read(&self, path: &str, range: Option<Range<u64>>) -> io::Result<Bytes>;

    /// The size of a file, `None` if there is none.
    fn size(&self, path: &str) -> io::Result<Option<u64>>;

    /// The names in a folder, in any order; none if there is no such folder.
    fn entries(&self, path: &str) -> io::Result<Vec<DiskEntry>>;
}

/// The operating system's file system below a folder.
#[derive(Debug)]
pub struct OsDisk {
    root: PathBuf,
}

impl OsDisk {
    /// The file system below `root`, which need not exist yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder everything is below.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn at(&self, path: &str) -> PathBuf {
        if path.is_empty() {
            self.root.clone()
        } else {
            self.root.join(path)
        }
    }
}

impl fmt::Display for OsDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.root.display().fmt(f)
    }
}

#[deny(clippy::missing_trait_methods)]
impl Disk for OsDisk {
    type File = fs::File;

    const BLOCKS: bool = true;

    fn instance(&self) -> String {
        uuid::Uuid::new_v4().simple().to_string()[..8].to_owned()
    }

    fn create_new(&self, path: &str) -> io::Result<Self::File> {
        fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(self.at(path))
    }

    fn append(&self, file: &mut Self::File, pieces: &[Bytes]) -> io::Result<()> {
        let mut slices: Vec<IoSlice<'_>> = pieces.iter().map(|it| IoSlice::new(it)).collect();
        let mut rest = slices.as_mut_slice();
        // Nothing is left to write of slices that are empty from the start.
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            match file.write_vectored(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => IoSlice::advance_slices(&mut rest, written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn sync_file(&self, file: &Self::File) -> io::Result<()> {
        // The length of a new file is flushed too, because it is needed to read the bytes.
        file.sync_data()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.at(from), self.at(to))
    }

    fn rename_new(&self, from: &str, to: &str) -> io::Result<()> {
        // One system call where the platform has a rename that does not replace, link and unlink elsewhere.
        let mut from = tempfile::TempPath::try_from_path(self.at(from))?;
        from.disable_cleanup(true);
        from.persist_noclobber(self.at(to))
            .map_err(|error| error.error)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        fs::remove_file(self.at(path))
    }

    fn make_dir(&self, path: &str) -> io::Result<bool> {
        if path.is_empty() {
            return make_root(&self.root);
        }
        match fs::create_dir(self.at(path)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        sync_folder(&self.at(path))
    }

    fn read(&self, path: &str, range: Option<Range<u64>>) -> io::Result<Bytes> {
        let Some(range) = range else {
            return fs::read(self.at(path)).map(Bytes::from);
        };
        let mut file = fs::File::open(self.at(path))?;
        let length = range.end.saturating_sub(range.start);
        // Checked before a buffer is allocated: the range may come from a damaged file.
        if file.metadata()?.len() < range.end {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let length = usize::try_from(length).map_err(io::Error::other)?;
        file.seek(SeekFrom::Start(range.start))?;
        let mut buffer = vec![0; length];
        file.read_exact(&mut buffer)?;
        Ok(buffer.into())
    }

    fn size(&self, path: &str) -> io::Result<Option<u64>> {
        match fs::metadata(self.at(path)) {
            Ok(metadata) => Ok(metadata.is_file().then_some(metadata.len())),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn entries(&self, path: &str) -> io::Result<Vec<DiskEntry>> {
        let folder = match fs::read_dir(self.at(path)) {
            Ok(folder) => folder,
            Err(error) if is_absent(&error) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut entries = Vec::new();
        for entry in folder {
            let entry = entry?;
            // A name that is not UTF-8 cannot be the path of an object.
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            let metadata = match fs::metadata(entry.path()) {
                Ok(metadata) => metadata,
                // Removed since the folder was read, or a link to nowhere.
                Err(error) if is_absent(&error) => continue,
                Err(error) => return Err(error),
            };
            entries.push(DiskEntry {
                name,
                is_dir: metadata.is_dir(),
                size: metadata.len(),
                modified_millis: modified_millis(&metadata),
            });
        }
        Ok(entries)
    }
}

/// No such file, or a file where a folder of the path should be.
pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

fn modified_millis(metadata: &fs::Metadata) -> i64 {
    metadata
        .modified()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .and_then(|since| i64::try_from(since.as_millis()).ok())
        .unwrap_or(0)
}

/// Creates a folder with its missing parents, each synced into its parent.
fn make_root(root: &Path) -> io::Result<bool> {
    if root.is_dir() {
        return Ok(false);
    }
    let mut missing: Vec<&Path> = root
        .ancestors()
        .take_while(|path| !path.as_os_str().is_empty() && !path.exists())
        .collect();
    while let Some(folder) = missing.pop() {
        match fs::create_dir(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let parent = folder
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        sync_folder(parent)?;
    }
    Ok(true)
}

#[cfg(unix)]
fn sync_folder(path: &Path) -> io::Result<()> {
    fs::File::open(path)?.sync_all()
}

/// Elsewhere a folder cannot be opened for syncing; the file system's own journal has to do.
#[cfg(not(unix))]
fn sync_folder(_path: &Path) -> io::Result<()> {
    Ok(())
}
