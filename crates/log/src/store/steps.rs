//! What each method of the disk storage does, step by step.
//!
//! The order is the whole point: bytes are written and synced under a hidden name, then the name is changed in one
//! atomic step, then the folder is synced. So a name never points at bytes that a crash could take back, and a visible
//! object stays visible. Only an object that nobody looks for until it is whole has its name from the start: to sync
//! bytes and then another name are two journal commits of the file system, one after the other.

use std::{io, sync::atomic::Ordering::SeqCst};

use bytes::Bytes;
use headwater_core::{CreateOutcome, Error, Prepared, Result, StoredObject};
use serde_json::{Value, json};

use super::{
    STAGING,
    disk::{Disk, is_absent},
    path::{check_object, is_staged, parent},
    synced::{SyncedDisk, Syncs},
};

/// How much older than a new file a temporary file must be to be a leftover of a crash, in milliseconds.
const LEFTOVER_AGE: i64 = 24 * 60 * 60 * 1_000;

impl<D: Disk> SyncedDisk<D> {
    /// Writes the bytes of `path` into the new file at `name`, synced; if that fails there is none.
    fn fill(&self, mut file: D::File, name: &str, path: &str, pieces: &[Bytes]) -> Result<()> {
        let written = self
            .disk
            .append(&mut file, pieces)
            .map_err(|error| self.failed("write", path, error))
            .and_then(|()| self.sync_file(&file, path));
        if written.is_err() {
            self.remove_quietly(name);
        }
        written
    }

    /// Writes bytes under a temporary name, synced.
    fn write_temp(&self, path: &str, bytes: &Bytes, syncs: &mut Syncs) -> Result<String> {
        let (file, hidden) = self.create_hidden(&format!("tmp-{}", self.instance), syncs)?;
        self.fill(file, &hidden, path, std::slice::from_ref(bytes))?;
        if !self.swept.swap(true, SeqCst) {
            self.sweep(&hidden);
        }
        Ok(hidden)
    }

    /// Removes temporary files that a crash left behind. They are told by their age against a file just written, in
    /// the file system's own time. Failing to do so harms nobody.
    fn sweep(&self, fresh: &str) {
        let entries = self.disk.entries(STAGING).unwrap_or_default();
        let now = entries
            .iter()
            .find(|entry| fresh.ends_with(&entry.name))
            .map_or(i64::MIN, |entry| entry.modified_millis);
        for entry in &entries {
            let is_old = entry.modified_millis < now.saturating_sub(LEFTOVER_AGE);
            if entry.name.starts_with("tmp-") && is_old {
                self.remove_quietly(&format!("{STAGING}/{}", entry.name));
            }
        }
    }

    /// Removes a file that nobody will miss or look for if this fails.
    fn remove_quietly(&self, file: &str) {
        if let Err(error) = self.disk.remove(file) {
            tracing::debug!(file, %error, "a temporary file stays behind");
        }
    }

    /// Gives a file its name in the folder of `path`, creating folders as needed; once more if a folder that was known
    /// is gone and nothing else is missing.
    fn in_folder<T>(
        &self,
        path: &str,
        syncs: &mut Syncs,
        name: impl Fn() -> io::Result<T>,
        is_possible: impl Fn() -> Result<bool>,
    ) -> Result<io::Result<T>> {
        self.make_dirs(parent(path), syncs)?;
        let mut named = name();
        if named.as_ref().is_err_and(is_absent) && is_possible()? {
            self.known().clear();
            self.make_dirs(parent(path), syncs)?;
            named = name();
        }
        syncs.folders.insert(parent(path).to_owned());
        Ok(named)
    }

    /// Gives a hidden file its final name.
    fn place(
        &self,
        hidden: &str,
        path: &str,
        syncs: &mut Syncs,
        rename: fn(&D, &str, &str) -> io::Result<()>,
    ) -> Result<io::Result<()>> {
        let rename = || rename(&self.disk, hidden, path);
        self.in_folder(path, syncs, rename, || Ok(self.size(hidden)?.is_some()))
    }

    fn size(&self, path: &str) -> Result<Option<u64>> {
        self.disk
            .size(path)
            .map_err(|error| self.failed("look at", path, error))
    }

    pub(super) fn create(&self, path: &str, bytes: &Bytes) -> Result<CreateOutcome> {
        let mut syncs = Syncs::default();
        if self.size(path)?.is_none() {
            let hidden = self.write_temp(path, bytes, &mut syncs)?;
            let placed = self.place(&hidden, path, &mut syncs, D::rename_new)?;
            match placed {
                Ok(()) => return self.sync(syncs).map(|()| CreateOutcome::Created),
                Err(error) => {
                    self.remove_quietly(&hidden);
                    if error.kind() != io::ErrorKind::AlreadyExists {
                        return Err(self.failed("create", path, error));
                    }
                }
            }
        }
        // It may be there because of an earlier call that failed before its last sync.
        self.make_dirs(parent(path), &mut syncs)?;
        syncs.folders.insert(parent(path).to_owned());
        self.sync(syncs)?;
        Ok(CreateOutcome::AlreadyExists)
    }

