//! A machine whose power can fail at any step.
//!
//! Its disks keep two views: what programs see, and what would still be there after a power failure. Bytes move to the
//! second by syncing their file, names by syncing their folder. Every step that changes something has a number and a
//! name; a sweep crashes at each in turn, takes the machine after the crash ([`SimMachine::reopen`]) and goes on.
//!
//! [`SimStorage`] is [`DiskStorage`] on such a disk: the code under test is the one that writes to real disks. What
//! the model leaves out: bytes that rot after a sync, and a rename that is half done (file systems journal it whole).

use std::{
    collections::BTreeMap,
    fmt, io,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;

use self::machine::{Change, Inode, Machine, Node};
use super::{
    disk::{Disk, DiskEntry},
    local::DiskStorage,
    path::{is_below, parent},
};

/// A storage on a disk of a [`SimMachine`].
pub type SimStorage = DiskStorage<SimDisk>;

/// What a crash takes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Nothing: the process died, the machine did not.
    Nothing,
    /// Everything that was not synced.
    Unsynced,
    /// Some of what was not synced, chosen by this seed. Names and bytes are lost independently of each other.
    Some(u64),
}

/// A machine with disks. Clones are the same machine.
#[derive(Clone, Default)]
pub struct SimMachine(Arc<Mutex<Machine>>);

/// One disk of a [`SimMachine`]: everything below one root.
pub struct SimDisk {
    machine: SimMachine,
    root: String,
}

/// A file of a [`SimDisk`] that is open for writing.
#[derive(Debug)]
pub struct SimFile {
    inode: usize,
    path: String,
}

impl SimMachine {
    /// A machine with empty disks.
    pub fn new() -> Self {
        Self::default()
    }

    /// The storage below a folder of the machine, for instance `checkpoint`. Several of them crash together.
    pub fn storage(&self, root: &str) -> SimStorage {
        let disk = SimDisk {
            machine: self.clone(),
            root: root.to_owned(),
        };
        DiskStorage::on(disk, Arc::default())
    }

    /// Lets this step, counted from 0, and everything after it fail.
    pub fn crash_at(&self, step: usize) {
        self.lock().crash_at = Some(step);
    }

    /// The names of the steps taken so far.
    pub fn steps(&self) -> Vec<String> {
        self.lock().steps.clone()
    }

    /// Why nothing works any more; `None` before the crash.
    pub fn crashed(&self) -> Option<String> {
        self.lock().crashed.clone()
    }

    /// From now on, syncs whose name (`sync file …`, `sync folder …`) meets the condition succeed without doing
    /// anything: for tests of tests.
    pub fn skip_syncs(&self, condition: impl Fn(&str) -> bool + Send + 'static) {
        self.lock().liar = Some(Box::new(condition));
    }

    /// The machine after a crash, which is now if it did not happen before. The old machine stays dead.
    pub fn reopen(&self, loss: Loss) -> Self {
        let mut dead = self.lock();
        dead.die();
        Self(Arc::new(Mutex::new(dead.after(loss))))
    }

    /// The files below a folder as any program sees them, hidden ones too, by their paths in the folder. Works after
    /// a crash as well.
    pub fn files(&self, root: &str) -> BTreeMap<String, Bytes> {
        let machine = self.lock();
        let prefix = format!("{root}/");
        machine
            .visible
            .iter()
            .filter_map(|(path, node)| match node {
                Node::File(inode) => {
                    let path = path.strip_prefix(&prefix)?.to_owned();
                    Some((path, machine.inodes[*inode].bytes.clone().into()))
                }
                Node::Folder => None,
            })
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Machine> {
        // A test that panicked elsewhere still wants to look at the machine.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for SimMachine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let machine = self.lock();
        f.debug_struct("SimMachine")
            .field("steps", &machine.steps.len())
            .field("crashed", &machine.crashed)
            .finish_non_exhaustive()
    }
}

impl SimDisk {
    fn at(&self, path: &str) -> String {
        match (self.root.as_str(), path) {
            (root, "") => root.to_owned(),
            (root, path) => format!("{root}/{path}"),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock()
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimDisk")
            .field("root", &self.root)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sim:{}", self.root)
    }
}

#[deny(clippy::missing_trait_methods)]
impl Disk for SimDisk {
    type File = SimFile;

    /// Steps run on the caller's thread, so that their order is that of the program.
    const BLOCKS: bool = false;

    fn instance(&self) -> String {
        "sim".to_owned()
    }

