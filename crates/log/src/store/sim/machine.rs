//! The inside of a simulated machine: files, names, what of them is durable, and what a crash leaves.

use std::{collections::BTreeMap, io};

use super::Loss;
use crate::store::path::parent;

pub(super) type Liar = Box<dyn Fn(&str) -> bool + Send>;

#[derive(Default)]
pub(super) struct Machine {
    pub(super) inodes: Vec<Inode>,
    /// Names as programs see them.
    pub(super) visible: BTreeMap<String, Node>,
    /// Names that survive a power failure, provided that those of their folders do.
    pub(super) durable: BTreeMap<String, Node>,
    /// Changes of names that are in `visible` and not in `durable`, in order.
    pending: Vec<Change>,
    pub(super) steps: Vec<String>,
    pub(super) crash_at: Option<usize>,
    pub(super) crashed: Option<String>,
    pub(super) liar: Option<Liar>,
}

/// The bytes of a file; files only grow.
#[derive(Debug, Clone, Default)]
pub(super) struct Inode {
    pub(super) bytes: Vec<u8>,
    pub(super) synced: usize,
    pub(super) modified: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Node {
    Folder,
    File(usize),
}

#[derive(Debug, Clone)]
pub(super) enum Change {
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

    pub(super) fn apply(&self, names: &mut BTreeMap<String, Node>) {
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

/// Whether all folders above a path are there.
fn has_folders(names: &BTreeMap<String, Node>, path: &str) -> bool {
    let folder = parent(path);
    folder.is_empty() || (names.get(folder) == Some(&Node::Folder) && has_folders(names, folder))
}

impl Machine {
    /// Ends everything, if that has not happened before.
    pub(super) fn die(&mut self) {
        let step = self.steps.len();
        self.crashed
            .get_or_insert_with(|| format!("simulated crash after step {step}"));
    }

    /// What is found after a crash.
    pub(super) fn after(&self, loss: Loss) -> Self {
        let mut dice = Dice::new(loss);
        let mut names = match loss {
            Loss::Nothing => self.visible.clone(),
            _ => self.durable.clone(),
        };
        for change in &self.pending {
            if dice.keeps() {
                change.apply(&mut names);
            }
        }
        let reachable: BTreeMap<String, Node> = names
            .iter()
            .filter(|(path, _)| has_folders(&names, path))
            .map(|(path, node)| (path.clone(), *node))
            .collect();
        let inodes = self.inodes.iter().map(|inode| {
            let length = dice.length(inode.synced, inode.bytes.len());
            Inode {
                bytes: inode.bytes[..length].to_vec(),
                synced: length,
                modified: inode.modified,
            }
        });
        Self {
            inodes: inodes.collect(),
            visible: reachable.clone(),
            durable: reachable,
            ..Self::default()
        }
    }

    pub(super) fn alive(&self) -> io::Result<()> {
        match &self.crashed {
            None => Ok(()),
            Some(why) => Err(io::Error::other(why.clone())),
        }
    }

    /// Takes a step, unless this is where the machine crashes.
    pub(super) fn step(&mut self, name: String) -> io::Result<()> {
        self.alive()?;
        let number = self.steps.len();
        if self.crash_at == Some(number) {
            self.crashed = Some(format!("simulated crash at step {number}: {name}"));
            return self.alive();
        }
        self.steps.push(name);
        Ok(())
    }

    pub(super) fn change(&mut self, change: Change) {
        change.apply(&mut self.visible);
        self.pending.push(change);
    }

    pub(super) fn lies_about(&self, step: &str) -> bool {
        self.liar.as_ref().is_some_and(|liar| liar(step))
    }

    pub(super) fn file(&self, path: &str) -> io::Result<usize> {
        match self.visible.get(path) {
            Some(Node::File(inode)) => Ok(*inode),
            Some(Node::Folder) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn check_folder(&self, path: &str) -> io::Result<()> {
        match self.visible.get(parent(path)) {
            Some(Node::Folder) => Ok(()),
            Some(Node::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
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
    pub(super) fn sync_folder(&mut self, folder: &str) {
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