    pub(super) fn create_own(&self, path: &str, pieces: &[Bytes]) -> Result<CreateOutcome> {
        let mut syncs = Syncs::default();
        let create = || self.disk.create_new(path);
        match self.in_folder(path, &mut syncs, create, || Ok(true))? {
            Ok(file) => {
                self.fill(file, path, path, pieces)?;
                self.sync(syncs)?;
                Ok(CreateOutcome::Created)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Ok(CreateOutcome::AlreadyExists)
            }
            Err(error) => Err(self.failed("create", path, error)),
        }
    }

    pub(super) fn replace(&self, path: &str, bytes: &Bytes) -> Result<()> {
        let mut syncs = Syncs::default();
        let hidden = self.write_temp(path, bytes, &mut syncs)?;
        if let Err(error) = self.place(&hidden, path, &mut syncs, D::rename)? {
            self.remove_quietly(&hidden);
            return Err(self.failed("replace", path, error));
        }
        self.sync(syncs)
    }

    pub(super) fn publish(&self, objects: &[Prepared]) -> Result<()> {
        // A rename into a folder that a crash takes back would lose the bytes from both places.
        let mut folders = Syncs::default();
        for object in objects {
            self.make_dirs(parent(&object.path), &mut folders)?;
        }
        self.sync(folders)?;
        let mut syncs = Syncs::default();
        for object in objects {
            let hidden = hidden_name(object)?;
            match self.place(hidden, &object.path, &mut syncs, D::rename)? {
                Ok(()) => {}
                Err(error) if is_absent(&error) => self.check_published(object, hidden)?,
                Err(error) => return Err(self.failed("publish", &object.path, error)),
            }
        }
        self.sync(syncs)
    }

    /// The hidden file is gone: somebody has published it already, or it is lost.
    fn check_published(&self, object: &Prepared, hidden: &str) -> Result<()> {
        match self.size(&object.path)? {
            Some(size) if size == object.size => Ok(()),
            Some(size) => Err(Error::data(format!(
                "'{}' in {} should have {} bytes and has {size}, and '{hidden}', from which it would be published, is gone",
                object.path, self.disk, object.size
            ))),
            None => Err(Error::data(format!(
                "'{}' cannot be published in {}: neither it nor '{hidden}', which held its bytes, exists",
                object.path, self.disk
            ))),
        }
    }

    /// Removes a file; `false` if there is none.
    pub(super) fn remove(&self, path: &str) -> Result<bool> {
        match self.disk.remove(path) {
            Ok(()) => Ok(true),
            Err(error) if is_absent(&error) => Ok(false),
            Err(error) => Err(self.failed("delete", path, error)),
        }
    }

    /// Removes hidden files for good: nobody would look for one that a crash brought back.
    pub(super) fn discard(&self, hidden: Vec<String>) -> Result<()> {
        let mut is_changed = false;
        for hidden in &hidden {
            is_changed |= self.remove(hidden)?;
        }
        if is_changed {
            self.sync_dir(STAGING)?;
        }
        Ok(())
    }

    pub(super) fn list(&self, prefix: &str) -> Result<Vec<StoredObject>> {
        let mut objects = Vec::new();
        let mut folders = vec![prefix.strip_suffix('/').unwrap_or(prefix).to_owned()];
        while let Some(folder) = folders.pop() {
            if is_staged(&folder) {
                continue;
            }
            let entries = self
                .disk
                .entries(&folder)
                .map_err(|error| self.failed("list", &folder, error))?;
            for entry in entries {
                let path = if folder.is_empty() {
                    entry.name
                } else {
                    format!("{folder}/{}", entry.name)
                };
                if entry.is_dir {
                    folders.push(path);
                } else {
                    objects.push(StoredObject {
                        path,
                        size: entry.size,
                        modified_millis: entry.modified_millis,
                    });
                }
            }
        }
        objects.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Ok(objects)
    }
}

/// The hidden name of a prepared object.
pub(super) fn hidden_name(object: &Prepared) -> Result<&str> {
    check_object(&object.path)?;
    object
        .token
        .get("hidden")
        .and_then(Value::as_str)
        .filter(|hidden| is_staged(hidden))
        .ok_or_else(|| {
            Error::data(format!(
                "'{}' was not prepared on a local disk: its token is {}",
                object.path, object.token
            ))
        })
}

/// The token of an object whose bytes lie under a hidden name.
pub(super) fn hidden_token(hidden: &str) -> Value {
    json!({ "hidden": hidden })
}
