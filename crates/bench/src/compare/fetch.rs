//! What a run reads is in memory before it begins.
//!
//! Who comes first would read the files from the disk for the others, and systems take pages back that nobody has looked
//! at for a minute, which a run of Spark may take: that would be measured as speed.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use headwater_core::{Error, Result};

/// Reads all files of these folders, and these files; how many bytes those are.
///
/// # Errors
/// `Unavailable` if one cannot be read.
pub fn read_all(paths: &[PathBuf]) -> Result<u64> {
    let mut bytes = 0;
    for path in paths {
        bytes += read(path).map_err(|e| {
            Error::unavailable(format!("cannot read {}", path.display())).with_source(e)
        })?;
    }
    Ok(bytes)
}

fn read(path: &Path) -> io::Result<u64> {
    if !path.is_dir() {
        return io::copy(&mut File::open(path)?, &mut io::sink());
    }
    let mut bytes = 0;
    for entry in fs::read_dir(path)? {
        bytes += read(&entry?.path())?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_what_is_in_folders_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("inner");
        fs::create_dir(&inner).unwrap();
        fs::write(inner.join("a"), [1; 70_000]).unwrap();
        fs::write(folder.path().join("b"), [2; 30]).unwrap();
        let beside = folder.path().join("b");
        let read = read_all(&[folder.path().to_owned(), beside.clone()]);
        assert_eq!(read.unwrap(), 70_060);
        fs::remove_file(&beside).unwrap();
        let error = read_all(&[beside]).unwrap_err();
        assert!(error.message().contains("cannot read"), "{error}");
    }
}
