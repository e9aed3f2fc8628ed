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

type Liar = Box<dyn Fn(&str) -> bool + Send>;

#[derive(Default)]
struct Machine {
    inodes: Vec<Inode>,
    /// Names as programs see them.
    visible: BTreeMap<String, Node>,
    /// Names that survive a power failure, provided that those of their folders do.
    durable: BTreeMap<String, Node>,
    /// Changes of names that are in `visible` and not in `durable`, in order.
    pending: Vec<Change>,
    steps: Vec<String>,
    crash_at: Option<usize>,
    crashed: Option<String>,
    liar: Option<Liar>,
}

/// The bytes of a file; files only grow.
#[derive(Debug, Clone, Default)]
struct Inode {
    bytes: Vec<u8>,
    synced: usize,
    modified: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    Folder,
    File(usize),
}

#[derive(Debug, Clone)]
enum Change {
    Add(String, Node),
    Remove(String),
    Rename {
        from: String,
        to: String,
        node: Node,
    },
}

impl Change {
    /// The folder whose sync makes the change durable.
    fn folder(&self) -> &str {
        match self {
            Self::Add(path, _) | Self::Remove(path) | Self::Rename { to: path, .. } => parent(path),
        }
    }

    fn apply(&self, names: &mut BTreeMap<String, Node>) {
        match self {
            Self::Add(path, node) => {
                names.insert(path.clone(), *node);
            }
            Self::Remove(path) => {
                names.remove(path);
            }
            Self::Rename { from, to, node } => {
                if names.get(from) == Some(node) {
                    names.remove(from);
                }
                names.insert(to.clone(), *node);
            }
        }
    }
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
        let step = dead.steps.len();
        dead.crashed
            .get_or_insert_with(|| format!("simulated crash after step {step}"));
        let mut dice = Dice::new(loss);
        let mut names = match loss {
            Loss::Nothing => dead.visible.clone(),
            _ => dead.durable.clone(),
        };
        for change in &dead.pending {
            if dice.keeps() {
                change.apply(&mut names);
            }
        }
        let reachable: BTreeMap<String, Node> = names
            .iter()
            .filter(|(path, _)| has_folders(&names, path))
            .map(|(path, node)| (path.clone(), *node))
            .collect();
        let inodes = dead
            .inodes
            .iter()
            .map(|inode| {
                let length = dice.length(inode.synced, inode.bytes.len());
                Inode {
                    bytes: inode.bytes[..length].to_vec(),
                    synced: length,
                    modified: inode.modified,
                }
            })
            .collect();
        Self(Arc::new(Mutex::new(Machine {
            inodes,
            visible: reachable.clone(),
            durable: reachable,
            ..Machine::default()
        })))
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

/// Whether all folders above a path are there.
fn has_folders(names: &BTreeMap<String, Node>, path: &str) -> bool {
    let folder = parent(path);
    folder.is_empty() || (names.get(folder) == Some(&Node::Folder) && has_folders(names, folder))
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

/// Decides what a crash takes; a small generator of its own, so that a seed means the same for ever.
struct Dice {
    loss: Loss,
    state: u64,
}

impl Dice {
    fn new(loss: Loss) -> Self {
        let state = match loss {
            Loss::Some(seed) => seed,
            _ => 0,
        };
        Self { loss, state }
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn keeps(&mut self) -> bool {
        matches!(self.loss, Loss::Some(_)) && self.next().is_multiple_of(2)
    }

    fn length(&mut self, synced: usize, written: usize) -> usize {
        match self.loss {
            Loss::Nothing => written,
            Loss::Unsynced => synced,
            Loss::Some(_) => match self.next() % 3 {
                0 => synced,
                1 => written,
                _ => {
                    let span = (written - synced) as u64 + 1;
                    synced + usize::try_from(self.next() % span).unwrap_or(0)
                }
            },
        }
    }
}

impl Machine {
    fn alive(&self) -> io::Result<()> {
        match &self.crashed {
            None => Ok(()),
            Some(why) => Err(io::Error::other(why.clone())),
        }
    }

    /// Takes a step, unless this is where the machine crashes.
    fn step(&mut self, name: String) -> io::Result<()> {
        self.alive()?;
        let number = self.steps.len();
        if self.crash_at == Some(number) {
            self.crashed = Some(format!("simulated crash at step {number}: {name}"));
            return self.alive();
        }
        self.steps.push(name);
        Ok(())
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.visible);
        self.pending.push(change);
    }

    fn lies_about(&self, step: &str) -> bool {
        self.liar.as_ref().is_some_and(|liar| liar(step))
    }

    fn file(&self, path: &str) -> io::Result<usize> {
        match self.visible.get(path) {
            Some(Node::File(inode)) => Ok(*inode),
            Some(Node::Folder) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn check_folder(&self, path: &str) -> io::Result<()> {
        match self.visible.get(parent(path)) {
            Some(Node::Folder) => Ok(()),
            Some(Node::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.alive()?;
        let node = Node::File(self.file(from)?);
        self.check_folder(to)?;
        self.step(format!("rename {from} to {to}"))?;
        self.change(Change::Rename {
            from: from.to_owned(),
            to: to.to_owned(),
            node,
        });
        Ok(())
    }

    /// Makes the changes of names in a folder durable, and with a rename what happened before to the name it takes
    /// away.
    fn sync_folder(&mut self, folder: &str) {
        let (done, left): (Vec<Change>, Vec<Change>) = self
            .pending
            .drain(..)
            .partition(|change| change.folder() == folder);
        self.pending = left;
        for change in &done {
            change.apply(&mut self.durable);
            if let Change::Rename { from, node, .. } = change {
                let (from, node) = (from.clone(), *node);
                self.pending.retain(
                    |it| !matches!(it, Change::Add(path, of) if *path == from && *of == node),
                );
            }
        }
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

    fn append(&self, file: &mut SimFile, bytes: &[u8]) -> io::Result<()> {
        let mut machine = self.lock();
        machine.step(format!("write {}", file.path))?;
        let modified = i64::try_from(machine.steps.len()).unwrap_or(i64::MAX);
        let inode = &mut machine.inodes[file.inode];
        inode.bytes.extend_from_slice(bytes);
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

#[cfg(test)]
mod tests;