    fn create_new(&self, path: &str) -> io::Result<SimFile> {
        let path = self.at(path);
        let mut machine = self.lock();
        machine.alive()?;
        machine.check_folder(&path)?;
        if machine.visible.contains_key(&path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        machine.step(format!("create {path}"))?;
        let inode = machine.inodes.len();
        machine.inodes.push(Inode::default());
        machine.change(Change::Add(path.clone(), Node::File(inode)));
        Ok(SimFile { inode, path })
    }

    fn append(&self, file: &mut SimFile, pieces: &[Bytes]) -> io::Result<()> {
        let mut machine = self.lock();
        machine.step(format!("write {}", file.path))?;
        let modified = i64::try_from(machine.steps.len()).unwrap_or(i64::MAX);
        let inode = &mut machine.inodes[file.inode];
        for piece in pieces {
            inode.bytes.extend_from_slice(piece);
        }
        inode.modified = modified;
        Ok(())
    }

    fn sync_file(&self, file: &SimFile) -> io::Result<()> {
        let mut machine = self.lock();
        let step = format!("sync file {}", file.path);
        machine.step(step.clone())?;
        if !machine.lies_about(&step) {
            let inode = &mut machine.inodes[file.inode];
            inode.synced = inode.bytes.len();
        }
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.lock().rename(&self.at(from), &self.at(to))
    }

    fn rename_new(&self, from: &str, to: &str) -> io::Result<()> {
        let to = self.at(to);
        let mut machine = self.lock();
        if machine.visible.contains_key(&to) {
            machine.alive()?;
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        machine.rename(&self.at(from), &to)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let path = self.at(path);
        let mut machine = self.lock();
        machine.alive()?;
        machine.file(&path)?;
        machine.step(format!("remove {path}"))?;
        machine.change(Change::Remove(path));
        Ok(())
    }

    fn make_dir(&self, path: &str) -> io::Result<bool> {
        let path = self.at(path);
        let mut machine = self.lock();
        machine.alive()?;
        if machine.visible.contains_key(&path) {
            return Ok(false);
        }
        machine.step(format!("create folder {path}"))?;
        let change = Change::Add(path.clone(), Node::Folder);
        if path == self.root {
            // The root is created durably, with its parents.
            let mut ancestor = path.as_str();
            while !ancestor.is_empty() {
                let change = Change::Add(ancestor.to_owned(), Node::Folder);
                change.apply(&mut machine.visible);
                change.apply(&mut machine.durable);
                ancestor = parent(ancestor);
            }
        } else {
            machine.check_folder(&path)?;
            machine.change(change);
        }
        Ok(true)
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        let path = self.at(path);
        let mut machine = self.lock();
        let step = format!("sync folder {path}");
        machine.step(step.clone())?;
        if !machine.lies_about(&step) {
            machine.sync_folder(&path);
        }
        Ok(())
    }

    fn read(&self, path: &str, range: Option<Range<u64>>) -> io::Result<Bytes> {
        let machine = self.lock();
        machine.alive()?;
        let bytes = &machine.inodes[machine.file(&self.at(path))?].bytes;
        let Some(range) = range else {
            return Ok(bytes.clone().into());
        };
        usize::try_from(range.start)
            .ok()
            .zip(usize::try_from(range.end).ok())
            .and_then(|(start, end)| bytes.get(start..end))
            .map(Bytes::copy_from_slice)
            .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn size(&self, path: &str) -> io::Result<Option<u64>> {
        let machine = self.lock();
        machine.alive()?;
        Ok(match machine.visible.get(&self.at(path)) {
            Some(Node::File(inode)) => Some(machine.inodes[*inode].bytes.len() as u64),
            Some(Node::Folder) | None => None,
        })
    }

    fn entries(&self, path: &str) -> io::Result<Vec<DiskEntry>> {
        let folder = self.at(path);
        let machine = self.lock();
        machine.alive()?;
        let inside = machine
            .visible
            .iter()
            .filter(|(path, _)| is_below(path, &folder) && parent(path) == folder);
        Ok(inside
            .map(|(path, node)| {
                let name = path[folder.len()..].trim_start_matches('/').to_owned();
                match node {
                    Node::Folder => DiskEntry {
                        name,
                        is_dir: true,
                        size: 0,
                        modified_millis: 0,
                    },
                    Node::File(inode) => DiskEntry {
                        name,
                        is_dir: false,
                        size: machine.inodes[*inode].bytes.len() as u64,
                        modified_millis: machine.inodes[*inode].modified,
                    },
                }
            })
            .collect())
    }
}

mod machine;
#[cfg(test)]
mod tests;
